"""YAML files and dotted overrides to one plain dictionary that remembers where each value came
from.

mmengine's Config merges the layers. The files are parsed here because mmengine's own YAML reader
uses a
loader that runs Python tags, and because it keeps no line numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from experiments.errors import ConfigError

TAG_KEYS = ("name", "schedule")  # keys that choose a row of a table; another row takes other fields
COMMAND_LINE = "command line"
MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """Merged values, and for each dotted key the place that set it last."""

    values: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """The file and line, or the command line, that set `key` or its nearest parent."""
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        return self.origins.get(key, "")


def read_source(path: Path, overrides: Sequence[str] = ()) -> Source:
    """Read `path`, its at most one `_base_`, and `key=value` overrides, later ones winning."""
    values, origins = _read_file(path)
    base_name = values.pop("_base_", None)
    if base_name is not None:
        if not isinstance(base_name, str):
            raise ConfigError(f"{path}: _base_: one file name is allowed, found {base_name!r}")
        base_path = path.parent / base_name
        base_values, base_origins = _read_file(base_path)
        if "_base_" in base_values:
            raise ConfigError(f"{base_path}: _base_: a base has no base of its own; {path} uses it")
        values = _merged(base_values, values, str(path))
        origins = base_origins | origins
    for key, value in parse_overrides(overrides).items():
        values = _merged(values, _nested(key, value, values), COMMAND_LINE)
        origins |= {key: COMMAND_LINE}
    return Source(values, origins)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`key.sub=value` words, with or without leading dashes, to values read as YAML."""
    parsed: dict[str, Any] = {}
    for word in overrides:
        key, equals, text = word.lstrip("-").partition("=")
        if not equals or not key:
            raise ConfigError(f"{COMMAND_LINE}: expected key=value, found {word!r}")
        try:
            parsed[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{COMMAND_LINE}: {key}: not readable as YAML: {text!r}") from error
    return parsed


def _merged(base: dict[str, Any], child: dict[str, Any], where: str) -> dict[str, Any]:
    config = Config(base)
    try:
        config.merge_from_dict(_replace_other_choices(base, child))
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{where}: cannot be merged over its base: {error}") from error
    merged: dict[str, Any] = config.to_dict()
    return merged


def _replace_other_choices(base: Any, child: dict[str, Any]) -> dict[str, Any]:
    """Mark the mappings of `child` that name another table row than `base`, so they replace it."""
    marked: dict[str, Any] = {}
    for key, value in child.items():
        old = base.get(key) if isinstance(base, Mapping) else None
        if isinstance(value, dict):
            other = (
                "_delete_" in value
                or not isinstance(old, Mapping)
                or any(tag in value and value[tag] != old.get(tag) for tag in TAG_KEYS)
            )
            value = _replace_other_choices({} if other else old, value)
            if other and old is not None:
                value["_delete_"] = True
        marked[key] = value
    return marked


def _nested(key: str, value: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """`a.b` = value as {a: {b: value}}; a mapping from the command line replaces."""
    head, dot, rest = key.partition(".")
    if not dot:
        replaces = isinstance(value, dict) and isinstance(values.get(head), dict)
        return {head: {**value, "_delete_": True} if replaces else value}
    below = values.get(head)
    if below is not None and not isinstance(below, Mapping):
        raise ConfigError(f"{COMMAND_LINE}: {key}: {head} is {below!r}, which has no keys below it")
    return {head: _nested(rest, value, below or {})}


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes, which no config is")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{_near_files(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ConfigError(f"{path}: YAML aliases (*name) are not allowed; write the value out")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"{path}{line}: not valid YAML: {problem}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values, dict(_origins(node, path))


def _origins(node: yaml.Node | None, path: Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        name, line = str(key_node.value), key_node.start_mark.line + 1
        if name in seen:
            raise ConfigError(f"{path}:{line}: '{prefix}{name}' again; first on line {seen[name]}")
        seen[name] = line
        yield f"{prefix}{name}", f"{path}:{line}"
        yield from _origins(value_node, path, f"{prefix}{name}.")


def _near_files(path: Path) -> str:
    import difflib

    names = [entry.name for entry in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    if near:
        return f"; did you mean {path.parent / near[0]}?"
    return f" (in {path.parent}: {', '.join(sorted(names))})" if names else ""
