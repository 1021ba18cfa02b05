"""Checkpoints of tensors and plain values: written atomically, read without running anything in
them.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from experiments.errors import UsageError

FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` and its checksum; `path` is whole at any moment (fsync, then rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        digest = _digest(temporary)
        os.replace(temporary, path)
        _checksum_path(path).write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; raises UsageError that says what is wrong with the file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such checkpoint")
    checksum = _checksum_path(path)
    if checksum.is_file() and checksum.read_text(encoding="utf-8").split()[:1] != [_digest(path)]:
        raise UsageError(f"{path}: does not match {checksum.name}: damaged or changed")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not one of its own
        raise UsageError(f"{path}: not a readable checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(f"{path}: not a checkpoint of this program (format {FORMAT})")
    return state


def newest_good(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint of a run, older ones being tried when it is damaged."""
    for path in sorted(folder.glob("iteration_*.pt"), reverse=True):
        try:
            return path, load_checkpoint(path)
        except UsageError as error:
            print(f"{error}; trying the one before it", flush=True)
    return None


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
