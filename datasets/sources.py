"""Where the public data sets come from.

Checksums are those that their users have agreed on for years.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets.archives import unpack
from datasets.errors import DataError
from datasets.fetch import Checksum, fetch

Report = Callable[[str, int, int | None], None]  # what is done, bytes so far, bytes in all


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive of a data set, and where its contents belong below the data set's root."""

    url: str
    checksum: Checksum | None
    into: str = ""
    inside: str = ""  # the part of the archive to take, see `unpack`

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


_VOC = "http://host.robots.ox.ac.uk/pascal/VOC/"
_COCO = "http://images.cocodataset.org/"
_BCCD = "https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/"


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
    # An archive made anew for each request has no fixed hash; the files are checked by the doctor
    # instead.
    "bccd": (Archive(f"{_BCCD}master.zip", None, inside="*/BCCD"),),
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
        unpack(
            path,
            root / archive.into,
            inside=archive.inside,
            progress=_told(report, f"unpack {archive.name}"),
        )
        done.touch()
    return root


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
