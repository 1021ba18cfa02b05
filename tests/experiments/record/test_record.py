import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.record import files
from experiments.record.origin import commit_of, config_hash, file_hash, versions
from experiments.record.record import (
    ClassMetrics,
    CurveWriter,
    Data,
    Failure,
    Memory,
    Metrics,
    RecordError,
    RunRecord,
    Split,
    Validation,
    changed_files,
    describe_file,
    find_records,
    load_record,
    start_record,
    write_record,
)

ROOT = Path(__file__).parents[3]


def metrics(voc07: float | None = 71.5) -> Metrics:
    one = ClassMetrics(voc07, 72.0, 40.0, 70.0, objects=3, difficult=1, detections=9)
    return Metrics("test", voc07, 72.0, 40.0, 70.0, 41.0, None, 38.0, 44.0, {"cat": one})


def finished() -> RunRecord:
    config = {"loss": {"name": "focal", "gamma": 2.0}, "seed": 3, "sizes": (64, 96)}
    started = start_record(id="r1", arm="focal gamma 2", config=config, seed=3, gpus=())
    return dataclasses.replace(
        started,
        status="finished",
        finished=started.started,
        data=Data(("cat",), train=Split(2, 3, 0, "ab"), problems=("1.xml: empty box",)),
        curves=({"iteration": 1, "loss": 0.5}, {"iteration": 2, "loss": None}),
        validations=(Validation(2, metrics()),),
        metrics=metrics(),
    )


def edit(folder: Path, change: Any) -> None:
    path = folder / "record.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_written_record_is_read_back_equal(tmp_path: Path) -> None:
    record = finished()
    write_record(tmp_path, record)
    loaded = load_record(tmp_path)
    assert loaded == dataclasses.replace(record, config={**record.config, "sizes": [64, 96]})
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_memory_is_kept_and_a_record_without_it_is_read(tmp_path: Path) -> None:
    memory = Memory(900.5, worker_mib=700.0)
    write_record(tmp_path, dataclasses.replace(finished(), memory=memory))
    assert load_record(tmp_path).memory == memory
    edit(tmp_path, lambda values: values.pop("memory"))
    assert load_record(tmp_path).memory is None


def test_nan_becomes_null_and_the_file_stays_json(tmp_path: Path) -> None:
    diverged = dataclasses.replace(finished(), metrics=metrics(math.nan))
    text = write_record(tmp_path, diverged).read_text()
    assert "NaN" not in text
    loaded = load_record(tmp_path)
    assert loaded.metrics is not None and loaded.metrics.voc07_map is None


def test_a_running_run_is_read_with_its_curves_so_far(tmp_path: Path) -> None:
    write_record(tmp_path, start_record(id="r", arm="a", config={}, seed=0, gpus=()))
    writer = CurveWriter(tmp_path)
    writer.point({"iteration": 10, "loss": 1.5, "gamma": 0.5})
    writer.validation(10, dataclasses.asdict(metrics()))
    writer.point({"iteration": 20, "loss": math.inf})
    loaded = load_record(tmp_path)  # the writer is still open
    writer.close()
    assert loaded.status == "running"
    assert loaded.curves == (
        {"iteration": 10, "loss": 1.5, "gamma": 0.5},
        {"iteration": 20, "loss": None},
    )
    assert loaded.validations == (Validation(10, metrics()),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(sead=v.pop("seed")), "missing seed; did you mean 'sead'"),
        (lambda v: v.update(seed="three"), "seed: expected a whole number, found 'three'"),
        (lambda v: v.update(status="done"), "known: running, finished, failed, interrupted"),
        (lambda v: v.update(format=2), "format: found 2, allowed: 1"),
        (lambda v: v.pop("hardware"), "missing hardware"),
        (
            lambda v: v["metrics"]["per_class"]["cat"].pop("objects"),
            "metrics.per_class.cat: missing obj",
        ),
        (lambda v: v["curves"][1].update(loss="x"), r"curves.1.loss: expected a number.*found 'x'"),
        (lambda v: v.update(metrics=[]), "metrics: expected keys and values, found"),
        (lambda v: v["config"]["loss"].update(gamma=5.0), "not the one that was run"),
        (
            lambda v: v["metrics"].update(voc07_map=5120.0),
            "metrics: voc07_map: expected percent from 0 to 100, found 5120.0",
        ),
        (lambda v: v["metrics"].update(coco_ap=-1), "coco_ap: expected percent"),
    ],
)
def test_a_record_that_does_not_fit_names_the_key(
    tmp_path: Path, change: Any, message: str
) -> None:
    write_record(tmp_path, finished())
    edit(tmp_path, change)
    with pytest.raises(RecordError, match=message) as caught:
        load_record(tmp_path)
    assert str(tmp_path / "record.json") in str(caught.value)


def test_keys_of_a_later_version_are_left_out_and_named(tmp_path: Path) -> None:
    def change(values: Any) -> None:
        values.update(sharpness=1)
        values["data"]["train"].update(names="cd")
        values["metrics"]["per_class"]["cat"].update(ap90=1.5)
        values["metrics"]["per_class"]["dog"] = values["metrics"]["per_class"]["cat"]

    write_record(tmp_path, finished())
    edit(tmp_path, change)
    loaded = load_record(tmp_path)
    named = ("data.train.names", "metrics.per_class.*.ap90", "sharpness")
    assert loaded.unknown == named and loaded.seed == 3
    write_record(tmp_path, loaded)  # what was lost by writing it again stays said
    assert load_record(tmp_path).unknown == named


def test_a_file_name_that_is_no_utf8_does_not_keep_a_run_from_its_record(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.xml: empty box")
    write_record(tmp_path, dataclasses.replace(finished(), data=Data(("cat",), problems=(odd,))))
    data = load_record(tmp_path).data
    assert data is not None and data.problems == ("caf\\udce9.xml: empty box",)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    config = {"gamma": np.float64(1.5), "sizes": [np.int64(3)]}
    with pytest.raises(TypeError):  # a configuration is plain, or its hash would not be stable
        start_record(id="r", arm="a", config={"n": np.int64(3)}, seed=0, gpus=())
    write_record(tmp_path, dataclasses.replace(finished(), overrides=config))
    assert load_record(tmp_path).overrides == {"gamma": 1.5, "sizes": [3]}


@pytest.mark.parametrize("text", ['{"format": 1, "id"', "[]", "\xff"])
def test_a_file_that_is_no_record_is_a_named_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match=r"record.json"):
        load_record(tmp_path)
    with pytest.raises(RecordError, match="no such file"):
        load_record(tmp_path / "absent")


def test_a_failed_write_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, dataclasses.replace(finished(), status="running"))

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    failed = dataclasses.replace(
        finished(), status="failed", error=Failure("OSError", "full", "a.py:3")
    )
    with pytest.raises(OSError, match="no space"):
        write_record(tmp_path, failed)
    monkeypatch.undo()
    assert load_record(tmp_path).status == "running"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_finished_record_gets_no_other_status(tmp_path: Path) -> None:
    write_record(tmp_path, finished())
    for status in ("running", "failed", "interrupted"):
        with pytest.raises(RecordError, match=f"holds a finished run, which '{status}'"):
            write_record(tmp_path, dataclasses.replace(finished(), status=status))
    assert load_record(tmp_path).status == "finished"


def test_the_hash_knows_the_config_and_not_its_seed_or_order() -> None:
    base = {"seed": 1, "loss": {"gamma": 2.0, "alpha": None}, "sizes": (1, 2), "map": {2: 1, 10: 0}}
    same = {"loss": {"alpha": None, "gamma": 2.0}, "sizes": [1, 2], "map": {"10": 0, "2": 1}}
    assert config_hash(base) == config_hash(same)
    assert config_hash(base) != config_hash({**base, "sizes": (1, 3)})
    inner = {"data": {"seed": 1}}  # the seed of generated data is part of what was run
    assert config_hash(inner) != config_hash({"data": {"seed": 2}})
    with pytest.raises(ValueError, match="Out of range"):
        config_hash({"gamma": math.nan})


def test_an_altered_dump_is_found_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "detections.parquet"
    path.write_bytes(b"abc")
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    record = dataclasses.replace(finished(), files={"detections": describe_file(path)})
    assert changed_files(tmp_path, record) == []
    path.write_bytes(b"abd")
    assert changed_files(tmp_path, record) == ["detections"]
    path.unlink()
    assert changed_files(tmp_path, record) == ["detections"]


def test_records_are_found_below_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a/deep"):
        write_record(tmp_path / name, finished())
    assert find_records(tmp_path) == [tmp_path / "a" / "deep", tmp_path / "b"]


def test_a_checkout_without_git_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == (None, False)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "a").write_text("1")
    git = ["git", "-C", str(tmp_path), *identity]
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    commit, dirty = commit_of(tmp_path)
    assert commit is not None and len(commit) == 40 and not dirty
    (tmp_path / "a").write_text("2")
    assert commit_of(tmp_path) == (commit, True)


def test_versions_are_those_that_would_be_imported() -> None:
    import numpy

    assert versions()["numpy"] == numpy.__version__
    assert "no-such-package" not in versions(["no-such-package"])


def test_reading_records_imports_no_torch() -> None:
    code = (
        "import sys, experiments.record.record; "
        "print('torch' in sys.modules, 'mmengine' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_copy_of_a_record_inside_a_run_is_no_run_of_its_own(tmp_path: Path) -> None:
    for place in ("a", "b/0", "b/0/wandb/offline-run-1/files"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "record.json").write_text("{}")
    assert find_records(tmp_path) == [tmp_path / "a", tmp_path / "b/0"]
    assert find_records(tmp_path / "a") == [tmp_path / "a"]


def test_links_to_runs_are_followed_and_none_twice(tmp_path: Path) -> None:
    write_record(tmp_path / "disk" / "run", finished())
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "disk" / "run")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "gone").symlink_to(tmp_path / "nothing")
    assert find_records(tmp_path / "runs") == [tmp_path / "runs" / "linked"]


def test_a_clock_that_went_back_is_no_fault(tmp_path: Path) -> None:
    late = dataclasses.replace(
        finished(), started="2031-01-01T00:00:00+00:00", finished="1970-01-01T00:00:09+00:00"
    )
    write_record(tmp_path, late)
    assert load_record(tmp_path).finished == late.finished
