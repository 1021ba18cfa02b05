"""Arms of finished runs, compared by their records: over seeds, and two runs over their images."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import UsageError, nearest
from experiments.evaluation.bootstrap import PairedDifference, paired_bootstrap
from experiments.evaluation.dump import read_dump
from experiments.evaluation.significance import (
    ArmDifference,
    arms_verdict,
    compare_arms,
    holm_of_known,
    p_value_text,
    runs_verdict,
)
from experiments.evaluation.tables import Dump, check
from experiments.evaluation.text import aligned, number
from experiments.record.record import Metrics, find_records
from experiments.report.arms import Arm, make_arms
from experiments.report.load import Run, load_runs

METRICS = tuple(
    field.name for field in dataclasses.fields(Metrics) if field.name not in ("split", "per_class")
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline and one other arm; `images` where both are a single run with its dump."""

    baseline: Arm
    other: Arm
    metric: str
    seeds: ArmDifference
    p_value: float | None  # adjusted by Holm over all comparisons made at once
    images: PairedDifference | None


def load_arm(source: str, runs: Path | None) -> Arm:
    """The arm at a path (a run, or a folder of its seeds), or of that name below `runs`.

    What joins runs to an arm, and which run of a repeated seed counts, is the report's own rule
    (`arms.make_arms`). Raises UsageError: nothing there, no finished run, or several arms.
    """
    path = Path(source)
    if path.is_dir():
        found = _finished(path)
    elif runs is not None:
        found = _named(source, runs)
    else:
        raise UsageError(f"{source}: no such folder; to name an arm, say where by --runs DIR")
    if not found:
        raise UsageError(f"{source}: there is no finished run")
    names = sorted({run.arm for run in found})
    if len(names) > 1:
        raise UsageError(
            f"{source}: holds {len(names)} arms ({', '.join(names)}); name them one by one, with "
            f"--runs {source}"
        )
    arms = make_arms(found)
    if len(arms) > 1:
        one, two = (arm.runs[0].folder for arm in arms[:2])
        raise UsageError(
            f"{source}: {one} and {two} differ in more than their seed "
            f"({'; '.join(arm.title for arm in arms[:3])}); they are not one arm"
        )
    return arms[0]


def compare(arms: Sequence[Arm], metric: str, *, resamples: int = 1000) -> list[Comparison]:
    """Compare every arm with the first; raises UsageError where their test data differ."""
    if metric not in METRICS:
        raise UsageError(f"--metric: found {metric!r}{nearest(metric, METRICS)}")
    _require_same_data(arms)
    baseline, *others = arms
    base = _values(baseline, metric)
    results = [compare_arms(base, _values(arm, metric)) for arm in others]
    adjusted = holm_of_known([result.t_p_value for result in results])
    return [
        Comparison(
            baseline=baseline,
            other=arm,
            metric=metric,
            seeds=result,
            p_value=p_value,
            images=_over_images(baseline, arm, resamples),
        )
        for arm, result, p_value in zip(others, results, adjusted, strict=True)
    ]


def comparison_text(comparisons: Sequence[Comparison]) -> str:
    """The arms with their spread, then a verdict on each comparison and what it rests on."""
    first = comparisons[0]
    spreads = [(first.baseline.name, first.seeds.a)]
    spreads += [(one.other.name, one.seeds.b) for one in comparisons]
    rows = [["arm", first.metric, "SD", "seeds"]]
    rows += [[name, number(s.mean), number(s.sd), str(s.seeds)] for name, s in spreads]
    notes = _repeated(comparisons)
    return "\n\n".join(
        [aligned(rows), *notes, *(_told(one, len(comparisons)) for one in comparisons)]
    )


def _told(one: Comparison, asked: int) -> str:
    lines = [arms_verdict(one.seeds, one.baseline.name, one.other.name, p_value=one.p_value)]
    if one.p_value is not None and asked > 1:
        lines.append(f"  p is adjusted for {asked} comparisons (Holm).")
    if one.seeds.bootstrap_interval is not None:
        interval = one.seeds.bootstrap_interval
        lines.append(f"  bootstrap over seeds: [{interval.low:+.2f}, {interval.high:+.2f}]")
    if one.seeds.permutation_p_value is not None:
        least = one.seeds.least_permutation_p_value or 0.0
        lines.append(
            f"  permutation: p = {p_value_text(one.seeds.permutation_p_value)} "
            f"(least possible {p_value_text(least)})"
        )
    if one.images is not None:
        lines.append(runs_verdict(one.images, one.baseline.name, one.other.name))
    return "\n".join(lines)


def _finished(folder: Path) -> list[Run]:
    """The finished runs at or below `folder`; what cannot be read is told and left out."""
    lost: list[str] = []
    runs = load_runs([folder], lost) if find_records(folder) else []
    for line in lost:
        print(f"note: {line}", file=sys.stderr)
    return [run for run in runs if run.finished]


def _named(name: str, runs: Path) -> list[Run]:
    there = _finished(runs)
    names = sorted({run.arm for run in there})
    if name not in names:
        raise UsageError(f"{runs}: no arm {name!r}{nearest(name, names)}")
    return [run for run in there if run.arm == name]


def _values(arm: Arm, metric: str) -> list[float]:
    """The metric of each seed, in percent; raises UsageError where it is undefined."""
    for run in arm.finished:
        if run.metric(metric) is None:
            raise UsageError(f"{run.folder}: {metric} is undefined there")
    return arm.values(metric)


def _require_same_data(arms: Sequence[Arm]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for arm in arms:
        for run in arm.finished:
            split = run.metrics.split if run.metrics else ""
            seen.setdefault((split, run.split_hash(split) or ""), run.folder)
    if len(seen) > 1:
        raise UsageError(
            f"{' and '.join(map(str, seen.values()))} were measured on different data "
            f"({', '.join(f'{split} {digest[:8]}' for split, digest in seen)})"
        )


def _repeated(comparisons: Sequence[Comparison]) -> list[str]:
    """A line for each arm that ran a seed more than once."""
    arms = [comparisons[0].baseline, *(one.other for one in comparisons)]
    return [
        f"{arm.name}: seed {', '.join(map(str, arm.repeated))} occurs more than once; the latest "
        "run counts."
        for arm in arms
        if arm.repeated
    ]


def _over_images(a: Arm, b: Arm, resamples: int) -> PairedDifference | None:
    if len(a.finished) > 1 or len(b.finished) > 1:
        return None
    one, two = a.finished[0].folder, b.finished[0].folder
    if not all((folder / "detections.parquet").is_file() for folder in (one, two)):
        return None
    return paired_bootstrap(_dump(one), _dump(two), resamples=resamples)


def _dump(folder: Path) -> Dump:
    tables = read_dump(folder)
    return check(tables.detections, tables.truth, tables.images, tables.classes)
