"""Arms of finished runs, compared by their records: over seeds, and two runs over their images."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.errors import UsageError, nearest
from experiments.evaluation.bootstrap import PairedDifference, paired_bootstrap
from experiments.evaluation.dump import read_dump
from experiments.evaluation.measures import measure_keys
from experiments.evaluation.referee import Judgement, Pair, judge
from experiments.evaluation.significance import bootstrap_t_interval, permutation_test
from experiments.evaluation.tables import Dump, check
from experiments.evaluation.text import aligned, number
from experiments.evaluation.verdict import bracketed, of_two_runs, p_words, pairing, told
from experiments.record.parts import NUMBERS
from experiments.record.record import find_records
from experiments.report.arms import Arm, make_arms, test_sets
from experiments.report.load import Run, load_runs
from experiments.report.settings import comparable, differing


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline and one other arm; `images` where both are a single run with its dump."""

    baseline: Arm
    other: Arm
    metric: str
    judgement: Judgement
    images: PairedDifference | None


def load_arm(source: str, runs: Path | None) -> Arm:
    """The arm at a path (a run, or a folder of its seeds), or of that name below `runs`.

    Raises:
        UsageError: nothing there, no finished run, several arms, or settings in between.
        ReportError: no folder, or a record that cannot be read.
    """
    path = Path(source)
    if not path.is_dir() and runs is None:
        raise UsageError(f"{source}: no such folder; to name an arm, say where by --runs DIR")
    arms = make_arms(_runs(path if path.is_dir() or runs is None else runs))
    found = [arm for arm in arms if arm.finished]
    if not path.is_dir():
        found = _named(source, found, str(runs))
    if not found:
        raise UsageError(f"{source}: there is no finished run")
    if len(found) > 1:
        raise UsageError(_several(source, found))
    return found[0]


def load_arms(sources: Sequence[str], runs: Path | None) -> list[Arm]:
    """The arms at `sources`, as `load_arm`; those of one title are told apart by their source."""
    arms = [load_arm(source, runs) for source in sources]
    alike = Counter(arm.title for arm in arms)
    return [
        arm if alike[arm.title] == 1 else replace(arm, setting=source)
        for arm, source in zip(arms, sources, strict=True)
    ]


def compare(
    arms: Sequence[Arm], metric: str, *, within: float | None = None, resamples: int = 1000
) -> list[Comparison]:
    """Compare every arm with the first, as one family; `within` points asks for equivalence too.

    Raises UsageError where the metric is unknown or undefined, or the test data differ.
    """
    known = (*NUMBERS, *measure_keys())
    if metric not in known:
        raise UsageError(f"--metric: found {metric!r}{nearest(metric, known)}")
    _require_same_data(arms)
    for arm in arms:
        if len(arm.values(metric)) < len(arm.finished):
            missing = next(run for run in arm.finished if run.metric(metric) is None)
            raise UsageError(f"{missing.folder}: {metric} is undefined there")
    pairs = [Pair(0, place) for place in range(1, len(arms))]
    found = judge([arm.seeds(metric) for arm in arms], pairs, within=within)
    baseline, *others = arms
    return [
        Comparison(baseline, arm, metric, judgement, over_images(baseline, arm, resamples))
        for arm, judgement in zip(others, found, strict=True)
    ]


def over_images(a: Arm, b: Arm, resamples: int = 1000) -> PairedDifference | None:
    """How two single runs differ over images; None of more runs, or without their detections."""
    if len(a.finished) > 1 or len(b.finished) > 1:
        return None
    folders = [arm.finished[0].folder for arm in (a, b)]
    if not all((folder / "detections.parquet").is_file() for folder in folders):
        return None
    return paired_bootstrap(_dump(folders[0]), _dump(folders[1]), resamples=resamples)


def comparison_text(comparisons: Sequence[Comparison]) -> str:
    """The arms with their spread, then a verdict on each comparison and what it rests on."""
    first = comparisons[0]
    spreads = [(first.baseline.title, first.judgement.a)]
    spreads += [(one.other.title, one.judgement.b) for one in comparisons]
    rows = [["arm", first.metric, "SD", "seeds"]]
    rows += [[name, number(s.mean), number(s.sd), str(s.seeds)] for name, s in spreads]
    notes = [_repeated(arm) for arm in [first.baseline, *(one.other for one in comparisons)]]
    ways = dict.fromkeys(pairing(one.judgement.shared) for one in comparisons)
    parts = [aligned(rows), *notes, *(_told(one) for one in comparisons), *ways]
    return "\n\n".join(part for part in parts if part)


def _told(one: Comparison) -> str:
    finding, uncertainty = told(one.judgement, one.baseline.title, one.other.title, one.metric)
    lines = [finding, uncertainty]
    if one.judgement.p is not None:
        lines += _second_opinions(one)
    if one.images is not None:
        lines.append(of_two_runs(one.images, one.baseline.title, one.other.title))
    return "\n".join(lines)


def _runs(folder: Path) -> list[Run]:
    """The runs at or below `folder`; what cannot be read is told and left out."""
    lost: list[str] = []
    runs = load_runs([folder], lost) if find_records(folder) else []
    for line in lost:
        print(f"note: {line}", file=sys.stderr)
    return runs


def _second_opinions(one: Comparison) -> list[str]:
    """The same question without Student's assumption of a normal; neither is adjusted."""
    a, b = one.baseline.seeds(one.metric), one.other.seeds(one.metric)
    paired = one.judgement.paired
    found = bootstrap_t_interval(a, b, paired=paired)
    lines = [] if found is None else [f"  bootstrap over seeds: {bracketed(found)}"]
    p_value, least = permutation_test(a, b, paired=paired)
    return [*lines, f"  permutation: p {p_words(p_value)} (least possible {p_words(least)})"]


def _repeated(arm: Arm) -> str:
    again = sorted({run.seed for run in arm.repeated})
    if not again:
        return ""
    seeds = ", ".join(map(str, again))
    return f"{arm.title} ran seed {seeds} more than once; the latest run counts."


def _named(name: str, arms: Sequence[Arm], where: str) -> list[Arm]:
    found = [arm for arm in arms if arm.is_called(name)]
    if not found:
        names = sorted({arm.name for arm in arms})
        raise UsageError(f"{where}: no arm {name!r}{nearest(name, names) or ' (there: none)'}")
    return found


def _several(source: str, arms: Sequence[Arm]) -> str:
    """Why runs are not one arm: their names differ, or settings of one name do."""
    titles = sorted({arm.title for arm in arms})
    if len({arm.name for arm in arms}) == 1:
        keys = differing(comparable([arm.runs[0].config for arm in arms])) or ["their test data"]
        return (
            f"{source}: holds {len(arms)} settings of one arm, which differ in"
            f" {', '.join(keys)}; name one by its title ({'; '.join(titles)})"
        )
    return (
        f"{source}: holds {len(arms)} arms ({', '.join(titles)}); name them one by one, with"
        f" --runs {source}"
    )


def _require_same_data(arms: Sequence[Arm]) -> None:
    runs = [run for arm in arms for run in arm.finished]
    sets = test_sets(runs)
    seen: dict[str, Run] = {}
    for run in runs:
        seen.setdefault(sets[run.folder], run)
    if len(seen) > 1:
        raise UsageError(
            f"{' and '.join(str(run.folder) for run in seen.values())} were measured on different"
            f" data ({', '.join(f'{run.measured} {found[:8]}' for found, run in seen.items())})"
        )


def _dump(folder: Path) -> Dump:
    tables = read_dump(folder)
    return check(tables.detections, tables.truth, tables.images, tables.classes)
