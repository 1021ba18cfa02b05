"""Weights & Biases as a mirror of the record: online, offline or off. The one importer of wandb
outside sweeps.

A mirror never ends a run: what W&B cannot take is told once, and the record has it all the same.
One run keeps one W&B id over all its sittings; in a W&B sweep the agent names it. Each sitting
first mirrors the rows that a kill or a lost network kept from W&B, then goes on.
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
from experiments.record.record import RECORD_FILE, RunRecord
from experiments.record.replay import Replay
from experiments.tracking import rows as mirror
from experiments.tracking.settings import (
    RUN,
    SWEEP,
    identity_of,
    in_sweep,
    leave_aside_what_is_no_setting,
    mode_of,
)

if TYPE_CHECKING:
    from experiments.tracking.pictures import Picture

INIT_SECONDS = 60.0  # of waiting for a server before the run is mirrored offline instead
FINISH_SECONDS = (
    90.0  # of uploading after training; the rest is owed. Two minutes with the pictures
)
SYNCED = "*.synced"  # the mark that `wandb sync` leaves in a folder it has sent
PLACE = (SWEEP, RUN, "WANDB_ENTITY", "WANDB_PROJECT")  # what names a run's place on the server


class Tracker(Protocol):
    """Where a run's numbers are mirrored."""

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Mirror one row of the curves."""

    def validated(self, metrics: Mapping[str, Any], iteration: int) -> None:
        """Mirror the numbers of one validation."""

    def finish(self, record: RunRecord) -> bool:
        """Mirror the final numbers, tables, pictures and files of the run's folder, and close;
        returns whether a server has it all.
        """


class NoTracker:
    """Tracking switched off."""

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Nothing."""

    def validated(self, metrics: Mapping[str, Any], iteration: int) -> None:
        """Nothing."""

    def finish(self, record: RunRecord) -> bool:
        """Nothing."""
        return False


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
        record: RunRecord,
        settings: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._place = folder / "wandb"
        state = mirror.read_state(self._place, f"{folder.name}-{uuid.uuid4().hex[:8]}")
        place = {name: os.environ[name] for name in PLACE if os.environ.get(name)}
        # A sweep's agent names the run itself; ours is stable over resumes.
        name = place.get(RUN, state.id)
        self._state = replace(state, id=name, owed=mode == "online", place=place)
        mirror.write_state(self._place, self._state)
        self._last = 0  # the last iteration that W&B has
        self._broken = False
        self._mode: Literal["online", "offline"] = mode
        identity = identity_of(record, settings)
        self._settings: dict[str, Any] = {
            **({} if in_sweep() else {"id": name, "project": identity.project}),
            **({"entity": identity.entity} if identity.entity else {}),
            "group": identity.group,
            "job_type": identity.job_type,
            "name": identity.name,
            "notes": identity.notes,
            "tags": identity.tags,
            "config": {**record.config, "arm": record.arm},
        }
        self._earlier = Replay(folder)
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
        row = mirror.validation_row(metrics, plain=in_sweep())
        self._open()
        self._guarded(lambda: self._send(row, iteration))

    def finish(self, record: RunRecord) -> bool:
        """Mirror what the folder holds and close; what takes too long to send is owed. Returns
        whether a server has it all.
        """
        self._open()
        whole = not self._broken
        self._attempt(lambda: self._run.summary.update(mirror.summary(record)))
        self._attempt(lambda: self._save(record))
        if record.metrics is not None:
            self._attempt(lambda: self._show(record))
        whole &= self._attempt(lambda: self._run.finish(exit_code=exit_code(record)))
        sent = whole and self._mode == "online"
        if whole:
            name = Path(self._run.settings.sync_dir).name
            segments = self._state.segments | {name: self._last}
            owed = self._state.owed and not sent
            mirror.write_state(self._place, replace(self._state, segments=segments, owed=owed))
        return sent

    def _open(self) -> None:
        """Open the W&B run, once, and give it the rows of earlier sittings that it lacks."""
        if self._run is None:
            self._guarded(lambda: self._replay(self._begin()))

    def _begin(self) -> int:
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
        resume: Literal["allow"] | None = "allow" if self._mode == "online" else None
        try:
            with without(placeholders={"wandb.sdk.launch.inputs.internal": _NO_LAUNCH}):
                self._run = wandb.init(
                    dir=str(self._folder),
                    mode=self._mode,
                    resume=resume,
                    settings=options,
                    **self._settings,
                )
        except wandb.Error as error:
            if self._mode == "offline":
                raise
            self._fall_back(str(error).splitlines()[0])
            wandb.teardown()  # the service holds on to the id of the run that failed to begin
            return self._begin()
        if self._mode == "offline":
            return self._sent
        return int(self._run.starting_step) - 1 if self._run.resumed else 0

    def _fall_back(self, reason: str) -> None:
        self._mode = "offline"
        print(
            f"W&B cannot be reached ({reason}); this run is mirrored offline, and the next command "
            f"that reaches W&B sends it; so does: wandb sync {self._place}/offline-run-*",
            file=sys.stderr,
        )
        if in_sweep():
            tell_offline(reason)

    def _drop_unsent(self) -> int:
        """Remove the segments that `wandb sync` has not sent, since the one that begins holds their
        rows; returns the last iteration that it has sent.
        """
        sent = 0
        last = self._earlier.last
        for segment in sorted(self._place.glob(f"offline-run-*-{self._state.id}")):
            if list(segment.glob(SYNCED)):
                # One that was killed and yet sent: a gap rather than a row twice.
                sent = max(sent, self._state.segments.get(segment.name, last))
            else:
                shutil.rmtree(segment)
        return sent

    def _replay(self, began: int) -> None:
        self._last = began
        for iteration, row in self._earlier.after(began):
            self._send(mirror.mirrored(row), iteration)

    def _send(self, row: Mapping[str, float], iteration: int) -> None:
        if iteration >= self._last:
            self._run.log(dict(row), step=iteration)
            self._last = iteration

    def _show(self, record: RunRecord) -> None:
        import wandb

        from experiments.evaluation import check
        from experiments.evaluation.voc import RECALLS, precision_curves
        from experiments.tracking import pictures as shows

        assert record.metrics is not None
        tables = shows.tables_of(self._folder)
        columns, rows = shows.class_rows(record.metrics)
        shown: dict[str, Any] = {"per_class": wandb.Table(columns=columns, data=rows)}
        curves = precision_curves(
            check(tables.detections, tables.truth, tables.images, tables.classes)
        )
        if curves:
            shown["precision_recall"] = wandb.plot.line_series(
                xs=RECALLS.tolist(),
                ys=[curve.tolist() for curve in curves.values()],
                keys=list(curves),
                title="Precision over recall, IoU .5",
                xname="recall",
            )
        # One key an image: a list of images of several sizes is shown at the first one's size.
        for number, picture in enumerate(shows.pictures(tables), start=1):
            shown[f"images/{number}"] = _image(picture, tables.classes)
        self._run.log(shown, step=self._last)

    def _save(self, record: RunRecord) -> None:
        """The record and its dump, so that `sweep pull` can bring the run to another machine."""
        there = Path(self._run.dir)
        for name in (RECORD_FILE, *(file.path for file in record.files.values())):
            path = self._folder / name
            if path.is_file():
                held = there / path.name
                held.unlink(missing_ok=True)
                try:
                    held.hardlink_to(path)
                except OSError:
                    shutil.copyfile(path, held)
                self._run.save(held, base_path=there, policy="now", glob=False)

    def _guarded(self, action: Callable[[], object]) -> None:
        """Do it unless something went wrong before."""
        if not self._broken:
            self._attempt(action)

    def _attempt(self, action: Callable[[], object]) -> bool:
        """Do it, and return whether it was done; whatever W&B raises is told once, and never ends
        the run.
        """
        try:
            action()
            return True
        except Exception as error:
            if not self._broken:
                later = ". The next command that reaches W&B sends what it lacks"
                words = " ".join(str(error).split())  # of pydantic's there are several lines
                print(
                    f"W&B: {type(error).__name__}: {words}; the record has everything"
                    + (later if self._mode == "online" else ", this run's mirror has not"),
                    file=sys.stderr,
                )
            self._broken = True
            return False


def tell_offline(why: str) -> None:
    """Say loudly that a W&B sweep waits for a run in vain."""
    print(
        f"W&B: THIS RUN STAYS OFFLINE ({why}), although an agent of the W&B sweep "
        f"{os.environ[SWEEP]} started it: the sweep sees a crashed run without a metric, and a "
        "bayes search or early stopping learns nothing from it",
        file=sys.stderr,
    )


def exit_code(record: RunRecord) -> int:
    """The status that W&B is told: 0 for a run that a sweep agent stopped early, too."""
    if record.status == "interrupted" and in_sweep():
        return 0
    return 0 if record.status == "finished" else 1


def open_tracker(folder: Path, record: RunRecord, settings: Mapping[str, Any]) -> Tracker:
    """The mirror that `settings`, the recipe's `tracking`, and the environment ask for."""
    leave_aside_what_is_no_setting()
    mode = mode_of(settings["wandb"])
    if in_sweep() and mode != "online":
        named = os.environ.get("WANDB_MODE")
        tell_offline(f"WANDB_MODE={named}" if named else f"tracking.wandb={settings['wandb']}")
    return NoTracker() if mode == "off" else WandbTracker(folder, mode, record, settings)


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


def warmed() -> Callable[[], None]:
    """Import the client for a process that trials are forked from; returns what a fork has to call.

    The client stages tables and images in a folder that is made at its import and removed as the
    process ends. Forks share it, and the first one to end would remove it under the others.
    """
    import wandb  # noqa: F401
    from wandb.sdk.data_types._private import MEDIA_TMP

    def own_folder() -> None:
        MEDIA_TMP._finalizer.detach()  # type: ignore[attr-defined]
        type(MEDIA_TMP).__init__(MEDIA_TMP, "wandb-media")

    return own_folder
