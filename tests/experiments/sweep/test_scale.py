"""Scale by simulation: an executor that only keeps a clock, with failures and stragglers."""

import heapq
import random
import resource
from collections import Counter
from pathlib import Path

import pytest

from experiments.sweep.coordinator import Coordinator, Options
from experiments.sweep.executors import Ended, Started, Task
from experiments.sweep.ledger import Ledger, read_events
from experiments.sweep.state import fold, open_state
from experiments.sweep.sweep_file import read_sweep


class SimulatedExecutor:
    """`workers` slots whose trials end in order of a simulated clock; 2 % of the attempts crash."""

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self.idle_moments = 0
        self.moments = 0
        self._clock = 0.0
        self._ends: list[tuple[float, int, int]] = []
        self._draw = random.Random(3)
        self._folders: dict[int, Path] = {}

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(n for _, n, _ in self._ends)

    def ready(self) -> bool:
        return True

    def start(self, task: Task) -> Started:
        straggles = 20.0 if self._draw.random() < 0.01 else 1.0
        end = self._clock + self._draw.uniform(0.5, 1.5) * straggles
        code = 1 if self._draw.random() < 0.02 else 0
        heapq.heappush(self._ends, (end, task.n, code))
        self._folders[task.n] = task.folder
        return Started(1, None, "simulated")

    def release(self, n: int) -> None:
        pass

    def wait(self, seconds: float) -> list[Ended]:
        self.moments += 1
        self.idle_moments += len(self._ends) < self.slots
        found = []
        while self._ends and len(found) < 20:
            self._clock, n, code = heapq.heappop(self._ends)
            if code == 0:
                text = '{"status":"finished","metrics":{}}'
                (self._folders[n] / "record.json").write_text(text)
            found.append(Ended(n, code))
        return found

    def stop(self, n: int) -> None:
        pass

    def kill(self) -> None:
        self._ends.clear()


class Silent:
    def said(self, text: str) -> None:
        pass

    def ticked(self, coordinator: Coordinator) -> None:
        pass


@pytest.mark.parametrize(
    ("trials", "workers"), [(1000, 100), pytest.param(10_000, 1000, marks=pytest.mark.slow)]
)
def test_every_worker_is_kept_busy_and_each_trial_ends_once(
    tmp_path: Path, trials: int, workers: int
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"method: grid\ncommand: [t, '${{args}}']\nparameters: {{seed: {{min: 1, max: {trials}}}}}"
    )
    sweep, out, executor = read_sweep(path), tmp_path / "out", SimulatedExecutor(workers)
    with Ledger(out) as ledger:
        state = open_state(ledger, sweep, out)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        options = Options(retries=10)
        Coordinator(sweep, out, ledger, state, executor, Silent(), options).run()
    ends = Counter(event["n"] for event in read_events(out) if event["event"] == "end")
    assert ends == dict.fromkeys(range(trials), 1)
    assert executor.idle_moments <= workers / 20 + 1 + workers  # only when no point is left
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 50 + trials / 100
    assert len(fold(read_events(out)).with_status("finished")) == trials
