"""What is chosen by val, and that it never sees the images that measure the run."""

import sys
from itertools import combinations

from datasets.dataset import Dataset
from datasets.errors import DataError
from datasets.parts import shared_images
from experiments.config.run import RunConfig
from experiments.config.seen import HELD_BACK, told
from experiments.errors import UsageError
from experiments.run.assembly import Splits


def choosers(config: RunConfig) -> list[str]:
    """The settings by which validations choose something of the result."""
    train = config.train
    found = ["train.measure: best"] if train.measure == "best" else []
    return found + ([f"train.patience: {train.patience}"] if train.patience is not None else [])


def open_val(config: RunConfig) -> Dataset | None:
    """The split to choose by, where there is one apart from the measured one's.

    One that cannot be opened, and that nothing asks for, is said and left out.
    """
    data, wanted = config.data, config.train.validate_every is not None
    if config.evaluate.split == "val":
        return None
    if not wanted and data.val in (None, data.test):
        return None
    try:
        return data.open("val")
    except DataError as error:
        if wanted:
            raise
        print(f"note: no val to choose by: {error}", file=sys.stderr)
        return None


def shared_by(splits: Splits) -> dict[str, int]:
    """How many images of one split have the bytes of an image of another: "val/test" -> images of
    val; pairs that share none are left out.
    """
    counts = {
        f"{one}/{other}": shared_images(splits.named[one], splits.named[other])
        for one, other in combinations(splits.named, 2)
    }
    return {pair: count for pair, count in counts.items() if count}


def require_unseen(config: RunConfig, splits: Splits, shared: dict[str, int]) -> None:
    """Refuse to choose by the images that measure the run: contents decide, not names. That those
    are learned from is said.

    Raises:
        UsageError: something is chosen by val, and val is the measured split or shares images
            with it.
    """
    choosing, measured = choosers(config), splits.measured_name
    if choosing and splits.val is None:
        raise UsageError(
            f"{choosing[0]} chooses by val, which measures this run (evaluate.split: {measured})."
            " Measure on test"
        )
    learned = shared.get(f"train/{measured}", 0)
    if learned:
        print(
            f"note: {learned} of {len(splits.train)} training images are among the {measured}"
            " images: numbers measured on them tell little of other images",
            file=sys.stderr,
        )
    count = shared.get(f"val/{measured}", 0)
    if count and choosing and splits.val is not None:
        raise UsageError(f"{choosing[0]} chooses by val: {told(count, len(splits.val), measured)}")
    if count and config.train.validate_every is not None:
        print(
            f"note: {count} images of val are among the {measured} images: validations look at"
            f" what measures the run, so choose nothing by them. {HELD_BACK}",
            file=sys.stderr,
        )
