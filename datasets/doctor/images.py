"""Looking at a data set's images for the doctor: which are missing, broken, or in two splits."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from datasets.decoding import OTHER_DECODER, decode_told
from datasets.doctor.joined import Joined
from datasets.errors import DataError, Finding
from datasets.index import texts

Report = Callable[[str, int, int | None], None]  # what is looked at, how many so far, of how many

_TOLD = {
    "missing_image": "the image isn't there",
    "other_decoder": OTHER_DECODER,
}
_OTHERS = 3  # names of like images that a finding lists


@dataclass(frozen=True, slots=True)
class Looked:
    """`unusable`: rows of images that are missing or don't decode, with the finding's kind."""

    findings: list[Finding] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


def look_at_images(
    root: Path, joined: Joined, *, decoding: bool, report: Report | None = None
) -> Looked:
    """Whether each image is there and, `decoding`, can be read; images alike in several splits.

    A missing image is no news where its labels are missing, too.
    """
    names = texts(joined.labels, "image")
    looked = Looked()
    rows_of: dict[str | bytes, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows_of[name].append(row)
    there, known = joined.labels["bytes"] >= 0, set(joined.unread)
    for row, name in enumerate(names):
        if not there[row]:
            looked.unusable[row] = "missing_image"
            if row not in known:
                _note(looked, row, name, "missing_image", "")
    if decoding:
        rows = there.nonzero()[0].tolist()
        for row, content, kind, what in _decoded(root, names, rows, report):
            if kind:
                _note(looked, row, names[row], kind, what)
            if content:
                rows_of[content].append(row)
    alike = (_overlap(joined, names, rows) for rows in rows_of.values())
    looked.findings.extend(dict.fromkeys(finding for finding in alike if finding is not None))
    return looked


def _decoded(
    root: Path, names: list[str], rows: list[int], report: Report | None
) -> Iterator[tuple[int, bytes, str, str]]:
    """(row, digest of the file or nothing, kind of finding or "", its words), in order."""

    def look(row: int) -> tuple[int, bytes, str, str]:
        path = root / names[row]
        try:
            _, slow = decode_told(path)
            content = sha256(path.read_bytes()).digest()
        except (DataError, OSError) as error:
            return row, b"", "unreadable_image", str(error).removeprefix(f"{path}: ")
        return row, content, "other_decoder" if slow else "", ""

    with ThreadPoolExecutor(2) as pool:
        for number, found in enumerate(pool.map(look, rows), 1):
            if report:
                report("look at images", number, len(rows))
            yield found


def _note(looked: Looked, row: int, name: str, kind: str, what: str) -> None:
    looked.findings.append(Finding(name, None, kind, what or _TOLD[kind]))
    if kind != "other_decoder":
        looked.unusable[row] = kind


def _overlap(joined: Joined, names: list[str], rows: list[int]) -> Finding | None:
    """A finding when images that are the same belong to different splits."""
    if len(rows) == 1 and len(joined.splits[rows[0]]) < 2:
        return None
    places = Counter(split for row in rows for split in joined.splits[row])
    if len(places) < 2:
        return None
    images = sorted({names[row] for row in rows})
    others = f" (also as {', '.join(images[1 : 1 + _OTHERS])})" if len(images) > 1 else ""
    what = f"is in the splits {', '.join(sorted(places))}{others}"
    return Finding(images[0], None, "in_two_splits", what)
