"""What people write for a number, a yes and an id, in whatever type their program gave it, and for
text.
"""

import math
from typing import Any

YES = ("1", "true", "yes")
NO = ("", "0", "false", "no")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_ABSURD = 1e9  # no image is as wide; beyond it float32 loses whole pixels


def text_of(data: bytes) -> str:
    """A text file's contents: UTF-8, or UTF-16 where it begins so, as PowerShell's `>` writes it.

    UnicodeDecodeError where it is neither.
    """
    if not data.startswith(_UTF16):
        return data.decode("utf-8-sig")
    text = data.decode("utf-16")
    if text and not any(letter.isascii() for letter in text):  # a number, a blank, a line's end
        raise UnicodeDecodeError("utf-16", data, 0, len(data), "no letter of it is ASCII")
    return text


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: of a file named in another encoding it can't."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def number(value: Any) -> float:
    """A number, also one written as text; NaN for anything else."""
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return math.nan
    if not isinstance(value, (int, float)):
        return math.nan
    return float(value) if abs(value) < _ABSURD else math.nan


def pixels(value: Any) -> int:
    """A side of an image; 0 where it isn't said, or can't be."""
    side = number(value)
    return int(side) if 0 < side < 1e6 else 0


def flag(value: Any) -> tuple[bool, str | None]:
    """If a mark is set, and the word that was found where it is neither yes nor no.

    Programs write "Unspecified" for "nobody said", so only a plain yes is one.
    """
    word = str(int(value)) if value in (0, 1) else str(value).strip().lower()
    odd = value is not None and word not in (*YES, *NO)
    return word in YES, str(value).strip() if odd else None


def identity(value: Any) -> int | str | None:
    """An id; 7, 7.0 and "7" are one and the same, "007" is another. None where there is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if not isinstance(value, str):
        return value if isinstance(value, int) else None
    text = value.strip()
    try:
        return int(text) if str(int(text)) == text else text
    except ValueError:
        return text or None
