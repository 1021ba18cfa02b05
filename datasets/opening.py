"""From labels as written to labels as used: the step that VOC and COCO share."""

from collections.abc import Sequence

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
    meta = {"classes": list(classes), "findings": findings, "unknown": verdict.unknown}
    return Columns(arrays, meta)
