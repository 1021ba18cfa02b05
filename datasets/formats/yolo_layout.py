"""What describes a YOLO data set: `data.yaml` of ultralytics and Roboflow, `obj.data` of Darknet.

Or nothing does, and its folders speak: `images/train` beside `labels/train`, `classes.txt`.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from datasets.errors import DataError, nearest
from datasets.formats.finder import leads_out, tidy
from datasets.formats.values import text_of

SPLITS = ("train", "val", "test")
DESCRIBING = (".yaml", ".yml", ".data")  # endings of files that describe a data set
SAME = {"valid": "val", "validation": "val"}
# labelImg leaves classes.txt beside the labels, in whatever folder that is.
_NAMES = (
    *("classes.txt", "*.names", "data/*.names", "labels/classes.txt", "obj_names.txt"),
    *("*/classes.txt", "*/*/classes.txt"),
)
_KEYS = {*SPLITS, *SAME, "path", "names", "nc"}  # of data.yaml, that are read here
MOST_CLASSES = 100_000  # ImageNet-21k has 21,841
_DRIVE = re.compile(r"[A-Za-z]:/")  # C:/data, of a description that was written on Windows


@dataclass(frozen=True, slots=True)
class Layout:
    """`base`, below the root, is where the paths of the description begin."""

    root: Path
    base: str
    names: tuple[str, ...]  # of the classes; empty where nobody says them
    places: Mapping[str, Sequence[str]]  # by split: folders of images and lists, as written
    rest: Mapping[Any, Any] = field(default_factory=dict)  # what else the description says
    source: str = ""  # its file, relative to the root

    @property
    def keypoints(self) -> bool:
        """Whether lines go on with keypoints after the box."""
        return "kpt_shape" in self.rest


def read_layout(root: Path, data: str | None = None) -> Layout:
    """The layout of `root` by its file `data`, or by the one that is found there.

    DataError for a file that is broken or not there.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; point `root` at a folder with a data.yaml")
    path = root / data if data is not None else described_by(root)
    if path is None:
        return Layout(root, "", _names_below(root), {})
    if not path.is_file():
        found = [other.name for other in root.glob("*.yaml")]
        raise DataError(f"{path}: no such file{nearest(path.name, found)}")
    return _darknet(root, path) if path.suffix == ".data" else _ultralytics(root, path)


def described_by(root: Path) -> Path | None:
    """The file that describes a YOLO data set, in its folder or in `data` below it."""
    found = [path for form in ("*.y*ml", "data/*.y*ml") for path in sorted(root.glob(form))]
    found = [path for path in found if _describes(path)]
    if len(found) > 1:
        _refuse_contradiction(root, found)
    darknet = (path for form in ("*.data", "data/*.data") for path in sorted(root.glob(form)))
    return next(iter(found), next(darknet, None))


def _describes(path: Path) -> bool:
    """Whether a YAML file is of a data set: settings of a training name splits, too."""
    try:
        keys = set(_yaml(path))
    except DataError:
        return path.stem == "data"
    splits = bool(keys & {*SPLITS, *SAME})
    named = "names" in keys and bool(keys & (_KEYS - {"names"})) or keys == {"names"}
    return named or splits and ("nc" in keys or path.stem == "data")


def _refuse_contradiction(root: Path, paths: Sequence[Path]) -> None:
    """DataError where two descriptions that fit this folder say different things."""
    said: dict[Any, str] = {}
    for path in paths:
        one = _ultralytics(root, path)
        places = {
            split: [resolved(root, one.base, place) for place in some]
            for split, some in one.places.items()
        }
        if not places or any(None not in some for some in places.values()):
            said.setdefault(repr((one.names, places)), one.source)
    if len(said) > 1:
        first, other = list(said.values())[:2]
        raise DataError(
            f"{root}: {first} and {other} describe the data differently; keep one of them here"
            f" (a recipe may name it: data.data={first})"
        )


def resolved(root: Path, base: str, place: str) -> str | None:
    """A folder or file that a description names, relative to the root; None where there is none.

    Such paths begin at the description, at the root, above it (Roboflow's `../train/images`), or on
    the machine that it was written on.
    """
    place = tidy(place)
    foreign = Path(place).is_absolute() or _DRIVE.match(place) is not None
    for own in (root, root.absolute(), root.resolve()):
        place = place.removeprefix(f"{own.as_posix()}/")
    inner = place.lstrip("/")
    while inner.startswith("../"):
        inner = inner.removeprefix("../")
    tried = [os.path.normpath(f"{base}/{place}") if base else place, place, inner]
    if foreign or inner.endswith((".txt", ".names")):
        parts = inner.split("/")
        tried += ["/".join(parts[start:]) for start in range(1, len(parts))]
    for path in tried:
        if path and not leads_out(path) and (root / path).exists():
            return "" if path == "." else path
    return None


def text_lines(path: Path) -> list[str]:
    """Lines of a text file that say anything, blanks around them gone; DataError."""
    try:
        text = text_of(path.read_bytes())
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _ultralytics(root: Path, path: Path) -> Layout:
    document = _yaml(path)
    within = path.parent.relative_to(root).as_posix().removeprefix(".")
    said = str(document.get("path") or "").strip()
    base = resolved(root, within, said) if said else None
    if said and base is None:  # "../datasets/coco128", of a folder that lies here
        base = resolved(root, within, tidy(said).rpartition("/")[2])
    places = {
        split: [str(place) for place in (value if isinstance(value, list) else [value])]
        for split, value in _splits(document.items())
    }
    names = _named(root, path, document)
    rest = {key: value for key, value in document.items() if key not in _KEYS}
    source = path.relative_to(root).as_posix()
    return Layout(root, within if base is None else base, names, places, rest, source)


def _darknet(root: Path, path: Path) -> Layout:
    pairs = [line.partition("=") for line in text_lines(path) if "=" in line]
    said = {key.strip().lower(): value.strip() for key, _, value in pairs}
    found = resolved(root, "", said["names"]) if "names" in said else None
    names = _name_lines(root / found) if found else _names_below(root)
    _refuse_other_count(path, "classes", said.get("classes"), names)
    places = {split: [value] for split, value in _splits(said.items())}
    return Layout(root, "", names, places, source=path.relative_to(root).as_posix())


def _splits(items: Any) -> Iterator[tuple[str, Any]]:
    for key, value in items:
        split = SAME.get(str(key), str(key))
        if split in SPLITS and value:
            yield split, value


def _named(root: Path, path: Path, document: Mapping[Any, Any]) -> tuple[str, ...]:
    names = document.get("names")
    if isinstance(names, Mapping):
        by_number = {str(key).strip(): name for key, name in names.items()}
        wanted = [str(number) for number in range(len(by_number))]
        if sorted(by_number) != sorted(wanted):
            raise DataError(
                f"{path}: names: expected the numbers from 0, found {', '.join(by_number)}"
            )
        names = [by_number[number] for number in wanted]
    if isinstance(names, list):
        for name in names:
            if not isinstance(name, str):
                raise DataError(f"{path}: names: expected words or numbers, found {name!r:.80}")
        _refuse_other_count(path, "nc", document.get("nc"), names)
        return tuple(name.strip() for name in names)
    if names is not None:
        place = path.parent.relative_to(root).as_posix().removeprefix(".")
        found = resolved(root, place, names) if isinstance(names, str) else None
        if found is None or not (root / found).is_file():
            what = "expected a list, names by number, or the file that has them"
            raise DataError(f"{path}: names: {what}, found {names!r:.80}")
        return _name_lines(root / found)
    count = _count(document.get("nc"))
    if count is None:
        return ()
    if not 0 <= count <= MOST_CLASSES:
        raise DataError(f"{path}: nc: expected 0 to {MOST_CLASSES:,} classes, found {count}")
    return tuple(str(number) for number in range(count))


def _count(said: Any) -> int | None:
    """How many classes a description says that there are, if it does."""
    text = str(said).strip()
    return int(text) if text.isascii() and text.lstrip("-").isdigit() else None


def _refuse_other_count(path: Path, key: str, said: Any, names: Sequence[str]) -> None:
    count = _count(said)
    if count is not None and names and count != len(names):
        raise DataError(
            f"{path}: {key} is {count}, but there are {len(names)} names"
            f" ({', '.join(names):.80}): make them agree"
        )


def _names_below(root: Path) -> tuple[str, ...]:
    for pattern in _NAMES:
        found = {path: _name_lines(path) for path in sorted(root.glob(pattern))}
        if found:
            first, *others = found
            if other := next((path for path in others if found[path] != found[first]), None):
                raise DataError(f"{first}: other classes than in {other}; keep one of them")
            return found[first]
    return ()


def _name_lines(path: Path) -> tuple[str, ...]:
    """Names of classes, whose line is their number."""
    try:
        lines = [line.strip() for line in text_of(path.read_bytes()).splitlines()]
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        what = "is blank, and a class's line is its number: name the class, or take the line out"
        raise DataError(f"{path}: line {lines.index('') + 1} {what}")
    return tuple(lines)


def _yaml(path: Path) -> dict[Any, Any]:
    try:
        text = text_of(path.read_bytes())
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise DataError(f"{path}: aliases (*name) are not read, a few can grow endless")
        document = yaml.safe_load(text)
        if isinstance(document, dict):
            document = {_known(key): value for key, value in document.items()}
        if isinstance(document, dict) and "names" in document:  # "no" is a name there, and "007"
            # BaseLoader makes text, lists and mappings alone, fewer things than safe_load does
            plain = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - no tag of it makes an object
            names = next(value for key, value in plain.items() if _known(key) == "names")
            document["names"] = names or None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f"line {place.line + 1}: " if place is not None else ""
        problem = getattr(error, "problem", None) or "no text in UTF-8"
        raise DataError(f"{path}: {line}broken YAML ({problem})") from None
    return document if isinstance(document, dict) else {}


def _known(key: Any) -> Any:
    """A key as it is read here: `Names` is `names`."""
    return low if isinstance(key, str) and (low := key.strip().lower()) in _KEYS else key
