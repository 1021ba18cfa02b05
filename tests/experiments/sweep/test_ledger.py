"""The ledger: checksummed lines, a torn end cut off, damage before it refused, one owner."""

import json
import os
import random
from pathlib import Path

import pytest

from experiments.errors import UsageError
from experiments.record.follow import in_force
from experiments.sweep.actions import status
from experiments.sweep.ledger import FILE, Ledger, decode, encode, holder, read_events
from experiments.sweep.state import failure_text, fold, state_of_records
from experiments.sweep.table import listed, row

EVENTS = [{"event": "point", "n": n, "key": f"k{n}", "parameters": {"g": n / 7}} for n in range(5)]


def written(folder: Path) -> bytes:
    with Ledger(folder) as ledger:
        ledger.append(*EVENTS)
    return (folder / FILE).read_bytes()


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    written(tmp_path)
    read = [{k: v for k, v in e.items() if k not in ("time", "crc")} for e in read_events(tmp_path)]
    assert read == EVENTS


def test_lines_are_plain_json(tmp_path: Path) -> None:
    for line in written(tmp_path).splitlines():
        assert len(json.loads(line)["crc"]) == 8


def test_a_file_cut_anywhere_opens_with_its_whole_lines(tmp_path: Path) -> None:
    data = written(tmp_path)
    for cut in range(0, len(data), 7):
        (tmp_path / FILE).write_bytes(data[:cut])
        with Ledger(tmp_path) as ledger:
            assert len(ledger.events) == data[:cut].count(b"\n")
        kept = (tmp_path / FILE).read_bytes()
        assert kept == data[: data[:cut].rfind(b"\n") + 1]


def test_appending_after_a_torn_line_leaves_every_line_readable(tmp_path: Path) -> None:
    data = written(tmp_path)
    (tmp_path / FILE).write_bytes(data[:-7])
    with Ledger(tmp_path) as ledger:
        ledger.append(EVENTS[-1])
    assert len(read_events(tmp_path)) == 5


def test_a_changed_byte_before_the_end_is_refused_with_its_line(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path))
    data[data.index(b"k2")] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(UsageError, match=r"ledger.jsonl:3: damaged line"):
        Ledger(tmp_path)


def test_every_single_flipped_bit_is_noticed() -> None:
    line = encode(EVENTS[0])[:-1]
    draw = random.Random(0)
    for _ in range(200):
        place = draw.randrange(len(line) * 8)
        flipped = bytearray(line)
        flipped[place // 8] ^= 1 << place % 8
        assert decode(bytes(flipped)) is None


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with Ledger(tmp_path):
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(UsageError, match=f"run by process {os.getpid()}"):
            Ledger(tmp_path)
    assert holder(tmp_path) is None
    Ledger(tmp_path).close()


def test_a_folder_without_a_ledger_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sweep here"):
        read_events(tmp_path)


def test_the_state_is_a_fold_of_events() -> None:
    start = {"event": "start", "n": 0, "pid": 1, "mark": "2", "host": "h", "time": 5.0}
    state = fold([EVENTS[0], start, {"event": "failure", "n": 0, "error": "x", "seconds": 2.0}])
    trial = state.trials[0]
    assert (trial.status, trial.attempts, trial.failures, trial.error) == ("pending", 1, 1, "x")
    state.apply(start)
    state.apply({"event": "end", "n": 0, "status": "finished", "metric": 7.0, "seconds": 3.0})
    trial = state.trials[0]
    assert (trial.status, trial.seconds, trial.metric, trial.error) == ("finished", 5.0, 7.0, None)


def test_an_unknown_event_or_format_is_refused() -> None:
    with pytest.raises(UsageError, match="does not know: 'dance'"):
        fold([EVENTS[0], {"event": "dance", "n": 0}])
    with pytest.raises(UsageError, match="format 9"):
        fold([{"event": "open", "format": 9}])


def test_a_trial_shows_what_its_record_had_in_force_not_what_was_asked_for() -> None:
    asked = {"loss.gamma": 5.0, "loss": {"name": "focal"}, "seed": 1, "config": "a.yaml"}
    config = {"loss": {"name": "focal", "gamma": 2.0, "alpha": 0.25}, "seed": 1}
    resolved = in_force(asked, config)
    assert resolved == {"loss.gamma": 2.0, "loss": {"name": "focal"}, "seed": 1}
    point = {"event": "point", "n": 0, "key": "k", "parameters": asked}
    end = {"event": "end", "n": 0, "status": "finished", "metric": 1.0, "resolved": resolved}
    trial = fold([point, end]).trials[0]
    assert trial.told == {**asked, "loss.gamma": 2.0}
    lines = listed([row(trial, None, 3.0)], "map", ["loss.gamma"], "one")
    assert lines.splitlines()[1].split() == ["0", "2", "finished", "100%", "1.00", "0:03"]


def test_a_pulled_folder_has_a_state_without_a_ledger(tmp_path: Path) -> None:
    for name, ended in (("a", "finished"), ("b", "failed"), ("c", "interrupted")):
        folder = tmp_path / "trials" / name
        folder.mkdir(parents=True)
        record = {"status": ended, "seconds": {"total": 3.0}, "overrides": {"seed": 1}}
        (folder / "record.json").write_text(json.dumps(record))
    trials = state_of_records(tmp_path).trials
    assert [trial.status for trial in trials.values()] == ["finished", "failed", "pending"]
    assert trials[0].parameters == {"seed": 1} and trials[0].seconds == 3.0
    assert status(tmp_path) == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (-9, "ended by SIGKILL, which the system sends where memory runs out"),
        (137, "ended by SIGKILL (exit status 137), which the system sends where memory"),
        (139, "ended by SIGSEGV (exit status 139)"),
        (255, "exit status 255"),
    ],
)
def test_what_ended_a_trial_is_told_in_words(code: int, told: str, tmp_path: Path) -> None:
    """A launcher between tells a signal as a shell does."""
    assert failure_text(code, {}, tmp_path).startswith(told)
