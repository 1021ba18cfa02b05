"""What each run was made of and what it cost: provenance, settings, hardware, versions."""

import json
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.config.words import NAMED
from experiments.record.record import RECORD_FILE
from experiments.report.arms import Arm, Group
from experiments.report.choice import is_below
from experiments.report.load import Run
from experiments.report.settings import comparable, differing, loss_of, parameter, plain
from experiments.report.tables import Metric


class RunLine(NamedTuple):
    """One run of the provenance table; `arm_anchor` is set on the first run of an arm."""

    run: Run
    title: str
    anchor: str
    arm_anchor: str
    state: str
    value: float | None
    hashes: tuple[str | None, ...]  # config, commit, train data, test data, detections
    link: str


class Cost(NamedTuple):
    """Means over an arm's finished runs, memory (MiB) the largest of them; None where no run
    tells.
    """

    title: str
    runs: int
    iterations: float | None
    train: float | None
    speed: float | None
    evaluate: float | None
    memory: float | None
    worker: float | None
    gpu: float | None
    replayed: int  # runs that replayed a tape, and so did not compute their backbone


def run_lines(groups: Sequence[Group], primary: Metric, out: Path) -> list[RunLine]:
    """Every run with its identity; `out` is the report's folder, from which records are linked."""
    lines: list[RunLine] = []
    for group in groups:
        for arm in group.arms:
            counted = arm.finished
            for index, run in enumerate(arm.runs):
                place = len(lines) + 1
                data = [run.split_hash(part) for part in ("train", "test")]
                found = run.files["detections"].sha256 if "detections" in run.files else None
                hashes = (run.config_hash, run.commit, *data, found)
                lines.append(
                    RunLine(
                        run=run,
                        title=_full_title(arm, groups, group),
                        anchor=f"run-{place}",
                        arm_anchor=f"arm-{place}" if index == 0 else "",
                        state=_state(run, any(run is one for one in counted)),
                        value=run.metric(primary.key),
                        hashes=hashes,
                        link=_link(run.folder, out),
                    )
                )
    return lines


def arm_anchors(groups: Sequence[Group]) -> list[dict[str, str]]:
    """For each group: arm title -> the anchor of its first run, as `run_lines` numbers them."""
    anchors: list[dict[str, str]] = []
    place = 1
    for group in groups:
        mine = {}
        for arm in group.arms:
            mine[arm.title] = f"arm-{place}" if len(arm.runs) > 1 else f"run-{place}"
            place += len(arm.runs)
        anchors.append(mine)
    return anchors


def costs(groups: Sequence[Group]) -> list[Cost]:
    """What each arm cost, in the order of the tables."""
    return [
        Cost(
            title=_full_title(arm, groups, group),
            runs=len(arm.finished),
            iterations=_mean([float(run.iterations) for run in arm.finished if run.iterations]),
            train=_mean([run.seconds.train for run in arm.finished if run.seconds.train]),
            speed=_mean([speed for run in arm.finished if (speed := _speed(run)) is not None]),
            evaluate=_mean([run.seconds.evaluate for run in arm.finished if run.seconds.evaluate]),
            memory=_most(arm, "process_mib"),
            worker=_most(arm, "worker_mib"),
            gpu=_most(arm, "gpu_mib"),
            replayed=sum(run.replayed for run in arm.finished),
        )
        for group in groups
        for arm in group.arms
    ]


def facts(groups: Sequence[Group], standing: Sequence[Arm]) -> list[tuple[str, str]]:
    """The line under the question: how many runs, on what data, on what machine. `standing` are the
    arms without the settings that val did not choose.
    """
    arms = [arm for group in groups for arm in group.arms]
    runs = [run for arm in arms for run in arm.runs]
    done = sum(len(arm.finished) for arm in arms)
    seeds = sorted({len(arm.finished) for arm in standing if arm.finished})
    spread = "–" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
    found = [
        ("Arms", _count(len(standing), len(arms))),
        ("Runs", f"{done}" if done == len(runs) else f"{done} of {len(runs)}"),
        ("Seeds an arm", spread),
    ]
    if len(runs) == 1:
        found = [
            ("Run", runs[0].id),
            ("Seed", str(runs[0].seed)),
            ("Status", _state(runs[0], True)),
        ]
    data = sorted({_data_words(run) for run in runs if run.split("test")})
    if data:
        found.append(("Data", data[0] if len(data) == 1 else f"{len(data)} test sets"))
    small = [run.compact for run in _finished(groups) if run.compact is not None]
    if small:
        left = sum(one.left_out for one in small)
        words = f"{len(small)} compact ones, {left:,} detections of which are counted, not kept"
        found.append(("Records", words))
    kinds = Counter(run.precision for run in _finished(groups) if run.precision)
    if len(kinds) > 1:  # `auto` chose otherwise on another machine: no arm of its own, but said
        words = ", ".join(f"{count} in {kind}" for kind, count in sorted(kinds.items()))
        found.append(("Arithmetic", words))
    return found


def _count(standing: int, settings: int) -> str:
    return str(standing) if standing == settings else f"{standing} in {settings} settings"


def hardware(groups: Sequence[Group]) -> str:
    """The machines of the finished runs in words."""
    kinds = set()
    for run in _finished(groups):
        cores = f"{run.hardware.cores} cores of {run.hardware.cpu}"
        kinds.add(", ".join(run.hardware.gpus) or cores)
    return "; ".join(sorted(kinds)) or "unknown"


def differing_settings(group: Group) -> list[tuple[str, list[str]]]:
    """The settings in which the group's arms differ, each with its value in every arm; what belongs
    to another choice (focal's alpha, beside cross-entropy) is empty.
    """
    flats = comparable([arm.runs[0].config for arm in group.arms])
    for arm, flat in zip(group.arms, flats, strict=True):
        for name in NAMED:  # a schedule is one setting, in the words of the arm's name
            keys = [key for key in flat if is_below(key, f"loss.{name}")]
            if keys:
                for key in keys:
                    del flat[key]
                flat[f"loss.{name}"] = parameter(loss_of(arm.runs[0].config).get(name))
    return [
        (key, [plain(flat[key]) if key in flat else "" for flat in flats])
        for key in differing(flats)
    ]


def whole_config(groups: Sequence[Group]) -> tuple[str, str]:
    """One configuration as JSON, the first baseline's, and the title of its arm."""
    for group in groups:
        arm = group.baseline or next(iter(group.arms), None)
        if arm is not None and arm.runs[0].config:
            return json.dumps(
                arm.runs[0].config, indent=2, ensure_ascii=False, default=str
            ), arm.title
    return "", ""


def versions(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Package versions over the finished runs; where runs differ, each version."""
    found: dict[str, set[str]] = {}
    for run in _finished(groups):
        for name, version in run.versions.items():
            found.setdefault(name, set()).add(str(version))
    return [(name, " / ".join(sorted(numbers))) for name, numbers in sorted(found.items())]


def _full_title(arm: Arm, groups: Sequence[Group], group: Group) -> str:
    if len(groups) == 1 or arm.title.lower().startswith(arm.detector.lower()):
        return arm.title
    return f"{group.title}: {arm.title}"


def _state(run: Run, counted: bool) -> str:
    if run.finished:
        return "finished" if counted else "finished, repeated later"
    if run.error:
        return f"{run.status}: {run.error.type}: {run.error.message}"[:120]
    return run.status if run.status != "finished" else "finished, not measured"


def _link(folder: Path, out: Path) -> str:
    relative = os.path.relpath(folder / RECORD_FILE, out.resolve())
    return "".join(
        letter if letter not in '%?#"<>' else f"%{ord(letter):02X}"
        for letter in Path(relative).as_posix()
    )


def _speed(run: Run) -> float | None:
    """Images a second: the median over the curve, which start-up and validation do not bend."""
    speeds = run.curves.get("images_per_second")
    if speeds is None or not np.isfinite(speeds).any():
        return None
    return float(np.nanmedian(speeds))


def _most(arm: Arm, kind: str) -> float | None:
    """The largest peak of the arm's finished runs; older records have none."""
    peaks = (getattr(run.memory, kind, None) for run in arm.finished)
    return max((peak for peak in peaks if peak is not None), default=None)


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _finished(groups: Sequence[Group]) -> list[Run]:
    return [run for group in groups for arm in group.arms for run in arm.finished]


def _data_words(run: Run) -> str:
    data = run.config.get("data")
    name = str(data.get("name", "data")) if isinstance(data, dict) else "data"
    sizes = [f"{split.images:,} {part}" for part in ("train", "test") if (split := run.split(part))]
    count = len(run.classes)
    classes = "1 class" if count == 1 else f"{count} classes"
    return f"{name}, {classes}, {' / '.join(sizes)} images"
