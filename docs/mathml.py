"""Formulas of the site as MathML, made when it is built: browsers draw it themselves, so that pages
need no script and no network. An extension of Python-Markdown, named in zensical.toml.
"""

from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

FORMULA = "arithmatex"  # the class that pymdownx.arithmatex gives to TeX, between \( \) or \[ \]
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
    return found
