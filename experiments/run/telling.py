"""What a run tells on the terminal beside its progress: its start, flaws of its data, its end."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from datasets.errors import Finding
from experiments.config.train import Train
from experiments.engine import distributed
from experiments.engine.arithmetic import described
from experiments.engine.distributed import LostRankError
from experiments.engine.guards import explained
from experiments.errors import GuardError
from experiments.record.record import RECORD_FILE, Data, Failure, RunRecord

PROBLEMS_SHOWN = 5


def tell_start(record: RunRecord) -> None:
    """The first lines of a run: what is not in its recipe, but was found out here."""
    ranks = f", {record.ranks} processes" if record.ranks > 1 else ""
    computed = described(record.arithmetic) if record.arithmetic else ""
    print(
        f"{record.arm}, seed {record.seed}: {computed}; {record.images_an_update} images an "
        f"update{ranks}",
        file=sys.stderr,
    )
    if record.data is not None:
        _tell_problems(record.data)


def _tell_problems(data: Data) -> None:
    """The first flaws of the labels, and where the others are."""
    for problem in data.problems[:PROBLEMS_SHOWN]:
        print(f"label: {problem}", file=sys.stderr)
    more = len(data.problems) - PROBLEMS_SHOWN
    if more > 0:
        print(
            f"label: {more} more; all are in {RECORD_FILE} and in the 'doctor' verb's list",
            file=sys.stderr,
        )


def tell_slow(findings: Sequence[Finding]) -> None:
    """Images that the faster decoder refused, once a split."""
    for finding in dict.fromkeys(findings):
        print(f"image: {finding}", file=sys.stderr)


def told_as(error: Exception, train: Train, folder: Path) -> Exception:
    """The error as the record and the user are told of it."""
    if distributed.is_lost_rank(error):
        return distributed.lost_rank(error, folder)
    sizes = less_memory(train, distributed.world())
    return explained(error, sizes, folder / RECORD_FILE)


def less_memory(train: Train, ranks: int) -> str:
    """What to do about too little memory: first what the run itself may go on with.

    A batch in more parts makes the same updates, as long as `ranks` can still share it out.
    """
    words = []
    size = train.batch_size // ranks
    parts = next((n for n in range(2, size + 1) if size % n == 0), None)
    if parts is not None:
        batch, accumulate = train.batch_size // parts, train.accumulate * parts
        words.append(f"train.batch_size={batch} train.accumulate={accumulate} (the same updates)")
    if train.workers != 0:
        words.append("train.workers=0")
    if train.cache_images == "whole":
        words.append("train.cache_images=no")
    added = " and ".join(words)
    same = f"To go on where this stopped, add {added} to the command. " if words else ""
    low = "" if train.precision in ("bfloat16", "float16") else ", train.precision=bfloat16"
    return (
        f"{same}Less is needed by another run, with another --out: a smaller input (input.fit), "
        f"train.cache_images=N pixels{low}"
    )


def tell_failure(told: Exception, error: Exception) -> None:
    """A guard's words alone, anything else with its traceback; a rank that only missed another
    leaves the telling to it.
    """
    if not isinstance(told, GuardError):
        traceback.print_exception(error)
    elif distributed.is_first() or not isinstance(told, LostRankError):
        print(f"error: {told}", file=sys.stderr)


def failure(told: BaseException, error: BaseException) -> Failure:
    """The error for the record."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Failure(type=type(told).__name__, message=str(told), where=where)
