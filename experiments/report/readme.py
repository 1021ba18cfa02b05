"""What README.md says was measured: a short table between two markers, and its picture."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from experiments.errors import UsageError
from experiments.evaluation.referee import Judgement
from experiments.evaluation.verdict import interval, listed, signed
from experiments.record.files import write_text
from experiments.record.record import find_records
from experiments.report.arms import Arm, Asked, Group, display
from experiments.report.figures.answer import AnswerLine, draw
from experiments.report.figures.style import svg_of
from experiments.report.load import Run, load_runs
from experiments.report.render import compared
from experiments.report.tables import Metric, comparison, contrasts, contrasts_of
from experiments.report.written import escape_markdown

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
NOTHING = (
    "No figure stands here yet: each will come with its records under `results/` and the command"
    " that rebuilds it."
)

MOST = 14  # comparisons; the page has all
PICTURE = Path("docs/images/answer.svg")
GALLERY = "docs/gallery/README.md"


class Answer(NamedTuple):
    """One comparison: in words, its data's folder, in two lines for a figure, and the answer."""

    question: str
    data: str
    label: str
    judgement: Judgement


class Named(NamedTuple):
    """A group of arms and what its comparisons are called by: its study's folder, which says where
    in a detector the loss acts, else its detector.
    """

    name: str
    group: Group


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


def answers_of(groups: Sequence[Named], primary: Metric) -> list[Answer]:
    """What was compared, at most MOST of it, each group's first questions first; the group of the
    most runs leads.
    """
    largest = sorted(groups, key=lambda one: -sum(len(arm.finished) for arm in one.group.arms))
    by_group = [_asked(one.name, one.group, primary) for one in largest]
    turns = [answer for turn in zip_longest(*by_group) for answer in turn if answer is not None]
    kept = {id(answer) for answer in turns[:MOST]}
    return [one for answers in by_group for one in answers if id(one) in kept]


def table(answers: Sequence[Answer], metric: Metric) -> str:
    """The comparisons as GitHub Markdown."""
    lines = [
        f"| question ({metric.name}) | data | seeds | difference | 95 % interval | verdict |",
        "| --- | --- | ---: | ---: | :---: | --- |",
    ]
    for one in answers:
        found = one.judgement
        seeds = sorted({found.a.seeds, found.b.seeds})
        cells = [escape_markdown(one.question), escape_markdown(one.data)]
        cells += ["–".join(map(str, seeds)), signed(found.points), interval(found), found.verdict]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def weakness(groups: Sequence[Named], answers: Sequence[Answer]) -> str:
    """What weakens the table, in one sentence."""
    alone = [one for one in answers if min(one.judgement.a.seeds, one.judgement.b.seeds) < 2]
    parts = []
    if alone:
        of = "each comparison" if len(alone) == len(answers) else f"{len(alone)} of {len(answers)}"
        parts.append(f"{of} rests on one seed an arm and decides nothing")
    elif answers:
        seeds = sorted(n for one in answers for n in (one.judgement.a.seeds, one.judgement.b.seeds))
        span = f"{seeds[0]}" if seeds[0] == seeds[-1] else f"{seeds[0]} to {seeds[-1]}"
        parts.append(f"arms have {span} seeds, of small networks in short runs")
    bare = sorted({_data_of(one.group.arms[0]) for one in groups if one.group.baseline is None})
    if bare:
        parts.append(f"single records of {listed(bare, 4)} have no arm to be compared with")
    return f"What weakens this: {'; '.join(parts)}; [all of it, and the page]({GALLERY})."


def write_block(
    directories: Sequence[Path],
    readme: Path,
    options: Mapping[str, Any],
    studies: Mapping[Path, Mapping[str, Any]] | None = None,
) -> None:
    """Fill the marked block of `readme` from the records in `directories`, and draw PICTURE beside
    it; or say that nothing is measured where there is no record.

    `options` are those of `write_report`; `studies`: folders below `directories` whose records are
    compared by options of their own, and are told first.
    """
    if not any_record(directories):
        fill(readme, NOTHING)
        return
    groups, metric = _groups(directories, options, studies or {})
    answers = answers_of(groups, metric)
    if not answers:
        fill(readme, NOTHING)
        return
    fill(readme, f"{table(answers, metric)}\n\n{weakness(groups, answers)}")
    lines = [AnswerLine(one.label, one.judgement) for one in answers]
    write_text(readme.parent / PICTURE, svg_of(draw, lines, metric.name))


def _groups(
    directories: Sequence[Path],
    options: Mapping[str, Any],
    studies: Mapping[Path, Mapping[str, Any]],
) -> tuple[list[Named], Metric]:
    """The groups of every study, then of all other runs, each as its own report compares them; and
    the metric, the first's.
    """
    asked = [(folder.name, load_runs([folder], []), studies[folder]) for folder in studies]
    taken = {run.folder for _, runs, _ in asked for run in runs}
    rest = [run for run in load_runs(directories, []) if run.folder not in taken]
    asked += [("", rest, options)] if rest else []
    found = [(name, *_compared(runs, told)) for name, runs, told in asked]
    metric = found[0][2]
    named = [
        Named(name or display(group.detector), group)
        for name, groups, primary in found
        if primary == metric
        for group in groups
    ]
    return named, metric


def _compared(runs: Sequence[Run], options: Mapping[str, Any]) -> tuple[list[Group], Metric]:
    pairs = tuple((arm, against) for arm, against in options.get("contrasts", ()))
    roles = [tuple(options.get(role, ())) for role in ("nuisance", "scientific")]
    seeds = tuple(options.get("seeds", ()))
    asked = Asked(roles[0], roles[1], pairs, options.get("equivalence"), seeds)
    return compared(runs, asked, baseline=options.get("baseline"), metric=options.get("metric"))


def _asked(name: str, group: Group, primary: Metric) -> list[Answer]:
    """The answers to the page's questions, the first of each before the second of any; or else the
    best arm beside it.
    """
    by_question = [contrasts_of(group, primary, one.pairs) for one in group.questions]
    turns = [one for turn in zip_longest(*by_question) for one in turn if one is not None]
    named = {(one.against, one.arm): one for one in [*turns, *contrasts(group, primary)]}
    found = [_answer(name, one.arm, one.against, one.judgement) for one in named.values()]
    if found:
        return found
    rivals = [row for row in comparison(group, primary) if primary.key in row.differences]
    rivals = [row for row in rivals if row.differences[primary.key].points is not None]
    if not rivals:
        return []
    best = max(rivals, key=lambda row: row.summaries[primary.key].mean or 0.0)
    assert best.against is not None
    return [_answer(name, best.arm, best.against, best.differences[primary.key])]


def _answer(name: str, arm: Arm, against: Arm, judgement: Judgement) -> Answer:
    words = f"{arm.short} against {against.short}"
    data = _data_of(arm)
    label = f"{name}: {arm.short}\nagainst {against.short} · {data}"
    return Answer(f"{name}: {words}", data, label, judgement)


def _data_of(arm: Arm) -> str:
    data = arm.runs[0].config.get("data")
    root = data.get("root") if isinstance(data, Mapping) else None
    return Path(str(root or "")).name


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
