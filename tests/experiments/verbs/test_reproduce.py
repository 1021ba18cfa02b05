"""What a study will cost, its tiny form, and its path to a report."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.sweep.judging import Judge
from experiments.sweep.space import grid_points
from experiments.sweep.study import out_folder, report_options, study_file
from experiments.sweep.sweep_file import read_sweep
from tests.calling import call, refused

CHECKOUT = Path(__file__).parents[3]


def test_tiny_is_two_seeds_and_few_iterations_of_every_arm(tmp_path: Path) -> None:
    full = yaml.safe_load((CHECKOUT / "sweep.yaml").read_text())
    full["parameters"]["seed"] = {"values": [3, 4, 5]}
    full |= {
        "x-published": ["focal-1a", "focal-1b"],
        "x-question": "Why?",
        "x-roles": {"seed": "seed"},
    }
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(full))
    assert study_file(study, "full", tmp_path) == study
    path = study_file(study, "tiny", tmp_path / "out")
    sweep = read_sweep(path)
    assert sweep.name == "demo-tiny" and sweep.size() == 12
    assert out_folder(study, "tiny", None) == Path("runs/demo-tiny")
    judge = Judge(sweep)
    configs = [judge.plain(point) for point in grid_points(sweep)]
    assert {(one["seed"], one["train"]["iterations"]) for one in configs} == {(3, 5), (4, 5)}
    assert len({json.dumps([one["detector"], one["loss"]]) for one in configs}) == 6
    words = {"published": ["focal-1a", "focal-1b"], "question": "Why?", "seeds": [3, 4]}
    assert report_options(path) == words == report_options(study) | {"seeds": [3, 4]}


def test_the_cost_is_told_and_nothing_runs_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    studies = ["sweep.yaml", "configs/studies/yolov2_gamma.yaml"]
    words = [*studies, "--no-probe", "--records", str(tmp_path), "--out", str(tmp_path / "out")]
    assert call("reproduce", *words, "--dry-run") == 0
    told_lines = capsys.readouterr().out.splitlines()
    assert told_lines[0] == f"study demo (sweep.yaml), runs in {tmp_path}/out/sweep"
    assert told_lines[1] == "18 trials" and any("time: unknown" in line for line in told_lines)
    second = f"(configs/studies/yolov2_gamma.yaml), runs in {tmp_path}/out/yolov2_gamma"
    assert any(line.endswith(second) for line in told_lines)
    refused("as another's do", "reproduce", studies[0], *words, "--dry-run")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    capsys.readouterr()
    refused("give --yes", "reproduce", *words)
    assert capsys.readouterr().out == ""  # told before the cost is timed
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
def test_a_tiny_study_is_timed_run_and_reported(tmp_path: Path, small_glyphs: Path) -> None:
    sweep = yaml.safe_load((CHECKOUT / "sweep.yaml").read_text())
    recipes = ("yolov2_focal", "yolov2_cross_entropy")
    sweep["parameters"] = {
        "config": {"values": [f"configs/glyphs/{name}.yaml" for name in recipes]},
        "data.root": {"value": str(small_glyphs)},
        "input.fit": {"value": {"mode": "stretch", "height": 64, "width": 64}},
        "seed": {"values": [0, 1]},
    }
    studies = [tmp_path / "small.yaml", tmp_path / "again.yaml"]
    for study in studies:
        study.write_text(yaml.safe_dump(sweep | {"name": study.stem}))
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "reproduce", *map(str, studies)]
        + ["--scale", "tiny", "--yes", "--out", str(out), "--records", str(tmp_path)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 trials\n" in done.stdout and "timed now" in done.stdout
    records = [json.loads(path.read_text()) for path in out.rglob("record.json")]
    assert [record["status"] for record in records] == ["finished"] * 8
    assert all((out / study.stem / "report/report.html").is_file() for study in studies)
