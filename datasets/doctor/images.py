"""Looking at a data set's images for the doctor: which are missing, broken, or in two splits."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from datasets.decoding import OTHER_DECODER, decode_told
from datasets.doctor.joined import Joined
from datasets.errors import DataError, Finding
from datasets.index import texts
from datasets.pixels.alike import alike
from datasets.pixels.likeness import Likeness, likeness
from datasets.pixels.threads import in_order

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

    Copies that were scaled or compressed again are found where images are decoded. A missing image
    is no news where its labels are missing, too.
    """
    names = texts(joined.labels, "image")
    looked = Looked()
    rows_of: dict[str | bytes, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows_of[name].append(row)
    looked.findings.extend(_labelled_twice(joined, rows_of))
    there, known = joined.labels["bytes"] >= 0, set(joined.unread)
    for row, name in enumerate(names):
        if not there[row]:
            looked.unusable[row] = "missing_image"
            if row not in known:
                _note(looked, row, name, "missing_image", "")
    if decoding:
        rows = there.nonzero()[0].tolist()
        seen = list(_decoded(root, names, rows, report, likeness_too=len(joined.rows) > 1))
        for one in seen:
            if one.kind:
                _note(looked, one.row, names[one.row], one.kind, one.what)
            if one.content:
                rows_of[one.content].append(one.row)
        looked.findings.extend(_near(joined, names, [one for one in seen if one.content]))
    same = (_overlap(joined, names, rows) for rows in rows_of.values())
    looked.findings.extend(dict.fromkeys(finding for finding in same if finding is not None))
    return looked


def _labelled_twice(joined: Joined, rows_of: Mapping[Any, Sequence[int]]) -> Iterator[Finding]:
    """Images that a split has more than once, each time with labels of its own: what the others
    hold is background there.
    """
    for name, rows in rows_of.items():
        places = Counter(split for row in rows for split in joined.splits[row])
        split, count = places.most_common(1)[0]
        if count > 1:
            what = f"is in the split {split} {count} times, with other labels each time"
            yield Finding(name, None, "labelled_twice", what)


class _Seen(NamedTuple):
    """One image: the digest of its file or nothing, and what was found."""

    row: int
    content: bytes
    like: Likeness | None
    kind: str
    what: str


def _decoded(
    root: Path, names: list[str], rows: list[int], report: Report | None, *, likeness_too: bool
) -> Iterator[_Seen]:
    """What each image is, in order of `rows`."""

    def look(row: int) -> _Seen:
        path = root / names[row]
        try:
            _, slow = decode_told(path)
            data = path.read_bytes()
        except (DataError, OSError) as error:
            return _Seen(row, b"", None, "unreadable_image", str(error).removeprefix(f"{path}: "))
        like = None
        if likeness_too:
            with contextlib.suppress(ValueError):  # then it is like no other
                like = likeness(data)
        return _Seen(row, sha256(data).digest(), like, "other_decoder" if slow else "", "")

    for number, found in enumerate(in_order(look, rows), 1):
        if report:
            report("look at images", number, len(rows))
        yield found


def _note(looked: Looked, row: int, name: str, kind: str, what: str) -> None:
    looked.findings.append(Finding(name, None, kind, what or _TOLD[kind]))
    if kind != "other_decoder":
        looked.unusable[row] = kind


def _near(joined: Joined, names: list[str], seen: list[_Seen]) -> Iterator[Finding]:
    """Images of different splits that look the same and are not: once a group.

    By the code that lets `data import` keep them in one split.
    """
    group = alike([one.content for one in seen], [one.like for one in seen])
    members: dict[int, list[_Seen]] = defaultdict(list)
    for one, first in zip(seen, group.tolist(), strict=True):
        members[first].append(one)
    for same in members.values():
        rows = [one.row for one in same]
        finding = _overlap(joined, names, rows) if len({o.content for o in same}) > 1 else None
        if finding is not None:
            images = sorted({names[row] for row in rows})
            others = ", ".join(images[1 : 1 + _OTHERS])
            more = f" and {len(images) - 1 - _OTHERS} more" if len(images) > 1 + _OTHERS else ""
            splits = ", ".join(sorted({split for row in rows for split in joined.splits[row]}))
            what = f"looks the same as {others}{more}, of the splits {splits}"
            yield Finding(images[0], None, "alike_in_two_splits", what)


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
