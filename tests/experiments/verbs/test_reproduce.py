"""What a study will cost, its tiny form, and its path to a report."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.record import origin as provenance
from experiments.sweep.study import out_folder, report_options, resolved, study_file
from experiments.sweep.study_costs import Pace, kind_of, paces_on_record, study_cost, told
from experiments.sweep.sweep_file import read_sweep
from tests.calling import call, refused

CHECKOUT = Path(__file__).parents[3]


def config(detector: str = "yolov2", gamma: float = 0.0, iterations: int = 100) -> dict[str, Any]:
    return {
        "data": {"name": "voc", "root": "data/glyphs"},
        "detector": {"name": detector},
        "loss": {"name": "focal", "gamma": gamma},
        "train": {"iterations": iterations, "batch_size": 8, "log_every": 1},
        "seed": int(gamma),
    }


def unknown(values: Any) -> None:
    return None


def test_loss_seed_and_length_do_not_change_a_kind_and_batches_do() -> None:
    assert kind_of(config()) == kind_of(config(gamma=2.0, iterations=7))
    assert kind_of(config()) != kind_of(config("retinanet"))
    other = config()
    other["train"]["batch_size"] = 4
    assert kind_of(config()) != kind_of(other)


def test_cost_by_hand() -> None:
    configs = [config(gamma=g) for g in (0.0, 2.0)] + [config("retinanet", iterations=10)]
    paces = {kind_of(config()): Pace(0.5, 10, "2 runs on record")}
    probed = Pace(2.0, 5, "measured now")
    cost = study_cost(configs, paces, 2, lambda values: probed)
    assert cost.trials == 3 and cost.iterations == 210
    assert cost.seconds == 2 * (50 + 10) + (20 + 5)
    assert cost.wall_seconds == 60 + 25  # two of 60 s side by side, then 25 s
    lines = told(cost, 2)
    assert lines[0] == "3 trials, 210 iterations in all" and "85 s with 2 at a time" in lines[-1]
    assert told(study_cost(configs, paces, 2, unknown), 2)[-1] == "time: unknown"


def write_record(folder: Path, train: float, cpu: str | None = None, **changes: Any) -> None:
    folder.mkdir(parents=True)
    record = {
        "status": "finished",
        "config": config(),
        "seconds": {"train": train, "evaluate": 4.0, "total": train + 6.0},
        "curves": [{"iteration": 50}],
        "hardware": {"cpu": cpu or provenance.cpu_name(), "gpus": list(provenance.gpu_names())},
    }
    (folder / "record.json").write_text(json.dumps(record | changes))


def test_the_pace_is_the_median_of_this_machines_finished_runs(tmp_path: Path) -> None:
    for place, train in enumerate((20.0, 25.0, 900.0)):
        write_record(tmp_path / str(place), train)
    write_record(tmp_path / "other", 1.0, cpu="another")
    write_record(tmp_path / "failed", 1.0, status="failed")
    (found,) = paces_on_record([tmp_path, tmp_path / "nowhere"]).items()
    assert found == (kind_of(config()), Pace(0.5, 6.0, "3 runs on record"))


def test_tiny_is_one_seed_and_few_iterations_of_every_arm(tmp_path: Path) -> None:
    full = yaml.safe_load((CHECKOUT / "sweep.yaml").read_text())
    full["parameters"]["seed"] = {"values": [3, 4, 5]}
    full |= {"x-published": ["focal-1a", "focal-1b"], "x-question": "Why?"}
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump(full))
    assert study_file(study, "full", tmp_path) == study
    path = study_file(study, "tiny", tmp_path / "out")
    sweep = read_sweep(path)
    assert sweep.name == "demo-tiny" and sweep.size() == 12
    assert out_folder(study, "tiny", None) == Path("runs/demo-tiny")
    configs = resolved(sweep)
    assert {(one["seed"], one["train"]["iterations"]) for one in configs} == {(3, 20)}
    assert len({json.dumps([one["detector"], one["loss"]]) for one in configs}) == 12
    words = {"published": ["focal-1a", "focal-1b"], "question": "Why?"}
    assert report_options(study) == report_options(path) == words


def test_the_cost_is_told_and_nothing_runs_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    words = ["sweep.yaml", "--no-probe", "--records", str(tmp_path), "--out", str(tmp_path / "out")]
    assert call("reproduce", *words, "--dry-run") == 0
    told_lines = capsys.readouterr().out.splitlines()
    assert told_lines[1].startswith("12 trials, ") and told_lines[-1] == "time: unknown"
    monkeypatch.setattr("sys.stdin", io.StringIO())
    refused("give --yes", "reproduce", *words)
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
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(sweep))
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "reproduce", str(tmp_path / "small.yaml")]
        + ["--scale", "tiny", "--yes", "--out", str(out), "--records", str(tmp_path)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 trials, 40 iterations in all" in done.stdout and "measured now" in done.stdout
    records = [json.loads(path.read_text()) for path in out.rglob("record.json")]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert (out / "report/report.html").is_file()
