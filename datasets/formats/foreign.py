"""What a file is that should be an image or hold labels, and is neither."""

_LFS = b"version https://git-lfs"
_HTML = (b"<!doctype html", b"<html")
_ZIP, _GZIP = b"PK\x03\x04", b"\x1f\x8b"
_HEIF = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def foreign(data: bytes) -> str | None:
    """What these first bytes of a file say that it is; None where they don't.

    >>> foreign(b"version https://git-lfs.github.com/spec/v1")
    "a pointer of Git LFS: 'git lfs pull' brings the file"
    """
    text = data[:200].lstrip().lower()
    if not data:
        return "an empty file"
    if data.startswith(_LFS):
        return "a pointer of Git LFS: 'git lfs pull' brings the file"
    if text.startswith(_HTML):
        return "a page of HTML, as a download that failed leaves it"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "a HEIC image: convert it to JPEG"
    if data.startswith(_GZIP):
        return "compressed by gzip; unpack it (gunzip)"
    return "a ZIP archive; unpack it" if data.startswith(_ZIP) else None
