"""Baseline and rivals get the same care: who stands for an arm, and who is compared with whom."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.report.arms import Asked, Group, make_groups
from experiments.report.choice import require_known, settled
from experiments.report.figures import style
from experiments.report.identity import facts
from experiments.report.load import ReportError, load_runs
from experiments.report.page import hues, ranking
from experiments.report.questions import asked_by_reader, cards
from experiments.report.tables import METRICS, comparison, contrasts, standing
from experiments.report.verdict import verdict
from experiments.report.weaknesses import warnings
from experiments.report.written import contrasts_csv, markdown_table
from tests.calling import call, refused

CROSS = {"name": "cross_entropy"}
FOCAL = {"name": "focal", "alpha": 0.25, "gamma": 2.0}
SOFT = FOCAL | {"gamma": {"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 1.0]}}
Study = Callable[..., Group]
LR = Asked(nuisance=("optimizer.lr",))


@pytest.fixture
def study(tmp_path: Path, make_run: Callable[..., Path], make_setting: Any) -> Study:
    """The group of arms that were tried at several learning rates: {arm: {rate: (test, val)}}."""

    def make(
        arms: dict[str, dict[float, tuple[float, float | None]]], asked: Asked | None = None
    ) -> Group:
        for name, rates in arms.items():
            loss = CROSS if name == "plain" else SOFT if name == "soft" else FOCAL
            for rate, (level, val) in rates.items():
                for seed in range(4):
                    setting = make_setting("yolov2", f"yolov2 {name}", loss, level, 0.5)
                    folder = tmp_path / f"runs/{name}-{rate}-{seed}"
                    make_run(folder, setting, seed, optimizer={"lr": rate}, val_level=val)
        return make_groups(load_runs([tmp_path]), asked=asked)[0]

    return make


def test_a_choice_at_the_edge_of_what_was_tried_is_told(study: Study) -> None:
    plain = {0.1: (40.0, 42.0), 0.2: (60.0, 62.0), 0.4: (50.0, 52.0)}
    focal = {0.1: (40.0, 42.0), 0.2: (60.0, 62.0), 0.4: (70.0, 72.0)}
    group = study({"plain": plain, "focal": focal}, LR)
    notes = {row.arm.short: row.note for row in comparison(group, METRICS[0])}
    assert notes["focal (lr 0.4)"] == "chosen on val from 3 settings, the highest optimizer.lr"
    assert notes["plain (lr 0.2)"] == "chosen on val from 3 settings"
    said = verdict(group, METRICS[0]).uncertainty
    assert "Of focal it is the highest optimizer.lr tried: values beyond might do better." in said


def test_settings_that_val_did_not_choose_are_faint_and_last(study: Study) -> None:
    plain = {0.1: (40.0, 62.0), 0.2: (60.0, 42.0)}
    focal = {0.1: (41.0, 61.0), 0.2: (80.0, 50.0)}  # not chosen, and highest on test
    group = settled(study({"plain": plain, "focal": focal}, LR), "voc07_map")
    ranked = ranking(group, METRICS[0])
    assert [arm.short for arm in ranked[:2]] == ["focal (lr 0.1)", "plain (lr 0.1)"]
    (names,) = hues([group], [ranked], METRICS[0])
    faint = {arm.short for arm in group.arms if names[arm.title] == "rest"}
    assert faint == {"focal (lr 0.2)", "plain (lr 0.2)"}


def test_settings_that_val_did_not_choose_have_a_table_of_their_own(study: Study) -> None:
    plain = {0.1: (40.0, 62.0), 0.2: (60.0, 42.0)}
    focal = {0.1: (41.0, 61.0), 0.2: (80.0, 50.0)}
    group = settled(study({"plain": plain, "focal": focal}, LR), "voc07_map")
    rows = comparison(group, METRICS[0])
    assert [row.arm.short for row in rows if row.is_best] == ["focal (lr 0.1)"]
    first, words, second = markdown_table(rows, METRICS[0]).split("\n\n")
    assert "**focal (lr 0.1)**" in first and "lr 0.2" not in first and first.count("baseline") == 1
    assert words.startswith("Settings that val did not choose") and second.count("lr 0.2") == 2
    assert dict(facts([group], standing([group], METRICS[0])))["Arms"] == "2 in 4 settings"
    assert not [line for line in warnings([group], METRICS[0]) if "seeds" in line]


def test_what_is_decided_of_arms_that_no_question_names_is_told_in_words(study: Study) -> None:
    levels = {"plain": 60.0, "focal": 60.2, "heavy": 40.0, "soft": 50.0}
    group = study({name: {0.1: (level, level)} for name, level in levels.items()}, LR)
    group = asked_by_reader(settled(group, "voc07_map"), "voc07_map")
    names = style.colours([group], [group.arms])
    made = {one.key: one for one in cards([group], METRICS[0], names, lambda a, b: None)}
    assert list(made) == ["focal", "others", "soft"]
    card = made["others"]
    assert card.title == "Which other arms differ from plain?" and card.figure is not None
    (said,) = card.answers
    assert said.kind == "worse" and len(card.lines) == 2
    told = r"Soft and heavy are worse than plain, by \d+\.\d to \d+\.\d points of VOC07 mAP\."
    assert re.fullmatch(told, said.finding), said.finding
    assert said.uncertainty.count("95 % interval [") == 2 and "4 comparisons" in said.uncertainty
    assert "gamma" not in contrasts_csv([group], METRICS[0])  # tables are as they were


def test_val_chooses_the_setting_of_every_arm_alike(study: Study) -> None:
    plain = {0.1: (40.0, 42.0), 0.2: (60.0, 62.0)}
    focal = {0.1: (60.3, 61.0), 0.2: (80.0, 50.0)}  # the best on test is not the best on val
    group = study({"plain": plain, "focal": focal}, LR)
    rows = {row.arm.short: row for row in comparison(group, METRICS[0])}
    assert {name for name, row in rows.items() if row.differences} == {"focal (lr 0.1)"}
    against = rows["focal (lr 0.1)"].against
    assert against is not None and against.short == "plain (lr 0.2)"
    assert rows["focal (lr 0.2)"].note == "not chosen on val from 2 settings"
    assert rows["plain (lr 0.1)"].is_baseline and rows["plain (lr 0.2)"].is_baseline
    said = verdict(group, METRICS[0])
    assert said.kind == "same"
    assert "Each arm stands for the best of its 2 settings of optimizer.lr on val." in (
        said.uncertainty
    )
    assert settled(group, "voc07_map").baseline is against
    assert "not compared" in markdown_table(comparison(group, METRICS[0]), METRICS[0])
    assert not [line for line in warnings([group], METRICS[0]) if "more than the loss" in line]


def test_without_a_val_of_its_own_equal_settings_are_compared(study: Study) -> None:
    plain: Any = {0.1: (40.0, None), 0.2: (60.0, None)}
    focal: Any = {0.1: (50.0, None), 0.2: (60.1, None)}
    group = study({"plain": plain, "focal": focal}, LR)
    rows = comparison(group, METRICS[0])
    pairs = {row.arm.short: row.against.short for row in rows if row.against is not None}
    assert pairs == {"focal (lr 0.1)": "plain (lr 0.1)", "focal (lr 0.2)": "plain (lr 0.2)"}
    said = verdict(group, METRICS[0])
    assert said.finding == "Focal is better than plain at 1 of 2 equal settings of optimizer.lr."
    assert "val chose none: some runs have no val of its own on record" in said.uncertainty
    assert {row.differences["voc07_map"].family for row in rows if row.differences} == {2}


def test_a_knob_without_a_role_is_compared_at_equal_values_and_asked_for(study: Study) -> None:
    group = study({name: {0.1: (60.0, 61.0), 0.2: (60.0, 62.0)} for name in ("plain", "focal")})
    said = verdict(group, METRICS[0])
    assert "the role of optimizer.lr is not told; `report --nuisance optimizer.lr`" in (
        said.uncertainty
    )
    scientific = make_groups(
        [run for arm in group.arms for run in arm.runs],
        asked=Asked(scientific=("optimizer.lr",)),
    )[0]
    assert "role" not in verdict(scientific, METRICS[0]).uncertainty
    assert [row.is_baseline for row in comparison(scientific, METRICS[0])].count(True) == 1


def test_settings_are_chosen_by_the_seeds_that_all_of_them_have(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    """The best of a tryout gets more seeds, and is not judged anew by what they bring."""
    for name, loss in (("plain", CROSS), ("focal", FOCAL)):
        setting = make_setting("yolov2", f"yolov2 {name}", loss, 60.0, 0.5)
        for rate, vals in {0.1: (50.0, 50.0), 0.2: (51.0, 51.0, 40.0, 40.0)}.items():
            for seed, val in enumerate(vals):
                folder = tmp_path / f"{name}-{rate}-{seed}"
                make_run(folder, setting, seed, optimizer={"lr": rate}, val_level=val)
    group = make_groups(load_runs([tmp_path]), asked=LR)[0]
    compared = {
        row.arm.short: len(row.arm.finished)
        for row in comparison(group, METRICS[0])
        if row.differences
    }
    assert compared == {"focal (lr 0.2)": 4}


@pytest.mark.parametrize("asked", [LR, Asked()])
def test_an_unequal_number_of_settings_is_open(study: Study, asked: Asked) -> None:
    focal = {0.1: (70.0, 70.0), 0.2: (80.0, 80.0), 0.4: (60.0, 60.0)}
    group = study({"plain": {0.1: (50.0, 50.0)}, "focal": focal}, asked)
    said = verdict(group, METRICS[0])
    assert said.kind == "open" and "More settings were tried for the one" in said.uncertainty
    answers = [
        row.differences["voc07_map"] for row in comparison(group, METRICS[0]) if row.differences
    ]
    assert {(answer.verdict, answer.p) for answer in answers} == {("unequal search", None)}


def test_contrasts_are_of_one_family_with_the_baseline_s_comparisons(study: Study) -> None:
    named = Asked(contrasts=(("soft", "focal"),), within=2.0)
    levels = {"plain": 60.0, "focal": 64.0, "soft": 64.1}
    group = study({name: {0.1: (level, None)} for name, level in levels.items()}, named)
    (one,) = contrasts(group, METRICS[0])
    assert (one.arm.short, one.against.short) == ("soft", "focal")
    assert one.judgement.family == 3 and one.judgement.verdict == "equivalent"
    names = style.colours([group], [group.arms])
    *_, card = cards([group], METRICS[0], names, lambda a, b: None)
    assert card.title == "What the study asks"
    (said,) = card.answers
    assert said.group == "YOLOv2" and "less than 2 points apart" in said.finding
    head, line = contrasts_csv([group], METRICS[0]).splitlines()
    assert head.startswith("group,metric,arm,against,diff")
    assert line.startswith("YOLOv2,voc07_map,yolov2 soft,yolov2 focal,") and ",equivalent," in line


def test_a_contrast_or_knob_that_is_not_there_is_answered(study: Study) -> None:
    group = study({"plain": {0.1: (60.0, None)}, "focal": {0.1: (60.0, None)}})
    runs = [run for arm in group.arms for run in arm.runs]
    with pytest.raises(ReportError, match="no arm is called 'focla'; did you mean 'focal'"):
        require_known(make_groups(runs, asked=Asked(contrasts=(("focla", "plain"),))))
    with pytest.raises(ReportError, match="no run has a setting 'optimiser'; did you mean 'optim"):
        require_known(make_groups(runs, asked=Asked(nuisance=("optimiser",))))


def test_a_run_that_ended_before_its_schedule_is_named_so(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    for name, loss in (("plain", CROSS), ("soft", SOFT)):
        for seed in range(3):
            cut = name == "soft" and seed < 2
            make_run(
                tmp_path / f"{name}-{seed}",
                make_setting("yolov2", f"yolov2 {name}", loss, 60.0),
                seed,
                ended="seconds" if cut else None,
                share=(0.4, 0.5, 1.0)[seed] if cut else 1.0,
            )
    group = make_groups(load_runs([tmp_path]))[0]
    words = "2 of 3 runs ended early (seconds), 40–50 % done, γ 0.8–1 in force"
    rows = {row.arm.short: row for row in comparison(group, METRICS[0])}
    assert rows["soft"].note == words and rows["plain"].note == ""
    assert f"of soft, {words}." in verdict(group, METRICS[0]).uncertainty
    assert any("before its schedule did: soft" in line for line in warnings([group], METRICS[0]))


def test_images_of_the_test_set_that_were_learned_from_are_a_warning(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    for seed in range(2):
        folder = make_run(tmp_path / str(seed), make_setting("yolov2", "a", CROSS, 60.0), seed)
        record = json.loads((folder / "record.json").read_text())
        record["data"]["shared"] = {"train/test": 12}
        (folder / "record.json").write_text(json.dumps(record))
    told = warnings(make_groups(load_runs([tmp_path])), METRICS[0])
    assert any("2 of 2 runs were trained on images of the test set (12 of them)" in w for w in told)


def test_a_sweep_s_file_tells_roles_contrasts_and_equivalence(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {0.1: (60.0, 61.0), 0.2: (50.0, 51.0)}
    study({name: rates for name in ("plain", "focal", "soft")})
    lines = [
        "method: grid",
        "parameters:",
        "  config: {value: recipe.yaml}  # fixed",
        "  optimizer.lr: {values: [0.1, 0.2]}  # nuisance",
        "  seed: {values: [0, 1, 2, 3]}  # seed",
        "command: [python, -m, experiments, train, '${args_no_hyphens}']",
        "x-contrasts: [{arm: soft, against: focal}]",
        "x-equivalence: 3",
    ]
    (tmp_path / "runs/sweep.yaml").write_text("\n".join(lines))
    assert call("report", tmp_path / "runs", "--images", "0", "--formats", "svg") == 0
    page = (tmp_path / "runs/report/report.md").read_text()
    assert "the best of its 2 settings of optimizer.lr on val" in page
    assert "**Does a rising γ beat a fixed one at the same α?**" in page
    assert "two one-sided tests" in page
    assert call("verify", tmp_path / "runs/report", "--quick") == 0
    capsys.readouterr()
    (tmp_path / "runs/sweep.yaml").write_text("\n".join([*lines[:-1], "x-equivalence: small"]))
    refused("x-equivalence: expected points above 0", "report", tmp_path / "runs")
    words = ("report", tmp_path / "runs", "--study", tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text("\n".join([*lines[:-2], "x-contrasts: [soft]"]))
    refused(r"x-contrasts\[0\]: expected {arm: NAME, against: NAME}", *words)


def test_the_simulation_of_the_referee_runs_through_the_report_s_own_code() -> None:
    from benchmarks.referee import UNEQUAL, simulated

    parts, claims = simulated(2)
    assert parts["nothing differs"][UNEQUAL]["open_percent"] == 100.0
    assert claims["no verdict where more settings were tried for one arm"]


def test_a_setting_that_diverged_was_tried(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    """Both arms were tried at three rates; at the highest one the baseline fell over."""
    for name, loss in (("plain", CROSS), ("focal", FOCAL)):
        setting = make_setting("yolov2", f"yolov2 {name}", loss, 60.0, 0.5)
        for rate, val in {0.1: 50.0, 0.2: 52.0, 0.4: 51.0}.items():
            for seed in range(3):
                status = "failed" if (name, rate) == ("plain", 0.4) else "finished"
                folder = tmp_path / f"{name}-{rate}-{seed}"
                lr = {"lr": rate}
                make_run(folder, setting, seed, optimizer=lr, val_level=val, status=status)
    group = make_groups(load_runs([tmp_path]), asked=LR)[0]
    notes = {row.arm.short: row.note for row in comparison(group, METRICS[0])}
    assert notes["plain (lr 0.2)"] == "chosen on val from 3 settings"  # .4 lies beyond, and failed
    assert "More settings" not in verdict(group, METRICS[0]).uncertainty
