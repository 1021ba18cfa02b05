"""The letters of pictures, and what stands for a class whose name they can't write.

DejaVu comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian and Georgian letters,
no Chinese, Japanese, Korean, Thai or Indian ones. What a font lacks it draws as an empty box, alike
for all names; a class's number tells them apart.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path


@cache
def font_file() -> Path:
    """DejaVu Sans."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"


@cache
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(font_file())).get_charmap())


def drawable(names: Sequence[str]) -> list[str]:
    """Each name, or `#0`, `#1`, .. by its place where the font lacks one of its letters."""
    return [
        name if name.isprintable() and _letters().issuperset(map(ord, name)) else f"#{place}"
        for place, name in enumerate(names)
    ]


def stand_ins(names: Sequence[str]) -> Mapping[str, str]:
    """What is drawn instead of a name, by name; empty where all can be written."""
    drawn = zip(names, drawable(names), strict=True)
    return {name: instead for name, instead in drawn if instead != name}


def told(instead: Mapping[str, str]) -> str:
    """`stand_ins` in words."""
    pairs = ", ".join(f"{short} is {name!r}" for name, short in instead.items())
    return f"the letters of these class names are in no font that comes along: {pairs}"
