"""Annotations of an instances JSON, hundreds of thousands of rows, as arrays.

Shapes: N objects, I images.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw

from datasets.formats.coco_json import row
from datasets.formats.findings import Findings, as_written
from datasets.formats.values import flag, identity, number
from datasets.index import Array

Id = int | str
_ABSURD = 1e9  # as in `values`
_LARGEST = 2**53
_Whole = Annotated[int, Meta(ge=-_LARGEST, le=_LARGEST)]


class _Usual(msgspec.Struct):
    """An annotation as COCO writes it; any other row is read field by field."""

    image_id: _Whole
    category_id: _Whole
    bbox: tuple[float, float, float, float]
    area: Annotated[float, Meta(ge=0)]
    id: _Whole
    iscrowd: Annotated[int, Meta(ge=0, le=1)] = 0
    ignore: Annotated[int, Meta(ge=0, le=0)] = 0


_usual = msgspec.json.Decoder(_Usual).decode


class Annotations:
    """Reads rows; `source` is the file's name, `images` the place of each usable image by every id
    that it has, `categories` the usable ids.
    """

    def __init__(
        self,
        source: str,
        images: Mapping[Id, int],
        categories: Sequence[Id],
        findings: Findings,
    ) -> None:
        self._source, self._findings = source, findings
        self._images = images
        self._categories = {key: place for place, key in enumerate(categories)}
        self._whole = array("q")  # image, category, crowd, id, place in the file
        self._real = array("d")  # x, y, width, height, area
        self.words: dict[str, str] = {}  # boxes that are no numbers, as they are written

    def read_all(self, values: Sequence[Any]) -> None:
        """Read rows as `coco_json` gives them: a microsecond each where they are usual."""
        images, categories = self._images.get, self._categories.get
        whole, real = self._whole.extend, self._real.extend
        for place, value in enumerate(values):
            if isinstance(value, Raw):
                try:
                    usual = _usual(value)
                except msgspec.ValidationError:
                    pass
                else:
                    image, category = images(usual.image_id), categories(usual.category_id)
                    if image is not None and category is not None:
                        whole((image, category, usual.iscrowd, usual.id, place))
                        real((*usual.bbox, usual.area))
                        continue
            self._read(place, row(value))

    def arrays(self) -> dict[str, Array]:
        """The columns of objects, in order of the images, with `place`, their row in the file.

        `name` are categories by their place.
        """
        whole_N5 = np.array(self._whole, np.int64).reshape(-1, 5)
        real_N5 = np.array(self._real, np.float64).reshape(-1, 5)
        order = np.argsort(whole_N5[:, 0], kind="stable")
        whole_N5, real_N5 = whole_N5[order], real_N5[order]
        xywh_N4 = np.where(np.abs(real_N5[:, :4]) < _ABSURD, real_N5[:, :4], np.nan)
        own_N = np.abs(np.nan_to_num(xywh_N4[:, 2:]).prod(1))
        area_N = np.where(np.isnan(real_N5[:, 4]), own_N, real_N5[:, 4])
        number = max(self._images.values(), default=-1) + 1
        counts_I = np.bincount(whole_N5[:, 0], minlength=number)
        self._note_twice(whole_N5[:, 3])
        return {
            "first": np.concatenate([[0], np.cumsum(counts_I)]).astype(np.int64),
            "boxes": np.hstack([xywh_N4[:, :2], xywh_N4[:, :2] + xywh_N4[:, 2:]]).astype(
                np.float32
            ),
            "name": whole_N5[:, 1].astype(np.int32),
            "difficult": np.zeros(len(whole_N5), np.uint8),
            "crowd": whole_N5[:, 2].astype(np.uint8),
            "area": area_N.astype(np.float32),
            "object": np.ascontiguousarray(whole_N5[:, 3]),
            "place": np.ascontiguousarray(whole_N5[:, 4]),
        }

    def _read(self, place: int, found: Any) -> None:
        fields: dict[str, Any] = found if isinstance(found, dict) else {}
        own = identity(fields.get("id"))
        key = own if isinstance(own, int) and abs(own) <= _LARGEST else place
        rows = []
        for field, known in (("image_id", self._images), ("category_id", self._categories)):
            value = fields.get(field)
            wanted = identity(value)
            if wanted is None or wanted not in known:
                lacks = "is not in the file" if wanted is not None else "is no id"
                return self._lose(place, key, field, f"{value!r:.60} {lacks}")
            rows.append(known[wanted])
        box = fields.get("bbox")
        if not isinstance(box, (list, tuple)):
            return self._lose(place, key, "bbox", f"missing or no list, found {box!r:.60}")
        self._keep((*rows, place), key, box, fields)

    def _lose(self, place: int, key: int, field: str, why: str) -> None:
        what = f"annotations[{place}].{field}: {why}; not used"
        self._findings.add(self._source, key, "bad_row", what, lost=1)

    def _keep(
        self, rows: tuple[int, ...], key: int, box: Sequence[Any], fields: dict[str, Any]
    ) -> None:
        xywh = [number(value) for value in box] if len(box) == 4 else [math.nan] * 4
        if not all(map(math.isfinite, xywh)):
            self.words[as_written(self._source, key)] = f"bbox {box!r:.60}"
        area = number(fields.get("area"))
        if not area >= 0:
            area = math.nan
            what = "annotation: has no area; read as width x height"
            self._findings.count(self._source, key, "missing_area", what)
        crowd, odd = flag(fields.get("iscrowd"))
        if odd is not None:
            what = f"annotation: iscrowd is {odd!r:.40}, neither yes nor no; read as 0"
            self._findings.count(self._source, key, "odd_flag", what)
        if flag(fields.get("ignore"))[0]:
            what = (
                "annotation: ignore is set, which is not read, as pycocotools doesn't: an object"
                " like any other; iscrowd 1 is neither rewarded nor punished"
            )
            self._findings.count(self._source, key, "ignore_mark", what)
        image, category, place = rows
        self._whole.extend((image, category, int(crowd), key, place))
        self._real.extend((*xywh, area))

    def _note_twice(self, ids_N: Array) -> None:
        ordered = np.sort(ids_N)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        for key in twice[:1].tolist():
            more = f" ({len(twice)} such, first here)" if len(twice) > 1 else ""
            what = f"annotations: id {key} is there before{more}"
            self._findings.add(self._source, key, "duplicate_id", what)
