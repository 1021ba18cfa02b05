"""From labels as written to labels as used: the step that VOC and COCO share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.columns import Columns
from datasets.policy import Policy, judge

_PER_IMAGE = ("size_hw", "image_id", "image_id_ends", "image", "image_ends")


def judged(raw: Columns, source: str, classes: Sequence[str], policy: Policy) -> Columns:
    """Columns of a `Dataset`: the raw ones with the policy applied, its findings in `meta`."""
    verdict = judge(raw, source, classes, policy)
    kept = verdict.kept_M
    arrays = {name: np.asarray(raw[name]) for name in _PER_IMAGE}
    arrays |= {
        "first": np.searchsorted(kept, raw["first"]).astype(np.int64),
        "boxes": verdict.boxes_M4,
        "label": verdict.labels_M.astype(np.int16),
        "difficult": verdict.difficult_M,
        "crowd": verdict.crowd_M,
        "area": raw["area"][kept],
        "object": raw["object"][kept],
    }
    findings = [[f.file, f.object, f.kind, f.message] for f in verdict.findings]
    meta: dict[str, Any] = {
        "classes": list(classes),
        "findings": findings,
        "unknown": verdict.unknown,
    }
    if "category_ids" in raw.meta:  # COCO's, by label
        id_by_name = dict(zip(raw.meta["names"], raw.meta["category_ids"], strict=True))
        meta["category_ids"] = [id_by_name[name] for name in classes]
    return Columns(arrays, meta)
