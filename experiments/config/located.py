"""YAML that remembers its lines, so that an error can point at the place to mend."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from experiments.errors import ConfigError, nearest, shown

MOST_BYTES = 1_000_000
# YAML 1.1 wants a dot in a float: it reads 1e-4 as text, and so would the trial's own reader.
DOTLESS_FLOAT = re.compile(r"[-+]?\d+[eE][-+]?\d+")


@dataclass(frozen=True, slots=True)
class Located:
    """One YAML node: its plain value, and its keys or items with their own places."""

    value: Any
    path: Path
    line: int
    key: str
    keys: dict[str, "Located"]
    items: tuple["Located", ...]

    def fail(self, message: str) -> NoReturn:
        """Raise ConfigError as `file:line: key: message`."""
        key = f"{self.key}: " if self.key else ""
        raise ConfigError(f"{self.path}:{self.line}: {key}{message}")

    def mapping(self) -> dict[str, "Located"]:
        """The keys of a mapping node; anything else is refused."""
        if not isinstance(self.value, dict):
            self.fail(f"expected keys and values, found {shown(self.value)}")
        return self.keys

    def known(self, allowed: Iterable[str], what: str = "key") -> None:
        """Refuse keys outside `allowed`, naming the nearest spelling."""
        names = tuple(allowed)
        for name, node in self.mapping().items():
            if name not in names:
                node.fail(f"unknown {what} '{name}'{nearest(name, names)}")


def read_located(path: Path) -> Located:
    """Read one YAML file; raises ConfigError for a missing, huge, malformed or empty file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes, which no sweep file is")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path(".")
        names = sorted(entry.name for entry in folder.glob("*.yaml"))
        raise ConfigError(f"{path}: no such file{nearest(path.name, names)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ConfigError(f"{path}: YAML aliases (*name) are not allowed; write the value out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise ConfigError(f"{path}: empty; a sweep needs at least 'method' and 'parameters'")
        return _located(node, path, "")
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from error


def _located(node: yaml.Node, path: Path, key: str) -> Located:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        keys = _keys(node, path, key)
        return Located({name: kid.value for name, kid in keys.items()}, path, line, key, keys, ())
    if isinstance(node, yaml.SequenceNode):
        items = tuple(_located(kid, path, f"{key}[{i}]") for i, kid in enumerate(node.value))
        return Located([kid.value for kid in items], path, line, key, {}, items)
    loader = yaml.SafeLoader("")
    try:
        value = loader.construct_object(node, deep=True)
    finally:
        loader.dispose()
    place = Located(value, path, line, key, {}, ())
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if isinstance(value, str) and plain and DOTLESS_FLOAT.fullmatch(value):
        mantissa, letter, exponent = re.split(r"([eE])", value)
        place.fail(f"YAML reads {value} as text; write {mantissa}.0{letter}{exponent}")
    return place


def _keys(node: yaml.MappingNode, path: Path, key: str) -> dict[str, Located]:
    keys: dict[str, Located] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{path}:{line}: {key}: a key must be text")
        name = str(key_node.value)
        if name in keys:
            raise ConfigError(
                f"{path}:{line}: {key or 'file'}: '{name}' again; first on line {keys[name].line}"
            )
        child = _located(value_node, path, f"{key}.{name}" if key else name)
        keys[name] = Located(child.value, path, line, child.key, child.keys, child.items)
    return keys
