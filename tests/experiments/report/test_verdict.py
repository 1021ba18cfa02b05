"""Words: never a win from one seed, and nothing that weakens a claim unsaid."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.report.arms import make_groups
from experiments.report.load import load_runs
from experiments.report.readme import BEGIN, END
from experiments.report.tables import METRICS, primary_metric
from experiments.report.verdict import question, verdict
from experiments.report.weaknesses import warnings
from tests.calling import call

CROSS = {"name": "cross_entropy"}
FOCAL = {"name": "focal", "alpha": 0.25, "gamma": 2.0}


@pytest.fixture
def pair(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> Callable[..., list[Any]]:
    """Groups of a cross-entropy and a focal arm with the given seeds and levels."""

    def make(seeds: int, levels: tuple[float, float], **changes: Any) -> list[Any]:
        for index, (loss, level) in enumerate(zip((CROSS, FOCAL), levels, strict=True)):
            for seed in range(seeds):
                setting = make_setting("yolov2", f"yolov2 {loss['name']}", loss, level)
                make_run(tmp_path / f"{index}-{seed}", setting, seed, **(changes if index else {}))
        return make_groups(load_runs([tmp_path]))

    return make


def test_one_seed_is_undecided_however_large_the_gain(pair: Callable[..., list[Any]]) -> None:
    groups = pair(1, (20.0, 80.0))
    found = verdict(groups[0], METRICS[0])
    assert found.kind == "open" and found.finding.startswith("Undecided")
    assert "one seed an arm" in found.uncertainty
    assert any("every arm has one seed" in warning for warning in warnings(groups, METRICS[0]))


def test_three_clear_seeds_are_better_with_their_interval(pair: Callable[..., list[Any]]) -> None:
    found = verdict(pair(3, (60.0, 70.0))[0], METRICS[0])
    assert found.kind == "better" and "95 % interval [+" in found.uncertainty


def test_one_question_has_one_answer_whoever_asks(
    tmp_path: Path,
    make_run: Callable[..., Path],
    make_setting: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, loss, level in (("A", CROSS, 50.0), ("B", FOCAL, 50.1)):
        for seed in range(3):
            setting = make_setting("yolov2", name, loss, level, 0.0)
            folder = make_run(tmp_path / f"runs/{name}/{seed}", setting, seed)
            record = json.loads((folder / "record.json").read_text())
            record["metrics"]["voc07_map"] = level
            (folder / "record.json").write_text(json.dumps(record))
    assert call("compare", "A", "B", "--runs", tmp_path / "runs") == 0
    compared = capsys.readouterr().out
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert call("report", tmp_path / "runs", "--readme", readme) == 0
    page = (tmp_path / "runs/report/report.html").read_text()
    said = verdict(make_groups(load_runs([tmp_path / "runs"]))[0], METRICS[0])
    assert said.kind == "open"
    for words in (said.finding, said.uncertainty):
        metric = words.replace("VOC07 mAP", "voc07_map")
        assert words in page and metric in compared
    assert "| 3 | +0.1 |" in readme.read_text() and "| no spread |" in readme.read_text()


def test_three_clear_seeds_can_be_worse(pair: Callable[..., list[Any]]) -> None:
    assert verdict(pair(3, (70.0, 60.0))[0], METRICS[0]).kind == "worse"


def test_equal_arms_show_no_difference_and_say_what_would(pair: Callable[..., list[Any]]) -> None:
    found = verdict(pair(3, (60.0, 60.0))[0], METRICS[0])
    assert found.kind == "same" and found.finding.startswith("No difference is shown")


def test_another_setting_than_the_loss_is_a_warning(pair: Callable[..., list[Any]]) -> None:
    groups = pair(2, (60.0, 61.0), optimizer={"lr": 0.5})
    assert any(
        "more than the loss: optimizer.lr" in warning for warning in warnings(groups, METRICS[0])
    )


def test_arms_of_other_seeds_are_said_to_be_compared_without_pairs(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    for gamma, seeds in ((1, 3), (2, 3), (3, 2)):
        setting = make_setting("yolov2", f"gamma {gamma}", {**FOCAL, "gamma": float(gamma)}, 60.0)
        for seed in range(seeds):
            make_run(tmp_path / f"{gamma}-{seed}", setting, seed)
    told = warnings(make_groups(load_runs([tmp_path])), METRICS[0])
    (warning,) = [each for each in told if "did not run the seeds" in each]
    assert "gamma 3 did not" in warning and "Welch" in warning


def test_failed_runs_are_named(small_study: Path) -> None:
    groups = make_groups(load_runs([small_study]))
    assert any(
        "1 run failed and is in no mean" in warning for warning in warnings(groups, METRICS[0])
    )
    assert (
        question(groups, METRICS[0])
        == "Does focal loss’s γ and α change the VOC07 mAP of RetinaNet and YOLOv2?"
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (("commit",), "f" * 40, "come from 2 commits of the code, and no run of "),
        (("data", "train", "hash"), "d" * 64, "the train split differs between runs (2 data hash"),
        (
            ("arithmetic",),
            {"precision": "bfloat16", "channels_last": False},
            "training was in bfloat16 and float32, and no run of ",
        ),
    ],
)
def test_what_may_be_compared_in_place_of_the_settings_is_a_warning(
    key: tuple[str, ...],
    value: Any,
    told: str,
    tmp_path: Path,
    make_run: Callable[..., Path],
    make_setting: Any,
) -> None:
    for loss, changed in ((CROSS, False), (FOCAL, True)):
        setting = make_setting("yolov2", f"yolov2 {loss['name']}", loss, 60.0)
        for seed in range(2):
            train = {"iterations": 2000, "precision": "float32"}
            folder = make_run(tmp_path / f"{loss['name']}-{seed}", setting, seed, train=train)
            record = json.loads((folder / "record.json").read_text())
            part = record
            for name in key[:-1]:
                part = part[name]
            part |= {key[-1]: value} if changed else {}
            (folder / "record.json").write_text(json.dumps(record))
    found = warnings(make_groups(load_runs([tmp_path])), METRICS[0])
    (warning,) = [each for each in found if told in each]
    assert "and no run of cross_entropy shares it with one of focal" in warning


def test_another_metric_that_decides_is_told(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    """One run without the usual one changes what all are compared by."""
    for loss in (CROSS, FOCAL):
        setting = make_setting("yolov2", f"yolov2 {loss['name']}", loss, 60.0)
        for seed in range(2):
            make_run(tmp_path / f"{loss['name']}-{seed}", setting, seed)
    path = tmp_path / "focal-1/record.json"
    record = json.loads(path.read_text())
    record["metrics"]["voc07_map"] = None
    path.write_text(json.dumps(record))
    groups = make_groups(load_runs([tmp_path]))
    primary = primary_metric(groups)
    told = "VOC area decides: 1 of 4 finished runs have no VOC07 mAP on record, among them focal-1."
    assert told in warnings(groups, primary)
    assert not [each for each in warnings(groups, METRICS[0]) if "decides" in each]
