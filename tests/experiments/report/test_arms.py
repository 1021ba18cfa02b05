"""What is compared with what."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.report.arms import make_groups
from experiments.report.load import ReportError, load_runs
from experiments.report.settings import parameter
from experiments.report.tables import METRICS
from experiments.report.weaknesses import warnings

CROSS = {"name": "cross_entropy"}
FOCAL = {"name": "focal", "alpha": 0.25, "gamma": 2.0}


def test_each_detector_has_its_own_cross_entropy_baseline(small_study: Path) -> None:
    groups = make_groups(load_runs([small_study]))
    assert [(group.detector, group.baseline and group.baseline.name) for group in groups] == [
        ("retinanet", "retinanet cross-entropy"),
        ("yolov2", "yolov2 cross-entropy"),
    ]


def test_a_named_baseline_is_taken_and_a_misspelt_one_answered(small_study: Path) -> None:
    runs = load_runs([small_study])
    chosen = make_groups(runs, baseline="yolov2 focal alpha 0.25 gamma 1")[1].baseline
    assert chosen is not None and chosen.gamma == 1.0
    with pytest.raises(ReportError, match="did you mean 'yolov2 cross-entropy'"):
        make_groups(runs, baseline="yolov2 cross-entropi")


def test_without_cross_entropy_gamma_zero_is_the_baseline(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    for gamma in (0.0, 2.0):
        make_run(
            tmp_path / str(gamma),
            make_setting("yolov2", f"g{gamma}", FOCAL | {"gamma": gamma}, 50.0),
            0,
        )
    group = make_groups(load_runs([tmp_path]))[0]
    assert group.baseline is not None and group.baseline.name == "g0.0"


def test_a_nuisance_setting_splits_an_arm_and_names_it(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    for rate in (0.01, 0.02):
        make_run(tmp_path / str(rate), setting, 0, optimizer={"lr": rate})
    assert [arm.title for arm in make_groups(load_runs([tmp_path]))[0].arms] == [
        "yolov2 focal (lr 0.01)",
        "yolov2 focal (lr 0.02)",
    ]


def test_a_setting_that_older_records_do_not_know_splits_no_arm(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    make_run(tmp_path / "old", setting, 0, optimizer={"lr": 0.01})
    make_run(tmp_path / "new", setting, 1, optimizer={"lr": 0.01, "clip_norm": 5.0})
    groups = make_groups(load_runs([tmp_path]))
    (arm,) = groups[0].arms
    assert (arm.title, [run.seed for run in arm.finished]) == ("yolov2 focal", [0, 1])
    assert "some records are of an earlier version, without optimizer.clip_norm" in " ".join(
        warnings(groups, METRICS[0])
    )


def test_a_key_of_another_choice_is_no_sign_of_an_earlier_version(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    make_run(tmp_path / "plain", make_setting("yolov2", "yolov2 plain", CROSS, 50.0), 0)
    for seed, gamma in enumerate((1.0, 2.0)):
        setting = make_setting("yolov2", f"yolov2 g{gamma}", FOCAL | {"gamma": gamma}, 50.0)
        make_run(tmp_path / f"{gamma}", setting, seed)
    told = " ".join(warnings(make_groups(load_runs([tmp_path])), METRICS[0]))
    assert "earlier version" not in told


def test_a_name_is_what_the_configuration_is_called_now(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    for seed, name in enumerate(("yolov2 focal alpha .25 gamma 2", "yolov2 focal of old")):
        make_run(tmp_path / str(seed), make_setting("yolov2", name, FOCAL, 50.0), seed, arm=None)
    groups = make_groups(load_runs([tmp_path]), baseline="yolov2 focal of old")
    (arm,) = groups[0].arms
    assert (arm.name, len(arm.finished)) == ("yolov2 focal α 0.25 γ 2", 2)
    assert groups[0].baseline is arm
    make_run(tmp_path / "own", make_setting("yolov2", "mine", FOCAL, 50.0), 3, arm="mine")
    assert len(make_groups(load_runs([tmp_path]))[0].arms) == 2  # a name that was given splits


def test_keys_that_decide_no_result_split_no_arm() -> None:
    from experiments.config.run import free_keys
    from experiments.report.settings import settings_of

    told: dict[str, Any] = {}
    for key in free_keys():
        *above, last = key.split(".")
        place = told
        for part in above:
            place = place.setdefault(part, {})
        place[last] = 1
    assert settings_of(told) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"clip_norm": None}, {"clip_norm": 5.0}),  # switched off is a value
        ({"clip": None}, {"clip": {"norm": 5.0}}),  # so is null where a mapping may stand
    ],
)
def test_a_setting_that_was_off_splits_an_arm(
    first: dict[str, Any],
    second: dict[str, Any],
    tmp_path: Path,
    make_run: Callable[..., Path],
    make_setting: Any,
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    for seed, settings in enumerate((first, second)):
        make_run(tmp_path / str(seed), setting, seed, optimizer=settings)
    assert len(make_groups(load_runs([tmp_path]))[0].arms) == 2


def test_a_third_value_leaves_it_open_what_older_records_had(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    make_run(tmp_path / "old", setting, 0, optimizer={"lr": 0.01})
    for seed, norm in enumerate((5.0, 9.0), 1):
        make_run(tmp_path / str(seed), setting, seed, optimizer={"lr": 0.01, "clip_norm": norm})
    assert len(make_groups(load_runs([tmp_path]))[0].arms) == 3


def test_a_repeated_seed_counts_once(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    for name in ("a", "b"):
        make_run(tmp_path / name, setting, 0)
    arm = make_groups(load_runs([tmp_path]))[0].arms[0]
    assert (len(arm.runs), [run.id for run in arm.finished]) == (2, ["b"])


def test_parameters_are_read_as_numbers_words_or_off() -> None:
    ramp = {"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 0.5]}
    assert [parameter(value) for value in (None, 2, ramp, [1.0, 2.0])] == [
        None,
        2.0,
        "0→2, linear to 50 %",
        "by class",
    ]


def test_groups_are_named_by_their_data_where_it_differs(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    for name in ("bccd", "voc"):
        make_run(
            tmp_path / name, setting, 0, test_hash=name, data={"name": "voc", "root": f"d/{name}"}
        )
    make_run(
        tmp_path / "crashed",
        setting,
        1,
        status="failed",
        test_hash=None,
        data={"name": "voc", "root": "d/voc"},
    )
    groups = make_groups(load_runs([tmp_path]))
    assert [group.title for group in groups] == ["YOLOv2 on bccd", "YOLOv2 on voc"]
    assert [len(group.arms[0].runs) for group in groups] == [1, 2]


def test_how_often_a_run_logs_makes_no_other_arm(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", FOCAL, 50.0)
    for every in (1, 5):
        make_run(tmp_path / str(every), setting, every, train={"iterations": 9, "log_every": every})
    assert len(make_groups(load_runs([tmp_path]))[0].arms) == 1


def test_names_that_come_to_one_key_are_told_apart(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    """Figures and tables are files by the group's key: one would take the other's place."""
    roots = ("data/VOC 2007", "data/VOC-2007", "data/\u6570\u636e", "data/\u56fe\u50cf")
    for digit, root in zip("cdef", roots, strict=True):
        setting = make_setting("yolov2", "yolov2 plain", CROSS, 50.0)
        data = {"name": "voc", "root": root}
        make_run(tmp_path / digit, setting, 0, test_hash=digit, data=data)
    keys = [group.key for group in make_groups(load_runs([tmp_path]))]
    assert sorted(keys) == ["yolov2", "yolov2-2", "yolov2-voc-2007", "yolov2-voc-2007-2"]
