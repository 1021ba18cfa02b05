"""What the runs' detections tell beyond their metrics: computed once, kept beside the report.

Only arms that figures name are diagnosed, every seed of them. `diagnosis.json` keeps the numbers by
the hashes of the files they came from; `verify` makes them again.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.evaluation.bootstrap import PairedDifference
from experiments.evaluation.diagnosis import (
    FORMAT,
    KEPT,
    Diagnosis,
    diagnose_run,
    from_json,
    kept_diagnosis,
)
from experiments.evaluation.dump import FILES
from experiments.evaluation.tables import EvaluationError
from experiments.record.origin import file_hash
from experiments.report.arms import Arm
from experiments.report.compare import over_images
from experiments.report.load import Run

STORE = "diagnosis.json"


@dataclass
class Diagnoses:
    """Diagnoses by run; `lost` says of which runs the dump cannot be used, and why."""

    known: dict[str, Diagnosis] = field(default_factory=dict)  # by key
    used: dict[str, Diagnosis] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    by_folder: dict[Path, Diagnosis | None] = field(default_factory=dict)
    known_pairs: dict[str, PairedDifference] = field(default_factory=dict)  # by both keys
    used_pairs: dict[str, PairedDifference] = field(default_factory=dict)

    def of(self, arm: Arm) -> list[Diagnosis]:
        """The diagnoses of an arm's finished runs, in the order of seeds; computed where needed."""
        return [found for run in arm.finished if (found := self._of_run(run)) is not None]

    def of_two_runs(self, a: Arm, b: Arm) -> PairedDifference | None:
        """How two arms of one run each differ over their images; None of others, or where a dump
        cannot be used.
        """
        if len(a.finished) != 1 or len(b.finished) != 1:
            return None
        runs = (a.finished[0], b.finished[0])
        if any(run.compact is not None for run in runs):
            self.lost.append(
                f"{a.title} and {b.title}: not compared over images, which compact records"
                " of single runs cannot be."
            )
            return None
        if any(self._of_run(run) is None for run in runs):
            return None
        key = " ".join(map(key_of, runs))
        if key not in self.known_pairs:
            try:
                found = over_images(a, b)
            except EvaluationError as error:
                self.lost.append(f"{a.title} and {b.title}: not compared over images: {error}.")
                return None
            assert found is not None
            self.known_pairs[key] = found
        self.used_pairs[key] = self.known_pairs[key]
        return self.used_pairs[key]

    def _of_run(self, run: Run) -> Diagnosis | None:
        if run.folder not in self.by_folder:
            self.by_folder[run.folder] = self._make(run)
        return self.by_folder[run.folder]

    def _make(self, run: Run) -> Diagnosis | None:
        if not set(FILES) <= set(run.files) or any(run.file(kind) is None for kind in FILES):
            return None  # a record alone: nothing to diagnose, and the images' section says so
        kinds = [*FILES, *(("diagnosis",) if run.compact is not None else ())]
        changed = [kind for kind in kinds if _altered(run, kind)]
        if changed:
            self.lost.append(
                f"{run.arm} seed {run.seed}: {', '.join(changed)} beside the record changed"
                " since it was written and are not used."
            )
            return None
        key = key_of(run)
        try:
            found = self.known.get(key) or _diagnosed(run)
        except EvaluationError as error:
            self.lost.append(f"{run.arm} seed {run.seed}: its detections cannot be used: {error}.")
            return None
        self.used[key] = found
        return found

    def text(self) -> str:
        """What was used, as the text of STORE; equal diagnoses give equal bytes."""
        runs = {key: self.used[key].to_json() for key in sorted(self.used)}
        pairs = {key: dataclasses.asdict(self.used_pairs[key]) for key in sorted(self.used_pairs)}
        stored = {"format": FORMAT, "runs": runs, "pairs": pairs}
        return json.dumps(stored, ensure_ascii=False) + "\n"


def _diagnosed(run: Run) -> Diagnosis:
    """Of a compact run what was found in its whole dump, which its detections do not give."""
    return diagnose_run(run.folder) if run.compact is None else kept_diagnosis(run.folder / KEPT)


def read_store(folder: Path) -> Diagnoses:
    """The diagnoses that an earlier report left in `folder`; none where there is no usable file."""
    try:
        values = json.loads((folder / STORE).read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            return Diagnoses()
        pairs = {key: PairedDifference(**one) for key, one in values["pairs"].items()}
        runs = {key: from_json(one) for key, one in values["runs"].items()}
        return Diagnoses(runs, known_pairs=pairs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Diagnoses()


def key_of(run: Run) -> str:
    """What a diagnosis depends on: the three files' recorded hashes."""
    hashes = [run.files[kind].sha256 for kind in sorted(FILES)]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def named(arms: Iterable[Arm], colours: Mapping[str, str]) -> list[Arm]:
    """The arms that figures name, those with a colour of their own; the baseline is one."""
    return [arm for arm in arms if colours[arm.title] != "rest" and arm.finished]


def foremost(arms: Sequence[Arm], ranked: Sequence[Arm], baseline: Arm | None) -> list[Arm]:
    """Baseline and best of `arms`, the best first after it: what a crowded figure has room for."""
    order = [baseline] if baseline is not None and baseline in arms else []
    order += [arm for arm in ranked if arm in arms and arm is not baseline]
    return order[:MOST_SHOWN]


MOST_SHOWN = 6


def _altered(run: Run, kind: str) -> bool:
    path = run.file(kind)
    return path is None or file_hash(path) != run.files[kind].sha256
