"""Writes docs/findings.md from the records of studies below results/: a section a question.

python -m docs.findings

A study is a folder with records and the sweep file that it was run from. What tables cannot say
(surprises that were looked into, what to run next) stands in docs/findings/STUDY.md; its numbers
are `{mean:ARM}`, `{sd:ARM}` and `{difference:ARM|AGAINST}`, filled from the records.
"""

import math
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.located import read_located
from experiments.errors import UsageError
from experiments.evaluation.referee import Judgement
from experiments.evaluation.significance import seeds_needed
from experiments.evaluation.verdict import (
    bracketed,
    capital,
    finding,
    fixed,
    interval,
    mean_sd,
    p_words,
    plain_points,
    signed,
)
from experiments.record.files import SWEEP_FILE
from experiments.report.arms import Arm, Asked, Group, display
from experiments.report.choice import standing_arms
from experiments.report.identity import hardware
from experiments.report.literature import published_table
from experiments.report.load import Run, load_runs
from experiments.report.published import Table, beside
from experiments.report.render import compared
from experiments.report.tables import Metric, comparison, contest_of, contrasts
from experiments.report.verdict import choice_words, pairing_of
from experiments.report.weaknesses import warnings
from experiments.report.written import escape_markdown
from experiments.sweep.study import report_options

HERE = Path(__file__).parent
RESULTS, STUDIES = HERE.parent / "results", HERE.parent / "configs/studies"
PAGE, NOTES = HERE / "findings.md", HERE / "findings"
HEAD = """# Findings

Written by `python -m docs.findings` from the records below `results/`; numbers are percent on the
test split, differences are points. Intervals are 95 %, of one comparison; verdicts hold after
Holm's correction over all comparisons of a study. *Less than a point apart* asks two one-sided
tests. Seeds needed are those of each arm with which four of five studies would show a difference of
that size.
"""
POINTS = (1.0, 0.5)  # differences whose seeds are told
NUMBER = re.compile(r"\{(mean|sd|difference):([^}|]+)(?:\|([^}]+))?\}")


class Pair(NamedTuple):
    """One comparison of a study."""

    arm: Arm
    against: Arm
    found: Judgement


class Study(NamedTuple):
    """A study's file, what it asks, and its runs as their report compares them."""

    name: str
    folder: Path
    file: Path
    question: str
    options: dict[str, Any]
    runs: list[Run]
    groups: list[Group]
    primary: Metric
    lost: list[str]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page(results: Path = RESULTS) -> str:
    """The whole page, of all studies below `results`."""
    studies = [read(path.parent) for path in sorted(results.rglob(SWEEP_FILE))]
    if not studies:
        return HEAD + "\nNo study has records yet.\n"
    return HEAD + "".join(section(study) for study in studies)


def read(folder: Path) -> Study:
    """The study whose records and sweep file lie in `folder`."""
    sweep, lost = folder / SWEEP_FILE, list[str]()
    values, told = read_located(sweep).value, report_options(sweep)
    name = str(values.get("name") or folder.name)
    committed = STUDIES / f"{name.replace('-', '_')}.yaml"
    pairs = tuple((arm, against) for arm, against in told.get("contrasts", ()))
    roles = [tuple(told.get(role, ())) for role in ("nuisance", "scientific")]
    asked = Asked(*roles, pairs, told.get("equivalence"), tuple(told.get("seeds", ())))
    runs = load_runs([folder], lost)
    groups, primary = compared(runs, asked, baseline=told.get("baseline"))
    # Published values may have been set beside a study after it was run.
    published = report_options(committed).get("published", []) if committed.is_file() else []
    told["published"] = told.get("published") or published
    file = committed if committed.is_file() else sweep
    question = told.get("question", name)
    return Study(name, folder, file, question, told, runs, groups, primary, lost)


def section(study: Study) -> str:
    """One question: expected, run, found, doubted, paid for, next."""
    parts = [f"## {study.question}", *asked(study)]
    for group in study.groups:
        pairs = pairs_of(study, group)
        parts += ["\n".join(answers(study, pairs)), "\n".join(comparisons(study, pairs))]
        parts += ["\n".join(arms(study, group)), "\n".join(spread(study, group))]
        parts += ["\n".join(row) for row in published(study, group, pairs)]
    parts += ["### What weakens it", "\n".join(doubts(study)), "### What it cost", cost(study)]
    parts += ["### What to run next", "\n".join(following(study)), *notes(study)]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def asked(study: Study) -> Iterator[str]:
    """The study's own words, committed before it ran, what was run of it, and where that lies."""
    lines = study.file.read_text(encoding="utf-8").splitlines()
    words = []
    for line in lines:
        if not line.startswith("#") or line.startswith("# python"):
            break
        words.append(f"> {line.lstrip('# ')}")
    yield f"From `{study.file.name}`:" if words else ""
    yield "\n".join(words)
    done = [run for run in study.runs if run.finished]
    tried = {arm.title for group in study.groups for arm in group.arms}
    names = {arm.name for group in study.groups for arm in group.arms}
    steps = sorted({run.iterations for run in done})
    split = next((run for run in done), None)
    words = [f"{len(names)} arms in {len(tried)} settings, {len(done)} finished runs"]
    words += [f"{'–'.join(f'{step:,}' for step in steps[:: max(1, len(steps) - 1)])} iterations"]
    for part in ("train", "val", "test"):
        images = split.split(part) if split is not None else None
        words += [f"{images.images:,} {part} images"] if images else []
    contests = [contest_of(group, study.primary) for group in study.groups]
    yield (
        "Run: "
        + ", ".join(words)
        + "."
        + "".join(choice_words(each, *standing_arms(each)) for each in contests)
    )
    yield from places(study)


def places(study: Study) -> Iterator[str]:
    """Links to the study's records and to its page, where it was committed."""
    root = HERE.parent
    if not study.folder.resolve().is_relative_to(root):
        return
    told = f"[Records](../{study.folder.resolve().relative_to(root).as_posix()})"
    gallery = HERE / "gallery" / study.name
    if (gallery / "README.md").is_file():
        told += f" and [the whole page, all settings in its table](gallery/{study.name}/README.md)"
    yield f"{told}."


def pairs_of(study: Study, group: Group) -> list[Pair]:
    """Every comparison: what the study names first, then each arm with the baseline."""
    found = [Pair(one.arm, one.against, one.judgement) for one in contrasts(group, study.primary)]
    for row in comparison(group, study.primary):
        if row.against is not None and study.primary.key in row.differences:
            found.append(Pair(row.arm, row.against, row.differences[study.primary.key]))
    return list({(id(pair.arm), id(pair.against)): pair for pair in found}.values())


def answers(study: Study, pairs: Sequence[Pair]) -> Iterator[str]:
    """The decided comparisons in sentences."""
    yield "### What came out\n"
    decided = [pair for pair in pairs if pair.found.verdict in ("better", "worse", "equivalent")]
    for arm, against, found in decided:
        yield f"- {escape_markdown(finding(found, against.short, arm.short, study.primary.name))}"
    rest = len(pairs) - len(decided)
    if rest:
        yield f"- {rest} of {len(pairs)} comparisons are undecided or show no difference."


def comparisons(study: Study, pairs: Sequence[Pair]) -> Iterator[str]:
    """All of them as a table."""
    within = study.options.get("equivalence")
    bound = f" less than {plain_points(within)} apart (90 %) |" if within else ""
    yield "| arm | against | seeds | difference | 95 % interval | p (Holm) | verdict |" + bound
    yield "| --- | --- | ---: | ---: | :---: | ---: | --- |" + (" --- |" if within else "")
    for arm, against, found in pairs:
        seeds = "–".join(map(str, sorted({found.a.seeds, found.b.seeds})))
        cells = [arm.short, against.short, seeds, signed(found.points), interval(found)]
        cells += [p_words(found.p).removeprefix("= "), found.verdict]
        if within:
            inner, p = found.within_interval, found.within_p
            shown = "" if p is None else f", p {p_words(p)}"
            cells.append("–" if inner is None else f"{bracketed(inner)}{shown}")
        yield "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def stood(study: Study, group: Group) -> list[Arm]:
    """The setting that stands for each arm."""
    return [arm for arm in standing_arms(contest_of(group, study.primary)) if arm.finished]


def arms(study: Study, group: Group) -> Iterator[str]:
    """Each arm's mean and spread."""
    yield f"| arm | seeds | {study.primary.name} | COCO AP | COCO AP50 |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for arm in stood(study, group):
        numbers = [arm.summary(key) for key in (study.primary.key, "coco_ap", "coco_ap50")]
        told = " | ".join(mean_sd(number) for number in numbers)
        yield f"| {escape_markdown(arm.short)} | {numbers[0].seeds} | {told} |"


def spread(study: Study, group: Group) -> Iterator[str]:
    """Seed-to-seed SD over arms, and the seeds that it asks for."""
    found = [arm.summary(study.primary.key) for arm in stood(study, group)]
    known = [(one.sd, one.seeds - 1) for one in found if one.sd is not None]
    free = sum(degrees for _, degrees in known)
    if not free:
        yield f"{display(group.detector)}: no arm has two seeds, so no spread is known."
        return
    sd = math.sqrt(sum(sd * sd * degrees for sd, degrees in known) / free)
    lowest, highest = min(one for one, _ in known), max(one for one, _ in known)
    needed = [f"{seeds_needed(sd, size) or 'over 1,000'} for {size:g}" for size in POINTS]
    name = f"{display(group.detector)} in {study.primary.name}"
    yield (
        f"Seed-to-seed SD of {name}: {fixed(sd, 2)} pooled over {len(known)} arms"
        f" ({fixed(lowest, 2)} to {fixed(highest, 2)}, {free} degrees of freedom). Seeds an arm"
        f" needed: {', '.join(needed)} points (Welch)."
    )
    yield pairing_of(group, study.primary)


def published(study: Study, group: Group, pairs: Sequence[Pair]) -> Iterator[list[str]]:
    """Others' effects, of one run each as a rule, beside ours with their intervals."""
    tables = [published_table(given) for given in study.options["published"]]
    for table in (made for one in tables for made in beside(one, [group])):
        yield list(_published(table, pairs))


def _published(table: Table, pairs: Sequence[Pair]) -> Iterator[str]:
    first = table.rows[0].arm
    known = {(id(pair.arm), id(pair.against)): pair.found for pair in pairs}
    yield f"### Published beside ours: {escape_markdown(table.study.title)}\n"
    yield f"{escape_markdown(table.study.source)}. {escape_markdown(table.differs)}\n"
    yield "| setting | published | its effect | our effect | our 95 % interval |"
    yield "| --- | ---: | ---: | ---: | :---: |"
    digits = table.study.digits
    for row in table.rows:
        found = known.get((id(row.arm), id(first)))
        cells = [row.value.words, fixed(row.value.percent, digits)]
        cells += [signed(row.published_effect, digits), signed(row.our_effect)]
        cells += [interval(found) if found is not None else ""]
        yield "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def doubts(study: Study) -> Iterator[str]:
    """Everything in the records that weakens a comparison."""
    said = [*study.lost, *warnings(study.groups, study.primary)]
    yield from (f"- {escape_markdown(one)}" for one in said)
    yield "- One data set, one backbone and one length of training: others may answer otherwise."


def cost(study: Study) -> str:
    """Hours of processes, the machine, and what the tape spared."""
    done = [run for run in study.runs if run.finished]
    hours = sum(run.seconds.train + run.seconds.evaluate for run in done) / 3600
    words = f"{fixed(hours)} hours of training and measuring in {len(done)} runs, on"
    words += f" {hardware(study.groups)}; runs that shared the machine count in full."
    kinds = {
        tape: [run.seconds.train for run in done if run.replayed is tape] for tape in (True, False)
    }
    if kinds[True] and kinds[False]:
        with_tape, without = (statistics.median(kinds[key]) for key in (True, False))
        words += (
            f" {len(kinds[True])} runs replayed the frozen backbone from a tape: a median of"
            f" {with_tape:,.0f} s of training beside {without:,.0f} s of those that computed it."
        )
    return words


def following(study: Study) -> Iterator[str]:
    """What would decide what is open."""
    for group in study.groups:
        for arm, against, found in pairs_of(study, group):
            if found.verdict == "not shown" and found.seeds_needed is not None:
                yield (
                    f"- {escape_markdown(f'{capital(arm.short)} against {against.short}')}:"
                    f" {found.seeds_needed} seeds an arm, were {signed(found.points)} points real."
                )


def notes(study: Study) -> Iterator[str]:
    """What was written by hand, with its numbers filled in."""
    path = NOTES / f"{study.name}.md"
    if not path.is_file():
        return
    yield NUMBER.sub(lambda found: _number(study, path, found), path.read_text("utf-8").strip())


def _number(study: Study, path: Path, found: re.Match[str]) -> str:
    kind, name, other = found.groups()
    for group in study.groups:
        if kind == "difference":
            for arm, against, judgement in pairs_of(study, group):
                if arm.is_called(name) and other is not None and against.is_called(other):
                    return f"{signed(judgement.points)} {interval(judgement)}".strip()
            continue
        for arm in stood(study, group):
            if arm.is_called(name):
                summary = arm.summary(study.primary.key)
                return fixed(summary.mean) if kind == "mean" else fixed(summary.sd, 2)
    raise UsageError(f"{path}: {found.group()}: the study has no such arm or comparison")


if __name__ == "__main__":
    main()
