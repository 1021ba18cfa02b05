"""Columns of labels that are lists already: for a layout that needs no reader of its own.

Shapes: N objects, I images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.formats.findings import Findings, packed
from datasets.index import Columns, pack_text


class Thing(NamedTuple):
    """One object; `box` is x1, y1, x2, y2 in pixels, 0-based, x2 and y2 exclusive."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False


def plain_columns(
    images: Sequence[str], things: Sequence[Sequence[Thing]], source: str, findings: Findings
) -> Columns:
    """Labels as written (`datasets/written.py` tells the columns): of each image, by its id.

    `source`: the label file, relative to the root; classes are in alphabetical order.
    """
    names = sorted({thing.name for some in things for thing in some})
    number = {name: place for place, name in enumerate(names)}
    every = [thing for some in things for thing in some]
    boxes_N4 = np.array([thing.box for thing in every], np.float64).reshape(-1, 4)
    extent_N2 = np.clip(boxes_N4[:, 2:] - boxes_N4[:, :2], 0, None)
    counts_I = [len(some) for some in things]
    text, ends = pack_text(images)
    arrays = {
        "first": np.concatenate([[0], np.cumsum(counts_I)]).astype(np.int64),
        "size_hw": np.zeros((len(images), 2), np.int32),  # the images' own count
        "boxes": boxes_N4.astype(np.float32),
        "name": np.array([number[thing.name] for thing in every], np.int32),
        "difficult": np.array([thing.difficult for thing in every], np.uint8),
        "crowd": np.zeros(len(every), np.uint8),
        "area": extent_N2.prod(1).astype(np.float32),
        "object": np.array([k for count in counts_I for k in range(1, count + 1)], np.int64),
        "image_id": text,
        "image_id_ends": ends,
    }
    meta = {"names": names, "source": source, "lost": findings.lost}
    return Columns(arrays, meta | {"findings": packed(findings.all())})
