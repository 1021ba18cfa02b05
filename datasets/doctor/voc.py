"""Reading a VOC-layout folder for the doctor: every fault a finding, nothing stops."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datasets import voc_xml
from datasets.errors import DataError, Finding
from datasets.index import Columns
from datasets.layouts import voc_splits
from datasets.voc import raw_columns
from datasets.voc_splits import Entry, listed, read_split, split_file, split_folder

Report = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Read:
    """Labels of all images that could be read.

    One image is there once, however many splits name it.
    """

    raw: Columns
    files: list[str]
    splits: list[frozenset[str]]
    findings: list[Finding]


def read(
    root: Path, splits: Sequence[str], first_pixel: Literal[0, 1], report: Report | None = None
) -> Read:
    """Read the splits named, or all there are; DataError when one isn't there or is empty."""
    findings: list[Finding] = []
    entries: dict[str, Entry] = {}
    member_of: dict[str, set[str]] = defaultdict(set)
    for split in splits or voc_splits(root):
        findings += _lists(root, split)
        for entry in read_split(root, split, "doctor"):
            entries.setdefault(entry.annotation, entry)
            member_of[entry.annotation].add(split)
    kept: list[Entry] = []
    parsed: list[voc_xml.Raw] = []
    for number, (name, entry) in enumerate(entries.items(), 1):
        raw = _labels(root, name, findings)
        if raw is not None:
            kept.append(entry)
            parsed.append(raw)
        if report:
            report("read labels", number, len(entries))
    return Read(
        raw_columns(root, kept, parsed, first_pixel),
        [entry.annotation for entry in kept],
        [frozenset(member_of[entry.annotation]) for entry in kept],
        findings,
    )


def _lists(root: Path, split: str) -> list[Finding]:
    """Images that a list names twice."""
    findings = []
    for part in split.split("+"):
        path = split_file(root, *split_folder(root, part.strip()))
        first: dict[str, int] = {}
        for number, stem in listed(path):
            if first.setdefault(stem, number) != number:
                message = f"line {number}: {stem} is there since line {first[stem]}"
                file = path.relative_to(root).as_posix()
                findings.append(Finding(file, None, "duplicate_id", message))
    return findings


def _labels(root: Path, name: str, findings: list[Finding]) -> voc_xml.Raw | None:
    path = root / name
    try:
        raw = voc_xml.parse(voc_xml.read_bytes(path), path)
    except DataError as error:
        kind = "broken_labels" if path.is_file() else "missing_labels"
        findings.append(Finding(name, None, kind, str(error).removeprefix(f"{path}: ")))
        return None
    if not (raw.width and raw.height):
        findings.append(Finding(name, None, "missing_size", "has no size of the image"))
    for number, flag in enumerate(raw.difficult, 1):
        if flag == 2:
            message = f"{raw.names[number - 1]}: has no difficult; read as 0"
            findings.append(Finding(name, number, "missing_difficult", message))
    return raw
