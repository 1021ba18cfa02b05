"""Tables against an independent computation with pandas, straight from the JSON files."""

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from experiments.evaluation.verdict import signed
from experiments.report.arms import make_groups
from experiments.report.load import load_runs
from experiments.report.tables import METRICS, comparison
from experiments.report.written import (
    comparison_csv,
    csv_text,
    escape_latex,
    escape_markdown,
    latex_table,
    markdown_table,
    per_class_csv,
)


def raw(study: Path) -> pd.DataFrame:
    """The finished runs' metrics, read without any of our code."""
    rows = []
    for path in study.rglob("record.json"):
        record = json.loads(path.read_text())
        if record["status"] == "finished":
            rows.append({"arm": record["arm"], "seed": record["seed"], **record["metrics"]})
    return pd.DataFrame(rows)


def test_csv_agrees_with_pandas_to_the_last_printed_digit(small_study: Path) -> None:
    groups = make_groups(load_runs([small_study]))
    ours = pd.read_csv(
        io.StringIO(comparison_csv(row for g in groups for row in comparison(g, METRICS[0])))
    ).set_index("arm")
    known = raw(small_study).groupby("arm")[[metric.key for metric in METRICS]].agg(["mean", "std"])
    for metric in ("voc07_map", "voc_area_map", "coco_ap", "coco_ap50", "coco_ap75"):
        for ours_name, known_name in (("mean", "mean"), ("sd", "std")):
            expected = known[metric][known_name].round(6).reindex(ours.index)
            pd.testing.assert_series_equal(
                ours[f"{metric}_{ours_name}"], expected, check_names=False, atol=1.01e-6
            )
    assert ours["coco_ap_small_mean"].isna().all()


def test_per_class_csv_agrees_with_pandas(small_study: Path) -> None:
    ours = pd.read_csv(io.StringIO(per_class_csv(make_groups(load_runs([small_study])))))
    runs = raw(small_study)
    for row in ours.itertuples():
        values = pd.Series(
            [cell[row[4]]["voc07_ap"] for cell in runs[runs.arm == row.arm].per_class]
        )
        assert row.voc07_ap_mean == pytest.approx(values.mean(), abs=1e-6)
        assert row.voc07_ap_sd == pytest.approx(values.std(), abs=1e-6)
        assert row.seeds == len(values) == 3


def test_markdown_prints_the_rounded_pandas_numbers(small_study: Path) -> None:
    group = make_groups(load_runs([small_study]))[1]
    text = markdown_table(comparison(group, METRICS[0]), METRICS[0])
    values = raw(small_study).groupby("arm").voc07_map.agg(["mean", "std"])
    for arm in group.arms:
        mean, sd = values.loc[arm.name]
        assert f"{mean:.1f} ± {sd:.1f}" in text


def test_names_cannot_become_markup() -> None:
    assert escape_markdown("a|b <script> *c*\nd") == "a\\|b &lt;script&gt; \\*c\\* d"
    assert escape_latex("50% of a_b & {c}\\") == r"50\% of a\_b \& \{c\}\textbackslash{}"


def test_signs_are_true_minus_and_zero_has_none() -> None:
    assert [signed(value) for value in (1.26, -1.26, -0.04, None)] == ["+1.3", "−1.3", "0.0", "–"]


def test_latex_rows_have_as_many_cells_as_columns(small_study: Path) -> None:
    lines = latex_table(make_groups(load_runs([small_study])), METRICS[0]).splitlines()
    rows = [line for line in lines if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {8}
    assert len(rows) == 1 + 12


def test_latex_compiles(small_study: Path, tmp_path: Path) -> None:
    compiler = shutil.which("tectonic") or shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("neither tectonic nor pdflatex is installed")
    table = latex_table(make_groups(load_runs([small_study])), METRICS[0])
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
    (tmp_path / "page.tex").write_text(f"{head}\n{table}\\end{{document}}\n", encoding="utf-8")
    subprocess.run(
        [compiler, "page.tex"], cwd=tmp_path, check=True, capture_output=True, timeout=300
    )


def test_text_of_a_csv_file_is_no_formula() -> None:
    names = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "plain", "-1.500000", "+2"]
    (read,) = csv.reader(io.StringIO(csv_text([names])))
    assert read == [*(f"'{name}" for name in names[:5]), *names[5:]]
