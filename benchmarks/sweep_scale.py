"""What a large sweep costs besides its trials: the part `scale` of benchmarks/sweep.py.

A grid of so many points of a real recipe is planned, begun (`--limit 1`: one real trial) and looked
at. CPU times are of the command and what it waited for; the coordinator's memory is its own peak
when its first trial has started, and at its end.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FEW = 20  # points of a sweep whose time is all start
SWEEP = """
name: {name}
method: grid
metric: {{name: voc07_map, goal: maximize}}
command: ["${{env}}", "${{interpreter}}", -m, experiments, train, "${{args_no_hyphens}}"]
parameters:
  config: {{value: {recipe}}}
  loss.gamma: {{values: [0.0, 1.0, 2.0, 5.0]}}
  seed: {{values: {seeds}}}
"""


def scale(root: Path, recipe: Path, counts: tuple[int, ...], variables: dict[str, str]) -> Any:
    """The figures by number of points."""
    few = _planned(_sweep(root, recipe, FEW), variables)
    found = {}
    for count in counts:
        sweep = _sweep(root, recipe, count)
        planned = _planned(sweep, variables)
        out = root / f"scale-{count}"
        found[str(count)] = {
            "plan_cpu_seconds": planned,
            "plan_cpu_ms_a_point": 1000 * (planned - few) / (count - FEW),
            **_begun(sweep, out, variables),
            "status_cpu_seconds": _cpu(["sweep", "status", str(out)], variables),
        }
        print(f"{count} points: {found[str(count)]}", flush=True)
    return found


def _sweep(root: Path, recipe: Path, count: int) -> Path:
    path = root / f"sweep-{count}.yaml"
    path.write_text(SWEEP.format(name="scale", recipe=recipe, seeds=list(range(count // 4))))
    return path


def _planned(sweep: Path, variables: dict[str, str]) -> float:
    nowhere = str(sweep.parent / "nowhere")
    return _cpu(["sweep", "plan", str(sweep), "--no-probe", "--records", nowhere], variables)


def _cpu(words: list[str], variables: dict[str, str]) -> float:
    """CPU seconds of a command and of the processes that it waited for."""
    process = _start(words, variables)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words}: exit status {process.returncode}")
    return used.ru_utime + used.ru_stime


def _begun(sweep: Path, out: Path, variables: dict[str, str]) -> dict[str, float]:
    """Begin the sweep and let one trial run."""
    began = time.perf_counter()
    words = ["sweep", str(sweep), "--out", str(out), "--limit", "1"]
    process = _start(words, variables)
    first, peak = 0.0, 0.0
    ledger = out / "ledger.jsonl"
    while process.poll() is None:
        peak = _peak_mb(process.pid) or peak
        if not first and ledger.is_file() and '"event":"start"' in _tail(ledger):
            first = time.perf_counter() - began
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"{words}: exit status {process.returncode}")
    return {"seconds_to_first_trial": first, "coordinator_peak_mb": peak}


def _start(words: list[str], variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *words],
        cwd=HERE.parent,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _tail(ledger: Path) -> str:
    with ledger.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 4096))
        return file.read().decode(errors="replace").replace(": ", ":")


def _peak_mb(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(values[0]) / 1000 if values else None
