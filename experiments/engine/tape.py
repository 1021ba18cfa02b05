"""One tape: frames by number, each computed by one process and read by all.

Frames stand alone, so a killed run leaves whatever it had written, and what is missing or damaged
is computed again by whoever comes to it.
"""

import fcntl
import os
import sys
from pathlib import Path

from experiments.engine.frames import Frame, FrameError, encoded, read_frame, write_whole
from experiments.record.parts import Played
from experiments.record.tapes import Budget

IN_A_FOLDER = 1000
LEAST = 0.05  # of the batches that the bound must hold: fewer save nothing


class Tape:
    """The frames of one key in `folder`, with the counts of what this process did.

    Claims are locks on single bytes of a file, which the system gives back when a process ends in
    whatever way; a process opens a tape once.
    """

    def __init__(self, folder: Path, key: str, budget: Budget, batches: int = 1) -> None:
        """`batches` is how many a run plays."""
        self.folder, self.key = folder, key
        self._batches = batches
        self.full = False  # no more is written, for the bound or the disk
        self.replayed = self.written = self.computed = self.damaged = 0
        self._budget = budget
        self._claims = os.open(folder / "claims", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def close(self) -> None:
        """Give back what is claimed."""
        os.close(self._claims)

    def played(self) -> Played:
        """What became of the batches so far, for the record."""
        return Played(self.replayed, self.written, self.computed, self.damaged)

    def holds(self, number: int) -> bool:
        """Whether there is such a frame, whole or not."""
        return self._path(number).is_file()

    def read(self, number: int) -> Frame | None:
        """A frame; None where there is none, or a damaged one, which is removed and said."""
        try:
            frame = read_frame(self._path(number), self.key, number)
        except FileNotFoundError:
            return None
        except FrameError as error:
            print(f"tape: {error}; computed again", file=sys.stderr)
            self.damaged += 1
            self._path(number).unlink(missing_ok=True)
            return None
        except OSError as error:
            print(f"tape: {self._path(number)}: {error.strerror}; computed", file=sys.stderr)
            self.full = True  # a disk that fails is written to no more
            return None
        return frame

    def claim(self, number: int) -> bool:
        """Whether it is for this process to compute frame `number`: nobody has it, or is at it."""
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        if self.holds(number):  # written between the last look and the claim
            self.release(number)
            return False
        return True

    def release(self, number: int) -> None:
        """Give back a claim."""
        fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, number)

    def keep(self, number: int, frame: Frame) -> bool:
        """Write a frame that was computed, if the bound and the disk allow; whether it is there."""
        if self.holds(number):
            self.computed += 1
            return True
        if not self.full and self._budget.limit < LEAST * self._batches * frame.bytes:
            least = LEAST * self._batches * frame.bytes / 2**30
            self._stop(f"{self._told_limit()} would hold too little; {least:.2g} GiB is the least")
        kept = not self.full and self._written(number, encoded(frame, self.key, number))
        self.written += kept
        self.computed += not kept
        return kept

    def _written(self, number: int, content: bytes) -> bool:
        if not self._budget.take(len(content)):
            self._stop(f"{self._told_limit()} is reached")
            return False
        path = self._path(number)
        try:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            self._stop(f"{path}: {error.strerror}")
            return False
        return True

    def _told_limit(self) -> str:
        return f"its bound of {self._budget.limit / 2**30:.2g} GiB (--tape-gib)"

    def _stop(self, why: str) -> None:
        self.full = True
        print(f"tape: {why}: batches that are not on it are computed", file=sys.stderr)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number // IN_A_FOLDER:03d}" / f"{number:06d}"
