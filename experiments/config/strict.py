"""A strict reader: plain values to frozen dataclasses and back, by their annotations.

Unknown keys, wrong types and impossible values are refused with the place, the key, what was found,
what is allowed and the nearest spelling. A choice ("name: focal") is looked up in a table of types.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.errors import ConfigError

Where = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Choice:
    """A table of settings types and the key that chooses among them."""

    tag: str
    table: Mapping[str, type[Any]]

    def name_of(self, settings: object) -> str:
        """The table's name for the type of `settings`."""
        return next(name for name, kind in self.table.items() if kind is type(settings))

    def only(self, kinds: tuple[Any, ...]) -> "Choice":
        """The rows whose types are among `kinds`; all, where a Protocol stands for it."""
        rows = {name: kind for name, kind in self.table.items() if kind in kinds}
        return Choice(self.tag, rows or self.table)


class Reader:
    """Reads and writes settings; `choices` are the tables that tagged mappings may refer to."""

    def __init__(
        self, choices: tuple[Choice, ...], protocols: Mapping[type[Any], Choice] | None = None
    ) -> None:
        self._choices = choices
        self._protocols = dict(protocols or {})

    def read(self, kind: Any, value: Any, where: Where, key: str = "") -> Any:
        """`value` as an instance of the annotation `kind`; raises ConfigError."""
        if kind in (float, int, str, bool):
            return self._scalar(kind, value, where, key)
        origin = typing.get_origin(kind)
        if origin is Literal:
            return self._literal(typing.get_args(kind), value, where, key)
        if origin in (typing.Union, types.UnionType):
            return self._union(typing.get_args(kind), value, where, key)
        if origin is tuple:
            return self._tuple(typing.get_args(kind), value, where, key)
        if origin is dict:
            return self._dict(typing.get_args(kind), value, where, key)
        choice = self._choice_for((kind,))
        if choice is not None:
            return self._chosen(choice, value, where, key)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(typing.cast(type[Any], kind), value, where, key)
        raise TypeError(f"{key}: the reader knows no annotation {kind!r}")

    def plain(self, settings: Any) -> Any:
        """Settings as JSON-ready values with every default visible; `read` takes it back."""
        if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
            choice = self._choice_for((type(settings),))
            tag = {} if choice is None else {choice.tag: choice.name_of(settings)}
            fields = [field.name for field in dataclasses.fields(settings) if field.init]
            return tag | {name: self.plain(getattr(settings, name)) for name in fields}
        if isinstance(settings, (tuple, list)):
            return [self.plain(item) for item in settings]
        if isinstance(settings, Mapping):
            return {str(key): self.plain(item) for key, item in settings.items()}
        return settings

    def _choice_for(self, kinds: tuple[Any, ...]) -> Choice | None:
        for kind in kinds:
            if kind in self._protocols:
                return self._protocols[kind]
        for choice in self._choices:
            if all(kind in choice.table.values() for kind in kinds):
                return choice
        return None

    def _scalar(self, kind: Any, value: Any, where: Where, key: str) -> Any:
        if kind is float and isinstance(value, str):
            value = _float_or_text(value)  # YAML 1.1 reads 1e-3 as text
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise _error(where, key, f"expected {_told(kind)}, found {value!r}")
        return value

    def _literal(self, allowed: tuple[Any, ...], value: Any, where: Where, key: str) -> Any:
        if value is False:  # YAML 1.1 reads the bare words off and no as false
            value = next((word for word in ("off", "no") if word in allowed), value)
        if value in allowed and type(value) in {type(item) for item in allowed}:
            return value
        raise _error(where, key, f"found {value!r}{_near(value, allowed)}")

    def _union(self, kinds: tuple[Any, ...], value: Any, where: Where, key: str) -> Any:
        if types.NoneType in kinds and (value is None or value == "None"):
            return None
        kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
        settings = tuple(kind for kind in kinds if not _is_plain(kind))
        if isinstance(value, Mapping) and settings:
            choice = self._choice_for(settings)
            if choice is not None:
                return self._chosen(choice.only(settings), value, where, key)
            return self.read(settings[0], value, where, key)
        plain = [kind for kind in kinds if _is_plain(kind)] or list(settings)
        if len(plain) == 1:
            return self.read(plain[0], value, where, key)
        errors = []
        for kind in plain:
            try:
                return self.read(kind, value, where, key)
            except ConfigError as error:
                errors.append(error)
        told = " or ".join(_told(kind) for kind in kinds)
        raise _error(where, key, f"expected {told}, found {value!r}") from errors[0]

    def _tuple(self, kinds: tuple[Any, ...], value: Any, where: Where, key: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise _error(where, key, f"expected a list, found {value!r}")
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            kinds = (kinds[0],) * len(value)
        if len(kinds) != len(value):
            raise _error(where, key, f"expected {len(kinds)} values, found {len(value)}: {value!r}")
        return tuple(
            self.read(kind, item, where, f"{key}.{position}")
            for position, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )

    def _dict(self, kinds: tuple[Any, ...], value: Any, where: Where, key: str) -> Any:
        if not isinstance(value, Mapping):
            raise _error(where, key, f"expected keys and values, found {value!r}")
        return {
            str(name): self.read(kinds[1], item, where, f"{key}.{name}")
            for name, item in value.items()
        }

    def _chosen(self, choice: Choice, value: Any, where: Where, key: str) -> Any:
        if isinstance(value, str):
            value = {choice.tag: value}
        if not isinstance(value, Mapping) or choice.tag not in value:
            names = ", ".join(choice.table)
            raise _error(where, key, f"needs '{choice.tag}' ({names}), found {value!r}")
        name = value[choice.tag]
        if name not in choice.table:
            raise _error(where, f"{key}.{choice.tag}", f"found {name!r}{_near(name, choice.table)}")
        rest = {field: item for field, item in value.items() if field != choice.tag}
        return self._dataclass(choice.table[name], rest, where, key, f"{choice.tag}, ")

    def _dataclass(
        self, kind: type[Any], value: Any, where: Where, key: str, also: str = ""
    ) -> Any:
        if not isinstance(value, Mapping):
            raise _error(where, key, f"expected keys and values, found {value!r}")
        hints, known = _hints(kind), _fields(kind)
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                meant = f"; did you mean '{near[0]}'?" if near else ""
                names = also + ", ".join(known)
                place = f"{key}.{name}" if key else str(name)
                raise _error(where, place, f"unknown key{meant} (known: {names})")
        fields = {
            name: self.read(hints[name], item, where, f"{key}.{name}" if key else name)
            for name, item in value.items()
        }
        missing = [name for name, field in known.items() if name not in fields and _required(field)]
        if missing:
            raise _error(where, key, f"missing {', '.join(missing)}")
        try:
            return kind(**fields)
        except ValueError as error:
            name = str(error).partition(":")[0]
            inner = name in known and f"{key}.{name}".strip(".")
            message = str(error).partition(":")[2].strip() if inner else str(error)
            raise _error(where, inner or key, message) from error


_HINTS: dict[type[Any], dict[str, Any]] = {}
_FIELDS: dict[type[Any], "dict[str, dataclasses.Field[Any]]"] = {}


def _hints(kind: type[Any]) -> dict[str, Any]:
    """The annotations of a settings type; resolving them is half the time of reading a record."""
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def _fields(kind: type[Any]) -> "dict[str, dataclasses.Field[Any]]":
    """The fields that settings are made from, by name."""
    if kind not in _FIELDS:
        _FIELDS[kind] = {field.name: field for field in dataclasses.fields(kind) if field.init}
    return _FIELDS[kind]


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _is_plain(kind: Any) -> bool:
    return kind in (float, int, str, bool) or typing.get_origin(kind) in (Literal, tuple, dict)


def _error(where: Where, key: str, message: str) -> ConfigError:
    place = where(key)
    return ConfigError(": ".join(part for part in (place, key, message) if part))


def _near(value: Any, allowed: Any) -> str:
    near = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{meant} (allowed: {', '.join(str(item) for item in allowed)})"


def _float_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _told(kind: Any) -> str:
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}
    if typing.get_origin(kind) is tuple:
        return "a list"
    return names.get(kind, getattr(kind, "__name__", str(kind)))
