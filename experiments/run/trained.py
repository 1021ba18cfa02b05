"""A checkpoint to a dump: detect on a split of its own data, or of a recipe's."""

from pathlib import Path

from datasets.dataset import Split
from experiments.errors import UsageError
from experiments.evaluation import Tables
from experiments.run.detecting import load_trained
from experiments.run.measuring import measure


def detect_split(checkpoint: Path, recipe: Path | None, split: Split) -> Tables:
    """Detections and truth of `split`; a recipe replaces data and test settings of the checkpoint.

    Raises UsageError where the recipe's classes are not the checkpoint's.
    """
    config, detector, classes = load_trained(checkpoint)
    if recipe is not None:
        from experiments.config.run import load_config

        config = load_config(recipe, [])
    dataset = config.data.open(split)
    if tuple(dataset.classes) != classes:
        raise UsageError(
            f"{recipe or checkpoint}: its {split} split has the classes "
            f"{', '.join(dataset.classes)}; the checkpoint was trained for {', '.join(classes)}"
        )
    measured = measure(config, detector, dataset, split)
    return Tables(measured.detections, measured.truth, measured.images, classes)
