"""A strict reader: plain values to frozen dataclasses and back, by their annotations.

Unknown keys, wrong types, impossible values and keys that nothing reads are refused with the place,
the key, what was found, what is allowed and the nearest spelling; all that one reading can tell at
once. A choice ("name: focal") is looked up in a table of types.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.config.located import whole
from experiments.config.schema import Choice, Schema, fields_of, hints_of, read_of
from experiments.errors import ConfigError, Findings, nearest, shown

__all__ = ["Choice", "Reader", "Where"]

Where = Callable[[str], str]
_SCALARS = (float, int, str, bool)


class Reader:
    """Reads and writes settings; `choices` are the tables that tagged mappings may refer to."""

    def __init__(
        self, choices: tuple[Choice, ...], protocols: Mapping[type[Any], Choice] | None = None
    ) -> None:
        self.schema = Schema(choices, protocols)

    def read(
        self, kind: Any, value: Any, where: Where, key: str = "", *, kept: bool = False
    ) -> Any:
        """`value` as an instance of the annotation `kind`; raises ConfigError with all findings.

        `where` gives the place of a dotted key. `kept`: the values are what `plain` once wrote,
        defaults included, so keys that nothing reads are no mistake.
        """
        return _Reading(self.schema, where, kept).read(kind, value, key)

    def plain(self, settings: Any, *, unread: bool = True) -> Any:
        """Settings as JSON-ready values with every default visible; `read` takes it back.

        `unread`: with the keys that nothing reads, as records keep them.
        """
        if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
            choice = self.schema.choice((type(settings),))
            tag = {} if choice is None else {choice.tag: choice.name_of(settings)}
            names = [
                name
                for name, field in fields_of(type(settings)).items()
                if unread or _is_read(field, settings)
            ]
            return tag | {n: self.plain(getattr(settings, n), unread=unread) for n in names}
        if isinstance(settings, (tuple, list)):
            return [self.plain(item, unread=unread) for item in settings]
        if isinstance(settings, Mapping):
            return {str(key): self.plain(item, unread=unread) for key, item in settings.items()}
        return settings


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading: the tables, where values come from, and whether they are of a record."""

    schema: Schema
    where: Where
    kept: bool

    def read(self, kind: Any, value: Any, key: str) -> Any:
        if kind is Any:
            return value
        if kind in _SCALARS:
            return self._scalar(kind, value, key)
        origin = typing.get_origin(kind)
        if origin is Literal:
            return self._literal(typing.get_args(kind), value, key)
        if origin in (typing.Union, types.UnionType):
            return self._union(typing.get_args(kind), value, key)
        if origin is tuple:
            return self._tuple(typing.get_args(kind), value, key)
        if origin is dict:
            return self._dict(typing.get_args(kind), value, key)
        choice = self.schema.choice((kind,))
        if choice is not None:
            return self._chosen(choice, value, key)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(typing.cast(type[Any], kind), value, key)
        raise TypeError(f"{key}: the reader knows no annotation {kind!r}")

    def _error(self, key: str, message: str) -> ConfigError:
        return ConfigError(": ".join(part for part in (self.where(key), key, message) if part))

    def _scalar(self, kind: Any, value: Any, key: str) -> Any:
        found = _number(kind, value)
        if not isinstance(found, kind) or (kind is not bool and isinstance(found, bool)):
            raise self._error(key, f"expected {_told(kind)}, found {shown(value)}")
        if kind is float and not math.isfinite(found):
            raise self._error(key, f"expected a finite number, found {shown(value)}")
        return found

    def _literal(self, allowed: tuple[Any, ...], value: Any, key: str) -> Any:
        if value is False:  # YAML 1.1 reads the bare words off and no as false
            value = next((word for word in ("off", "no") if word in allowed), value)
        if value in allowed and type(value) in {type(item) for item in allowed}:
            return value
        raise self._error(key, f"found {shown(value)}{nearest(value, allowed)}")

    def _union(self, kinds: tuple[Any, ...], value: Any, key: str) -> Any:
        if types.NoneType in kinds and (value is None or value == "None"):
            return None
        kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
        settings = tuple(kind for kind in kinds if not _is_plain(kind))
        if isinstance(value, Mapping) and settings:
            choice = self.schema.choice(settings)
            if choice is not None:
                return self._chosen(choice.only(settings), value, key)
            return self.read(settings[0], value, key)
        plain = [kind for kind in kinds if _is_plain(kind)] or list(settings)
        if len(plain) == 1:
            return self.read(plain[0], value, key)
        errors = []
        for kind in plain:
            try:
                return self.read(kind, value, key)
            except ConfigError as error:
                errors.append(error)
        told = " or ".join(_told(kind) for kind in kinds)
        raise self._error(key, f"expected {told}, found {shown(value)}") from errors[0]

    def _tuple(self, kinds: tuple[Any, ...], value: Any, key: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise self._error(key, f"expected a list, found {shown(value)}")
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if len(kinds) != len(value):
            message = f"expected {len(kinds)} values, found {len(value)}: {shown(value)}"
            raise self._error(key, message)
        return tuple(
            self.read(kind, item, f"{key}.{position}")
            for position, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )

    def _dict(self, kinds: tuple[Any, ...], value: Any, key: str) -> Any:
        if not isinstance(value, Mapping):
            raise self._error(key, f"expected keys and values, found {shown(value)}")
        return {
            str(name): self.read(kinds[1], item, f"{key}.{name}") for name, item in value.items()
        }

    def _chosen(self, choice: Choice, value: Any, key: str) -> Any:
        if isinstance(value, str):
            value = {choice.tag: value}
        if not isinstance(value, Mapping) or choice.tag not in value:
            names = ", ".join(choice.table)
            raise self._error(key, f"needs '{choice.tag}' ({names}), found {shown(value)}")
        name = value[choice.tag]
        if not isinstance(name, str) or name not in choice.table:
            message = f"found {shown(name)}{nearest(name, choice.table)}"
            raise self._error(f"{key}.{choice.tag}".strip("."), message)
        rest = {field: item for field, item in value.items() if field != choice.tag}
        return self._dataclass(choice.table[name], rest, key, choice)

    def _dataclass(
        self, kind: type[Any], value: Any, key: str, choice: Choice | None = None
    ) -> Any:
        if not isinstance(value, Mapping):
            raise self._error(key, f"expected keys and values, found {shown(value)}")
        hints, known = hints_of(kind), fields_of(kind)
        fields: dict[str, Any] = {}
        findings = Findings()
        for name, item in value.items():
            place = f"{key}.{name}" if key else str(name)
            with findings.kept():
                if name not in known:
                    raise self._unknown(kind, str(name), place, choice)
                fields[name] = self.read(hints[name], item, place)
        missing = [name for name, field in known.items() if name not in value and _required(field)]
        if missing:
            with findings.kept():
                raise self._error(key, f"missing {', '.join(missing)}")
        if not findings and not self.kept:
            self._refuse_unread(kind, fields, key, findings)
        findings.told()
        return self._made(kind, fields, key)

    def _unknown(
        self, kind: type[Any], name: str, place: str, choice: Choice | None
    ) -> ConfigError:
        readers = choice.readers(name) if choice is not None else []
        if choice is not None and readers:
            row = next(row for row, other in choice.table.items() if other is kind)
            does = "does" if len(readers) == 1 else "do"
            message = f"{choice.tag} {row!r} does not read it; {', '.join(readers)} {does}"
            return self._error(place, f"{message} (known: {', '.join(fields_of(kind))})")
        if ":" in name:  # {name:focal} is one key to YAML
            spaced = name.replace(":", ": ", 1)
            return self._error(place, f"unknown key; a space goes after its colon: {spaced}")
        own = (*(() if choice is None else (choice.tag,)), *fields_of(kind))
        if place == name and not difflib.get_close_matches(name, own):
            rooms = defaultdict(list)  # of keys that other programs write without a room
            for key in self.schema.below(kind):
                rooms[key.partition(".")[2]].append(key)
            begun = [last for last in rooms if len(name) > 3 and last.startswith(name)]
            begun.sort(key=len)
            for meant in [*difflib.get_close_matches(name, rooms, n=1, cutoff=0.8), *begun][:1]:
                told = " or ".join(map(repr, rooms[meant]))
                return self._error(place, f"unknown key; did you mean {told}?")
        return self._error(place, f"unknown key{nearest(name, own)}")

    def _refuse_unread(
        self, kind: type[Any], fields: Mapping[str, Any], key: str, findings: Findings
    ) -> None:
        known = fields_of(kind)
        for name in fields:
            read = read_of(known[name])
            if read is None:
                continue
            decides = fields[read.field] if read.field in fields else known[read.field].default
            if not read.test(decides):
                with findings.kept():
                    message = f"not read where {read.field} is {decides!r}, but where it is"
                    place = f"{key}.{name}".strip(".")
                    raise self._error(place, f"{message} {read.words}; leave it out")

    def _made(self, kind: type[Any], fields: Mapping[str, Any], key: str) -> Any:
        try:
            return kind(**fields)
        except ValueError as error:
            name, _, rest = str(error).partition(":")
            if name.partition(".")[0] in fields_of(kind):
                raise self._error(f"{key}.{name}".strip("."), rest.strip()) from error
            raise self._error(key, str(error)) from error


def _number(kind: Any, value: Any) -> Any:
    """A number in another spelling as `kind`, anything else as it is."""
    if kind is float and isinstance(value, str):
        try:
            return float(value)  # quoted in JSON or YAML, 1e-3 is text
        except ValueError:
            return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return whole(value) if kind is int else value


def _is_read(field: "dataclasses.Field[Any]", settings: object) -> bool:
    read = read_of(field)
    return read is None or read.test(getattr(settings, read.field))


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_plain(kind: Any) -> bool:
    return kind in _SCALARS or typing.get_origin(kind) in (Literal, tuple, dict)


def _told(kind: Any) -> str:
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    origin = typing.get_origin(kind)
    if origin is tuple:
        return "a list"
    if origin is Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    return names.get(kind, getattr(kind, "__name__", str(kind)))
