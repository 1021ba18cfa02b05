"""Records that a gallery keeps: small, and what the report says of them stays."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.api import load_runs
from experiments.evaluation.compact import unlike_as_printed
from experiments.record.record import load_record, write_record
from experiments.report import kept
from experiments.report.kept import keep_records
from experiments.report.verify import verify
from tests.calling import call, refused

CHECKOUT = Path(__file__).parents[3]
DEMO = sorted((CHECKOUT / "results/demo").glob("0*"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the demo, one a detector."""
    root = tmp_path_factory.mktemp("gallery") / "runs"
    for folder in (DEMO[0], DEMO[3]):
        shutil.copytree(folder, root / folder.name)
    return root


def test_a_gallery_is_small_and_verifies_without_what_it_was_made_of(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, kept = tmp_path / "docs/gallery", tmp_path / "results/small"
    call("report", runs, "--gallery", gallery, "--records", kept, "--images", "1")
    told = capsys.readouterr().out
    assert "compact: " in told and "counted by rank and size" in told
    assert "compact ones" in (gallery / "README.md").read_text(encoding="utf-8")
    assert [line for line in verify(gallery) if line] == []
    for folder in (DEMO[0], DEMO[3]):
        small = sum(path.stat().st_size for path in (kept / folder.name).iterdir())
        assert small < 0.15 * sum(path.stat().st_size for path in folder.iterdir())
        one, two = load_record(folder), load_record(kept / folder.name)
        assert two.compact is not None and one.metrics == two.metrics
        assert two.compact.detections == one.files["detections"].sha256
        assert two.curves[-1]["iteration"] == one.curves[-1]["iteration"]
        assert two.curve_file is not None and len(two.curves) <= 48 < len(one.curves)
        assert two.curve_file.averaged * len(two.curves) >= len(one.curves)
    assert len(list(kept.glob("truth-*/truth.parquet"))) == 1
    (run,) = load_runs(kept / DEMO[0].name)
    assert len(run.truth) and {"left_small", "class"} <= set(run.detections.columns)

    again = tmp_path / "again"
    call("report", kept, "--gallery", again, "--images", "0")
    assert verify(again) == []
    (again / "records" / DEMO[0].name / "diagnosis.json").write_text("{}", encoding="utf-8")
    assert any("diagnosis.json: is not the file recorded" in line for line in verify(again))


def test_a_record_whose_numbers_do_not_come_again_is_kept_whole_and_said(
    tiny_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("report", tiny_study, "--gallery", tmp_path / "gallery", "--images", "0")
    assert "kept whole: its compact form would print other numbers" in capsys.readouterr().out


def test_a_run_that_was_never_measured_keeps_thin_curves(tmp_path: Path) -> None:
    one = load_record(DEMO[0])
    unfinished = replace(one, status="interrupted", metrics=None, files={}, finished=None)
    write_record(tmp_path / "runs/0000-a", unfinished)
    for source, target in (("runs", "kept"), ("kept", "again")):
        keep_records([tmp_path / source], tmp_path / target, ours=False)
        two = load_record(tmp_path / target / "0000-a")
        assert (two.status, two.metrics, two.compact) == ("interrupted", None, None)
        assert len(two.curves) <= 48 < len(one.curves)
        assert two.curves[-1]["iteration"] == one.curves[-1]["iteration"]


def test_what_was_kept_before_stays_until_all_is_there(
    tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "records"
    keep_records([tiny_study], target, ours=False)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}

    def full(folder: Path, *rest: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(kept, "write_record", full)  # a disk that is full after the first files
    monkeypatch.setattr(kept, "_copy_files", full)
    with pytest.raises(OSError, match="No space left"):
        keep_records([tiny_study], target, ours=False)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_records_are_not_kept_in_themselves(runs: Path, tmp_path: Path) -> None:
    refused("one holds the other", "report", runs, "--gallery", tmp_path, "--records", runs)
    refused("--records goes with", "report", runs, "--records", tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    words = ("--gallery", tmp_path / "gallery", "--records", tmp_path / "mine")
    refused("is in the way", "report", runs, *words)
    assert (tmp_path / "mine/thesis.tex").exists()


def test_printed_digits_are_compared_and_counts_exactly() -> None:
    recorded = {"map": 35.04, "none": None, "per_class": {"cat": {"detections": 7}}, "more": {}}
    same = {
        "map": 35.0,
        "none": None,
        "per_class": {"cat": {"detections": 7}},
        "more": {"new": 1.0},
    }
    assert unlike_as_printed(recorded, same) == []
    other = {"map": 35.06, "none": 0.0, "per_class": {"cat": {"detections": 8}}, "more": {}}
    assert len(unlike_as_printed(recorded, other)) == 3
