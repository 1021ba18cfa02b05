"""What settings types say of themselves: their tables of choices, and when a field is read."""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_TAG, _READ, _FREE = "tag", "read", "free"


@dataclass(frozen=True, slots=True)
class Choice:
    """A table of settings types and the key that chooses among them.

    `keeps`: who chooses another row keeps the fields that both rows have.
    """

    tag: str
    table: Mapping[str, type[Any]]
    keeps: bool = False

    def name_of(self, settings: object) -> str:
        """The table's name for the type of `settings`."""
        return next(name for name, kind in self.table.items() if kind is type(settings))

    def only(self, kinds: tuple[Any, ...]) -> "Choice":
        """The rows whose types are among `kinds`; all, where a Protocol stands for it."""
        rows = {name: kind for name, kind in self.table.items() if kind in kinds}
        return dataclasses.replace(self, table=rows or self.table)

    def readers(self, field: str) -> list[str]:
        """The rows that have the field."""
        return [name for name, kind in self.table.items() if field in fields_of(kind)]


@dataclass(frozen=True, slots=True)
class Read:
    """When a field is read: where `field` of the same settings is so, in words."""

    field: str
    test: Callable[[Any], bool]
    words: str


def tag(*, keeps: bool = False) -> dict[str, object]:
    """Metadata of a field whose value decides which of its neighbours are read; see `Choice`."""
    return {_TAG: keeps}


def read_under(field: str, *values: str) -> dict[str, object]:
    """Metadata of a field that is read only where `field` has one of `values`."""
    return {_READ: Read(field, lambda value: value in values, " or ".join(values))}


def read_where(field: str, test: Callable[[Any], bool], words: str) -> dict[str, object]:
    """Metadata of a field that is read only where `test` holds for `field`; `words` say when."""
    return {_READ: Read(field, test, words)}


def free() -> dict[str, object]:
    """Metadata of a field that does not decide a run's result, but how it is followed or stored."""
    return {_FREE: True}


def is_free(field: "dataclasses.Field[Any]") -> bool:
    """Whether an interrupted run may go on with another value of the field."""
    return _FREE in field.metadata


def read_of(field: "dataclasses.Field[Any]") -> Read | None:
    """When a field is read; None: always."""
    found: Read | None = field.metadata.get(_READ)
    return found


@dataclass(frozen=True, slots=True)
class Tag:
    """A key that chooses what its neighbours are; `rows` are the fields read under each value."""

    key: str
    keeps: bool
    rows: Mapping[str, frozenset[str]]


class Schema:
    """A tree of settings types; `choices` are the tables that tagged mappings refer to."""

    def __init__(
        self, choices: tuple[Choice, ...], protocols: Mapping[type[Any], Choice] | None = None
    ) -> None:
        self._choices = choices
        self._protocols = dict(protocols or {})

    def choice(self, kinds: tuple[Any, ...]) -> Choice | None:
        """The table that all of `kinds` are rows of, or that a Protocol among them stands for."""
        for kind in kinds:
            if kind in self._protocols:
                return self._protocols[kind]
        for choice in self._choices:
            if all(kind in choice.table.values() for kind in kinds):
                return choice
        return None

    def free(self, kind: type[Any], key: str = "") -> Iterator[str]:
        """The dotted keys of fields that do not decide a result, with all below them."""
        for name, field in fields_of(kind).items():
            inner, below = f"{key}.{name}".strip("."), hints_of(kind)[name]
            nested = isinstance(below, type) and dataclasses.is_dataclass(below)
            if is_free(field) and nested:
                yield from (f"{inner}.{part}" for part in fields_of(below))
            elif is_free(field):
                yield inner
            elif nested:
                yield from self.free(below, inner)

    def below(self, kind: type[Any]) -> list[str]:
        """The dotted keys one level below a settings type, of every row of a choice."""
        found: dict[str, None] = {}
        for name, hint in hints_of(kind).items():
            settings = tuple(part for part in _parts(hint) if _is_settings(part))
            choice = self.choice(settings) if settings else None
            rows = settings if choice is None else tuple(choice.only(settings).table.values())
            known = [row for row in rows if dataclasses.is_dataclass(row)]
            found |= {f"{name}.{key}": None for row in known for key in fields_of(row)}
        return list(found)

    def tags(self, kind: Any) -> dict[str, Tag]:
        """The dotted key of every mapping that a tag may stand in, "" for the whole."""
        return dict(self._tags(kind, "", ()))

    def _tags(self, kind: Any, key: str, above: tuple[type[Any], ...]) -> Iterator[tuple[str, Tag]]:
        settings = tuple(part for part in _parts(kind) if _is_settings(part))
        choice = self.choice(settings) if settings else None
        if choice is not None:
            choice = choice.only(settings)
            rows = {name: frozenset(fields_of(row)) for name, row in choice.table.items()}
            yield key, Tag(choice.tag, choice.keeps, rows)
            settings = tuple(choice.table.values())
        for part in settings:
            if part in above or not isinstance(part, type) or not dataclasses.is_dataclass(part):
                continue
            yield from _variants(part, key)
            for name in fields_of(part):
                inner = f"{key}.{name}".strip(".")
                yield from self._tags(hints_of(part)[name], inner, (*above, part))


def _variants(kind: type[Any], key: str) -> Iterator[tuple[str, Tag]]:
    """The tag that is a field of the settings itself, with the fields that each value reads."""
    fields = fields_of(kind)
    for name, field in fields.items():
        if _TAG not in field.metadata:
            continue
        reads = {other: read_of(item) for other, item in fields.items()}
        rows = {
            value: frozenset(
                other
                for other, read in reads.items()
                if read is None or read.field != name or read.test(value)
            )
            for value in typing.get_args(hints_of(kind)[name])
        }
        yield key, Tag(name, field.metadata[_TAG], rows)


def _parts(kind: Any) -> tuple[Any, ...]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _is_settings(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or getattr(kind, "_is_protocol", False)


_HINTS: dict[type[Any], dict[str, Any]] = {}
_FIELDS: dict[type[Any], "dict[str, dataclasses.Field[Any]]"] = {}


def hints_of(kind: type[Any]) -> dict[str, Any]:
    """The annotations of a settings type; resolving them is half the time of a reading."""
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def fields_of(kind: type[Any]) -> "dict[str, dataclasses.Field[Any]]":
    """The fields that settings are made from, by name."""
    if kind not in _FIELDS:
        _FIELDS[kind] = {field.name: field for field in dataclasses.fields(kind) if field.init}
    return _FIELDS[kind]
