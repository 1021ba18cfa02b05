"""One folder, one training: what a second command in it may do."""

import signal
from pathlib import Path


def test_a_second_training_is_refused_with_the_first_ones_process(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    first = small.start(out, "train.iterations=100000")
    small.until(lambda: small.rows(out) > 1, first)
    before = (out / "record.json").read_bytes()
    second = small.train(out, "train.iterations=100000")
    assert second.wait() == 2 and "Traceback" not in second.told
    assert f"process {first.pid} on " in second.told and "trains in it already" in second.told
    assert first.alive and (out / "record.json").read_bytes() == before
    first.send(signal.SIGKILL)
    first.wait()
    third = small.start(out, "train.iterations=100000")  # a killed one's lock is nobody's
    small.until(lambda: small.record(out)["started"] and "continuing" in third.said, third)
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
    run = runs().train(tmp_path / ("n" * 300), "train.iterations=2")
    assert run.wait() == 2 and "File name too long" in run.told and "Traceback" not in run.told


def test_a_full_disk_at_the_first_write_is_told_without_a_traceback(runs, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))"
    log = "sys.stderr = sys.stdout = open('/dev/null', 'w')"
    run = runs().train(tmp_path / "run", "train.iterations=2", before=f"{log}; {limit}")
    assert run.wait() in (1, 2)
    assert not (tmp_path / "run" / "record.json").exists()
    assert not list((tmp_path / "run").glob(".*.part"))
