"""Published values beside ours."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import ConfigError
from experiments.report import write_report
from experiments.report.arms import make_groups
from experiments.report.literature import known_tables, published_table
from experiments.report.load import load_runs
from experiments.report.published import beside, fits
from tests.calling import call, refused


def test_arms_are_matched_by_gamma_and_alpha_and_effects_are_each_sides_own(
    small_study: Path,
) -> None:
    group = make_groups(load_runs([small_study]))[0]
    (table,) = beside(known_tables()["focal-1b"], [group])
    ran = {row.value.settings["gamma"]: row for row in table.rows if row.arm}
    assert sorted(ran) == [1.0, 2.0, 5.0]  # alpha 0.25; ours has no alpha 0.75 at gamma 0
    assert ran[2.0].published_effect == pytest.approx(2.9)
    assert ran[2.0].ours.mean == group.arms[3].summary("coco_ap").mean
    assert ran[2.0].our_effect is None


def test_a_study_without_alpha_takes_any_of_ours(small_study: Path) -> None:
    group = make_groups(load_runs([small_study]))[1]
    (table,) = beside(known_tables()["yolov2-gamma"], [group])
    two = table.rows[2]
    assert two.value.words == "γ 2" and two.more == 0
    base = group.arms[0].summary("voc07_map").mean or 0.0
    assert two.our_effect == pytest.approx((two.ours.mean or 0.0) - base)


def test_the_page_tells_what_differs_and_an_unknown_study_is_refused(
    tiny_study: Path, tmp_path: Path
) -> None:
    page = write_report([tiny_study], tmp_path, images=0, formats=(), published=["yolov2-gamma"])
    assert "Ours: YOLOv2 on voc, 205 training images" in page.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown study 'focal'.*focal-1b"):
        write_report([tiny_study], tmp_path, published=["focal"])


def test_a_setting_anywhere_in_the_configuration_is_matched(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Callable[..., Any]
) -> None:
    for place, (scales, ratios) in enumerate(((1, [1.0]), (2, [1.0]), (3, [0.5, 1.0, 2.0]))):
        loss = {"name": "focal", "alpha": 0.25, "gamma": 2.0}
        arm = make_setting("retinanet", "retinanet focal alpha 0.25 gamma 2", loss, 80.0 + place)
        anchors = {"octave_scales": scales, "ratios": ratios}
        detector = {"name": "retinanet", "anchors": anchors, "backbone": {"arch": "resnet18"}}
        fit = {"mode": "short_edge", "short": 64}
        make_run(tmp_path / f"{place}", arm, 0, detector=detector, input={"fit": fit})
    (table,) = beside(known_tables()["focal-1c"], make_groups(load_runs([tmp_path])))
    ran = [row.value.words for row in table.rows if row.arm]
    assert ran == ["1 scale × 1 ratio", "2 scales × 1 ratio", "3 scales × 3 ratios"]
    assert table.differs.endswith("2,000 iterations, resnet18, 64 px.")


def test_of_several_arms_the_one_most_like_the_first_rows_stands_beside_the_value(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Callable[..., Any]
) -> None:
    arms = [("cross_entropy", 0.0, 0.1), ("focal", 2.0, 0.2), ("focal", 2.0, 0.1)]
    for place, (name, gamma, lr) in enumerate(arms):
        loss = {"name": name} | ({"gamma": gamma} if name == "focal" else {})
        arm = make_setting("yolov2", f"yolov2 {name} lr {lr}", loss, 70.0 + place)
        make_run(tmp_path / f"{place}", arm, 0, optimizer={"lr": lr})
    (table,) = beside(known_tables()["yolov2-gamma"], make_groups(load_runs([tmp_path])))
    two = table.rows[2]
    assert two.arm is not None and two.arm.name == "yolov2 focal lr 0.1" and two.more == 1
    assert [row.more for row in table.rows] == [0, 0, 1, 0, 0]


def test_a_missing_key_is_off_and_weighted_cross_entropy_is_gamma_0() -> None:
    mined, focused = known_tables()["focal-1d"].values[0], known_tables()["focal-1d"].values[2]
    loss = {"name": "ohem_cross_entropy", "keep": 128}
    assert fits(mined, {"loss": loss}) and not fits(focused, {"loss": loss})
    assert not fits(mined, {"loss": loss | {"negatives_per_positive": 3.0}})
    half = known_tables()["focal-1a"].values[0]
    assert fits(half, {"loss": {"name": "balanced_cross_entropy", "alpha": 0.5}})


SVG = ("--formats", "svg")  # PDF and PNG take as long again
TABLE = """
x-published:
  - name: mine
    title: A table of my own
    source: my notebook
    detector: yolov2
    metric: voc07_map
    setup: YOLOv2, my photographs
    settings: {loss.name: focal}
    values:
      - {words: half, percent: 40.0, settings: {alpha: 0.5}}
      - {words: quarter, percent: 42.5, settings: {alpha: 0.25, gamma: 2.0}}
"""


def reported(runs: Path, study: Path, out: Path) -> str:
    """The report of the runs in the words of a study."""
    assert call("report", runs, "--out", out, "--images", "0", "--study", study, *SVG) == 0
    return (out / "report.md").read_text(encoding="utf-8")


def test_a_study_brings_published_values_of_its_own(tiny_study: Path, tmp_path: Path) -> None:
    """They are in the report, and in its manifest, from which it is made again."""
    study = tmp_path / "study.yaml"
    study.write_text(TABLE)
    told = reported(tiny_study, study, tmp_path / "out")
    assert "A table of my own" in told and "my notebook" in told and "42.5" in told
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    (kept,) = manifest["options"]["published"] if "options" in manifest else manifest["published"]
    table = published_table(kept)
    assert table.values[1].settings == {"loss.name": "focal", "alpha": 0.25, "gamma": 2.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("metric: voc07_map", "metric: voc07map"), "metric: no number of a record.*voc07_map"),
        (("percent: 40.0", "percent: much"), "values.0.percent: expected a number"),
        (("source:", "sources:"), "sources: unknown key.*source"),
        (("    title: A table of my own\n", ""), "missing title"),
    ],
)
def test_what_makes_no_table_is_named(
    change: tuple[str, str], told: str, tiny_study: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(TABLE.replace(*change))
    refused(told, "report", tiny_study, "--out", tmp_path / "out", "--study", study)


def test_what_a_study_says_stands_for_options_that_are_not_given(
    tiny_study: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(
        "x-question: Why so?\nx-published: yolov2-gamma\nx-baseline: yolov2 cross-entropy\n"
    )
    told = reported(tiny_study, study, tmp_path / "out")
    assert told.startswith("# Why so?") and "Published beside ours: Softmax focal loss" in told
    study.write_text("x-question: [1]\n")
    refused(
        "x-question: expected text",
        "report",
        tiny_study,
        "--out",
        tmp_path / "out",
        "--study",
        study,
    )
