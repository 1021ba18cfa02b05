"""An earlier sitting of a run: whether this one may go on with it, and what it goes on with.

Only what decides the result has to be the same. What does not (loader processes, how often
checkpoints are written, tracking ..) is marked `free` in its settings; `show` says which those are.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.config.located import dotted
from experiments.config.run import free_keys, plain_config, read_config
from experiments.engine import distributed
from experiments.errors import ConfigError, UsageError
from experiments.record.files import HeldError, Lock
from experiments.record.parts import Arithmetic, Data
from experiments.record.record import RECORD_FILE, RunRecord, is_finished, load_record

LOCK = "train.lock"
DIFFERENCES_SHOWN = 3
ARITHMETIC = ("train.precision", "train.channels_last")
BATCH, ACCUMULATE = "train.batch_size", "train.accumulate"


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """No other process trains in `folder` meanwhile; of several ranks the first holds it for all.

    A finished run needs no lock, since nothing is written to it. Raises UsageError.
    """
    first = not distributed.launched() or os.environ["RANK"] == "0"
    if not first or is_finished(folder):
        yield
        return
    try:
        lock = Lock(folder / LOCK)
    except HeldError as held:
        raise UsageError(
            f"{folder}: process {held.process} trains in it already; wait for its end, or choose "
            "another --out"
        ) from None
    with lock:
        yield


def earlier_sitting(folder: Path, config: Mapping[str, Any]) -> RunRecord | None:
    """The record that an earlier sitting left in `folder`; what is different in `config`, the run's
    plain form now, is told.

    None where it ended before its first iteration: there is nothing to go on with, and a mended
    command may begin.

    Raises UsageError where it was of another configuration.
    """
    if not (folder / RECORD_FILE).is_file():
        return None
    record = load_record(folder)
    if not _has_begun(folder, record):
        return None
    old, new = dotted(_with_defaults(record.config)), dotted(config)
    apart = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    refused = list(_refused(record, old, new, apart))
    if refused:
        more = "; ..." if len(refused) > DIFFERENCES_SHOWN else ""
        raise UsageError(
            f"{folder}: holds a run of another configuration "
            f"({'; '.join(refused[:DIFFERENCES_SHOWN])}{more}): choose another --out, or remove "
            "the folder"
        )
    taken = [key for key in apart if key not in ARITHMETIC and key.split(".")[0] != "tracking"]
    if taken and record.status != "finished":
        told = ", ".join(f"{key}={new.get(key)} ({old.get(key)} before)" for key in taken)
        print(f"{folder}: goes on with {told}", file=sys.stderr)
    return record


def _has_begun(folder: Path, record: RunRecord) -> bool:
    """Whether the sitting left anything of a training."""
    checkpoints = folder / "checkpoints"
    kept = checkpoints.is_dir() and any(checkpoints.iterdir())
    return bool(record.status == "finished" or record.curves or record.validations or kept)


def begun_in(earlier: RunRecord) -> Arithmetic | None:
    """The arithmetic that a run began in; before it was recorded, its recipe said it outright."""
    if earlier.arithmetic is not None:
        return earlier.arithmetic
    train = read_config(earlier.config).train
    if train.precision == "auto" or train.channels_last == "auto":
        return None
    return Arithmetic(train.precision, train.channels_last, train.compile)


def require_same_data(folder: Path, began: RunRecord, data: Data) -> None:
    """Refuse to go on with other images or labels than a run began with, wherever they lie."""
    for name in ("train", "val", "test"):
        then = None if began.data is None else getattr(began.data, name)
        now = getattr(data, name)
        if then is not None and now is not None and then.hash != now.hash:
            raise UsageError(
                f"{folder}: its {name} data are not those it began with ({then.images} images and "
                f"{then.objects} objects then, {now.images} and {now.objects} now, contents "
                f"{then.hash[:8]} and {now.hash[:8]}): bring them back, or choose another --out"
            )


def _refused(
    record: RunRecord, old: Mapping[str, Any], new: Mapping[str, Any], apart: list[str]
) -> Iterator[str]:
    """What may not differ, as `key: then, now`."""
    free = free_keys()
    same_update = _images(old) == _images(new)
    for key in apart:
        if key in free or (key in (BATCH, ACCUMULATE) and same_update):
            continue
        then = old.get(key)
        if key in ARITHMETIC:  # a run keeps what it began in, and `auto` asks for nothing else
            if new.get(key) == "auto":
                continue
            if record.arithmetic is not None:
                then = getattr(record.arithmetic, key.partition(".")[2])
            if then == new.get(key):
                continue
        yield f"{key}: {then!r} there, {new.get(key)!r} now"


def _images(config: Mapping[str, Any]) -> Any:
    """Images behind an update of the weights."""
    return config.get(BATCH, 0) * config.get(ACCUMULATE, 0)


def _with_defaults(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded configuration with the keys that did not exist when it ran, at their defaults."""
    try:
        return plain_config(read_config(config))
    except ConfigError:
        return config
