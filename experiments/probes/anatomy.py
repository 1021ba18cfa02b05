"""How right a detector is wherever its loss tells foreground from background.

Shapes: B images, A anchors or predictions of an image, K classes, F foreground, R = B * A rows.
A signed logit is positive where the answer is right: its sigmoid is the paper's p_t.

A checkpoint to its anatomy: load, probe on a split, count, share out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.dataset import Split
from datasets.sample import Batch
from detectors.base import AnyDetector
from detectors.retinanet.detector import DenseOutput, RetinaNetDetector
from detectors.yolov2.boxes import decode_cells, to_centres
from detectors.yolov2.detector import RegionOutput, YOLOv2Detector
from detectors.yolov2.targets import assign, excused, limit
from experiments.config.run import RunConfig, plain_config
from experiments.engine.arithmetic import autocast, to_device
from experiments.engine.checkpoint import newest_good
from experiments.errors import UsageError
from experiments.evaluation.anatomy import (
    BINS,
    KINDS,
    LARGEST,
    PER_UNIT,
    Anatomy,
    LogitCounts,
    shares_of,
)
from experiments.evaluation.tables import EvaluationError
from experiments.record.origin import config_hash, file_hash
from experiments.record.parts import Arithmetic
from experiments.run.assembly import batches_in_order
from experiments.run.trained import load_trained

USUAL_GAMMAS = (0.0, 0.5, 1.0, 2.0)  # as Figure 4 of the paper draws them


@dataclass(frozen=True, slots=True)
class Answers:
    """Signed logits of one level in one batch, any shape, by kind."""

    level: int
    foreground: Tensor
    background: Tensor


@dataclass(frozen=True, slots=True)
class Probed:
    """Counts over all images, and what was counted, in words."""

    counts: LogitCounts
    of: str
    images: int


@torch.inference_mode()
def probe(
    detector: AnyDetector,
    batches: Iterable[Batch],
    arithmetic: Arithmetic,
    *,
    most_images: int,
) -> Probed:
    """Count the answers on the first `most_images` images, to the end of their batch.

    Raises EvaluationError for a detector that is neither of ours.
    """
    detector.eval()
    device = next(detector.parameters()).device
    counts, images = LogitCounts(levels_of(detector)), 0
    for batch in batches:
        moved = to_device(batch, device, arithmetic)
        with autocast(arithmetic, device):
            output = detector(detector.normalise(moved.images_BCHW, moved.content_B2))
        for one in answers(detector, output, moved):
            counts.add("foreground", one.level, _histogram(one.foreground))
            counts.add("background", one.level, _histogram(one.background))
        images += len(batch.image_ids)
        if images >= most_images:
            break
    return Probed(counts, words_of(detector), images)


def levels_of(detector: AnyDetector) -> tuple[str, ...]:
    """The detector's output levels by the pixels that a step on them spans."""
    if isinstance(detector, RetinaNetDetector):
        return tuple(f"stride {stride}" for stride in detector.strides)
    return (f"stride {_region(detector).settings.output_stride}",)


def words_of(detector: AnyDetector) -> str:
    """What is counted: the decision in which foreground meets background."""
    if isinstance(detector, RetinaNetDetector):
        softmax = detector.settings.activation == "softmax"
        return "class of every anchor" if softmax else "every class of every anchor"
    return "objectness of every prediction"


def gradient_weights(detector: AnyDetector, alpha: float | None) -> tuple[float, float]:
    """What foreground and background weigh in the loss: alpha, and YOLOv2's objectness scales."""
    foreground, background = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    if isinstance(detector, YOLOv2Detector):
        region = detector.settings.region
        return foreground * region.object_scale, background * region.noobject_scale
    return foreground, background


def answers(
    detector: AnyDetector, output: DenseOutput | RegionOutput, truth: Batch
) -> Iterator[Answers]:
    """The signed logits of a batch's output, level by level."""
    if isinstance(detector, RetinaNetDetector) and isinstance(output, DenseOutput):
        yield from _anchor_answers(detector, output, truth)
    elif isinstance(output, RegionOutput):
        yield _objectness_answers(_region(detector), output, truth)


def _region(detector: AnyDetector) -> YOLOv2Detector:
    if not isinstance(detector, YOLOv2Detector):
        raise EvaluationError(
            f"anatomy knows YOLOv2 and RetinaNet, found {type(detector).__name__}"
        )
    return detector


def _anchor_answers(
    detector: RetinaNetDetector, output: DenseOutput, truth: Batch
) -> Iterator[Answers]:
    """RetinaNet: every class of every anchor that counts, or (softmax) its one class."""
    assignment = detector.assign(output, truth)
    logits_BAK = output.logits_BAK.float()
    image_F, anchor_F = assignment.image_F, assignment.anchor_F
    label_F = truth.labels_BM[image_F, assignment.row_F]
    if detector.settings.activation == "sigmoid":
        wanted_BAK = torch.zeros_like(logits_BAK, dtype=torch.bool)
        wanted_BAK[image_F, anchor_F, label_F] = True
        signed_BAK = torch.where(wanted_BAK, logits_BAK, -logits_BAK)
    else:
        wanted_BAK = assignment.foreground_BA[..., None]
        label_BA = torch.full_like(assignment.counted_BA, detector.classes, dtype=torch.int64)
        label_BA[image_F, anchor_F] = label_F
        signed_BAK = _against_the_rest(logits_BAK, label_BA)[..., None]
    begin = 0
    for level, anchors in enumerate(output.grid.levels):
        rows = slice(begin, begin + len(anchors.boxes_A4))
        begin = rows.stop
        counted = assignment.counted_BA[:, rows, None].expand_as(signed_BAK[:, rows])
        wanted = wanted_BAK[:, rows]
        signed = signed_BAK[:, rows]
        yield Answers(level, signed[wanted & counted], signed[~wanted & counted])


def _against_the_rest(logits_K: Tensor, label: Tensor) -> Tensor:
    """The right class's logit against all others together: the logit of its probability."""
    own = logits_K.gather(-1, label[..., None])
    others_K = logits_K.scatter(-1, label[..., None], float("-inf"))
    return own[..., 0] - others_K.logsumexp(dim=-1)


def _objectness_answers(detector: YOLOv2Detector, output: RegionOutput, truth: Batch) -> Answers:
    """YOLOv2: objectness of the responsible predictions, and of idle ones that are not excused."""
    settings = detector.settings.region
    fields_BHWAF = output.fields_BHWAF.float()
    images, height, width = fields_BHWAF.shape[:3]
    size = (height * output.stride, width * output.stride)
    boxes_BM4, valid_BM = limit(truth.boxes_BM4, truth.valid_BM, settings, size)
    cells_BM4 = to_centres(boxes_BM4) / output.stride
    wanted_BM = valid_BM & ~truth.ignore_BM
    grid = (height, width)
    positives = assign(cells_BM4, truth.labels_BM, wanted_BM, detector.anchors_A2, grid, settings)
    decoded = decode_cells(fields_BHWAF, detector.anchors_A2, settings.centre_reach)
    boxes_BN4 = decoded.reshape(images, -1, 4)
    idle_R = ~excused(boxes_BN4, cells_BM4, valid_BM, truth.ignore_BM, settings).flatten()
    idle_R[positives.rows_P] = False
    logits_R = fields_BHWAF[..., 4].flatten()
    return Answers(0, logits_R[positives.rows_P], -logits_R[idle_R])


def _histogram(signed: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Counts of BINS bins, as `anatomy_file.bin_of` numbers them."""
    place = ((signed + LARGEST) * PER_UNIT).floor().clamp(0, BINS - 1).long()
    counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    counts = torch.bincount(place.flatten(), minlength=BINS).cpu().numpy()
    return counts


def anatomise(
    named: Path,
    recipe: Path | None,
    *,
    split: Split,
    most_images: int,
    gammas: tuple[float, ...] | None,
) -> tuple[Anatomy, Path]:
    """The anatomy of a checkpoint or a run's newest one, and the run's folder.

    gammas None: USUAL_GAMMAS and the run's own at the end of its training. Raises UsageError,
    and EvaluationError where there is no foreground or no background in the images.
    """
    path = checkpoint_file(named)
    trained = load_trained(path)
    config, detector = trained.config, trained.detector
    source, dataset = trained.open(recipe, split)
    found = probe(
        detector,
        batches_in_order(source, dataset, detector),
        trained.arithmetic,
        most_images=most_images,
    )
    values = config.loss.values(1.0)
    weights = gradient_weights(detector, values.get("alpha"))
    chosen = gammas or tuple(sorted({*USUAL_GAMMAS, values.get("gamma", 0.0)}))
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
