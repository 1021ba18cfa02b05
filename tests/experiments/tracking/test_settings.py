"""Whether a run is mirrored and what it is called: recipe, W&B's variables, defaults."""

import os
from typing import Any

import pytest

from experiments.record.record import RunRecord, start_record
from experiments.tracking.settings import (
    identity_of,
    in_sweep,
    leave_aside_what_is_no_setting,
    mode_of,
    tags_of,
)

SILENT: dict[str, Any] = dict.fromkeys(
    ("entity", "project", "group", "job_type", "name", "tags", "notes")
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def a_record(config: dict[str, Any] | None = None, arm: str = "retinanet focal") -> RunRecord:
    return start_record(id="a", arm=arm, config=config or {}, seed=4)


@pytest.mark.parametrize(
    ("asked", "named", "sweep", "mode"),
    [
        ("auto", None, None, "offline"),
        ("auto", None, "abc", "online"),  # its server waits for the metric
        ("auto", "offline", "abc", "offline"),
        ("auto", "online", None, "online"),
        ("online", None, None, "online"),
        ("online", "offline", None, "offline"),
        ("offline", None, "abc", "offline"),
        ("offline", "online", None, "online"),
        ("off", "online", "abc", "off"),
        ("online", "disabled", None, "off"),
    ],
)
def test_a_w_and_b_sweep_is_online_unless_the_user_says_otherwise(
    asked: str, named: str | None, sweep: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WANDB_MODE", named), ("WANDB_SWEEP_ID", sweep)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert mode_of(asked) == mode


def test_a_run_is_named_for_its_arm_and_seed() -> None:
    found = identity_of(a_record(), SILENT)
    assert (found.name, found.group) == ("retinanet focal, seed 4", "retinanet focal")
    assert (found.job_type, found.project, found.entity) == ("train", "softgamma", None)


def test_w_and_b_s_variables_hold_where_the_recipe_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NAME", "RUN_GROUP", "JOB_TYPE", "NOTES", "ENTITY", "PROJECT", "TAGS"):
        monkeypatch.setenv(f"WANDB_{name}", f"my {name}")
    found = identity_of(a_record(), SILENT)
    assert (found.name, found.group, found.job_type) == ("my NAME", "my RUN_GROUP", "my JOB_TYPE")
    assert (found.notes, found.entity, found.project) == ("my NOTES", "my ENTITY", "my PROJECT")
    assert found.tags == ("my TAGS",)
    stated = identity_of(a_record(), {**SILENT, "name": "n", "tags": ["a", "b"], "entity": "e"})
    assert (stated.name, stated.tags, stated.entity) == ("n", ("a", "b"), "e")
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")  # where the client warns of what it is given
    found = identity_of(a_record(), SILENT)
    assert (found.entity, found.project) == (None, None)


def test_tags_are_detector_data_loss_and_soft_gamma() -> None:
    config = {
        "detector": {"name": "yolov2"},
        "data": {"name": "voc", "root": "data/VOCdevkit"},
        "loss": {"name": "focal", "gamma": {"schedule": "linear", "start": 0.0, "end": 2.0}},
    }
    expected = ("yolov2", "VOCdevkit", "focal", "soft-gamma")
    assert tags_of(config, SILENT) == expected
    assert tags_of(config, {"tags": ["mine", "focal"]}) == (*expected, "mine")
    assert tags_of({"data": {"name": "coco", "root": None}}, {}) == ("coco",)


def test_what_is_longer_than_the_server_takes_is_cut() -> None:
    found = identity_of(a_record(arm="a" * 200), {**SILENT, "tags": ["t" * 80]})
    assert (len(found.name), len(found.group), len(found.tags[0])) == (128, 128, 64)


def test_what_w_and_b_s_client_would_refuse_is_left_aside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI leaves variables empty, which ends `wandb.init`, and so does a mode with a slip."""
    for name in ("SWEEP_ID", "RUN_ID", "TAGS", "MODE", "SILENT"):
        monkeypatch.setenv(f"WANDB_{name}", "")
    monkeypatch.setenv("WANDB_NAME", "mine")
    assert not in_sweep() and mode_of("online") == "online"
    leave_aside_what_is_no_setting()
    assert [name for name in os.environ if name.startswith("WANDB_")] == ["WANDB_NAME"]
    for given, mode in (("Online", "online"), ("off", "disabled"), ("dryrun", "dryrun")):
        monkeypatch.setenv("WANDB_MODE", given)
        leave_aside_what_is_no_setting()
        assert os.environ["WANDB_MODE"] == mode
    monkeypatch.setenv("WANDB_PROJECT", "me/mine")
    monkeypatch.setenv("WANDB_MODE", "ofline")
    leave_aside_what_is_no_setting()
    assert "WANDB_MODE" not in os.environ
    assert "WANDB_PROJECT" not in os.environ
    told = capsys.readouterr().err
    assert "did you mean 'offline'" in told and "none of / \\ # ? % : in their names" in told
