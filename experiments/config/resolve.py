"""A recipe, its base and the words over them to one tree of values with their places.

What words (`key=value`) mean does not depend on their order. First those that choose what a mapping
is, its tag (`loss.name`, `loss.gamma.schedule`, `input.fit.mode` ..); then all others. A mapping
gives its keys, like the dotted words that spell them, unless it names the tag: then it is the whole
of what stands there. A key that is given two different values is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.config.located import (
    COMMAND_LINE,
    Located,
    located,
    read_located,
    read_value,
    whole,
)
from experiments.config.schema import Tag
from experiments.errors import ConfigError, Findings, shown

BASE = "_base_"
Word = tuple[str, Located]
Tags = Mapping[str, Tag]


def parse_words(texts: Sequence[str]) -> list[Word]:
    """`key.sub=value` with or without leading dashes or pluses, values read as YAML; or one JSON
    mapping of such keys, as W&B's `${args_json}` writes it. Raises ConfigError with all findings.
    """
    findings = Findings()
    words: list[Word] = []
    for text in texts:
        with findings.kept():
            words += _parsed(text)
    findings.told()
    return words


def _parsed(text: str) -> list[Word]:
    if text.startswith("{"):
        return list(read_value(text).mapping().items())
    key, equals, value = text.lstrip("-+").partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"{COMMAND_LINE}: expected key=value, found {shown(text)}")
    return [(key, read_value(value, key=key))]


def named_recipe(node: Located) -> tuple[Path, list[Word]]:
    """The file and the words that a recipe is told by: a file's name, or a mapping of its `_base_`
    (a file, from the working folder) and what differs from it. Raises ConfigError.
    """
    base = node.keys.get(BASE)
    if isinstance(node.value, dict) and base is not None and isinstance(base.value, str):
        return Path(base.value), [(key, kid) for key, kid in node.keys.items() if key != BASE]
    if not isinstance(node.value, str):
        node.fail(
            f"config: expected a recipe's file, or {{{BASE}: FILE, and what differs from it}}, "
            f"found {shown(node.value)}"
        )
    return Path(node.value), []


def words_of(values: Mapping[str, Any]) -> list[Word]:
    """Dotted keys and their plain or located values as words."""
    return [
        (key, value if isinstance(value, Located) else located(value, key))
        for key, value in values.items()
    ]


@dataclass(frozen=True, slots=True)
class Source:
    """A resolved tree; `notes` say what of the recipe a word has put out of force."""

    tree: Located
    notes: tuple[str, ...] = ()

    def where(self, key: str) -> str:
        """The place that set a dotted key or its nearest parent."""
        node, place = self.tree, ""
        for name in key.split("."):
            if name not in node.keys:
                break
            node = node.keys[name]
            place = node.place
        return place


def read_recipe(path: Path, tags: Tags) -> Located:
    """A recipe over its at most one base; raises ConfigError with all findings of a file."""
    own = read_located(path)
    if {"method", "parameters"} <= own.keys.keys():
        raise ConfigError(f"{path}: is a sweep's file, which `sweep` runs, and no recipe")
    if {"config", "status", "seed"} <= own.keys.keys():
        raise ConfigError(f"{path}: is the record of a run, no recipe")
    named = own.keys.get(BASE)
    if named is None:
        return own
    if not isinstance(named.value, str):
        named.fail(f"one file name is allowed, found {shown(named.value)}")
    base = read_located(path.parent / named.value)
    if BASE in base.keys:
        base.keys[BASE].fail(f"a base has no base of its own; {path} uses it")
    over = own.with_keys({name: node for name, node in own.keys.items() if name != BASE})
    return _over(base, over, tags, "")


def _over(base: Located, own: Located, tags: Tags, key: str) -> Located:
    """`own` over `base`; a mapping that names another tag than its base's takes its place."""
    keys = dict(base.keys)
    tag = tags.get(key)
    if tag is not None and tag.key in own.keys:
        old, new = base.keys.get(tag.key), own.keys[tag.key]
        if old is None or old.value != new.value:
            keys = _shared(keys, tag, new.value)
    for name, node in own.keys.items():
        below = keys.get(name)
        inner = f"{key}.{name}".strip(".")
        merges = below is not None and isinstance(below.value, dict)
        if merges and isinstance(node.value, dict) and below is not None:
            node = _over(below, node, tags, inner)
        keys[name] = node
    return own.with_keys(keys)


def _shared(keys: dict[str, Located], tag: Tag, chosen: Any) -> dict[str, Located]:
    """What stays of a mapping's keys when its tag is chosen anew."""
    row = tag.rows.get(chosen, frozenset()) if isinstance(chosen, str) else frozenset()
    return {name: node for name, node in keys.items() if tag.keeps and name in row}


def resolve(recipe: Located, words: Iterable[Word], tags: Tags) -> Source:
    """The words over a recipe; raises ConfigError with all that contradicts itself."""
    orders = _Orders(tags)
    for key, node in words:
        orders.take(key, node)
    orders.contradictions()
    orders.findings.told()
    tree, notes = recipe, []
    for key in sorted(orders.chosen, key=lambda key: (key.count("."), key)):
        again = {name for row in tags[key].rows.values() for name in row}
        again = {name for name in again if orders.gives(f"{key}.{name}")}
        tree, dropped = _choose(tree, key, orders.chosen[key], tags[key], again)
        notes += dropped
    for key, node in orders.mappings.items():
        old = _at(tree, key)
        plain = old is not None and old.value is not None and not isinstance(old.value, dict)
        if plain and key not in tags:  # data.val={part: 0.1} takes the place of data.val=test
            tree = _put(
                tree, key.split("."), replace(node, value=None, items=(), keys={}), tags, ()
            )
    for key, node in sorted(orders.given.items()):
        with orders.findings.kept():
            tree = _put(tree, key.split("."), node, tags, ())
    orders.findings.told()
    return Source(tree, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A tag that words set; `whole`: what stood there goes, whatever the old tag was."""

    node: Located
    whole: bool


@dataclass(slots=True)
class _Orders:
    """What words ask for: tags by the key of their mapping, and the values of all other keys."""

    tags: Tags
    chosen: dict[str, _Chosen] = field(default_factory=dict)
    given: dict[str, Located] = field(default_factory=dict)
    mappings: dict[str, Located] = field(default_factory=dict)  # keys that are given one
    said: dict[str, list[Located]] = field(default_factory=dict)  # all that was given, by key
    findings: Findings = field(default_factory=Findings)

    def take(self, key: str, node: Located) -> None:
        """Take one word apart into tags and values."""
        above, _, name = key.rpartition(".")
        if above in self.tags and self.tags[above].key == name and not node.keys:
            self._choose(above, node, whole=False)
        elif isinstance(node.value, dict):
            self._take_mapping(key, node)
        elif isinstance(node.value, str) and key in self.tags and node.value in self.tags[key].rows:
            self._choose(key, node, whole=True)
        else:
            self.given[key] = node
            self.said.setdefault(key, []).append(node)

    def _take_mapping(self, key: str, node: Located) -> None:
        if not node.keys:
            self.findings.add(f"{node.place}: {key}: an empty mapping sets nothing")
        tag = self.tags.get(key)
        self.mappings[key] = node
        for name, kid in node.keys.items():
            if tag is not None and name == tag.key and not kid.keys:
                self._choose(key, kid, whole=True)
            else:
                self.take(f"{key}.{name}", kid)

    def _choose(self, key: str, node: Located, *, whole: bool) -> None:
        self.said.setdefault(f"{key}.{self.tags[key].key}", []).append(node)
        if whole or key not in self.chosen:
            self.chosen[key] = _Chosen(node, whole)

    def gives(self, key: str) -> bool:
        """Whether a word sets a key, or one below it."""
        return any(other == key or other.startswith(f"{key}.") for other in self.said)

    def contradictions(self) -> None:
        """Find keys that are given two values, or a value and keys below them."""
        for key, nodes in self.said.items():
            values = sorted({shown(whole(node.value)) for node in nodes})
            if len(values) > 1:
                places = " and ".join(sorted({node.place for node in nodes}))
                self.findings.add(
                    f"{places}: {key}: is given more than once, as {' and '.join(values)}"
                )
        for key, node in self.given.items():
            below = min((other for other in self.said if other.startswith(f"{key}.")), default="")
            if below:
                self.findings.add(
                    f"{node.place}: {key}: is given as a value, which has no keys below it, and so "
                    f"is {below}"
                )


def _choose(
    tree: Located, key: str, chosen: _Chosen, tag: Tag, again: set[str]
) -> tuple[Located, list[str]]:
    """The tree with a mapping's tag set, and what of the mapping that put out of force."""
    old = _at(tree, key)
    keys = {} if old is None else _as_mapping(old, tag).keys
    before = keys.get(tag.key)
    if before is not None and before.value == chosen.node.value and not chosen.whole:
        kept = keys
    else:
        kept = {} if chosen.whole else _shared(keys, tag, chosen.node.value)
    dropped = [name for name in keys if name not in {tag.key, *kept, *again}]
    notes = []
    if dropped and not chosen.whole:
        values = ", ".join(f"{name} {shown(keys[name].value)}" for name in dropped)
        went = "are not read by it" if before is None else f"went with {before.value}"
        notes.append(
            f"{key}.{tag.key}={chosen.node.value}: the recipe's {values} {went}; give what should "
            "hold again"
        )
    mapping = replace(chosen.node, key=key).with_keys({**kept, tag.key: chosen.node})
    return _put(tree, key.split("."), mapping, {}, ()), notes


def _at(tree: Located, key: str) -> Located | None:
    for name in key.split("."):
        if name not in tree.keys:
            return None
        tree = tree.keys[name]
    return tree


def _as_mapping(node: Located, tag: Tag | None) -> Located:
    """A choice that is written as its name alone, as the mapping that it stands for."""
    if tag is None or not isinstance(node.value, str) or node.value not in tag.rows:
        return node
    return node.with_keys({tag.key: node})


def _put(
    tree: Located, names: Sequence[str], node: Located, tags: Tags, above: tuple[str, ...]
) -> Located:
    """The tree with `node` at a dotted key; mappings on the way are made where there are none."""
    name, rest = names[0], names[1:]
    if rest:
        here = (*above, name)
        below = tree.keys.get(name) or located(None)
        below = _as_mapping(below, tags.get(".".join(here)))
        if below.value is not None and not isinstance(below.value, dict):
            key = ".".join((*here, *rest))
            node = replace(node, key="")
            node.fail(
                f"{key}: {'.'.join(here)} is {shown(below.value)} ({below.place}), which has no "
                "keys below it"
            )
        if below.value is None:
            below = replace(below, path=node.path, line=node.line)
        node = _put(below, rest, node, tags, here)
    return tree.with_keys({**tree.keys, name: node})
