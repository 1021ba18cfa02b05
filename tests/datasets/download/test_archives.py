"""Archives that are damaged or hostile are refused, and nothing of them is left."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.download.archives import unpack
from datasets.errors import DataError
from tests.datasets.bounded import Bounded


def _tar(path: Path, *members: tuple[str, bytes | str]) -> Path:
    """A tar of (name, data), (name, "-> target") or (name, "=> hard link") members."""
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type = tarfile.SYMTYPE if content.startswith("->") else tarfile.LNKTYPE
                info.linkname = content[3:]
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return path


def _zip(path: Path, *members: tuple[str, bytes], link: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            file.writestr(info, content)
    return path


def _device(path: Path) -> Path:
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("null")
        info.type = tarfile.CHRTYPE
        file.addfile(info)
    return path


def _claims_terabytes(path: Path) -> Path:
    info = tarfile.TarInfo("big")
    info.size = 2**50
    path.write_bytes(
        info.tobuf() + bytes(1024)
    )  # a header alone: Python 3.13 adds none without data
    return path


def _zip_bomb(path: Path) -> Path:
    _zip(path, ("a", b"\0" * 10_000_000))
    data = path.read_bytes().replace(
        (10_000_000).to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little")
    )
    path.write_bytes(data)
    return path


def _damaged_zip(path: Path) -> Path:
    data = bytearray(_zip(path, ("a", bytes(range(256)) * 40)).read_bytes())
    data[60] ^= 255
    path.write_bytes(bytes(data))
    return path


BROKEN_ARCHIVES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda p: None, "no such file"),
    "empty": (lambda p: p.write_bytes(b""), "damaged or not a zip or tar"),
    "text": (lambda p: p.write_text("hello" * 1000), "damaged or not a zip or tar"),
    "tar_cut_short": (
        lambda p: p.write_bytes(_tar(p, ("a", b"x" * 5000)).read_bytes()[:2000]),
        "size the archive claims|damaged|unexpected end",
    ),
    "zip_cut_short": (
        lambda p: p.write_bytes(_zip(p, ("a", b"x" * 5000)).read_bytes()[:-10]),
        "damaged",
    ),
    "zip_bad_data": (_damaged_zip, "damaged|unpacked"),
    "tar_parent": (lambda p: _tar(p, ("../x", b"1")), r"'\.\./x' leads out"),
    "tar_hidden_parent": (lambda p: _tar(p, ("a/../../x", b"1")), "leads out"),
    "tar_absolute": (lambda p: _tar(p, ("/tmp/x", b"1")), "leads out"),
    "tar_link_out": (lambda p: _tar(p, ("a", "-> /etc"), ("a/x", b"1")), "link or a device"),
    "tar_link_inside": (lambda p: _tar(p, ("b", b"1"), ("a", "-> b")), "link or a device"),
    "tar_hard_link": (lambda p: _tar(p, ("a", "=> /etc/passwd")), "link or a device"),
    "tar_device": (_device, "link or a device"),
    "tar_too_large": (_claims_terabytes, "bytes unpacked|damaged|can't be unpacked"),
    "zip_parent": (lambda p: _zip(p, ("../x", b"1")), "leads out"),
    "zip_backslash": (lambda p: _zip(p, ("..\\x", b"1")), "leads out"),
    "zip_drive": (lambda p: _zip(p, ("C:\\x", b"1")), "leads out"),
    "zip_absolute": (lambda p: _zip(p, ("/x", b"1")), "leads out"),
    "zip_link": (lambda p: _zip(p, ("a", b"/etc/passwd"), link=True), "link or a device"),
    "zip_bomb": (_zip_bomb, "size the archive claims|damaged"),
    "nothing_wanted": (lambda p: _zip(p, ("other/a", b"1")), "no file that was asked for"),
}


@pytest.mark.parametrize("kind", list(BROKEN_ARCHIVES))
def test_broken_and_hostile_archives(tmp_path: Path, kind: str) -> None:
    make, message = BROKEN_ARCHIVES[kind]
    archive = tmp_path / "archive"
    make(archive)
    folder = tmp_path / "deep/er/out"
    with Bounded(), pytest.raises(DataError, match=message):
        unpack(archive, folder, inside="wanted" if kind == "nothing_wanted" else "")
    left = {path for path in tmp_path.rglob("*") if path.is_file()} - {archive}
    assert left == set(), "nothing may be left of an archive that was refused"


def test_a_link_that_was_there_before_is_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    folder.mkdir()
    (folder / "a").symlink_to(outside)
    archive = _tar(tmp_path / "archive", ("a/x", b"1"))
    with pytest.raises(DataError, match="through a link"):
        unpack(archive, folder)
    assert not any(outside.iterdir())
