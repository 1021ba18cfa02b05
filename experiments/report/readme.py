"""The part of README.md that a report fills, between two markers."""

from collections.abc import Sequence
from pathlib import Path

from experiments.errors import UsageError
from experiments.record.files import write_text
from experiments.record.record import find_records

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
NOTHING = (
    "No figure stands here yet: each will come with its records under `results/` and the command"
    " that rebuilds it."
)


def fill(readme: Path, words: str) -> None:
    """Put `words` between the markers of `readme`; everything else stays.

    Raises:
        UsageError: there is no such file, or its markers are not there once each in order.
    """
    head, _, tail = _parts(readme)
    write_text(readme, f"{head}{BEGIN}\n{words}\n{END}{tail}")


def read(readme: Path) -> str:
    """What stands between the markers; raises UsageError as `fill` does."""
    return _parts(readme)[1].strip("\n")


def block_of(markdown: str) -> str:
    """The part of report.md that a README shows: what was run, verdict and comparison, without
    figures and provenance; headings one level down.
    """
    head, body = markdown.split("## Verdict", 1)
    for end in ("\n## Errors and scores", "\n## Where the loss is", "\n## Provenance"):
        body = body.split(end, 1)[0]
    facts = [line for line in head.splitlines() if not line.startswith("# ")]
    kept = [line for line in [*facts, *body.splitlines()] if not line.startswith("![")]
    text = "\n".join("#" + line if line.startswith(("## ", "### ")) else line for line in kept)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


def write_block(directories: Sequence[Path], readme: Path, out: Path) -> None:
    """Fill the marked block of `readme` from the report in `out`, or say that nothing is measured
    where `directories` hold no record.
    """
    page = out / "report.md"
    words = block_of(page.read_text(encoding="utf-8")) if any_record(directories) else NOTHING
    fill(readme, words)


def any_record(directories: Sequence[Path]) -> bool:
    """Whether there is a run to tell of."""
    return any(find_records(directory) for directory in directories if directory.is_dir())


def _parts(readme: Path) -> tuple[str, str, str]:
    if not readme.is_file():
        raise UsageError(f"{readme}: no such file")
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{readme}: needs one line '{BEGIN}' and, below it, one line '{END}'")
    head, rest = text.split(BEGIN)
    block, tail = rest.split(END)
    return head, block, tail
