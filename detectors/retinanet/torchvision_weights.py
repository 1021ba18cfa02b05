"""State dicts of torchvision's `retinanet_resnet50_fpn` (V1) and `retinanet_resnet50_fpn_v2`, in
and out, unchanged.

V1: P6 from P5, plain heads, L1 boxes, frozen batch norm. V2: P6 from C5, GroupNorm heads, GIoU
boxes, trained batch norm. Both have 91 classes: the label is the COCO category number, and class 0
is never used.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from detectors.errors import DetectorError, unknown_name
from detectors.state_files import read_state_dict

COUNTER = "num_batches_tracked"  # batch norm's step counter, which frozen norms lack
CLASS_LAYER = "classification.predict."

_OURS_TO_THEIRS = (
    (r"^pyramid\.lateral\.(\d+)\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"^pyramid\.smooth\.(\d+)\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"^pyramid\.extra\.0\.", "backbone.fpn.extra_blocks.p6."),
    (r"^pyramid\.extra\.1\.", "backbone.fpn.extra_blocks.p7."),
    (r"^classification\.conv\.", "head.classification_head.conv."),
    (r"^classification\.predict\.", "head.classification_head.cls_logits."),
    (r"^regression\.conv\.", "head.regression_head.conv."),
    (r"^regression\.predict\.", "head.regression_head.bbox_reg."),
)


def load_torchvision(detector: nn.Module, weights: str, *, drop_head: bool = False) -> None:
    """Load `torchvision:NAME` (downloads; as in `torchvision.models.get_weight`) or a state dict's
    path.

    V1's published weights were trained with a batch-norm epsilon of 0, which is set here as
    torchvision sets it.
    """
    if not weights.startswith("torchvision:"):
        load_state(detector, read_state_dict(Path(weights)), drop_head=drop_head)
        return
    name = weights.removeprefix("torchvision:")
    known = {
        str(choice): choice
        for kind in ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2")
        for choice in torchvision.models.get_model_weights(kind)
    }
    if name not in known:
        raise unknown_name("weights", name, known)
    state = known[name].get_state_dict(progress=False, check_hash=True)
    load_state(detector, state, drop_head=drop_head)
    if name == "RetinaNet_ResNet50_FPN_Weights.COCO_V1":
        for module in detector.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0


def load_state(
    detector: nn.Module, state: Mapping[str, Tensor], *, drop_head: bool = False
) -> None:
    """Load a state dict with torchvision's names, of today or of before version 0.13.

    `drop_head` leaves the layer that predicts classes as it is, for other classes than the file's.
    Raises DetectorError that explains what does not fit: classes, anchors, the source of P6, or
    normalisation of the head.
    """
    own = detector.state_dict()
    theirs = {torchvision_name(name): name for name in own if not _is_ours_alone(name)}
    found = {_modern_name(name): tensor for name, tensor in state.items()}
    _explain_mismatch(own, theirs, found, drop_head)
    loaded = {
        name: found[foreign]
        for foreign, name in theirs.items()
        if foreign in found and not (drop_head and name.startswith(CLASS_LAYER))
    }
    detector.load_state_dict(loaded, strict=False)


def export_state(detector: nn.Module) -> dict[str, Tensor]:
    """The detector's tensors under torchvision's names, in torchvision's order."""
    return {
        torchvision_name(name): tensor
        for name, tensor in detector.state_dict().items()
        if not _is_ours_alone(name)
    }


def torchvision_name(name: str) -> str:
    """What torchvision calls one of our tensors."""
    for pattern, replacement in _OURS_TO_THEIRS:
        name = re.sub(pattern, replacement, name)
    return name


def _is_ours_alone(name: str) -> bool:
    return name.startswith("normaliser.")


def _modern_name(name: str) -> str:
    """Names since torchvision 0.13, when convolutions of pyramid and head became blocks."""
    name = re.sub(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", name)
    old = re.search(r"_head\.conv\.(\d+)\.(weight|bias)$", name)
    if old is None:
        return name
    return f"{name[: old.start()]}_head.conv.{int(old[1]) // 2}.0.{old[2]}"


def _explain_mismatch(
    own: Mapping[str, Tensor],
    theirs: Mapping[str, str],
    found: Mapping[str, Tensor],
    drop_head: bool,
) -> None:
    missing = [name for name in theirs if name not in found and not name.endswith(COUNTER)]
    spare = [name for name in found if name not in theirs and not name.endswith(COUNTER)]
    if missing or spare:
        raise DetectorError(_explain_names(missing, spare))
    for foreign, name in theirs.items():
        if foreign not in found or (drop_head and name.startswith(CLASS_LAYER)):
            continue
        if found[foreign].shape != own[name].shape:
            raise DetectorError(_explain_shape(name, foreign, own, found, theirs))


def _explain_names(missing: list[str], spare: list[str]) -> str:
    def is_group_norm(name: str) -> bool:
        return re.search(r"_head\.conv\.\d+\.1\.", name) is not None

    parts = [f"{len(missing)} tensors missing, {len(spare)} not known"]
    if any(map(is_group_norm, spare)):
        parts.append("the file's head has GroupNorm (V2): set head.norm: group")
    elif any(map(is_group_norm, missing)):
        parts.append("the file's head has no GroupNorm (V1): set head.norm: none")
    first = (missing or spare)[0]
    parts.append(f"first {first!r}")
    return "weights: " + "; ".join(parts)


def _explain_shape(
    name: str,
    foreign: str,
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    theirs: Mapping[str, str],
) -> str:
    shapes = f"{foreign} is {list(found[foreign].shape)} in the file, {list(own[name].shape)} here"
    if name.startswith(CLASS_LAYER):
        box = "head.regression_head.bbox_reg.bias"
        per_cell = len(found[box]) // 4, len(own[theirs[box]]) // 4
        if per_cell[0] == per_cell[1]:
            classes = len(found[foreign]) // per_cell[0], len(own[name]) // per_cell[1]
            return (
                f"weights: the file's head has {classes[0]} classes, this detector {classes[1]}; "
                f"set drop_head: true to keep all but the layer that predicts classes ({shapes})"
            )
        return (
            f"weights: the file has {per_cell[0]} anchors a cell, this detector {per_cell[1]} "
            f"({shapes})"
        )
    if name.startswith("pyramid.extra.0."):
        return f"weights: P6 is made from another map in the file; set pyramid.p6_from ({shapes})"
    return f"weights: {shapes}"
