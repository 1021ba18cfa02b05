"""One VOC annotation file, read fast and safely.

Coordinates stay as written in the file: 1-based, inclusive.

Expat's C reader takes some 0.1 ms a file. It is handed only bytes that can't declare an entity:
plain UTF-8, ASCII or Latin-1 without a `<!` other than a comment. Whatever else comes goes through
defusedxml, which refuses entities; Chinese, Japanese and Korean encodings, which Expat doesn't
know, as text.
"""

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from datasets.errors import DataError
from datasets.formats.foreign import foreign
from datasets.formats.values import flag, number, pixels

MOST_BYTES = 4 * 2**20  # a VOC file is 15 kB at most; 4 MiB holds some 10,000 objects
_MARKUP = re.compile(rb"<!(?!--)")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_PLAIN_ENCODINGS = (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1")
_ASIAN = ("gb", "big5", "shift", "sjis", "euc", "cp93", "cp94", "cp95", "iso-2022")
_NO_BOX = (math.nan,) * 4


@dataclass(frozen=True, slots=True)
class Raw:
    """The labels of one file as written; a number that is missing or no number is NaN."""

    width: int  # 0 where the file doesn't say
    height: int
    filename: str  # of the image, as the file says; "" where it doesn't
    names: list[str]
    corners: list[tuple[float, float, float, float]]  # xmin, ymin, xmax, ymax
    difficult: list[bool]
    odd: dict[int, str]  # by object: the word that is neither yes nor no, "" where there is none
    more: dict[int, int]  # by object: its boxes, where it has several
    words: dict[int, str]  # by object: its box as written, where that is no four numbers


NOTHING = Raw(0, 0, "", [], [], [], {}, {}, {})


def read_bytes(path: Path | str) -> bytes:
    """The file's bytes; DataError when it is missing or larger than any honest annotation."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such annotation, but a split names it") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise DataError(f"{path}: larger than {MOST_BYTES:,} bytes: not a VOC annotation")
    return data


def parse(data: bytes, path: Path | str) -> Raw:
    """Labels of one annotation file.

    DataError names file and line when it isn't well-formed or not a VOC annotation.
    """
    root = element(data, path)
    if root.tag != "annotation":
        raise DataError(f"{path}: the root is <{root.tag}>, expected <annotation>")
    names: list[str] = []
    corners: list[tuple[float, float, float, float]] = []
    difficult: list[bool] = []
    odd: dict[int, str] = {}
    more: dict[int, int] = {}
    words: dict[int, str] = {}
    for thing in root.iterfind("object"):
        name = (thing.findtext("name") or "").strip()
        names.append(" ".join(name.split()) if "\n" in name else name)
        boxes = thing.findall("bndbox")
        corners.append(_corners(boxes[0]) if boxes else _NO_BOX)
        if math.isnan(sum(corners[-1])):
            words[len(names) - 1] = _words(boxes[0]) if boxes else "no bndbox"
        if len(boxes) > 1:
            more[len(names) - 1] = len(boxes)
        mark = thing.findtext("difficult")
        if mark == "0":
            difficult.append(False)
            continue
        set_, word = flag(mark)
        difficult.append(set_)
        if word is not None or not (mark or "").strip():
            odd[len(names) - 1] = word or ""
    width, height = pixels(root.findtext("size/width")), pixels(root.findtext("size/height"))
    filename = (root.findtext("filename") or "").strip()
    return Raw(width, height, filename, names, corners, difficult, odd, more, words)


def _corners(box: ElementTree.Element) -> tuple[float, float, float, float]:
    found = box.findtext
    return (
        number(found("xmin")),
        number(found("ymin")),
        number(found("xmax")),
        number(found("ymax")),
    )


def _words(box: ElementTree.Element) -> str:
    """The corners as they are written.

    >>> _words(ElementTree.fromstring("<bndbox><xmin>12,5</xmin><ymin>3</ymin></bndbox>"))
    "xmin '12,5', ymin '3', no xmax, no ymax"
    """
    texts = {tag: box.findtext(tag) for tag in ("xmin", "ymin", "xmax", "ymax")}
    told = (f"no {tag}" if text is None else f"{tag} {text!r:.20}" for tag, text in texts.items())
    return ", ".join(told)


def element(data: bytes, path: Path | str) -> ElementTree.Element:
    """The root of a file; DataError where it isn't well-formed, or reaches beyond itself."""
    encoding = _ENCODING.match(data[:200].removeprefix(b"\xef\xbb\xbf"))
    plain = encoding is None or encoding[1].lower() in _PLAIN_ENCODINGS
    try:
        if plain and b"\0" not in data and not _MARKUP.search(data):
            return ElementTree.fromstring(data)
        text = _decoded(data, encoding[1].decode() if encoding else "")
        root: ElementTree.Element = defusedxml.ElementTree.fromstring(text)
        return root
    except DefusedXmlException as error:
        raise DataError(
            f"{path}: declares an entity or refers outside; refused ({error})"
        ) from None
    except ElementTree.ParseError as error:
        if (kind := foreign(data)) is not None:
            raise DataError(f"{path}: {kind}") from None
        raise DataError(f"{path}: line {error.position[0]}: broken XML ({error})") from None
    except (ValueError, LookupError) as error:  # an encoding that doesn't exist or doesn't fit
        raise DataError(f"{path}: unreadable XML ({error})") from None


def _decoded(data: bytes, declared: str) -> bytes | str:
    """Text where Expat can't read what is declared: encodings of several bytes a letter, and UTF-16
    that isn't, as programs in .NET declare what they then save as UTF-8.
    """
    name = declared.lower()
    if name.startswith(("utf-16", "utf16", "ucs-2")) and b"\0" not in data:
        return data.decode("utf-8-sig")
    if name.startswith(_ASIAN):
        return data.decode("gb18030" if name in ("gb2312", "gbk") else name)
    return data
