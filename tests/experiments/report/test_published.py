"""Published values beside ours."""

from pathlib import Path

import pytest

from experiments.report import ReportError, write_report
from experiments.report.arms import make_groups
from experiments.report.load import load_runs
from experiments.report.published import STUDIES, beside


def test_arms_are_matched_by_gamma_and_alpha_and_effects_are_each_sides_own(
    small_study: Path,
) -> None:
    group = make_groups(load_runs([small_study]))[0]
    (table,) = beside(STUDIES["focal-1b"], [group])
    ran = {row.value.gamma: row for row in table.rows if row.arm}
    assert sorted(ran) == [1.0, 2.0, 5.0]  # alpha 0.25; ours has no alpha 0.75 at gamma 0
    assert ran[2.0].published_effect == pytest.approx(2.9)
    assert ran[2.0].ours.mean == group.arms[3].summary("coco_ap").mean
    assert ran[2.0].our_effect is None


def test_a_study_without_alpha_takes_any_of_ours(small_study: Path) -> None:
    group = make_groups(load_runs([small_study]))[1]
    (table,) = beside(STUDIES["yolov2-gamma"], [group])
    two = next(row for row in table.rows if row.value.gamma == 2.0)
    base = group.arms[0].summary("voc07_map").mean or 0.0
    assert two.our_effect == pytest.approx((two.ours.mean or 0.0) - base)


def test_the_page_tells_what_differs_and_an_unknown_study_is_refused(
    tiny_study: Path, tmp_path: Path
) -> None:
    page = write_report([tiny_study], tmp_path, images=0, published=["yolov2-gamma"])
    assert "Ours: YOLOv2 on voc, 205 training images" in page.read_text(encoding="utf-8")
    with pytest.raises(ReportError, match="unknown study 'focal'.*focal-1b"):
        write_report([tiny_study], tmp_path, published=["focal"])
