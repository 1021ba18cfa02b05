"""An instances JSON as rows, each decoded when it is asked for.

msgspec finds the rows without building them: 448 MB of COCO's instances need 3.4 s and no Python
object for the polygons, which labels don't use. What it refuses though people write it (NaN,
UTF-16) goes through Python's own parser, which also says where a broken file is broken.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from datasets.errors import DataError, nearest
from datasets.formats.foreign import foreign

DEEPEST = 64  # an honest instances file nests 6 deep
_HEAD_BYTES = 2**16
_BOM = b"\xef\xbb\xbf"
TABLES = ("images", "annotations", "categories")
_decode = msgspec.json.decode
_rows = msgspec.json.Decoder(list[Raw])


@dataclass(frozen=True, slots=True)
class Document:
    """The three tables, rows as they came (see `row`), and the other keys in plain values."""

    images: Sequence[Any]
    annotations: Sequence[Any]
    categories: Sequence[Any]
    rest: dict[str, Any]


def read_document(path: Path) -> Document:
    """The tables of an instances file; DataError where it isn't JSON or lacks a table."""
    data = _read(path)
    try:
        tables: dict[str, Any] = _decode(data.removeprefix(_BOM), type=dict[str, Raw])
        tables |= {name: _rows.decode(tables[name]) for name in TABLES if name in tables}
        rest = {name: _decode(raw) for name, raw in tables.items() if isinstance(raw, Raw)}
    except (msgspec.DecodeError, RecursionError):
        tables = _slowly(path, data)
        rest = {name: value for name, value in tables.items() if name not in TABLES}
    _refuse_other_tables(path, tables)
    return Document(tables["images"], tables["annotations"], tables["categories"], rest)


def _refuse_other_tables(path: Path, tables: dict[str, Any]) -> None:
    """DataError where a table isn't there, or isn't one."""
    if not any(name in tables for name in TABLES):
        keys = ", ".join(list(tables)[:4]) or "nothing"
        raise DataError(
            f"{path}: holds {keys:.100}, none of COCO's images, annotations, categories;"
            " labels in another tool's own JSON are not read: export them as COCO, VOC or YOLO"
        )
    for name in TABLES:
        found = tables.get(name)
        if name not in tables:
            raise DataError(f"{path}: {name}: missing or not a list{nearest(name, tables)}")
        if not isinstance(found, list):
            kind = type(row(found)).__name__
            raise DataError(f"{path}: {name}: missing or not a list, found a {kind}")


def row(value: Any) -> Any:
    """A row in plain values."""
    return _decode(value) if isinstance(value, Raw) else value


def rows(values: Sequence[Any]) -> Iterator[dict[str, Any] | None]:
    """Rows in plain values; None for what is no object."""
    for value in values:
        plain = row(value)
        yield plain if isinstance(plain, dict) else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            _refuse_depth(path, head)
            file.seek(0)
            return file.read()  # at once: joining it to the head would hold it twice
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None


def _refuse_depth(path: Path, head: bytes) -> None:
    """Refuse a file that is nesting only before it is read whole."""
    data = np.frombuffer(head, np.uint8)
    opens = np.isin(data, np.frombuffer(b"[{", np.uint8)).astype(np.int32)
    closes = np.isin(data, np.frombuffer(b"]}", np.uint8)).astype(np.int32)
    if len(data) and int(np.cumsum(opens - closes).max()) > DEEPEST:
        raise DataError(f"{path}: nested deeper than {DEEPEST}: not a COCO file")


def _slowly(path: Path, data: bytes) -> dict[str, Any]:
    if (kind := foreign(data)) is not None:
        raise DataError(f"{path}: {kind}")
    try:
        document = json.loads(data)
    except RecursionError:
        raise DataError(f"{path}: nested too deep: not a COCO file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 ({error})") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: line {error.lineno}, column {error.colno}: broken JSON ({error.msg})"
        ) from None
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: holds a {type(document).__name__}, expected an object with images,"
            " annotations, categories (COCO's); labels in another tool's own JSON are not read"
        )
    return document
