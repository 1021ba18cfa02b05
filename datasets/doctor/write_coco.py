"""A repaired copy in COCO's layout: instances files whose sound rows are the bytes they were."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from datasets.doctor.examine import Examination
from datasets.doctor.fates import Fates
from datasets.errors import DataError
from datasets.formats.coco_columns import category_name
from datasets.formats.coco_images import file_named
from datasets.formats.coco_json import Document, read_document, row
from datasets.formats.finder import leads_out
from datasets.formats.values import flag, identity, number
from datasets.index import text_at, texts

Row = dict[str, Any]
_encode = msgspec.json.encode


def write_coco(seen: Examination, fates: Fates, out: Path) -> dict[str, str]:
    """Write the instances files below `out`; returns the name of each split there."""
    names = {}
    for split, one in seen.written.items():
        source = one.raw.meta["source"]
        if not fates.image_stays_I[seen.joined.rows[split]].any():
            continue  # counted; readers refuse a split without an image
        try:
            document = read_document(seen.root / source)
        except DataError:
            continue  # counted; nothing of it can be kept
        copy = _Copy(seen, fates, split)
        tables = {
            "images": list(copy.images(document)),
            "annotations": list(copy.annotations(document)),
            "categories": list(copy.categories(document)),
        }
        path = out / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encode(document.rest | tables))
        names[split] = source
    return names


class _Copy:
    """The rows of one file as they are to be."""

    def __init__(self, seen: Examination, fates: Fates, split: str) -> None:
        self._seen, self._fates = seen, fates
        self._rows = seen.joined.rows[split]
        raw = seen.raw
        self._image_of = {text_at(raw, "image_id", int(r)): int(r) for r in self._rows}
        self._image_ids = [identity(text) for text in texts(raw, "image_id")]
        self._image_N = seen.joined.image_N
        objects = np.flatnonzero(np.isin(seen.joined.image_N, self._rows))
        self._object_at = dict(zip(raw["place"][objects].tolist(), objects.tolist(), strict=True))
        meta = seen.written[split].raw.meta
        named = zip(meta["names"], meta["category_ids"], strict=True)
        unknown = seen.judged.unknown
        self._category = {i: ids[0] for name, ids in named for i in ids if name not in unknown}
        self._ids: set[int] = set()
        self._free = 1 + int(raw["object"].max(initial=0))

    def images(self, document: Document) -> Iterator[Any]:
        """Images that stay, with their own size, an id that is a number if it can be."""
        taken: set[int] = set()
        for value in document.images:
            found = row(value)
            key = identity(found.get("id")) if isinstance(found, dict) else None
            place = self._image_of.get(str(key), -1)
            if place < 0 or place in taken or not self._fates.image_stays_I[place]:
                continue
            taken.add(place)
            height, width = self._seen.raw["size_hw"][place].tolist()
            mended = {"id": key, "file_name": self._file_name(place, file_named(found))}
            mended |= {"height": height, "width": width}
            yield value if _says(found, mended) else found | mended

    def _file_name(self, place: int, written: str) -> str:
        """As written where it says where the copy has the file, else from the root."""
        file = text_at(self._seen.raw, "image", place)
        plain = "\\" not in written and not leads_out(written)
        return written if plain and f"/{file}".endswith(f"/{written}") else file

    def annotations(self, document: Document) -> Iterator[Any]:
        """Annotations that stay; a row that is sound is passed on as it came."""
        for place, value in enumerate(document.annotations):
            thing = self._object_at.get(place)
            if thing is None or not self._fates.stays_N[thing]:
                continue
            found: Row = row(value)
            mended = self._mended(place, thing, found)
            yield value if isinstance(value, Raw) and _says(found, mended) else found | mended

    def _mended(self, place: int, thing: int, found: Row) -> Row:
        x1, y1, x2, y2 = self._fates.box(thing)
        written = [number(value) for value in found["bbox"]]
        xywh = [x1, y1, x2 - x1, y2 - y1]
        if np.abs(np.array(written) - xywh).max() <= 1e-3:  # a float32's rounding, no repair
            xywh = written if any(isinstance(v, str) for v in found["bbox"]) else found["bbox"]
        area = number(found.get("area"))
        if not area >= 0:
            area = float(self._seen.raw["area"][thing])
        key = identity(found.get("id"))
        if not isinstance(key, int) or key in self._ids:
            key = self._free
            self._free += 1
        self._ids.add(key)
        category = identity(found["category_id"])
        return {
            "id": key,
            "image_id": self._image_ids[int(self._image_N[thing])],
            "category_id": self._category.get(category, category),
            "bbox": xywh,
            "area": found["area"] if found.get("area") == area else area,
            "iscrowd": int(flag(found.get("iscrowd"))[0]),
        }

    def categories(self, document: Document) -> Iterator[Any]:
        """Each category once, by the id that annotations use."""
        taken: set[Any] = set()
        wanted = set(self._category.values())
        for value in document.categories:
            found = row(value)
            key = identity(found.get("id")) if isinstance(found, dict) else None
            if key in wanted and key not in taken:
                taken.add(key)
                name = category_name(found)
                yield (
                    value
                    if _says(found, {"id": key, "name": name})
                    else found
                    | {
                        "id": key,
                        "name": name,
                    }
                )


def _says(found: Row, mended: Row) -> bool:
    """Whether a row holds these very values, and of the same types: "7" and 7.0 are not 7."""
    return all(
        field in found and type(found[field]) is type(value) and found[field] == value
        for field, value in mended.items()
    )
