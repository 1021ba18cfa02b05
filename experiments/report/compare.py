"""Arms of finished runs, compared by their records: over seeds, and two runs over their images."""

import dataclasses
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
    holm,
    p_value_text,
    runs_verdict,
)
from experiments.evaluation.tables import Dump, check
from experiments.evaluation.text import aligned, number
from experiments.record.record import Metrics, RunRecord, find_records, load_record

METRICS = tuple(
    field.name for field in dataclasses.fields(Metrics) if field.name not in ("split", "per_class")
)


@dataclass(frozen=True, slots=True)
class Arm:
    """Finished runs that differ in nothing but their seed."""

    name: str
    folders: tuple[Path, ...]
    records: tuple[RunRecord, ...]

    def values(self, metric: str) -> list[float]:
        """The metric of each seed, in percent; raises UsageError where it is undefined."""
        found = [getattr(record.metrics, metric) for record in self.records]
        if None in found:
            raise UsageError(f"{self.folders[found.index(None)]}: {metric} is undefined there")
        return found


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

    Raises UsageError: nothing there, no finished run, several arms, another configuration in
    between, or a seed that occurs twice.
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
    names = sorted({record.arm for _, record in found})
    if len(names) > 1:
        raise UsageError(
            f"{source}: holds {len(names)} arms ({', '.join(names)}); name them one by one, with "
            f"--runs {source}"
        )
    _require_one_configuration(source, found)
    folders, records = zip(*found, strict=True)
    return Arm(names[0], folders, records)


def compare(arms: Sequence[Arm], metric: str, *, resamples: int = 1000) -> list[Comparison]:
    """Compare every arm with the first; raises UsageError where their test data differ."""
    if metric not in METRICS:
        raise UsageError(f"--metric: found {metric!r}{nearest(metric, METRICS)}")
    _require_same_data(arms)
    baseline, *others = arms
    results = [compare_arms(baseline.values(metric), arm.values(metric)) for arm in others]
    p_values = [result.t_p_value for result in results if result.t_p_value is not None]
    adjusted = iter(holm(p_values))
    return [
        Comparison(
            baseline=baseline,
            other=arm,
            metric=metric,
            seeds=result,
            p_value=next(adjusted) if result.t_p_value is not None else None,
            images=_over_images(baseline, arm, resamples),
        )
        for arm, result in zip(others, results, strict=True)
    ]


def comparison_text(comparisons: Sequence[Comparison]) -> str:
    """The arms with their spread, then a verdict on each comparison and what it rests on."""
    first = comparisons[0]
    spreads = [(first.baseline.name, first.seeds.a)]
    spreads += [(one.other.name, one.seeds.b) for one in comparisons]
    rows = [["arm", first.metric, "SD", "seeds"]]
    rows += [[name, number(s.mean), number(s.sd), str(s.seeds)] for name, s in spreads]
    return "\n\n".join([aligned(rows), *(_told(one, len(comparisons)) for one in comparisons)])


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


def _finished(folder: Path) -> list[tuple[Path, RunRecord]]:
    found = [(path, load_record(path)) for path in find_records(folder)]
    return [(path, record) for path, record in found if record.metrics is not None]


def _named(name: str, runs: Path) -> list[tuple[Path, RunRecord]]:
    there = _finished(runs)
    names = sorted({record.arm for _, record in there})
    if name not in names:
        raise UsageError(f"{runs}: no arm {name!r}{nearest(name, names)}")
    return [(path, record) for path, record in there if record.arm == name]


def _require_one_configuration(source: str, found: Sequence[tuple[Path, RunRecord]]) -> None:
    (path, first), *rest = found
    seeds = {first.seed: path}
    for other, record in rest:
        if record.config_hash != first.config_hash:
            raise UsageError(
                f"{source}: {path} and {other} differ in more than their seed; they are not one arm"
            )
        if record.seed in seeds:
            raise UsageError(
                f"{source}: seed {record.seed} occurs twice ({seeds[record.seed]}, {other})"
            )
        seeds[record.seed] = other


def _require_same_data(arms: Sequence[Arm]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for arm in arms:
        for path, record in zip(arm.folders, arm.records, strict=True):
            split = record.metrics.split if record.metrics else ""
            described = getattr(record.data, split, None)
            seen.setdefault((split, described.hash if described else ""), path)
    if len(seen) > 1:
        raise UsageError(
            f"{' and '.join(map(str, seen.values()))} were measured on different data "
            f"({', '.join(f'{split} {digest[:8]}' for split, digest in seen)})"
        )


def _over_images(a: Arm, b: Arm, resamples: int) -> PairedDifference | None:
    if len(a.folders) > 1 or len(b.folders) > 1:
        return None
    if not all((arm.folders[0] / "detections.parquet").is_file() for arm in (a, b)):
        return None
    return paired_bootstrap(_dump(a.folders[0]), _dump(b.folders[0]), resamples=resamples)


def _dump(folder: Path) -> Dump:
    tables = read_dump(folder)
    return check(tables.detections, tables.truth, tables.images, tables.classes)
