"""The YAML tree of recipes and sweep files: plain values that remember their lines.

Plain YAML 1.1 as PyYAML's safe loader reads it, but for what has bitten people: 1e-4 is a number,
2026-01-31 is text, and tags, aliases, merge keys and repeated keys are refused. What is wrong with
a file is told at once, each finding with its line.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from experiments.errors import ConfigError, Findings, nearest, shown

RECIPES = Path("configs")  # where recipes lie in a checkout
MOST_BYTES = 1_000_000
COMMAND_LINE = Path("command line")
_TAG = "tag:yaml.org,2002:"
_TAGS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}
_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+  # 1e-4, 1.5E3, .5e-2
    |[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN)""",
    re.VERBOSE,
)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Located:
    """One YAML node: its plain value, and its keys or items with their own places."""

    value: Any
    path: Path
    line: int  # from 1; 0 where there are no lines, as on a command line
    key: str
    keys: dict[str, "Located"]
    items: tuple["Located", ...]

    @property
    def place(self) -> str:
        """`file:line`, or what stands for a file."""
        return f"{self.path}:{self.line}" if self.line else str(self.path)

    def said(self, message: str) -> str:
        """`file:line: key: message`."""
        return ": ".join(part for part in (self.place, self.key, message) if part)

    def fail(self, message: str) -> NoReturn:
        """Raise ConfigError as `file:line: key: message`."""
        raise ConfigError(self.said(message))

    def mapping(self) -> dict[str, "Located"]:
        """The keys of a mapping node; anything else is refused."""
        if not isinstance(self.value, dict):
            self.fail(f"expected keys and values, found {shown(self.value)}")
        return self.keys

    def known(self, allowed: Iterable[str], what: str = "key") -> None:
        """Refuse keys outside `allowed`, all of them at once, naming the nearest spellings."""
        names = tuple(allowed)
        findings = Findings()
        for name, node in self.mapping().items():
            if name not in names:
                findings.add(node.said(f"unknown {what} '{name}'{nearest(name, names)}"))
        findings.told()

    def with_keys(self, keys: dict[str, "Located"]) -> "Located":
        """A mapping in this place that holds `keys`."""
        return replace(
            self, value={name: kid.value for name, kid in keys.items()}, keys=keys, items=()
        )


def read_located(path: Path) -> Located:
    """Read one YAML file of keys and values.

    Raises ConfigError with all findings: a missing, huge, malformed or empty file, tags, aliases,
    repeated keys.
    """
    text = read_text(path)
    findings = Findings()
    try:
        node = yaml.compose(text, Loader=_Loader)
        for token in yaml.scan(text, Loader=_Loader):
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                findings.add(f"{path}:{line}: YAML aliases (*name) are not allowed; write it out")
        findings.told()
        if node is None:
            raise ConfigError(f"{path}: expected keys and values, found nothing")
        tree = _located(node, path, "", findings)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(_invalid(path, text, error)) from error
    findings.told()
    tree.mapping()
    return tree


def read_value(text: str, place: Path = COMMAND_LINE, key: str = "") -> Located:
    """One value as a command line gives it, read as in a file; nothing is null."""
    findings = Findings()
    try:
        if "*" in text and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ConfigError(f"{place}: {key}: YAML aliases (*name) are not allowed")
        node = yaml.compose(text, Loader=_Loader)
        if node is None and not text.strip():
            return Located(None, place, 0, key, {}, ())
        if node is None:
            raise ConfigError(f"{place}: {key}: {shown(text)} is a YAML comment; quote it")
        if text[node.end_mark.index :].strip():
            raise ConfigError(f"{place}: {key}: {shown(text)} ends in a YAML comment; quote it")
        found = _located(node, place, key, findings, lines=False)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{place}: {key}: not readable as YAML: {shown(text)}") from error
    findings.told()
    return found


def located(value: Any, key: str = "", place: Path = COMMAND_LINE) -> Located:
    """A plain value as a tree without lines."""
    if isinstance(value, dict):
        keys = {
            str(name): located(kid, f"{key}.{name}".lstrip("."), place)
            for name, kid in value.items()
        }
        return Located({n: kid.value for n, kid in keys.items()}, place, 0, key, keys, ())
    items: tuple[Located, ...] = ()
    if isinstance(value, (list, tuple)):
        items = tuple(located(kid, f"{key}[{i}]", place) for i, kid in enumerate(value))
        value = [item.value for item in items]
    return Located(value, place, 0, key, {}, items)


def whole(value: Any) -> Any:
    """A number without a fraction as an int, however it is written (1e3, 4.0); else the value."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Loader(yaml.SafeLoader):
    """The safe loader with the numbers that people write, and without dates."""


_UNREAD = {f"{_TAG}{name}" for name in ("timestamp", "float", "value")}
_Loader.yaml_implicit_resolvers = {
    letter: [pair for pair in pairs if pair[0] not in _UNREAD]
    for letter, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(rf"^(?:{_FLOAT.pattern})$", re.VERBOSE), list("-+0123456789.")
)


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_text(path: Path) -> str:
    """A YAML file as text, its byte order mark read and left out; raises ConfigError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes, which no such file is")
        data = path.read_bytes()
        wide = data.startswith(_UTF16)
        return data.decode("utf-16" if wide else "utf-8-sig").removeprefix("\ufeff")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{near_files(path)}") from None
    except IsADirectoryError:
        held = nearest("", sorted(entry.name for entry in path.glob("*.y*ml")))
        raise ConfigError(f"{path}: is a folder; name a file in it{held}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: is no text in UTF-8 ({error}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def near_files(path: Path) -> str:
    """For a file that is not there: recipes of its name in other folders, else its neighbours."""
    elsewhere = [one for one in RECIPES.rglob("*.y*ml") if one.stem == path.stem]
    if elsewhere:
        return nearest(path, sorted(one.as_posix() for one in elsewhere))
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent} either)"
    return nearest(path.name, sorted(entry.name for entry in path.parent.glob("*.y*ml")))


def _invalid(path: Path, text: str, error: Exception) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{path}:{line}: not valid YAML: the character {error.character!r} is not allowed"
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = getattr(error, "problem", None) or "nested too deeply"
    return f"{where}: not valid YAML: {problem}"


def _located(
    node: yaml.Node, path: Path, key: str, findings: Findings, *, lines: bool = True
) -> Located:
    line = node.start_mark.line + 1 if lines else 0
    place = Located(None, path, line, key, {}, ())
    if node.tag not in _TAGS:
        tag = node.tag.replace(_TAG, "!!")
        findings.add(place.said(f"the YAML tag {tag} is not allowed; write a plain value"))
        return place
    if isinstance(node, yaml.MappingNode):
        return place.with_keys(dict(_keys(node, place, findings, lines)))
    if isinstance(node, yaml.SequenceNode):
        items = tuple(
            _located(kid, path, f"{key}[{i}]", findings, lines=lines)
            for i, kid in enumerate(node.value)
        )
        return replace(place, value=[kid.value for kid in items], items=items)
    assert isinstance(node, yaml.ScalarNode)
    try:
        return replace(place, value=_scalar(node))
    except (ValueError, KeyError):
        kind = node.tag.removeprefix(_TAG)
        findings.add(place.said(f"not a YAML {kind}: {shown(node.value)}"))
        return place


def _scalar(node: yaml.ScalarNode) -> Any:
    """The value of a scalar by its tag, which an explicit !!int may have set."""
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind in ("seq", "map"):
        raise ValueError(text)
    if kind == "float" and _FLOAT.fullmatch(text) and not text.lower().endswith(("inf", "nan")):
        return float(text.replace("_", ""))
    if kind == "str":
        return text
    return _CONSTRUCTORS[kind](node)


_SAFE = yaml.SafeLoader("")
_CONSTRUCTORS = {
    "null": _SAFE.construct_yaml_null,
    "bool": _SAFE.construct_yaml_bool,
    "int": _SAFE.construct_yaml_int,
    "float": _SAFE.construct_yaml_float,
}


def _keys(
    node: yaml.MappingNode, place: Located, findings: Findings, lines: bool
) -> Iterator[tuple[str, Located]]:
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1 if lines else 0
        here = replace(place, line=line)
        if not isinstance(key_node, yaml.ScalarNode):
            findings.add(here.said("a key must be text"))
            continue
        name = str(key_node.value)
        if key_node.tag == f"{_TAG}merge":
            findings.add(here.said("YAML merge keys (<<) are not allowed; write the keys out"))
            continue
        if name in first:
            again = f", first on line {first[name]}" if lines else ""
            findings.add(here.said(f"'{name}' is given twice{again}"))
            continue
        first[name] = line
        inner = f"{place.key}.{name}" if place.key else name
        child = _located(value_node, place.path, inner, findings, lines=lines)
        yield name, replace(child, line=line)
