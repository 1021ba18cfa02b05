"""Plain JSON values <-> the typed parts of a record, by their annotations; msgspec does the work.

Keys that no annotation knows are a later version's: they are left out and named, never refused.
"""

import typing
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec

from experiments.errors import UserError, nearest, shown

KindT = TypeVar("KindT")
_NAMES = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


class RecordError(UserError):
    """A record that cannot be read; says which file and key, what was found and what is allowed."""


def parse(text: bytes, place: str) -> Any:
    """Plain values of JSON text; raises RecordError with `place` and the byte."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise RecordError(f"{place}: broken JSON: {error}") from None


def read(kind: type[KindT], values: Any, place: str) -> KindT:
    """`values` as a `kind`; raises RecordError with `place` and the key that does not fit."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise RecordError(f"{place}: {_fault(kind, values) or error}") from None


def plain(value: Any) -> Any:
    """Parts as JSON values; numbers that JSON cannot hold (NaN, infinity) become None."""
    return msgspec.json.decode(encode(value))


def encode(value: Any) -> bytes:
    """Parts as UTF-8 JSON; letters that UTF-8 cannot hold (of odd file names) are spelt out."""
    try:
        return msgspec.json.encode(value, enc_hook=_simple)
    except UnicodeEncodeError:
        builtins = msgspec.to_builtins(value, enc_hook=_simple)
        return msgspec.json.encode(_spelt(builtins), enc_hook=_simple)


def unknown_keys(kind: Any, values: Any, key: str = "") -> Iterator[str]:
    """The keys of `values` that no field of `kind` has, at any depth, as `validations.*.metrics`:
    a star stands for each of a list or a dictionary.
    """
    if _is_part(kind, values):
        known = _hints(kind)
        yield from (f"{key}{name}" for name in values if name not in known)
        for name in known.keys() & values.keys():
            if _has_parts(known[name]):
                yield from unknown_keys(known[name], values[name], f"{key}{name}.")
        return
    for inner, value, name in _items(kind, values):
        yield from unknown_keys(inner, value, f"{key}*." if name else key)


def _items(kind: Any, values: Any) -> Iterator[tuple[Any, Any, str]]:
    """What a list, a dictionary or an optional part holds: annotation, value and name of each."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and isinstance(values, list):
        yield from ((inner[0], value, str(place)) for place, value in enumerate(values))
    elif typing.get_origin(kind) is dict and isinstance(values, dict):
        yield from ((inner[1], value, str(name)) for name, value in values.items())
    elif inner and is_dataclass(inner[0]) and values is not None:
        yield inner[0], values, ""


def _fault(kind: Any, values: Any, key: str = "") -> str:
    """What is wrong with `values`, with the innermost key at fault; empty where nothing is."""
    try:
        msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        own = str(error)
    else:
        return ""
    for inner, value, name in _fields_of(kind, values) or _items(kind, values):
        fault = _fault(inner, value, f"{key}.{name}".strip("."))
        if fault:
            return fault
    place = f"{key}: " if key else ""
    missing = _missing(kind, values)
    if missing:
        found = nearest(missing[0], values.keys() - _hints(kind).keys()).partition(" (")[0]
        return f"{place}missing {', '.join(missing)}{found}"
    return f"{place}{own if _is_part(kind, values) else _expected(kind, values)}"


def _fields_of(kind: Any, values: Any) -> list[tuple[Any, Any, str]]:
    if not _is_part(kind, values):
        return []
    hints = _hints(kind)
    return [(hints[name], value, name) for name, value in values.items() if name in hints]


def _missing(kind: Any, values: Any) -> list[str]:
    if not _is_part(kind, values):
        return []
    return [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
        if field.name not in values
    ]


def _expected(kind: Any, value: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return f"found {shown(value)}{nearest(value, typing.get_args(kind))}"
    kinds = [one for one in typing.get_args(kind) or (kind,) if one is not type(None)]
    told = {tuple: "a list", dict: "keys and values"}.get(typing.get_origin(kind) or kind)
    names = dict.fromkeys(_NAMES.get(one, "keys and values") for one in kinds)
    return f"expected {told or ' or '.join(names)}, found {shown(value)}"


def _is_part(kind: Any, values: Any) -> bool:
    return is_dataclass(kind) and isinstance(values, dict)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@cache
def _has_parts(kind: Any) -> bool:
    return is_dataclass(kind) or any(map(_has_parts, typing.get_args(kind)))


def _simple(value: Any) -> Any:
    """NumPy's scalars as Python's, anything else that JSON lacks as text."""
    item: Callable[[], Any] | None = getattr(value, "item", None)
    return str(value) if item is None else item()


def _spelt(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_spelt(name): _spelt(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelt(item) for item in value]
    return value
