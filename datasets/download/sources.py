"""Where the public data sets come from.

Checksums are those that their users have agreed on for years.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from datasets.download.archives import unpack
from datasets.download.fetch import Checksum, fetch
from datasets.errors import DataError

Report = Callable[[str, int, int | None], None]  # what is done, bytes so far, bytes in all


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive of a data set, and where its contents belong below the data set's root."""

    url: str
    checksum: Checksum | None
    into: str = ""
    inside: str = ""  # the part of the archive to take, see `unpack`
    files: str | None = None  # SHA-256 over all files taken, see `files_hash`

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


_VOC = "http://host.robots.ox.ac.uk/pascal/VOC/"
_COCO = "http://images.cocodataset.org/"
_BCCD = "https://github.com/Shenggan/BCCD_Dataset/archive/"


def _archive(url: str, md5: str, into: str = "", inside: str = "") -> Archive:
    return Archive(url, Checksum("md5", md5), into, inside)


# Name on the command line -> the archives it takes.
SOURCES: dict[str, tuple[Archive, ...]] = {
    "voc2007": (
        _archive(
            f"{_VOC}voc2007/VOCtrainval_06-Nov-2007.tar",
            "c52e279531787c972589f7e41ab4ae64",
            inside="VOCdevkit",
        ),
        _archive(
            f"{_VOC}voc2007/VOCtest_06-Nov-2007.tar",
            "b6e924de25625d8de591ea690078ad9f",
            inside="VOCdevkit",
        ),
    ),
    "voc2012": (
        _archive(
            f"{_VOC}voc2012/VOCtrainval_11-May-2012.tar",
            "6cd6e144f989b92b3379bac3b3de84fd",
            inside="VOCdevkit",
        ),
    ),
    "coco2017": (
        _archive(
            f"{_COCO}annotations/annotations_trainval2017.zip", "f4bbac642086de4f52a3fdda2de5fa2c"
        ),
        _archive(f"{_COCO}zips/val2017.zip", "442b8da7639aecaf257c1dceb8ba8c80"),
        _archive(f"{_COCO}zips/train2017.zip", "cced6f7f71b7629ddf16f17bbcfab6b2"),
    ),
    "coco2014": (
        _archive(
            f"{_COCO}annotations/annotations_trainval2014.zip", "0a379cfc70b0e71301e0f377548639bd"
        ),
        _archive(f"{_COCO}zips/val2014.zip", "a3d79f5ed8d289b7a7554ce06a5782b3"),
        _archive(f"{_COCO}zips/train2014.zip", "0da8cfa0e090c266b78f30e2d2874f1a"),
    ),
    "bccd": (
        Archive(
            f"{_BCCD}d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip",
            None,  # packed anew for each request, so only the files have a fixed hash
            inside="*/BCCD",
            files="9358971741c3024a99b84f230651fabb7f0d28dad10b752e0732c9798b99391a",
        ),
    ),
}


def obtain(
    name: str,
    root: Path,
    *,
    archives: Path | None = None,
    mirror: str | None = None,
    report: Report | None = None,
) -> Path:
    """Put a data set below `root`: its archives from the folder `archives`, or downloaded.

    Downloads are kept in `root/archives` and resumed. `mirror` replaces the address before each
    file's name. What is unpacked already is not touched. DataError says which file is missing or
    wrong.
    """
    kept = archives or root / "archives"
    for archive in SOURCES[name]:
        done = root / f".{archive.name}.unpacked"
        if done.is_file():
            continue
        url = f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
        path = kept / archive.name
        if archives is not None:
            _check(path, archive)
        else:
            fetch(url, path, archive.checksum, _told(report, f"download {archive.name}"))
        unpacked = unpack(
            path,
            root / archive.into,
            inside=archive.inside,
            progress=_told(report, f"unpack {archive.name}"),
        )
        found = files_hash(root / archive.into, unpacked) if archive.files else None
        if found != archive.files:
            raise DataError(f"{path}: unpacked files hash to {found}, expected {archive.files}")
        done.touch()
    return root


def files_hash(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over (path below `root`, SHA-256) of files, sorted by path."""
    total = hashlib.sha256()
    for name in sorted(file.relative_to(root).as_posix() for file in files):
        total.update(name.encode() + b"\0" + hashlib.sha256((root / name).read_bytes()).digest())
    return total.hexdigest()


def _told(report: Report | None, what: str) -> Callable[[int, int | None], None] | None:
    if report is None:
        return None
    return lambda done, total: report(what, done, total)


def _check(path: Path, archive: Archive) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such archive; it is published at {archive.url}")
    if archive.checksum and archive.checksum.of(path) != archive.checksum.value:
        raise DataError(
            f"{path}: {archive.checksum.kind} is {archive.checksum.of(path)}, expected"
            f" {archive.checksum.value}: damaged, or another file of that name"
        )
