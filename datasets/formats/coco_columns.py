"""The rows of an instances JSON as columns: what can be used, and a finding for what can't.

Numbers are read as numbers also where they are written as text; an id 7 is the id "7". Shapes: N
objects, I images.
"""

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from datasets.errors import DataError
from datasets.formats.coco_images import file_named
from datasets.formats.coco_json import Document, rows
from datasets.formats.coco_rows import Annotations, Id
from datasets.formats.finder import tidy
from datasets.formats.findings import Findings, packed
from datasets.formats.values import identity, is_text, pixels
from datasets.index import Array, Columns, pack_text

_Image = tuple[str, tuple[int, int]]  # file name, (height, width) or zeros


def columns(document: Document, source: str) -> Columns:
    """Labels as written (`datasets/written.py` tells the columns), rows in the order of `images`.

    `source` is the file's name in findings. `filename` are the images' names, tidied; `meta` has
    `names`, in order of their ids, and `category_ids`: by class all ids that mean it, the one in
    use first. DataError where no image can be used, or an id means two categories.
    """
    findings = Findings()
    images = _images(document, source, findings)
    categories = _categories(document, source, findings)
    first = first_of_file({key: name for key, (name, _) in images.items()})
    _note_files(images, first, source, findings)
    images = {key: image for key, image in images.items() if key not in first}
    place = {key: row for row, key in enumerate(images)}
    place |= {key: place[other] for key, other in first.items()}
    reader = Annotations(source, place, list(categories), findings)
    reader.read_all(document.annotations)
    arrays = reader.arrays()
    names, ids, merged = _merged(categories, arrays["name"], source, findings)
    arrays["name"] = merged[arrays["name"]].astype(np.int32)
    sizes = [size for _, size in images.values()]
    arrays["size_hw"] = np.array(sizes, np.int32).reshape(-1, 2)
    texts = {"image_id": [str(i) for i in images], "filename": [n for n, _ in images.values()]}
    for field, values in texts.items():
        arrays[field], arrays[f"{field}_ends"] = pack_text(values)
    meta = {"names": names, "category_ids": ids, "source": source, "lost": findings.lost}
    return Columns(arrays, meta | {"findings": packed(findings.all()), "words": reader.words})


def empty(findings: Findings, source: str) -> Columns:
    """The columns of a file that can't be read."""
    arrays = Annotations(source, {}, [], Findings()).arrays()
    arrays["size_hw"] = np.zeros((0, 2), np.int32)
    for field in ("image_id", "filename"):
        arrays[field], arrays[f"{field}_ends"] = pack_text([])
    meta = {"names": [], "category_ids": [], "source": source, "lost": 0}
    return Columns(arrays, meta | {"findings": packed(findings.all())})


def first_of_file(names: Mapping[Id, str]) -> dict[Id, Id]:
    """By id, the first id of the same file: what converters of tables write, a row of `images` for
    each annotation, is one image.

    >>> first_of_file({1: "a.jpg", 2: "b.jpg", 3: "a.jpg"})
    {3: 1}
    """
    first: dict[str, Id] = {}
    ids = {key: first.setdefault(name, key) for key, name in names.items()}
    return {key: other for key, other in ids.items() if key != other}


def _note_files(
    images: Mapping[Id, _Image], first: Mapping[Id, Id], source: str, findings: Findings
) -> None:
    if first:
        key, other = next(iter(first.items()))
        more = f" ({len(first)} such, first here)" if len(first) > 1 else ""
        what = f"images: {key!r} and {other!r} are both {images[key][0]}: read as one image{more}"
        findings.add(source, _whole(key), "duplicate_id", what)


def _images(document: Document, source: str, findings: Findings) -> dict[Id, _Image]:
    images: dict[Id, _Image] = {}
    unclear: set[Id] = set()
    for place, row in enumerate(rows(document.images)):
        key = identity((row or {}).get("id"))
        name = file_named(row or {})
        if row is None or key is None or not _is_name(name):
            field = "id" if key is None else "file_name"
            found = None if row is None else row.get(field)
            _bad(findings, source, f"images[{place}].{field}", found)
            continue
        if key in images:
            if images[key][0] != tidy(name):
                unclear.add(key)
            findings.count(source, _whole(key), "duplicate_id", f"images: {key!r} is there before")
            continue
        size = pixels(row.get("height")), pixels(row.get("width"))
        if 0 in size:
            what = "an image has no height or width; its own is used"
            findings.count(source, _whole(key), "missing_size", what)
        images[key] = tidy(name.strip()), size if 0 not in size else (0, 0)
    for key in unclear:
        what = f"images: {key!r} is {images[key][0]} and another file: not used"
        findings.add(source, _whole(key), "bad_row", what)
        del images[key]
    if not images:
        first = next((f"; {f.message}" for f in findings.all() if f.kind == "bad_row"), "")
        raise DataError(f"images: is empty; it must hold at least one usable image{first}")
    return images


def _categories(document: Document, source: str, findings: Findings) -> dict[Id, str]:
    names: dict[Id, str] = {}
    for place, row in enumerate(rows(document.categories)):
        key = identity((row or {}).get("id"))
        name = category_name(row or {})
        if key is None or not _is_name(name):
            field = "id" if key is None else "name"
            _bad(findings, source, f"categories[{place}].{field}", (row or {}).get(field))
        elif names.setdefault(key, name) != name:
            raise DataError(f"categories: {key!r} is both {names[key]!r} and {name!r}")
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _merged(
    categories: Mapping[Id, str], category_N: Array, source: str, findings: Findings
) -> tuple[list[str], list[list[Id]], Array]:
    """Names, each once; their ids, the most used one first; and the name of each category."""
    used_K = np.bincount(category_N, minlength=len(categories))
    ids: dict[str, list[Id]] = {}
    count = dict(zip(categories, used_K.tolist(), strict=True))
    for key, name in categories.items():
        ids.setdefault(name, []).append(key)
    for name, keys in ids.items():
        if len(keys) > 1:
            keys.sort(key=lambda key: -count[key])
            told = ", ".join(f"id {key!r} ({count[key]} annotations)" for key in keys)
            what = f"categories: {name!r} is there {len(keys)} times, read as one: {told}"
            findings.add(source, _whole(keys[0]), "category_twice", what)
    order = {key: place for place, key in enumerate(categories)}
    names = sorted(ids, key=lambda name: order[ids[name][0]])
    place = {name: number for number, name in enumerate(names)}
    merged = np.array([place[name] for name in categories.values()] or [0], np.int32)
    return names, [ids[name] for name in names], merged


def category_name(row: Mapping[str, Any]) -> str:
    """The name of a row of `categories`, which digits may be as a number; "" where there is none.

    >>> category_name({"id": 1, "name": 0})
    '0'
    """
    name = row.get("name")
    return str(name).strip() if isinstance(name, (str, int)) else ""


def _is_name(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and bool(name.strip()) and is_text(name)


def _bad(findings: Findings, source: str, place: str, found: Any) -> None:
    what = f"{place}: missing or of the wrong type, found {found!r:.60}; not used"
    findings.add(source, None, "bad_row", what)


def _whole(key: Id) -> int | None:
    return key if isinstance(key, int) else None
