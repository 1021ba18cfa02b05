"""What the report makes of detections and anatomies beside the records."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation.anatomy import (
    BINS,
    Anatomy,
    LogitCounts,
    bin_of,
    shares_of,
    write_anatomy,
)
from experiments.evaluation.dump import read_dump
from experiments.evaluation.mistakes import calibration, error_shares
from experiments.evaluation.tables import check
from experiments.record.record import load_record
from experiments.report import write_report
from experiments.report.evidence import diagnoses as diagnoses_module
from experiments.report.verify import verify


@pytest.fixture
def study(tiny_study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_study, tmp_path / "sweep"))


@pytest.fixture(scope="module")
def report(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([tiny_study], tmp_path_factory.mktemp("detail"), images=0)


def anatomy_of(folder: Path) -> Anatomy:
    """An invented anatomy that says it is of this run."""
    draw, counts = np.random.default_rng(0), LogitCounts(("stride 8", "stride 16"))
    for kind, middle in (("foreground", 0.5), ("background", 4.0)):
        for level in (0, 1):
            logits = draw.normal(middle, 2, 1000)
            counts.add(kind, level, np.bincount(bin_of(logits), minlength=BINS))
    record = load_record(folder)
    return Anatomy(
        of="every class of every anchor",
        weights=(1.0, 1.0),
        levels=counts.levels,
        counts={"foreground": 2000, "background": 2000},
        shares=shares_of(counts, (0.0, 2.0), (1.0, 1.0)),
        checkpoint="iteration_00000010.pt",
        checkpoint_sha256="c" * 64,
        config_hash=record.config_hash,
        seed=record.seed,
        split="test",
        images=3,
    )


def test_errors_csv_agrees_with_pandas_over_every_run(tiny_study: Path, report: Path) -> None:
    rows = []
    for path in tiny_study.rglob("record.json"):
        record, tables = load_record(path.parent), read_dump(path.parent)
        dump = check(tables.detections, tables.truth, tables.images, tables.classes)
        shares = error_shares(dump)
        row = {"arm": record.arm, "ap50": 100 * shares.ap50}
        row["calibration_error"] = 100 * calibration(dump).expected_error
        for kind in shares.counts:
            row |= {f"{kind}_gain": 100 * shares.gains[kind], f"{kind}_count": shares.counts[kind]}
        rows.append(row)
    known = pd.DataFrame(rows).groupby("arm").agg(["mean", "std"])
    text = (report.parent / "errors.csv").read_text(encoding="utf-8")
    ours = pd.read_csv(io.StringIO(text)).set_index("arm").loc[known.index]
    for name, part in known.columns:
        printed = ours[f"{name}_{'sd' if part == 'std' else part}"]
        np.testing.assert_allclose(printed, known[(name, part)], atol=2e-3)  # 5 digits are kept
    assert len(ours) == 2 and (ours.seeds == 2).all()


def test_figures_and_tables_of_errors_are_on_the_page(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert 'id="errors"' in text and "Calibration error" in text
    names = {path.stem for path in (report.parent / "figures").iterdir()}
    assert {
        "recall-yolov2",
        "recall-classes-yolov2",
        "errors-yolov2",
        "calibration-yolov2",
    } <= names
    assert 'id="anatomy"' not in text  # no run has one
    assert "## Errors and scores" in (report.parent / "report.md").read_text(encoding="utf-8")


def test_a_second_report_takes_diagnoses_from_the_first(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_report([study], tmp_path / "out", images=0, formats=()).read_bytes()

    def refuse(folder: Path) -> None:
        raise AssertionError(f"{folder} is diagnosed again")

    monkeypatch.setattr(diagnoses_module, "diagnose_run", refuse)
    assert write_report([study], tmp_path / "out", images=0, formats=()).read_bytes() == first
    (tmp_path / "out/diagnosis.json").write_text("{}")
    with pytest.raises(AssertionError, match="diagnosed again"):
        write_report([study], tmp_path / "out", images=0, formats=())


def test_verify_names_an_altered_diagnosis_even_where_the_report_was_made_from_it(
    study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_report([study], out, images=0, formats=())
    assert verify(out, metrics=False) == []
    stored = json.loads((out / "diagnosis.json").read_text())
    next(iter(stored["runs"].values()))["gains"]["missed"] = 0.99
    (out / "diagnosis.json").write_text(json.dumps(stored))
    write_report([study], out, images=0, formats=())  # believes what is stored
    found = [line for line in verify(out) if "is not the table" in line]
    assert [Path(line.partition(":")[0]).name for line in sorted(found)] == [
        "diagnosis.json",
        "errors.csv",
    ]


def test_altered_detections_are_not_used_and_said_so(study: Path, tmp_path: Path) -> None:
    changed = next(study.rglob("detections.parquet"))
    other = next(path for path in study.rglob("detections.parquet") if path != changed)
    shutil.copyfile(other, changed)
    page = write_report([study], tmp_path / "out", images=0, formats=())
    assert "detections beside the record changed" in page.read_text(encoding="utf-8")


def test_records_alone_give_a_page_without_these_parts(study: Path, tmp_path: Path) -> None:
    for path in study.rglob("*.parquet"):
        path.unlink()
    page = write_report([study], tmp_path / "out", images=0, formats=())
    assert 'id="errors"' not in page.read_text(encoding="utf-8")


def test_an_anatomy_beside_a_record_is_drawn_and_tabulated(study: Path, tmp_path: Path) -> None:
    folder = next(study.rglob("record.json")).parent
    write_anatomy(folder, anatomy_of(folder))
    page = write_report([study], tmp_path / "out", images=0)
    text = page.read_text(encoding="utf-8")
    assert 'id="anatomy"' in text and "Where the loss is" in text and "stride 16" in text
    assert (tmp_path / "out/figures/anatomy-1-yolov2.svg").is_file()
    table = pd.read_csv(tmp_path / "out/anatomy.csv")
    whole = table[table.level == "all"]
    assert whole.gamma.tolist() == [0, 2] and len(table) == 6
    parts = table[table.level != "all"].groupby("gamma")[["foreground_gradient"]].sum()
    np.testing.assert_allclose(parts.foreground_gradient, whole.foreground_gradient, atol=1e-5)


def test_another_runs_anatomy_is_not_shown(study: Path, tmp_path: Path) -> None:
    one, two = (path.parent for path in sorted(study.rglob("record.json"))[1:3])
    write_anatomy(one, anatomy_of(two))
    text = write_report([study], tmp_path / "out", images=0, formats=()).read_text(encoding="utf-8")
    assert "its anatomy.json is of another run" in text and 'id="anatomy"' not in text
