"""Runs of one arm on several machines: what `auto` chose is said, ranks tell arms apart."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from experiments.record.parts import Arithmetic, Played, Tape
from experiments.record.record import load_record, write_record
from experiments.report.arms import make_arms, make_groups
from experiments.report.figures.cost import cost_info
from experiments.report.identity import costs, facts
from experiments.report.load import load_runs
from experiments.report.render import write_report
from experiments.report.tables import METRICS

LOSS = {"name": "focal", "alpha": 0.25, "gamma": 2.0}


def changed(folder: Path, **fields: object) -> None:
    write_record(folder, dataclasses.replace(load_record(folder), **fields))


def test_arithmetic_that_auto_chose_is_said_and_splits_no_arm(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Callable[..., object]
) -> None:
    setting = make_setting("retinanet", "retinanet focal", LOSS, 50.0, 1.0)
    precisions = ("float32", "bfloat16", "bfloat16")
    for seed, precision in enumerate(precisions):
        folder = make_run(tmp_path / f"runs/{seed}", setting, seed, train={"precision": "auto"})
        changed(folder, arithmetic=Arithmetic(precision, True))
    runs = load_runs([tmp_path / "runs"])
    assert len(make_arms(runs)) == 1
    told, alike = (facts(made, made[0].arms) for made in (make_groups(runs), make_groups(runs[1:])))
    assert ("Arithmetic", "2 in bfloat16, 1 in float32") in told
    assert "Arithmetic" not in dict(alike)


def test_the_number_of_processes_is_an_arm_s(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Callable[..., object]
) -> None:
    setting = make_setting("retinanet", "retinanet focal", LOSS, 50.0, 1.0)
    for seed in range(4):
        folder = make_run(tmp_path / f"runs/{seed}", setting, seed)
        changed(folder, ranks=1 + seed // 2)
    settings = sorted(arm.setting for arm in make_arms(load_runs([tmp_path / "runs"])))
    assert settings == ["ranks 1", "ranks 2"]


def test_times_without_the_backbone_are_no_cost_of_an_arm(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Callable[..., object]
) -> None:
    """Of a sweep with tapes the first trial of a seed computes what the others replay."""
    for name, level in (("A", 50.0), ("B", 60.0)):
        setting = make_setting("yolov2", name, {"name": "cross_entropy"}, level)
        for seed in range(2):
            folder = make_run(tmp_path / f"{name}{seed}", setting, seed)
            played = Played(replayed=9 * (name == "B"), written=9 * (name == "A"))
            changed(folder, tape=Tape(played={"train": played}))
    (group,) = make_groups(load_runs([tmp_path]))
    assert [one.replayed for one in costs([group])] == [0, 2]
    info = cost_info(group, METRICS[0])
    assert [point.arm.title for point in info.points] == ["A"] and info.left_out == 1
    page = write_report([tmp_path], tmp_path / "report").read_text(encoding="utf-8")
    assert "replayed a tape of their frozen backbone: their times leave it out" in page
