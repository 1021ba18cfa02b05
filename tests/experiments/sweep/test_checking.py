"""What is wrong with a sweep is told before anything runs, all of it at once, with its lines."""

import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import ConfigError, UsageError
from experiments.sweep.checking import Checker, Judging, read_whole
from experiments.sweep.judging import also_wrong, judged
from experiments.sweep.sweep_file import read_sweep

TRAIN = 'command: ["${interpreter}", -m, experiments, train, --config, RECIPE, "${args}"]\n'
GRID = f"method: grid\n{TRAIN}"


class Desk:
    """Writes sweep files over one recipe and says what is found in them."""

    def __init__(self, root: Path, recipe: Path) -> None:
        self.root, self.recipe = root, recipe

    def write(self, text: str) -> Path:
        path = self.root / "sweep.yaml"
        path.write_text(text.replace("RECIPE", str(self.recipe)))
        return path

    def found(self, text: str) -> list[str]:
        """The findings, without the place of the file, as LINE: WHAT."""
        sweep = read_sweep(self.write(text))
        events = list(judged(sweep, sweep.size() or 4))
        told = [event["finding"] for event in events if "finding" in event]
        return [finding.removeprefix(f"{sweep.path}:") for finding in told]


@pytest.fixture
def desk(tmp_path: Path, recipe: Path) -> Desk:
    return Desk(tmp_path, recipe)


def test_all_that_is_wrong_with_parameters_is_told_at_once(desk: Desk) -> None:
    found = desk.found(
        GRID
        + """parameters:
  loss.gama: {values: [0, 2]}
  lr0: {value: 0.01}
  optimizer.lr: {values: [0.01, -1]}
  optimizer.betas: {value: [2, 2]}
  seed:
    values:
    - 0
    - -1
  train.epochs: {value: 3}
"""
    )
    lines = sorted(int(finding.partition(":")[0]) for finding in found)
    assert lines == [4, 5, 6, 7, 11, 12], found
    told = "\n".join(found)
    for words in (
        "loss.gama: unknown key; did you mean 'gamma'",
        "lr0: unknown",
        "lr: must be > 0",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ("{optimizer.momentum: {values: [0.85, 0.9]}}", "not read where name is 'adamw'"),
        (
            "{data.classes: {value: [a, b]}, loss.alpha: {value: [0.5, 0.5, 0.5]}}",
            "loss.alpha: a value for each of 2 classes is needed, found 3",
        ),
        ("{config: {value: no/such.yaml}}", "no/such.yaml: no such file"),
        ("{config: {values: [1]}}", "expected a recipe's file"),
        ("{train.iterations: {values: [0, 5]}}", "train.iterations: must be >= 1, found 0"),
        ("{loss.gamma: {values: [no]}}", "loss.gamma"),
        ("{arm: {values: [a, b]}}", "points 0 and 1 are one configuration"),
        ("{arm: {values: ['', ' ']}}", "arm: has no letter to be called by"),
        ("{loss: {values: [{gamma: 2.0}, {gamma: 2}, {gamma: 1}]}}", "listed twice"),
        ("{loss.alpha: {values: [0.25]}, loss: {value: {alpha: 0.5}}}", "more than once"),
    ],
)
def test_a_value_that_no_trial_can_have_is_told_with_its_line(
    parameters: str, told: str, desk: Desk
) -> None:
    text = f"{GRID}parameters: {parameters}\n".replace(
        "--config, RECIPE," if "config:" in parameters else "\0", ""
    )
    try:
        found = desk.found(text)
    except ConfigError as error:
        found = list(error.findings)
    assert found and all(told in finding for finding in found), found


def test_values_that_do_not_go_together_name_the_first_point_and_count_the_others(
    desk: Desk,
) -> None:
    (found,) = desk.found(
        GRID + "parameters:\n  train.patience: {values: [null, 3]}\n"
        "  train.validate_every: {values: [2, null]}\n  seed: {values: [0, 1]}\n"
    )
    assert "patience: counts validations" in found
    assert (
        "(in the point seed=0 train.patience=3 train.validate_every=None, and in 1 more)" in found
    )


def test_two_points_of_one_configuration_are_refused_with_both_named(
    desk: Desk, tmp_path: Path
) -> None:
    same = tmp_path / "same.yaml"
    same.write_text(desk.recipe.read_text())
    text = f"parameters:\n  config: {{values: [{desk.recipe}, {same}]}}\n  seed: {{values: [0]}}\n"
    (found,) = desk.found(GRID.replace("--config, RECIPE,", "") + text)
    assert found.startswith("4: points 0 and 1 are one configuration: config=")
    assert "same.yaml" in found and "leave one out" in found


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("metric: {name: val_map}\n", "is no number of a record; did you mean"),
        ("metric: {name: voc07_mpa}\n", "did you mean 'voc07_map'"),
        (
            "metric: {name: val_coco_ap, goal: maximize}\n"
            "early_terminate: {type: hyperband, min_iter: 1}\n",
            "train.validate_every is null",
        ),
    ],
)
def test_a_metric_or_stop_that_would_never_work_is_refused(
    more: str, told: str, desk: Desk
) -> None:
    (found,) = desk.found(f"{GRID}{more}parameters: {{loss.gamma: {{values: [0, 2]}}}}\n")
    assert told in found and found.startswith(("3:", "4:"))


@pytest.mark.parametrize(
    ("more", "chooser"),
    [
        ("early_terminate: {type: hyperband, min_iter: 1}\n", "early_terminate stops trials"),
        ("", "target ends the sweep"),
    ],
)
def test_the_images_that_measure_choose_no_trial(
    more: str, chooser: str, desk: Desk, small_glyphs: Path
) -> None:
    def found(metric: str, val: str) -> list[str]:
        target = "" if more else ", target: 50"
        return desk.found(
            f"{GRID}{more}metric: {{name: {metric}, goal: maximize{target}}}\nparameters:\n"
            f"  data.root: {{value: {small_glyphs}}}\n  data.val: {{value: {val}}}\n"
            "  train.validate_every: {value: 2}\n  loss.gamma: {values: [0.0, 2.0]}\n"
        )

    (told,) = found("voc07_map", "val")
    assert f"{chooser} by it, and the images that measure a run must not choose" in told
    assert "val_voc07_map" in told
    (told,) = found("val_voc07_map", "test")
    assert f"{chooser} by it, and 8 of the 8 images of val are among the test images" in told
    (told,) = found("val_voc07_map", "null")
    assert f"{chooser} by it, and data.val is null" in told
    assert found("val_voc07_map", "{part: 0.25, of: train}") == []


def test_every_set_of_data_that_a_sweep_trains_on_is_looked_at_once(
    desk: Desk, small_glyphs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.sweep import judging

    looked_at, really = [], judging.why_not_choose

    def counted(config: Any) -> str | None:
        looked_at.append(config.data.val)
        return really(config)

    monkeypatch.setattr(judging, "why_not_choose", counted)
    (told,) = desk.found(
        f"{GRID}metric: {{name: val_voc07_map, goal: maximize, target: 50}}\nparameters:\n"
        f"  data.root: {{value: {small_glyphs}}}\n  data.val: {{values: [val, test]}}\n"
        "  train.validate_every: {value: 2}\n  loss.gamma: {values: [0.0, 1.0, 2.0]}\n"
    )
    assert "8 of the 8 images of val are among the test images" in told
    assert "data.val=test" in told and "and in 2 more" in told
    assert looked_at == ["val", "test"]


def test_bayes_does_not_learn_from_the_images_that_measure(desk: Desk) -> None:
    text = (
        f"method: bayes\n{TRAIN}run_cap: 2\nmetric: {{name: voc07_map, goal: maximize}}\n"
        "parameters: {loss.gamma: {values: [0.0, 2.0]}}\n"
    )
    told = next(iter(judged(read_sweep(desk.write(text)), 2)))["finding"]
    assert "bayes proposes points by it" in told and "must not choose: val_voc07_map" in told


def test_hyperband_is_taken_where_trials_validate_often_enough(desk: Desk) -> None:
    head = (
        f"{GRID}metric: {{name: val_coco_ap, goal: maximize}}\n"
        "early_terminate: {type: hyperband, min_iter: 2}\n"
        "parameters:\n  loss.gamma: {values: [0, 2]}\n"
    )
    assert desk.found(head + "  train.validate_every: {value: 2}\n") == []
    (found,) = desk.found(head + "  train.validate_every: {value: 3}\n")
    assert "from validation 2 on" in found and "make 1" in found


def test_an_invalid_draw_fails_alone_but_where_all_are_the_sweep_is_refused(desk: Desk) -> None:
    head = f"method: random\nrun_cap: 20\n{TRAIN}parameters:\n"
    knob = "  optimizer.weight_decay: {distribution: normal, mu: 0.1, sigma: 0.1}\n"
    sweep = read_sweep(desk.write(head + knob))
    events = list(judged(sweep, 20))
    invalid = [event for event in events if "invalid" in event]
    assert 0 < len(invalid) < 20
    assert all("optimizer.weight_decay: must be >= 0" in event["why"] for event in invalid)
    assert not [event for event in events if "finding" in event]
    (found,) = desk.found(head + knob + "  loss.gama: {min: 0.0, max: 1.0}\n")[:1] or [""]
    assert "loss.gama" in found


def test_a_huge_grid_is_looked_at_value_by_value_without_being_listed(desk: Desk) -> None:
    sweep = read_sweep(
        desk.write(f"{GRID}parameters: {{seed: {{min: 0, max: 1999999999}}, lr: {{value: 1}}}}\n")
    )
    assert sweep.size() == 2_000_000_000
    found = [event["finding"] for event in judged(sweep, 10) if "finding" in event]
    assert len(found) == 1 and ": lr: unknown key" in found[0]


def test_the_process_that_owns_a_sweep_asks_another(desk: Desk) -> None:
    """Its findings come back, its progress is told, and draws of later are judged as they come."""
    seen: list[tuple[int, int]] = []
    knob = "parameters:\n  optimizer.lr: {min: 0.001, max: 0.1}\n"
    sweep = read_sweep(desk.write(f"method: random\n{TRAIN}{knob}"))
    with Checker(sweep, lambda *told: seen.append(told)) as checker:
        checker.check()
        assert seen[-1] == (32, 32)
        assert checker.why({"optimizer.lr": 0.5}) is None
        assert "must be > 0" in str(checker.why({"optimizer.lr": -0.5}))


def test_one_process_judges_sweeps_one_after_the_other(desk: Desk) -> None:
    """A refused one, a sound one, and a file that cannot be read, which is the process's end."""
    with Judging() as judging:
        for values, wrong in (("[0.1, -1]", "must be > 0, found -1.0"), ("[0.1, 0.2]", "")):
            grid = f"{GRID}parameters:\n  optimizer.lr: {{values: {values}}}\n"
            checker = Checker(read_sweep(desk.write(grid)), judging=judging)
            if wrong:
                with pytest.raises(ConfigError) as caught:
                    checker.check()
                assert str(caught.value) == f"{checker.sweep.path}:4: optimizer.lr: {wrong}"
            else:
                checker.check()
                assert len(checker.places) == 2
        checker.sweep.path.unlink()
        with pytest.raises(UsageError, match="could not be checked: (?s:.*)no such file"):
            checker.check()


def test_what_another_program_reads_is_its_own_affair(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f'method: grid\ncommand: [{sys.executable}, trial.py, "${{args}}"]\n'
        "metric: {name: their_own}\nparameters: {anything: {values: [1, 2]}}\n"
    )
    with Checker(read_sweep(path)) as checker:
        assert not checker.judges
        checker.check()


def test_a_file_s_mistakes_and_its_parameters_are_told_at_once(desk: Desk) -> None:
    text = f"{GRID}metric: {{name: voc07_mpa, goal: maximise}}\nx-tryout-seed: 2\nrun_cap: 0\n"
    knobs = """parameters:
  loss.gama: {values: [0, 2]}
  optimizer.lr: {values: [1, 1.0]}
  seed: {values: [-1]}
  train.iterations: [1]
"""
    path = desk.write(text + knobs)
    with pytest.raises(ConfigError) as caught:
        read_whole(path)
    told = [finding.removeprefix(f"{path}:") for finding in caught.value.findings]
    assert sorted(int(finding.partition(":")[0]) for finding in told) == [3, 4, 5, 7, 8, 9, 10]
    assert any("did you mean 'x-tryout-seeds'" in finding for finding in told)


@pytest.mark.parametrize(
    ("text", "judged_too"),
    [
        (f"method: rndom\n{TRAIN}parameters: {{loss.gama: {{values: [1]}}}}\n", True),
        (f"{GRID}parameters: {{loss.gama: {{values: [1]}}, seed: {{min: 0.1, max: 1}}}}\n", True),
        (f"{GRID}parameters: {{loss.name: [focal], loss.gama: {{values: [1]}}}}\n", False),
        ("method: grid\ncommand: [x]\nparameters: {loss.gama: {values: [1]}}\n", False),
    ],
)
def test_what_is_left_of_a_faulty_file_is_judged(text: str, judged_too: bool, desk: Desk) -> None:
    told = list(also_wrong(desk.write(text)))
    assert bool(told) is judged_too
    assert all("loss.gama: unknown key" in finding for finding in told)


def test_a_key_of_the_user_s_own_is_warned_of(desk: Desk) -> None:
    path = desk.write(f"{GRID}x-team: ours\nparameters: {{seed: {{values: [0]}}}}\n")
    assert read_sweep(path).warnings == (f"{path}:3: x-team: nothing here reads this key",)


def test_a_metric_of_val_needs_a_val(desk: Desk) -> None:
    text = f"{GRID}metric: {{name: val_voc07_map, goal: maximize}}\nparameters:\n"
    (found,) = desk.found(text + "  data.val: {values: [val, null]}\n")
    assert found.startswith("3: metric.name: is of val, and data.val is null")


def test_arms_that_the_study_asks_about_are_looked_for(desk: Desk) -> None:
    """A slip in a contrast would be met when all has run."""
    text = GRID + "parameters: {loss.gamma: {values: [0, 2]}, seed: {values: [0, 1]}}\n"
    asked = "x-baseline: retinanet focal alpha 0.25 gamma 0\nx-contrasts:\n- {arm: ARM, against: "
    asked += "focal α 0.25 γ 0}\n"
    assert desk.found(text + asked.replace("ARM", "focal α 0.25 γ 2 (lr 0.001)")) == []
    (found,) = desk.found(text + asked.replace("ARM", "focal α 0.25 γ 3"))
    assert "x-contrasts: no arm of this sweep is called 'focal α 0.25 γ 3'; did you mean" in found
