"""What ends a run early: it says what happened, what to change, and keeps the last good state."""

import itertools
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from experiments.config.run import RunConfig, load_config, plain_config
from experiments.engine.arithmetic import choose, device_here
from experiments.engine.checkpoint import Best, best_good, load_checkpoint, newest_good
from experiments.engine.fit import Fit
from experiments.engine.guards import NonFiniteError, non_finite
from experiments.report.load import load_runs
from experiments.run.assembly import batches_from, build_detector, fit_task, open_splits
from experiments.run.earlier import earlier_sitting


def fit(config: RunConfig, folder: Path, poisoned: set[int]) -> tuple[Fit, list[dict[str, Any]]]:
    """A training whose pixels are NaN, as the network gets them, in the batches `poisoned`."""
    splits = open_splits(config)
    detector = build_detector(config, splits.train.classes)
    batches = itertools.count()

    def poison(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (inputs[0] * math.nan,) if next(batches) in poisoned else inputs

    detector.register_forward_pre_hook(poison)
    rows: list[dict[str, Any]] = []
    arithmetic = choose(config.train, detector, device_here())
    built = Fit(
        detector,
        lambda start: batches_from(config, splits.train, detector, start),
        folder,
        fit_task(config, splits.train.classes, config.loss, arithmetic),
        sinks=[rows.append],
        validate=lambda detector, iteration: {"voc07_map": 0.0},
        file_names=splits.train.files_of,
    )
    return built, rows


def test_a_nan_stops_before_the_checkpoint_and_names_the_files(runs, tmp_path: Path) -> None:
    config = load_config(runs("retinanet").config)
    training, rows = fit(config, tmp_path / "run", {5})
    with pytest.raises(NonFiniteError) as raised:
        training.run()
    told = str(raised.value)
    assert "at iteration 6" in told and told.count(".jpg") == 2
    assert all(Path(word.strip(" ,.;")).is_file() for word in told.split() if ".jpg" in word)
    assert runs().checkpoints(tmp_path / "run") == [3]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5]


def test_skip_leaves_out_the_update_and_nothing_else(
    runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(runs("retinanet").config, ["train.nonfinite=skip", "train.ema=null"])
    training, rows = fit(config, tmp_path / "run", {4, 6})
    done = training.run()
    assert done.finished and len(rows) == 10
    assert [row["iteration"] for row in rows if not math.isfinite(row["loss"])] == [5, 7]
    assert capsys.readouterr().err.count("this update is left out") == 2
    state = load_checkpoint(tmp_path / "run/checkpoints/iteration_00000010.pt")
    assert non_finite(state["detector"]) is None
    assert state["skipped"] == 2
    moved = {int(value["step"]) for value in state["optimizer"]["state"].values()}
    assert moved == {8}  # ten iterations, two of them left out


def test_skip_gives_up_at_its_limit(runs, tmp_path: Path) -> None:
    words = ["train.nonfinite=skip", "train.nonfinite_limit=2"]
    training, _ = fit(load_config(runs("retinanet").config, words), tmp_path / "run", {1, 2, 3})
    with pytest.raises(NonFiniteError, match="train.nonfinite_limit is 2"):
        training.run()


def test_weights_that_are_no_numbers_are_not_written(runs, tmp_path: Path) -> None:
    config = load_config(runs().config, ["train.checkpoint_every=1"])
    training, _ = fit(config, tmp_path / "run", set())
    training.run()
    training._detector.head.output.weight.data[0] = math.inf
    with pytest.raises(NonFiniteError, match="weights are not finite"):
        training._writer(11)
    assert runs().checkpoints(tmp_path / "run") == [9, 10]


def test_a_full_disk_keeps_the_last_good_checkpoint(runs, tmp_path: Path) -> None:
    """A real tmpfs that has room for two checkpoints and not for three."""
    disk = tmp_path / "disk"
    disk.mkdir()
    small = runs()
    assert small.train(tmp_path / "probe", "train.iterations=1").process.exitcode == 0
    size = (tmp_path / "probe/checkpoints/iteration_00000001.pt").stat().st_size
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(2.6 * size)}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        full = small.train(disk / "run", "train.keep_checkpoints=9")
        assert full.process.exitcode == 1, full.told
        assert "No space left on device" in full.told and "Traceback" not in full.told
        kept = newest_good(disk / "run/checkpoints")
        assert kept is not None and kept[1]["iteration"] == 6
        assert not list((disk / "run/checkpoints").glob(".*"))
        subprocess.run(["mount", "-o", f"remount,size={9 * size}", str(disk)], check=True)
        again = small.train(disk / "run", "train.keep_checkpoints=9")
        assert again.process.exitcode == 0, again.told
        assert "(iteration 6)" in again.said
    finally:
        subprocess.run(["umount", str(disk)], check=True)


LIMITED = "import resource; resource.setrlimit(resource.{name}, ({limit}, {limit}))"


def test_a_file_too_large_is_told_like_a_full_disk(runs, tmp_path: Path) -> None:
    before = LIMITED.format(name="RLIMIT_FSIZE", limit=200_000)
    run = runs().train(tmp_path / "run", before=before)
    assert run.process.exitcode == 1
    assert "cannot be written: File too large" in run.told and "Traceback" not in run.told
    assert runs().record(tmp_path / "run")["error"]["type"] == "DiskError"


def test_out_of_memory_says_what_to_lower(runs, tmp_path: Path) -> None:
    """The process may map another 2 GiB; a batch of four 8192 px images needs more."""
    before = (
        "import resource\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 2 * 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))"
    )
    words = ("input.sizes=[[8192,8192]]", "input.every=10", "train.batch_size=4")
    run = runs().train(tmp_path / "run", *words, before=before)
    assert run.process.exitcode == 1, run.told
    assert "error: out of memory" in run.told and "Traceback" not in run.told
    assert runs().record(tmp_path / "run")["error"]["type"] == "OutOfMemoryError"
    assert "add train.batch_size=2 train.accumulate=2 (the same updates)" in run.told
    followed = (*words[:2], "train.batch_size=2", "train.accumulate=2")
    again = earlier_sitting(tmp_path / "run", plain_config(load_config(runs().config, followed)))
    assert again is None  # it ended before its first iteration: nothing to go on with, or to refuse


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_disappears_is_named(
    runs, small_glyphs: Path, tmp_path: Path, workers: int
) -> None:
    root, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(small_glyphs, root)
    small = runs(root=root)
    run = small.start(out, "train.iterations=100000", f"train.workers={workers}")
    small.until(lambda: small.rows(out) > 3, run)
    shutil.rmtree(root / "JPEGImages")
    assert run.wait() == 2
    assert "Traceback" not in run.told and "Caught" not in run.told
    assert str(root / "JPEGImages") in run.told and ".jpg: image can't be read" in run.told
    record = small.record(out)
    assert (record["status"], record["error"]["type"]) == ("failed", "DataError")


def test_a_time_budget_ends_the_run_with_its_measurement(runs, tmp_path: Path) -> None:
    run = runs().train(tmp_path / "run", "train.iterations=100000", "train.seconds=1")
    assert run.process.exitcode == 0, run.told
    assert "train.seconds is used up; stopped at iteration" in run.told
    record = runs().record(tmp_path / "run")
    assert (record["status"], record["ended"]) == ("finished", "seconds")
    before, last = record["curves"][-2:]
    assert before["seconds"] < 1 <= last["seconds"]
    assert record["metrics"]["split"] == "test"
    assert runs().checkpoints(tmp_path / "run")[-1] == last["iteration"]


def test_schedules_that_follow_time_end_with_the_budget(runs, tmp_path: Path) -> None:
    words = ("train.iterations=100000", "train.seconds=2", "train.progress=time")
    more = ("loss.gamma.ramp=[0,1]", "learning_rate={shape: cosine, warmup_iterations: 2}")
    run = runs().train(tmp_path / "run", *words, *more)
    assert run.process.exitcode == 0, run.told
    curves = runs().record(tmp_path / "run")["curves"]
    for before, row in zip(curves, curves[1:], strict=False):
        assert row["progress"] == pytest.approx(min(1.0, before["seconds"] / 2), abs=0.02)
        assert row["gamma"] == pytest.approx(2.0 * row["progress"], abs=1e-6)
    assert curves[-1]["progress"] > 0.6 and curves[-1]["lr"] < 0.4 * curves[1]["lr"]
    loaded = load_runs([tmp_path])[0]
    assert loaded.ended == "seconds" and not loaded.ended_early


def test_a_run_cut_by_time_is_known_as_ended_early(runs, tmp_path: Path) -> None:
    words = ("train.iterations=100000", "train.seconds=1")
    assert runs().train(tmp_path / "run", *words).process.exitcode == 0
    assert load_runs([tmp_path])[0].ended_early


def test_patience_ends_the_run_and_the_best_is_measured(runs, tmp_path: Path) -> None:
    """At a rate of nothing no validation is better than the first one."""
    small, out = runs(), tmp_path / "run"
    words = ("train.validate_every=1", "train.patience=3", "optimizer.lr=1e-12")
    run = small.train(out, *words, "train.iterations=50", "train.measure=best")
    assert run.process.exitcode == 0, run.told
    record = small.record(out)
    assert (record["status"], record["ended"]) == ("finished", "patience")
    assert [entry["iteration"] for entry in record["validations"]] == [1, 2, 3, 4]
    assert small.checkpoints(out, "best") == [1]
    found = small.verb("eval", str(out / "best"), "--out", str(tmp_path / "again"))
    assert found.process.exitcode == 0, found.told
    both = [pd.read_parquet(folder / "detections.parquet") for folder in (out, tmp_path / "again")]
    scores = [table["score"].sort_values(ignore_index=True) for table in both]
    assert scores[0].tolist() == pytest.approx(scores[1].tolist(), abs=1e-4)


def test_the_best_weights_are_measured_where_asked(runs, tmp_path: Path) -> None:
    words = ["train.validate_every=2", "train.measure=best"]
    training, _ = fit(load_config(runs().config, words), tmp_path / "run", set())
    values = {2: 1.0, 4: 9.0, 6: 3.0, 8: None, 10: 2.0}
    training._validate = lambda detector, iteration: {"voc07_map": values[iteration]}
    measured = training.run().detector.state_dict()
    found = best_good(tmp_path / "run/checkpoints")
    assert found is not None and found[1]["iteration"] == 4
    best = {name.partition(".")[2]: value for name, value in found[1]["average"].items()}
    assert all(torch.equal(value, best[name]) for name, value in measured.items())
    last = runs().last_state(tmp_path / "run")["average"]
    assert not all(torch.equal(value, last[f"module.{name}"]) for name, value in measured.items())


def test_the_best_are_kept_by_their_value(tmp_path: Path) -> None:
    folder, state = tmp_path / "checkpoints", {"weight": torch.zeros(2)}
    now = [0]

    def weights() -> dict[str, Any]:
        return {"iteration": now[0], **state}

    best = Best(folder, "coco_ap", keep=2, patience=3, weights=weights)
    kept, over = [], []
    for iteration, value in ((1, 5.0), (2, None), (3, 7.0), (4, 6.0), (5, 7.0), (6, 1.0)):
        now[0] = iteration
        best(iteration, {"coco_ap": value})
        kept.append(sorted(int(path.stem[5:]) for path in folder.glob("best_*.pt")))
        over.append(best.exhausted)
    assert kept == [[1], [1], [1, 3], [3, 4], [3, 5], [3, 5]]
    assert over == [False] * 5 + [True]
    found = best_good(folder)
    assert found is not None and found[1]["iteration"] == 3  # of equals the earlier
    found[0].write_bytes(b"torn")
    second = best_good(folder)
    assert second is not None and second[1]["iteration"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.patience=2"], "patience: counts validations"),
        (["train.measure=best"], "best needs train.validate_every"),
        (["train.measure=best", "train.validate_every=1", "evaluate.split=val"], "chosen on val"),
        (["train.seconds=0"], "seconds: must be > 0"),
        (["train.progress=time"], "progress: time needs a budget"),
        (["train.nonfinite=ignore"], "nonfinite"),
        (["train.precision=float16"], "float16 needs a GPU"),
    ],
)
def test_what_cannot_be_meant_is_refused(runs, tmp_path: Path, words, message: str) -> None:
    if "float16" in message and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=message):
        choose(load_config(runs().config, words).train, torch.nn.Identity(), device_here())
