"""Formulas of the site as MathML, made when it is built: browsers draw it themselves, so that pages
need no script and no network. An extension of Python-Markdown, named in zensical.toml.
"""

import xml.etree.ElementTree as ElementTree
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

FORMULA = "arithmatex"  # the class that pymdownx.arithmatex gives to TeX, between \( \) or \[ \]
NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
THIN = "0.167em"  # TeX's space between a named function and what it is taken of
AFTER_INLINE = 15  # Python-Markdown's own: 20 finds what stands in a line, 10 makes it pretty


class FormulaError(ValueError):
    """TeX that cannot be drawn as it stands."""


class Formulas(Treeprocessor):
    """Puts MathML where TeX was found."""

    def run(self, root: Element) -> None:
        """Replace each formula's text; raises FormulaError."""
        for element in root.iter():
            if element.get("class") == FORMULA and element.text:
                element.text = self.md.htmlStash.store(drawn(element.text))


class MathML(Extension):
    """The extension itself."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register, as Python-Markdown asks for it."""
        md.treeprocessors.register(Formulas(md), "mathml", AFTER_INLINE)


def makeExtension(**options: Any) -> MathML:
    """What Python-Markdown calls by this name."""
    return MathML(**options)


def drawn(text: str) -> str:
    r"""The MathML of `\(TeX\)`, or of `\[TeX\]` in a line of its own."""
    tex = text.strip()[2:-2]
    found: str = convert(tex, display="block" if text.strip().startswith(r"\[") else "inline")
    if "\\" in found:  # a command that the converter does not know stays as it is
        raise FormulaError(f"not known to latex2mathml, or not whole: {tex}")
    root = ElementTree.fromstring(found)
    for parent in list(root.iter()):
        _space(parent)
    ElementTree.register_namespace("", NAMESPACE[1:-1])
    return ElementTree.tostring(root, encoding="unicode")


def _space(parent: Element) -> None:
    """Space the parts of a row as TeX does: nothing after a sign, around a slash or a derivative's
    d; a thin space beside a named function. Browsers take a minus after a bracket for a difference.
    """
    before: Element | None = None
    for part in list(parent):
        text = part.text or ""
        if part.tag == NAMESPACE + "mo" and text in ("min", "max"):
            part.tag = NAMESPACE + "mi"
        if part.tag == NAMESPACE + "mo" and text in "/∂":
            part.attrib |= {"lspace": "0", "rspace": "0"}
        elif part.tag == NAMESPACE + "mo" and text in "−±∓" and not _ends(before):
            part.set("form", "prefix")
        elif _is_function(part) and _ends(before):
            parent.insert(list(parent).index(part), _thin())
        elif before is not None and _is_function(before) and text not in ("(", "["):
            parent.insert(list(parent).index(part), _thin())
        before = part


def _ends(part: Element | None) -> bool:
    """Whether a term may end with this part."""
    if part is None or part.tag == NAMESPACE + "mspace":
        return False
    return part.tag != NAMESPACE + "mo" or (part.text or "") in ")]∂"


def _is_function(part: Element) -> bool:
    return part.tag == NAMESPACE + "mi" and len(part.text or "") > 1


def _thin() -> Element:
    return Element(NAMESPACE + "mspace", {"width": THIN})
