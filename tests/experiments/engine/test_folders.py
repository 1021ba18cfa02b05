"""One folder, one training: what a second command in it may do."""

import signal
from pathlib import Path


def test_a_second_training_is_refused_with_the_first_ones_process(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    first = small.start(out, "train.iterations=100000")
    small.until(lambda: bool(small.checkpoints(out)), first)
    before = (out / "record.json").read_bytes()
    second = small.train(out, "train.iterations=100000")
    assert second.wait() == 2 and "Traceback" not in second.told
    assert f"process {first.pid} on " in second.told and "trains in it already" in second.told
    assert first.alive and (out / "record.json").read_bytes() == before
    first.send(signal.SIGKILL)
    first.wait()
    third = small.start(out, "train.iterations=100000")  # a killed one's lock is nobody's
    small.until(lambda: "continuing" in third.said, third)
    third.send(signal.SIGTERM)
    assert third.wait() == 75 and not (out / "train.lock").exists()


def test_a_run_that_failed_before_its_first_iteration_blocks_nothing(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    wrong = small.train(out, "data.train=trian", "train.iterations=2")
    assert wrong.wait() == 2 and "Traceback" not in wrong.told
    assert small.record(out)["status"] == "failed"
    assert small.train(out, "train.iterations=2").wait() == 0
    assert small.record(out)["status"] == "finished"
    other = small.train(out, "train.iterations=3")  # it has begun: another is refused as ever
    assert other.wait() == 2 and "another configuration" in other.told


def test_a_name_that_is_too_long_is_one_sentence(runs, tmp_path: Path) -> None:
    small = runs()
    run = small.verb("train", "--config", str(small.config), "--out", str(tmp_path / ("n" * 300)))
    assert run.wait() == 2 and "File name too long" in run.told and "Traceback" not in run.told


def test_a_disk_without_room_for_the_record_is_told_without_a_traceback(
    runs, tmp_path: Path
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))"
    run = runs().train(tmp_path / "run", "train.iterations=2", before=limit)
    assert run.wait() in (1, 2)
    assert "record.json: cannot be written: File too large" in run.told
    assert "Traceback" not in run.told and len(run.told) < 1024  # the terminal's file has a limit
    assert not (tmp_path / "run" / "record.json").exists()
    assert not list((tmp_path / "run").glob(".*.part"))
