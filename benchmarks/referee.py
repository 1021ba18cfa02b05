"""Claims about the referee: how often reports are right where the truth is known, by simulation.

    python -m benchmarks.referee

Studies are drawn in which nothing differs, or by how much is known; each is judged as a report of
its records would judge it (`make_groups`, `settled`, `comparison`, `verdict`). A run's quality is
normal with an SD of .5 points over seeds, a part of which arms may share; that is its result on
test, and its result on val is that plus noise. The JSON goes to
benchmarks/results/referee_<instructions>_<date>.json.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import filing
from experiments.evaluation.significance import power
from experiments.record.record import Data, Hardware, Metrics, Seconds, Split
from experiments.report.arms import Asked, Group, make_groups
from experiments.report.choice import settled
from experiments.report.load import Run
from experiments.report.tables import METRICS, comparison
from experiments.report.verdict import verdict

LOAD_BEFORE = os.getloadavg()[0]
PRIMARY = METRICS[0]
SD, VAL_NOISE = 0.5, 0.3  # points
RATES = (0.01, 0.02, 0.04, 0.08)
COST = dict(zip(RATES, (-2.0, -1.0, -0.4, 0.0), strict=True))  # points; the first is the worst
LR = Asked(nuisance=("optimizer.lr",))
UNDEFINED = dict.fromkeys(metric.key for metric in METRICS[1:])

Arms = Mapping[str, Mapping[float, float]]  # arm -> learning rate -> its true mean


def main() -> int:
    """Simulate, print, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reports", type=int, default=2000, help="of each kind (2000)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    began = time.process_time()
    parts, claims = simulated(arguments.reports)
    status = filing.file_result(
        filing.path_of("referee", arguments.out),
        "referee",
        load=LOAD_BEFORE,
        packages=("numpy", "scipy"),
        parts=parts,
        claims=claims,
        cpu_seconds=round(time.process_time() - began, 1),
    )
    print(json.dumps({"claims": claims, "parts": parts}, indent=1))
    return status


def simulated(reports: int) -> tuple[dict[str, Any], dict[str, bool]]:
    """All figures in percent of reports, and what is claimed of them."""
    wrong = {name: rates(draw, reports) for name, draw in NULLS.items()}
    gain = rates(lambda rng: study(rng, {"plain": ONE, "focal": plus(1.0)}, 6), reports)
    near = rates(lambda rng: study(rng, TWO, 6, asked=Asked(within=1.0)), reports)
    edge = {"plain": ONE, "focal": plus(1.0)}
    far = rates(lambda rng: study(rng, edge, 6, asked=Asked(within=1.0)), reports)
    planned = 100 * power(SD, 1.0, 6)
    pairs = {
        f"{shared:g} shared, {seeds} seeds": paired(shared, seeds, reports)
        for shared in (0.0, 0.5, 0.8)
        for seeds in (3, 5, 6)
    }
    parts = {
        "nothing differs": wrong,
        "a gain of 1 point, 6 seeds": gain | {"planned_percent": round(planned, 1)},
        "equivalence within 1 point, 6 seeds": {
            "nothing differs: equivalent_percent": near["equivalent_percent"],
            "1 point apart: equivalent_percent": far["equivalent_percent"],
        },
        "pairs of seeds": pairs,
    }
    covered = [part["covered_percent"] for part in pairs.values()]
    errors = [part["wrong_percent"] for part in pairs.values()]
    claims = {
        "a verdict where nothing differs: at most 5 % of reports": max(
            part["verdict_percent"] for part in wrong.values()
        )
        <= 5.0,
        "no verdict where more settings were tried for one arm": wrong[UNEQUAL]["verdict_percent"]
        == 0.0,
        "a gain is found as often as planned, within 3 %": abs(gain["better_percent"] - planned)
        <= 3.0,
        "intervals cover 93 to 97 % whatever seeds share": 93 <= min(covered)
        and max(covered) <= 97,
        "two arms that do not differ: a verdict in at most 5.5 %": max(errors) <= 5.5,
        "1 point apart is called equivalent in at most 5 %": far["equivalent_percent"] <= 5.0,
    }
    return parts, claims


def rates(draw: Callable[[np.random.Generator], Group], reports: int) -> dict[str, float]:
    """How often a report of what `draw` gives says what, in percent."""
    random = np.random.default_rng(2026)
    counts = dict.fromkeys(("verdict", "better", "worse", "equivalent", "open"), 0)
    for _ in range(reports):
        group = draw(random)
        rows = comparison(group, PRIMARY)
        kinds = {row.differences[PRIMARY.key].verdict for row in rows if row.differences}
        said = verdict(group, PRIMARY)
        counts["verdict"] += bool(kinds & {"better", "worse"})
        counts["equivalent"] += "equivalent" in kinds
        for kind in ("better", "worse", "open"):
            counts[kind] += said.kind == kind
    return {f"{name}_percent": round(100 * count / reports, 2) for name, count in counts.items()}


def paired(shared: float, seeds: int, reports: int) -> dict[str, float]:
    """Coverage of the interval of two arms that do not differ, and how often seeds were paired."""
    random = np.random.default_rng(round(100 * shared) + seeds)
    covered = wrong = used = 0
    for _ in range(reports):
        rows = comparison(study(random, TWO, seeds, shared=shared), PRIMARY)
        answer = next(row.differences[PRIMARY.key] for row in rows if row.differences)
        assert answer.low is not None and answer.high is not None
        covered += answer.low <= 0 <= answer.high
        wrong += answer.verdict in ("better", "worse")
        used += answer.paired
    counts = {"covered": covered, "wrong": wrong, "paired": used}
    return {f"{name}_percent": round(100 * count / reports, 2) for name, count in counts.items()}


def study(
    random: np.random.Generator,
    arms: Arms,
    seeds: int,
    *,
    shared: float = 0.0,
    val: bool = False,
    asked: Asked | None = None,
) -> Group:
    """The group of one study's runs; `shared` is the part of the variance that seeds share."""
    common = random.normal(0, SD * math.sqrt(shared), seeds)
    runs = []
    for name, settings in arms.items():
        for rate, mean in settings.items():
            own = random.normal(0, SD * math.sqrt(1 - shared), seeds)
            test = mean + common + own
            on_val = test + random.normal(0, VAL_NOISE, seeds) if val else None
            for seed in range(seeds):
                chosen = None if on_val is None else float(on_val[seed])
                runs.append(run(name, rate, seed, float(test[seed]), chosen))
    return settled(make_groups(runs, asked=asked)[0], PRIMARY.key)


def run(name: str, rate: float, seed: int, test: float, val: float | None) -> Run:
    """A finished run as a report loads it."""
    focal = {"name": "focal", "alpha": 0.25, "gamma": 2.0 + len(name) / 10}
    config = {
        "detector": {"name": "yolov2"},
        "loss": {"name": "cross_entropy"} if name == "plain" else focal,
        "optimizer": {"name": "sgd", "lr": rate},
        "train": {"iterations": 1000},
        "seed": seed,
    }
    splits = {part: Split(100, 300, 0, part) for part in ("train", "val", "test")}
    return Run(
        folder=Path(f"{name}-{rate}-{seed}"),
        id=f"{name}-{rate}-{seed}",
        arm=f"yolov2 {name}",
        status="finished",
        seed=seed,
        config=config,
        config_hash="",
        started="2026-01-01T00:00:00+00:00",
        commit=None,
        dirty=False,
        data=Data(("thing",), **splits),
        metrics=_metrics("test", test),
        seconds=Seconds(),
        hardware=Hardware("a CPU", 2, None),
        versions={},
        error=None,
        val_metrics=None if val is None else _metrics("val", val),
    )


def _metrics(split: str, value: float) -> Metrics:
    return Metrics(split=split, per_class={}, **{PRIMARY.key: value}, **UNDEFINED)


def plus(points: float, rates: Sequence[float] = (0.01,)) -> dict[float, float]:
    """An arm that is so many points above the plain one, at these learning rates."""
    return {rate: 60.0 + points + COST[rate] for rate in rates}


ONE = plus(0.0)
TWO: Arms = {"plain": ONE, "focal": plus(0.0)}
TUNED: Arms = {name: plus(0.0, RATES) for name in ("plain", "focal")}
SIX: Arms = {name: ONE for name in ("plain", "a", "bb", "ccc", "dddd", "eeeee")}
UNEQUAL = "4 settings against 1, role told, 5 seeds"
NULLS: dict[str, Callable[[np.random.Generator], Group]] = {
    "4 nuisance settings, val chooses, 5 seeds": lambda rng: study(
        rng, TUNED, 5, val=True, asked=LR
    ),
    "4 nuisance settings, no val, 5 seeds": lambda rng: study(rng, TUNED, 5, asked=LR),
    "4 nuisance settings, no role told, 5 seeds": lambda rng: study(rng, TUNED, 5, val=True),
    UNEQUAL: lambda rng: study(
        rng, {"plain": ONE, "focal": plus(0.0, RATES)}, 5, val=True, asked=LR
    ),
    "6 arms, 5 seeds": lambda rng: study(rng, SIX, 5),
}


if __name__ == "__main__":
    raise SystemExit(main())
