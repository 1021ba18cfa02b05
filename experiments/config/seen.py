"""Whether the split that chooses has seen the images that measure: contents decide, not names."""

from datasets.errors import DataError
from datasets.parts import shared_images
from experiments.config.run import RunConfig

HELD_BACK = "data.val='{part: 0.1, of: train}' holds a seeded tenth of train back"


def why_not_choose(config: RunConfig) -> str | None:
    """Why nothing may be chosen by this run's val; None where it may, or where its data cannot be
    opened here.
    """
    data, measured = config.data, config.evaluate.split
    if measured == "val":
        return f"val measures the run (evaluate.split: val). {HELD_BACK}, and test measures"
    if data.val is None:
        return f"data.val is null. {HELD_BACK}"
    try:
        val, test = data.open("val"), data.open(measured)
        count = shared_images(val, test)
    except (DataError, OSError):
        return None
    return told(count, len(val), measured) if count else None


def told(count: int, images: int, measured: str) -> str:
    """What is wrong where `count` of the `images` of val measure the run."""
    return (
        f"{count} of the {images} images of val are among the {measured} images that measure the"
        f" run: the choice would be made by the result. {HELD_BACK}"
    )
