"""A checkpoint to its anatomy: load, probe on a split, count, share out."""

from pathlib import Path
from typing import Any, cast

from experiments.config.run import RunConfig, load_config, plain_config
from experiments.engine.checkpoint import newest_good
from experiments.errors import UsageError
from experiments.evaluation.anatomy_file import KINDS, Anatomy, shares_of
from experiments.probes.anatomy import gradient_weights, probe
from experiments.record.origin import config_hash, file_hash
from experiments.run.assembly import batches_in_order
from experiments.run.detecting import load_trained


def anatomise(
    named: Path,
    recipe: Path | None,
    *,
    split: str,
    most_images: int,
    gammas: tuple[float, ...] | None,
    usual: tuple[float, ...],
) -> tuple[Anatomy, Path]:
    """The anatomy of a checkpoint or a run's newest one, and the run's folder.

    gammas None: the `usual` ones and the run's own at the end of its training. Raises UsageError,
    and EvaluationError where there is no foreground or no background in the images.
    """
    path = checkpoint_file(named)
    config, detector, classes = load_trained(path)
    source = config if recipe is None else load_config(recipe, [])
    dataset = cast(Any, source.data).open(split)
    if tuple(dataset.classes) != classes:
        raise UsageError(
            f"{recipe or path}: its {split} split has the classes {', '.join(dataset.classes)}; "
            f"the checkpoint was trained for {', '.join(classes)}"
        )
    found = probe(
        detector,
        batches_in_order(source, dataset, detector),
        most_images=most_images,
        bfloat16=config.train.precision == "bfloat16",
        channels_last=config.train.channels_last,
    )
    values = config.loss.values(1.0)
    weights = gradient_weights(detector, values.get("alpha"))
    chosen = gammas or tuple(sorted({*usual, values.get("gamma", 0.0)}))
    anatomy = Anatomy(
        of=found.of,
        weights=weights,
        levels=found.counts.levels,
        counts={kind: int(found.counts.by_kind[kind].sum()) for kind in KINDS},
        shares=shares_of(found.counts, chosen, weights),
        checkpoint=path.name,
        checkpoint_sha256=file_hash(path),
        config_hash=_hash(config),
        seed=config.seed,
        split=split,
        images=found.images,
    )
    return anatomy, folder_of(path)


def checkpoint_file(named: Path) -> Path:
    """The file named, or the newest good one of a run's folder; raises UsageError."""
    if not named.is_dir():
        return named
    found = newest_good(named if named.name == "checkpoints" else named / "checkpoints")
    if found is None:
        raise UsageError(f"{named}: no checkpoint here; name a run's folder or a checkpoint file")
    return found[0]


def folder_of(checkpoint: Path) -> Path:
    """The run's folder: above `checkpoints`, else where the file lies."""
    folder = checkpoint.parent
    return folder.parent if folder.name == "checkpoints" else folder


def _hash(config: RunConfig) -> str:
    return config_hash(plain_config(config))
