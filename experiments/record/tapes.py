"""Tapes on the disk: where they lie, what each was made for, how much they take. No torch here.

tape/                     below a sweep's folder, or beside the runs of one's own
  used                    bytes of all frames, counted under a lock
  4f0c..-train-seed0/     one tape: the start of its key, what of, the seed where it matters
    tape.json             its whole key, what the key was made of, the runs that used it
    000/000042            a frame (experiments/engine/frames.py)
    claims                who computes which frame now, as locks that end with their process
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.record.files import write_text

FOLDER = "tape"
ABOUT = "tape.json"
PLACE = "SOFTGAMMA_TAPE"  # where a sweep's trials find it, told by the environment
GIB = "SOFTGAMMA_TAPE_GIB"  # its bound, likewise
SHARE = 4  # by default a tape may take one part in so many of the free disk


@dataclass(frozen=True, slots=True)
class About:
    """What `tape.json` says: `parts` go into `key`; `runs` have used it."""

    key: str
    split: str
    parts: Mapping[str, Any]
    runs: Sequence[str]


def open_folder(root: Path, key: str, split: str, parts: Mapping[str, Any], run: str) -> Path:
    """Make the folder of a tape below `root`, or take up the one that is there; `run` uses it.

    Raises OSError.
    """
    seed = f"-seed{parts['seed']}" if "seed" in parts else ""
    folder = root / f"{key[:12]}-{split}{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(root / "lock"):
        known = about(folder)
        if known is not None and known.key != key:  # two keys that begin alike, or damage
            shutil.rmtree(folder)
            folder.mkdir()
            known = None
        runs = [] if known is None else list(known.runs)
        if run not in runs:
            told = {"key": key, "split": split, "parts": parts, "runs": [*runs, run]}
            write_text(folder / ABOUT, json.dumps(told, indent=1) + "\n")
    return folder


def about(folder: Path) -> About | None:
    """What a tape says of itself; None where it says nothing readable."""
    try:
        told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return About(told["key"], told["split"], told["parts"], told["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tapes_below(root: Path) -> list[Path]:
    """The tapes' folders."""
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def size_of(path: Path) -> int:
    """Bytes of all files below, hidden ones included."""
    return sum(size for _, size in _files(path))


def remove(path: Path) -> int:
    """Remove a tape, or all below a root; gives the bytes that this freed. Who reads on keeps what
    is mapped.
    """
    freed = size_of(path)
    shutil.rmtree(path, ignore_errors=True)
    return freed


class Budget:
    """How many bytes the frames of all tapes below `root` may take together.

    Processes count in one file, so that the bound is theirs together, to within a frame of each.
    """

    def __init__(self, root: Path, gib: float | None) -> None:
        """`gib`: the bound; None: a quarter of what is free, tapes that are there counted free."""
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / "lock"):
            used = sum(size_of(tape) for tape in tapes_below(root))
            (root / "used").write_text(str(used), encoding="ascii")
        self.limit = bound_of(root, gib, used)

    def take(self, count: int) -> bool:
        """Whether `count` more bytes fit; they count from now on."""
        with _locked(self._root / "lock"):
            try:
                used = int((self._root / "used").read_text(encoding="ascii"))
            except (OSError, ValueError):
                used = sum(size_of(tape) for tape in tapes_below(self._root))
            if used + count > self.limit:
                return False
            (self._root / "used").write_text(str(used + count), encoding="ascii")
        return True


def bound_of(root: Path, gib: float | None, used: int = 0) -> int:
    """The bytes that tapes below `root`, which may be still to make, may take: `gib`, or a share
    of the free disk, with what they have `used` counted free.
    """
    if gib is not None:
        return int(gib * 2**30)
    there = next(path for path in (root, *root.absolute().parents) if path.exists())
    return (_free(there) + used) // SHARE


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free


def _files(path: Path) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield entry.path, entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # removed, or renamed, meanwhile


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
