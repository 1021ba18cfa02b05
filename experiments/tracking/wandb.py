"""Weights & Biases as a mirror of the record: online, offline or off. The one importer of wandb
outside sweeps.

A mirror never ends a run: what W&B cannot take is told once, and the record has it all the same.
One run keeps one W&B id over all its sittings. Each sitting first mirrors the rows that a kill or a
lost network kept from W&B, then goes on.
"""

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from experiments.importing import without
from experiments.record.record import RECORD_FILE, RunRecord, load_record
from experiments.tracking import rows as mirror

if TYPE_CHECKING:
    from experiments.tracking.pictures import Picture

INIT_SECONDS = 60.0  # of waiting for a server before the run is mirrored offline instead
FINISH_SECONDS = 120.0  # of uploading after training; the rest is kept for `wandb sync`
SWEEP = "WANDB_SWEEP_ID"  # set by `wandb agent`
SYNCED = "*.synced"  # the mark that `wandb sync` leaves in a folder it has sent

Mode = Literal["online", "offline", "off"]


class Tracker(Protocol):
    """Where a run's numbers are mirrored."""

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Mirror one row of the curves."""

    def validated(self, metrics: Mapping[str, Any], iteration: int) -> None:
        """Mirror the numbers of one validation."""

    def finish(self, record: RunRecord) -> None:
        """Mirror the final numbers, tables, pictures and files of the run's folder, and close."""


class NoTracker:
    """Tracking switched off."""

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Nothing."""

    def validated(self, metrics: Mapping[str, Any], iteration: int) -> None:
        """Nothing."""

    def finish(self, record: RunRecord) -> None:
        """Nothing."""


class _NoInputs:
    """What W&B Launch would put into a configuration: nothing, it doesn't start our runs."""

    def apply(self, run: object) -> None:
        pass


# Each `wandb.init` asks Launch, which brings the client of W&B's public API: 1.2 s of 2 s.
_NO_LAUNCH = ModuleType("launch")
_NO_LAUNCH.StagedLaunchInputs = _NoInputs  # type: ignore[attr-defined]


class WandbTracker:
    """A W&B run whose step axis is the iteration; its files lie in `<folder>/wandb`."""

    def __init__(
        self,
        folder: Path,
        mode: Literal["online", "offline"],
        *,
        project: str,
        group: str,
        config: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._place = folder / "wandb"
        self._state = mirror.read_state(self._place, f"{folder.name}-{uuid.uuid4().hex[:8]}")
        # A sweep agent names the run itself; ours is stable over resumes.
        name = os.environ.get("WANDB_RUN_ID", self._state.id)
        self._state = replace(self._state, id=name, owed=mode == "online")
        mirror.write_state(self._place, self._state)
        self._last = 0  # the last iteration that W&B has
        self._broken = False
        self._mode: Literal["online", "offline"] = mode
        self._settings: dict[str, Any] = {
            "project": project,
            "group": group,
            "name": group,
            "config": dict(config),
        }
        self._earlier = mirror.rows_so_far(folder)
        self._sent = self._drop_unsent()
        self._run: Any = None  # from the first row on: opening W&B takes seconds

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Log one row at `iteration`; undefined numbers are left out."""
        row = mirror.numbers(values)
        self._open()
        self._guarded(lambda: self._send(row, iteration))

    def validated(self, metrics: Mapping[str, Any], iteration: int) -> None:
        """Log a validation as `val/...`; under a sweep agent also by the names that W&B's early
        stopping looks for.
        """
        row = mirror.validation_row(metrics, plain=SWEEP in os.environ)
        self._open()
        self._guarded(lambda: self._send(row, iteration))

    def finish(self, record: RunRecord) -> None:
        """Mirror what the folder holds and close; an upload that takes too long is left for
        `wandb sync`.
        """
        self._open()
        self._attempt(lambda: self._run.summary.update(mirror.summary(record)))
        self._attempt(lambda: self._save(record))
        if record.metrics is not None:
            self._attempt(lambda: self._show(record))
        self._attempt(lambda: self._run.finish(exit_code=exit_code(record)))
        if not self._broken:
            name = Path(self._run.settings.sync_dir).name
            segments = self._state.segments | {name: self._last}
            state = replace(self._state, segments=segments, owed=False)
            mirror.write_state(self._place, state)

    def _open(self) -> None:
        """Open the W&B run, once, and give it the rows of earlier sittings that it lacks."""
        if self._run is None:
            self._guarded(lambda: self._replay(self._begin(self._mode)))

    def _begin(self, mode: Literal["online", "offline"]) -> int:
        """Returns the last iteration that W&B has of the run."""
        import wandb

        options = wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        )
        resume: Literal["allow"] | None = "allow" if mode == "online" else None
        try:
            with without(placeholders={"wandb.sdk.launch.inputs.internal": _NO_LAUNCH}):
                self._run = wandb.init(
                    dir=str(self._folder),
                    id=self._state.id,
                    mode=mode,
                    resume=resume,
                    settings=options,
                    **self._settings,
                )
        except wandb.Error as error:
            if mode == "offline":
                raise
            print(
                f"W&B cannot be reached ({str(error).splitlines()[0]}); this run is mirrored "
                f"offline: wandb sync {self._place}/offline-run-*",
                file=sys.stderr,
            )
            wandb.teardown()  # the service holds on to the id of the run that failed to begin
            return self._begin("offline")
        if mode == "offline":
            return self._sent
        return int(self._run.starting_step) - 1 if self._run.resumed else 0

    def _drop_unsent(self) -> int:
        """Remove the segments that `wandb sync` has not sent, since the one that begins holds their
        rows; returns the last iteration that it has sent.
        """
        sent = 0
        last = self._earlier[-1][0] if self._earlier else 0
        for segment in sorted(self._place.glob(f"offline-run-*-{self._state.id}")):
            if list(segment.glob(SYNCED)):
                # One that was killed and yet sent: a gap rather than a row twice.
                sent = max(sent, self._state.segments.get(segment.name, last))
            else:
                shutil.rmtree(segment)
        return sent

    def _replay(self, began: int) -> None:
        self._last = began
        for iteration, row in self._earlier:
            if iteration > began:
                self._send(row, iteration)

    def _send(self, row: Mapping[str, float], iteration: int) -> None:
        if iteration >= self._last:
            self._run.log(dict(row), step=iteration)
            self._last = iteration

    def _show(self, record: RunRecord) -> None:
        import wandb

        from experiments.tracking import pictures as shows

        assert record.metrics is not None
        tables = shows.tables_of(self._folder)
        columns, rows = shows.class_rows(record.metrics)
        shown: dict[str, Any] = {"per_class": wandb.Table(columns=columns, data=rows)}
        curves = shows.precision_curves(tables)
        if curves:
            shown["precision_recall"] = wandb.plot.line_series(
                xs=shows.RECALLS_R.tolist(),
                ys=list(curves.values()),
                keys=list(curves),
                title="Precision over recall, IoU .5",
                xname="recall",
            )
        shown["images"] = [_image(picture, tables.classes) for picture in shows.pictures(tables)]
        self._run.log(shown, step=self._last)

    def _save(self, record: RunRecord) -> None:
        """The record and its dump, so that `sweep pull` can bring the run to another machine."""
        for name in (RECORD_FILE, *(file.path for file in record.files.values())):
            path = (self._folder / name).absolute()
            if path.is_file():
                self._run.save(path, base_path=path.parent, policy="now")

    def _guarded(self, action: Callable[[], object]) -> None:
        """Do it unless something went wrong before."""
        if not self._broken:
            self._attempt(action)

    def _attempt(self, action: Callable[[], object]) -> None:
        """Do it; whatever W&B raises is told once, and never ends the run."""
        try:
            action()
        except Exception as error:
            if not self._broken:
                print(
                    f"W&B: {type(error).__name__}: {error}; the record has everything. Give the "
                    "same command again to send what W&B lacks",
                    file=sys.stderr,
                )
            self._broken = True


def exit_code(record: RunRecord) -> int:
    """The status that W&B is told: 0 for a run that a sweep agent stopped early, too."""
    if record.status == "interrupted" and SWEEP in os.environ:
        return 0
    return 0 if record.status == "finished" else 1


def open_tracker(
    mode: Mode,
    folder: Path,
    *,
    project: str,
    group: str,
    config: Mapping[str, Any],
) -> Tracker:
    """The tracker that `mode` asks for.

    WANDB_MODE in the environment wins, save over a recipe's "off": a sweep sets it to offline.
    """
    chosen = _mode(mode)
    if chosen == "off":
        return NoTracker()
    return WandbTracker(folder, chosen, project=project, group=group, config=config)


def send_owed(mode: Mode, folder: Path, *, project: str) -> None:
    """Send what a lost network kept from W&B of a run that has finished since, if any."""
    if _mode(mode) != "online" or not mirror.read_state(folder / "wandb", "").owed:
        return
    record = load_record(folder)
    if record.status == "finished":
        tracker = open_tracker(
            mode, folder, project=project, group=record.arm, config=record.config
        )
        tracker.finish(record)


def _mode(mode: Mode) -> Mode:
    asked = os.environ.get("WANDB_MODE", mode)
    if mode == "off" or asked in ("off", "disabled"):
        return "off"
    return "online" if asked in ("online", "run") else "offline"


def _image(picture: "Picture", classes: tuple[str, ...]) -> Any:
    import wandb

    from datasets.pixels.reading import read_pixels

    names = dict(enumerate(classes))
    boxes = {
        kind: {"box_data": [_box(box) for box in found], "class_labels": names}
        for kind, found in (("ground_truth", picture.truth), ("predictions", picture.found))
    }
    pixels = read_pixels(picture.path.read_bytes(), picture.turn)
    return wandb.Image(pixels, boxes=boxes, caption=picture.image_id)


def _box(box: Mapping[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = box["corners"]
    return {
        "position": {"minX": x1, "minY": y1, "maxX": x2, "maxY": y2},
        "domain": "pixel",
        "class_id": box["class"],
        "box_caption": f"{box['name']} {box['score']:.2f}",
        "scores": {"score": box["score"]},
    }
