"""The one process that owns a sweep: who runs next, what an end means, and what is remembered.

Every decision is in the ledger before it takes effect, so that the coordinator may be killed at
any moment: a restart ends orphans, believes finished records, and lets half-trained trials go on
in their own folders.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from experiments.ending import handled_by
from experiments.errors import UsageError
from experiments.record.follow import Progress, final_metric, in_force, read_record
from experiments.sweep.command import expand, is_train
from experiments.sweep.executors import Ended, Executor, Task
from experiments.sweep.executors.processes import end_orphan
from experiments.sweep.ledger import Event, Ledger
from experiments.sweep.proposals import propose
from experiments.sweep.space import Parameters, Sweep, shown
from experiments.sweep.state import State, Trial, failure_text, unseen_end
from experiments.sweep.tapes import Tapes
from experiments.sweep.tryout import Tryout

RUN_DIR = "SOFTGAMMA_RUN_DIR"  # where a trial writes, told by the environment
NOT_RUN = 2  # of `train`: the user's mistake, which another attempt would meet again
INTERRUPTED = 75  # a trial's exit status after saving its state on SIGTERM (EX_TEMPFAIL)
TICK_SECONDS = 0.5
MOST_LOSSES = 5  # of a trial's nodes before it has come further, one after the other

Why = Callable[[Parameters], str | None]  # what is wrong with a draw


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a sweep; `limit`: trials that may end in this call; `tape_gib`: see `Tapes`."""

    retries: int = 1
    limit: int | None = None
    orphan_seconds: float = 60.0
    trial_seconds: float | None = None  # of one trial over all its attempts; the file may say, too
    tape_gib: float | None = None


class Watcher(Protocol):
    """Who is told what happens, for the eye only."""

    def said(self, text: str) -> None:
        """One line about one event."""
        ...

    def ticked(self, coordinator: "Coordinator") -> None:
        """Called about twice a second."""
        ...


class Coordinator:
    """Runs one sweep to its end, or until it is asked to stop."""

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        ledger: Ledger,
        state: State,
        executor: Executor,
        watcher: Watcher,
        options: Options | None = None,
        why: Why | None = None,
    ) -> None:
        self.sweep, self.folder, self.state, self.executor = sweep, folder, state, executor
        self.options = options or Options()
        self.running: dict[int, Progress] = {}
        self.began: dict[int, float] = {}
        self.interrupted = False
        self.ends = 0
        self._ledger, self._watcher, self._why = ledger, watcher, why
        self._stopping_early: set[int] = set()
        self._over: set[int] = set()  # running trials whose time is up
        self.most_seconds = self.options.trial_seconds or sweep.trial_seconds
        self._histories: dict[int, list[float]] = {}
        self._signals = 0
        self._reached = False
        self._ticked = 0.0
        self._pending: deque[int] = deque()
        self._metric_key = sweep.metric.name if sweep.metric else None
        self._tryout = Tryout(sweep)
        self._trains = is_train(sweep.command, sweep.program)
        self._tapes = Tapes(sweep, folder, self.options.tape_gib, watcher.said)

    def run(self) -> None:
        """Run until every point has ended, the limit is reached, or a signal asks for the end.

        A ledger that cannot be written (a full disk) stops the trials and raises UsageError.
        """
        with handled_by(self._on_signal):
            try:
                self._recover()
                waiting = self.state.with_status("pending", "passed")
                waiting = [trial for trial in waiting if not self._used_up(trial)]
                waiting.sort(key=lambda trial: self._tryout.turn(trial.parameters))
                self._pending = deque(trial.n for trial in waiting)
                self._loop()
                self._tapes.end(self.state, over=self._reached)
            except OSError as error:
                self._end_trials_unrecorded()
                raise UsageError(
                    f"{self.folder}: {error}; trials were asked to save and end. Mend this (free "
                    "some space, say) and give the same command: finished trials are kept"
                ) from error
            except BaseException:
                self._end_trials_unrecorded()
                raise
        self._watcher.ticked(self)

    def _used_up(self, trial: Trial) -> bool:
        """Whether a trial was ended for its time, and has no more of it now."""
        most = self.most_seconds
        return trial.over is not None and most is not None and trial.seconds >= most

    def _loop(self) -> None:
        while True:
            ready = bool(self._signals) or self.executor.ready()
            if ready and not self._signals:
                self._fill()
            if ready and not self.running:
                return
            if self._signals:
                for n in self.running:
                    self.executor.stop(n)
            self._take(self.executor.wait(TICK_SECONDS / 2))
            self._tick()

    # -- starting ---------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start a trial in every free slot; one write to the disk is theirs before they run."""
        events: list[dict[str, Any]] = []
        while len(self.running) < self.executor.slots and not self._signals:
            trial = None if self._reached or self._at_limit() else self._next()
            if trial is None:
                break
            events.append(self._start(trial))
        if not events:
            return
        self._note(*events)
        for event in events:
            self.executor.release(event["n"])
            trial = self.state.trials[event["n"]]
            again = f", attempt {trial.attempts}" if trial.attempts > 1 else ""
            self._watcher.said(
                f"trial {trial.n} started{again}: {shown(self.state.varying(trial))}"
            )

    def _at_limit(self) -> bool:
        limit = self.options.limit
        return limit is not None and self.ends + len(self.running) >= limit

    def _next(self) -> Trial | None:
        if self._pending:
            return self._next_pending()
        if self.sweep.method == "grid":
            return None
        while (event := propose(self.sweep, self.state)) is not None and not self._at_limit():
            why = self._why(event["parameters"]) if self._why is not None else None
            self._note(event)
            trial = self.state.trials[event["n"]]
            if why is None:
                return trial
            self._refuse(trial, why)
        return None

    def _next_pending(self) -> Trial | None:
        """The first one that may run; those of settings that were not chosen are passed over."""
        waiting: list[int] = []
        found = None
        while self._pending and found is None:
            trial = self.state.trials[self._pending.popleft()]
            advice = self._tryout.advice(trial, self.state.trials.values())
            if advice == "run":
                found = trial
            elif advice == "wait":
                waiting.append(trial.n)
            elif trial.status != "passed":
                self._note({"event": "end", "n": trial.n, "status": "passed"})
                what = "another setting of its arm was better in the tryout"
                self._watcher.said(f"trial {trial.n} is passed over: {what}")
        self._pending.extendleft(reversed(waiting))
        return found

    def _refuse(self, trial: Trial, why: str) -> None:
        """A draw that no run can be made of has failed as a trial; the sweep goes on."""
        end = {"event": "end", "n": trial.n, "status": "failed", "metric": None, "error": why}
        self._note({**end, "exit": NOT_RUN, "seconds": 0.0})
        self.ends += 1
        self._watcher.said(f"trial {trial.n} cannot be run: {why} ({shown(trial.parameters)})")

    def _start(self, trial: Trial) -> dict[str, Any]:
        folder = trial.folder(self.folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        command = expand(self.sweep.command, self.sweep.program, trial.parameters, folder)
        task = Task(trial.n, command, folder, self._environment(trial, folder))
        started = self.executor.start(task)
        self.running[trial.n] = Progress(folder, self._metric_key)
        self.began[trial.n] = time.monotonic()
        process = {"pid": started.pid, "mark": started.mark, "host": started.host}
        return {"event": "start", "n": trial.n, **process}

    def _environment(self, trial: Trial, folder: Path) -> dict[str, str]:
        wanted = {
            # A program of the user's own shall not ask for an account; ours is offline by itself.
            **({} if self._trains else {"WANDB_MODE": "offline"}),
            "WANDB_RUN_GROUP": self.sweep.name,
            "PYTHONUNBUFFERED": "1",
            **({"WANDB_PROJECT": self.sweep.project} if self.sweep.project else {}),
            **({"WANDB_ENTITY": self.sweep.entity} if self.sweep.entity else {}),
        }
        unset = {name: value for name, value in wanted.items() if name not in os.environ}
        return unset | {
            **self._tapes.environment(),
            RUN_DIR: str(folder),
            "WANDB_DIR": str(folder),
            "SOFTGAMMA_SWEEP": self.sweep.name,
            "SOFTGAMMA_TRIAL": f"{trial.n:04d}-{trial.key}",
        }

    # -- ending -----------------------------------------------------------------------------------

    def _take(self, ends: list[Ended]) -> None:
        events = [self._judged(end) for end in ends]
        if events:
            self._note(*events)
        for end, event in zip(ends, events, strict=True):
            self._histories[end.n] = self.running.pop(end.n).history
            del self.began[end.n]
            self._stopping_early.discard(end.n)
            self._over.discard(end.n)
            self._follow_up(end, event)
        if events:
            self._tapes.remove_unneeded(self.state, over=self._reached)

    def _judged(self, end: Ended) -> dict[str, Any]:
        """What the end of a process means for its trial."""
        progress = self.running[end.n]
        progress.update()
        seconds = round(time.monotonic() - self.began[end.n], 3)
        told = {"n": end.n, "exit": end.exit_code, "seconds": seconds}
        record = read_record(progress.folder) or {}
        if record.get("status") == "finished":
            metric = final_metric(record, progress.metric)
            resolved = in_force(self.state.trials[end.n].parameters, record.get("config"))
            found = {"status": "finished", "metric": metric, "resolved": resolved}
            return {"event": "end", **found, **told}
        if end.n in self._over and not self._signals:
            over = {"over": self.most_seconds, "iteration": progress.iteration}
            return {"event": "interruption", **over, **told}
        if end.n in self._stopping_early and not self._signals:
            metric = progress.history[-1] if progress.history else None
            return {"event": "end", "status": "stopped", "metric": metric, **told}
        trial = self.state.trials[end.n]
        innocent = end.lost or end.exit_code == INTERRUPTED
        moved_on = innocent and progress.iteration > trial.iteration
        lost = end.lost and not moved_on
        if self._signals or moved_on or (lost and trial.losses < MOST_LOSSES):
            return {"event": "interruption", "iteration": progress.iteration, "lost": lost, **told}
        error = failure_text(end.exit_code, record, progress.folder)
        again = end.exit_code != NOT_RUN or not self._trains
        if again and trial.failures < self.options.retries:
            return {"event": "failure", "error": error, **told}
        return {"event": "end", "status": "failed", "metric": None, "error": error, **told}

    def _follow_up(self, end: Ended, event: Mapping[str, Any]) -> None:
        trial = self.state.trials[end.n]
        if trial.ended:
            self.ends += 1
            value = "" if trial.metric is None else f", {self.metric_name} {trial.metric:.4g}"
            self._watcher.said(f"trial {trial.n} {trial.status} in {trial.seconds:.0f} s{value}")
            metric = self.sweep.metric
            if metric and trial.metric is None and trial.status == "finished":
                learns = ": a bayes search learns nothing from it" * (self.sweep.method == "bayes")
                self._watcher.said(f"trial {trial.n} has no {metric.name} in its record{learns}")
            if metric and trial.metric is not None and metric.reached(trial.metric):
                self._reached = True
                self._watcher.said(f"trial {trial.n} reached the target {metric.target}: no more")
        elif trial.over is not None:
            self._watcher.said(f"trial {trial.n} {trial.over_told}; it can go on from there")
        elif not self._signals:
            self._pending.appendleft(trial.n)
        if event["event"] == "failure" or trial.status == "failed":
            log = self.running_log(trial)
            self._watcher.said(f"trial {trial.n} crashed; its log is {log}\n{trial.error}")

    @property
    def waiting(self) -> int:
        """How many trials there are that have not begun and will."""
        return self._tryout.waiting(self.state.trials.values())

    @property
    def metric_name(self) -> str:
        """The sweep's metric, for people."""
        return self.sweep.metric.name if self.sweep.metric else "metric"

    def running_log(self, trial: Trial) -> Path:
        """Where a trial's output goes."""
        return trial.folder(self.folder) / "trial.log"

    # -- watching ---------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < TICK_SECONDS:
            return
        self._ticked = now
        news = [progress.update() for progress in self.running.values()]
        if self.sweep.early_stop is not None and any(news):
            self._stop_the_worse()
        self._stop_the_late(now)
        self._watcher.ticked(self)

    def _stop_the_worse(self) -> None:
        rule, metric = self.sweep.early_stop, self.sweep.metric
        assert rule is not None and metric is not None
        histories = self._histories | {n: p.history for n, p in self.running.items()}
        candidates = [n for n in self.running if n not in self._stopping_early]
        for n in rule.stops(histories, candidates, maximize=metric.goal == "maximize"):
            self._stopping_early.add(n)
            self._watcher.said(f"trial {n} is worse than its peers: stopped early")
            self.executor.stop(n)

    def _stop_the_late(self, now: float) -> None:
        if self.most_seconds is None:
            return
        for n in self.running:
            spent = self.state.trials[n].seconds + now - self.began[n]
            if spent >= self.most_seconds and n not in self._over:
                self._over.add(n)
                self.executor.stop(n)

    # -- beginnings and ends of the process --------------------------------------------------------

    def _recover(self) -> None:
        """Settle what an earlier coordinator left: orphans, and ends that it did not write down."""
        for trial in self.state.with_status("running", "pending"):
            folder = trial.folder(self.folder).absolute()
            if not folder.is_dir():
                continue
            if trial.status == "running" and trial.pid and trial.host == os.uname().nodename:
                if end_orphan(trial.pid, trial.mark, self.options.orphan_seconds):
                    self._watcher.said(f"trial {trial.n} was left running by a killed sweep: ended")
            end = unseen_end(trial, self.folder, self._metric_key)
            if trial.status == "running" or end["event"] == "end":
                self._note(end)
        for trial in self.state.with_status("finished", "stopped"):
            if self.sweep.early_stop is not None:
                progress = Progress(trial.folder(self.folder), self.metric_name)
                progress.update()
                self._histories[trial.n] = progress.history

    def _note(self, *events: Event) -> None:
        for event in self._ledger.append(*events):
            self.state.apply(event)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self.interrupted = True
        if self._signals == 1:
            self._watcher.said("stopping: trials save their state (once more to kill them)")
        else:
            self.executor.kill()

    def _end_trials_unrecorded(self) -> None:
        for n in self.executor.running:
            self.executor.stop(n)
        while self.executor.running:
            self.executor.wait(TICK_SECONDS)
