"""Files whole or absent, and locks, as real processes meet them."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.errors import UserError
from experiments.record.files import HeldError, Lock, WriteError, holder, write_text
from experiments.record.lines import Appender
from experiments.sweep.ledger import Ledger

CHECKOUT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from experiments.record.files import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def limited() -> Iterator[None]:
    """Files may not grow beyond 4 KiB, as on a disk or a quota that is full: no rights needed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_held_lock_names_its_process_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert holder(path) == process.pid
        with pytest.raises(HeldError, match=f"^{process.pid} on "):
            Lock(path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holder(path) is None
    with Lock(path) as lock:
        assert holder(path) == os.getpid()
    lock.close()
    assert not path.exists() and holder(path) is None


def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "a.lock")
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        lock.close()
        Lock(tmp_path / "a.lock").close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path: Path, limited: None) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(WriteError, match=r"a\.json: cannot be written: File too large") as caught:
        write_text(path, "x" * 10_000)
    assert isinstance(caught.value, UserError) and path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["n" * 300, "file/below"])
def test_a_place_that_cannot_be_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    for write in (lambda path: write_text(path / "a", ""), Appender, Lock):
        with pytest.raises(
            WriteError, match="cannot be written: (File name|File exists|Not a dir)"
        ) as caught:
            write(tmp_path / name)
        assert len(str(caught.value)) < 400


def test_a_disk_without_room_for_a_lock_is_one_sentence(tmp_path: Path, limited: None) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    with pytest.raises(WriteError, match=r"ledger\.lock: cannot be written: File too large"):
        Ledger(tmp_path / "sweep")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    Ledger(tmp_path / "sweep").close()  # nobody holds what could not be written
