"""A tape plays each batch as it was computed, whoever computed it, and however they ended."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from datasets.sample import Batch, Placement
from experiments.engine import playing
from experiments.engine.frames import Frame, framed
from experiments.engine.playing import Player
from experiments.engine.tape import Tape
from experiments.record.parts import Played
from experiments.record.tapes import Budget

KEY = "0" * 64


def batch(number: int) -> Batch:
    return Batch(
        images_BCHW=torch.full((1, 3, 32, 32), number % 256, dtype=torch.uint8),
        content_B2=torch.tensor([[32, 32]]),
        boxes_BM4=torch.zeros(1, 1, 4),
        labels_BM=torch.tensor([[number]]),
        ignore_BM=torch.zeros(1, 1, dtype=torch.bool),
        valid_BM=torch.ones(1, 1, dtype=torch.bool),
        image_ids=(str(number),),
        original_hw=((32, 32),),
        placements=(Placement(),),
    )


class Room:
    """A tape and what was loaded and computed for it."""

    def __init__(self, root: Path, gib: float = 1.0, prefetched: int = 0, pause: float = 0.0):
        self.folder = root / "tape"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tape = Tape(self.folder, KEY, Budget(root, gib))
        self.prefetched, self.pause = prefetched, pause
        self.streamed: list[int] = []
        self.alone: list[int] = []
        self.begun: list[int] = []

    def stream(self, numbers: Iterable[int]) -> Iterator[Batch]:
        """As a loader with worker processes: some numbers are drawn before they are needed."""
        waiting: list[int] = []
        for number in numbers:
            waiting.append(number)
            if len(waiting) > self.prefetched:
                self.streamed.append(waiting[0])
                yield batch(waiting.pop(0))
        for number in waiting:
            self.streamed.append(number)
            yield batch(number)

    def few(self, numbers: Iterable[int]) -> Iterator[Batch]:
        for number in numbers:
            self.alone.append(number)
            yield batch(number)

    def begin(self, given: Batch) -> Frame:
        number = int(given.labels_BM)
        self.begun.append(number)
        time.sleep(self.pause)
        return framed(given, (torch.full((1, 64), float(number)),))

    def player(self, count: int, start: int = 0) -> Iterator[Frame]:
        return iter(Player(self.tape, range(start, count), self.stream, self.few, self.begin))

    def play(self, count: int, start: int = 0) -> list[int]:
        found = []
        for frame in self.player(count, start):
            assert frame.begun[0].unique().tolist() == [int(frame.batch.labels_BM)]
            found.append(int(frame.batch.labels_BM))
        return found


@pytest.mark.parametrize("prefetched", [0, 4])
def test_the_first_writes_what_the_second_replays(prefetched: int, tmp_path: Path) -> None:
    first = Room(tmp_path, prefetched=prefetched)
    assert first.play(20) == list(range(20))
    assert first.tape.played() == Played(replayed=0, written=20)
    second = Room(tmp_path, prefetched=prefetched)
    assert second.play(20) == list(range(20))
    assert second.tape.played() == Played(replayed=20)
    assert not second.begun and not second.streamed and not second.alone


def test_a_run_goes_on_from_any_iteration(tmp_path: Path) -> None:
    assert Room(tmp_path).play(5) == list(range(5))
    later = Room(tmp_path)
    assert later.play(12, start=3) == list(range(3, 12))
    assert later.tape.played() == Played(replayed=2, written=7)


@pytest.mark.parametrize("prefetched", [0, 3])
def test_what_is_missing_or_damaged_is_computed_again(
    prefetched: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Room(tmp_path).play(12)
    frames = tmp_path / "tape/000"
    (frames / "000004").unlink()
    (frames / "000007").write_bytes((frames / "000007").read_bytes()[:99])
    (frames / "000011").write_bytes(b"")
    again = Room(tmp_path, prefetched=prefetched)
    assert again.play(12) == list(range(12))
    assert again.tape.played() == Played(replayed=9, written=3, damaged=2)
    assert sorted(again.begun) == [4, 7, 11]
    assert "000007: damaged; computed again" in capsys.readouterr().err
    assert Room(tmp_path).play(12) == list(range(12))


@pytest.mark.parametrize("prefetched", [0, 3])
def test_over_the_bound_the_rest_is_computed_and_said_once(
    prefetched: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = 0
    Room(tmp_path / "one").play(1)
    size = (tmp_path / "one/tape/000/000000").stat().st_size
    for _ in range(2):
        room = Room(tmp_path / "two", gib=5.5 * size / 2**30, prefetched=prefetched)
        assert room.play(9) == list(range(9))
        assert room.tape.replayed + room.tape.written == 5
        assert room.tape.computed == 4
        assert capsys.readouterr().err.count("--tape-gib) is reached") == 1
    assert sum(p.stat().st_size for p in (tmp_path / "two/tape/000").iterdir()) < 5.5 * size


def test_a_bound_for_a_few_batches_of_many_holds_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room = Room(tmp_path, gib=300 / 2**30)
    room.tape = Tape(room.folder, KEY, Budget(tmp_path, 300 / 2**30), batches=1000)
    assert room.play(3) == [0, 1, 2]
    assert room.tape.played() == Played(computed=3)
    assert "(--tape-gib) would hold too little; 1.2e-05 GiB is" in capsys.readouterr().err


def test_a_full_disk_only_ends_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room = Room(tmp_path)
    room.play(3)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.engine.tape.write_whole", refuse)
    assert room.play(6) == list(range(6))
    assert room.tape.computed == 3
    assert "No space left on device: batches that are not on it are comp" in capsys.readouterr().err


def _in_a_process(root: Path, name: str, count: int, pause: float, prefetched: int) -> None:
    room = Room(root, prefetched=prefetched, pause=pause)
    assert room.play(count) == list(range(count))
    (root / name).write_text(" ".join(map(str, room.begun)))


@pytest.mark.parametrize("prefetched", [0, 4])
def test_two_at_a_time_share_the_work_and_compute_nothing_twice(
    prefetched: int, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    words = [(tmp_path, name, 60, 0.01, prefetched) for name in "ab"]
    processes = [context.Process(target=_in_a_process, args=each) for each in words]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    shares = [[int(word) for word in (tmp_path / name).read_text().split()] for name in "ab"]
    assert sorted(shares[0] + shares[1]) == list(range(60))
    assert all(len(share) > 10 for share in shares)


def _claims_and_hangs(root: Path, ready: Any) -> None:
    room = Room(root)
    assert room.tape.claim(2)
    ready.set()
    time.sleep(600)


def test_what_a_killed_process_was_at_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "WAIT_SECONDS", 600.0)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=_claims_and_hangs, args=(tmp_path, ready))
    other.start()
    ready.wait()
    room = Room(tmp_path)
    assert not room.tape.claim(2)
    frames = room.player(4)
    assert [int(next(frames).batch.labels_BM) for _ in range(2)] == [0, 1]
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert [int(frame.batch.labels_BM) for frame in frames] == [2, 3]
    assert room.tape.played() == Played(written=4)


def test_nobody_waits_long_for_a_process_that_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "WAIT_SECONDS", 0.05)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=_claims_and_hangs, args=(tmp_path, ready))
    other.start()
    try:
        ready.wait()
        room = Room(tmp_path)
        assert room.play(6) == list(range(6))
        assert room.alone == [2] and sorted(room.begun) == list(range(6))
    finally:
        other.kill()
        other.join()
