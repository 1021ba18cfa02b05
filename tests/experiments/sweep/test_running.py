"""Sweeps of real processes: each point ends exactly once, whatever is killed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

POINTS = "loss.gamma: {values: [0.0, 0.5, 1.0, 2.0]}\nseed: {values: [0, 1]}\n"


def wait_until(condition: Any, seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.01)


def wait_for_steps(bench: Any, step: int, trials: int) -> None:
    """Wait until so many trials have written the checkpoint of that step."""

    def reached() -> bool:
        found = [path.read_text() for path in bench.out.glob("trials/*/checkpoint")]
        return found.count(str(step)) == trials

    wait_until(reached)


def processes_of(folder: Path) -> list[int]:
    """Living processes whose environment names a trial below `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"SOFTGAMMA_RUN_DIR={folder}".encode() in environment and state not in "ZX":
            found.append(int(entry.name))
    return found


def test_every_point_ends_once_with_its_metric(bench: Any) -> None:
    bench.write(POINTS)
    status, output = bench.run()
    assert status == 0, output
    assert bench.ends() == {n: 1 for n in range(8)}
    told = json.loads(bench.run("status", str(bench.out), "--json")[1])
    values = {trial["parameters"]["loss.gamma"]: trial["metric"] for trial in told["trials"]}
    assert values == {0.0: 0.0, 0.5: 5.0, 1.0: 10.0, 2.0: 20.0}


def test_running_again_runs_nothing_again(bench: Any) -> None:
    bench.write(POINTS)
    bench.run()
    before = (bench.out / "ledger.jsonl").read_bytes()
    status, output = bench.run()
    assert status == 0, output
    assert (bench.out / "ledger.jsonl").read_bytes() == before


def test_trials_get_a_folder_an_offline_mirror_and_their_share_of_cores(bench: Any) -> None:
    bench.write("seed: {values: [0]}")
    names = ("SOFTGAMMA_RUN_DIR", "WANDB_MODE", "WANDB_DIR", "OMP_NUM_THREADS")
    (bench.root / "trial.py").write_text(
        "import json, os\n"
        f"told = {{name: os.environ[name] for name in {names}}}\n"
        "text = json.dumps({'status': 'finished', 'told': told, 'group': os.getpgid(0)})\n"
        "open(os.path.join(os.environ['SOFTGAMMA_RUN_DIR'], 'record.json'), 'w').write(text)\n"
    )
    assert bench.run()[0] == 0
    (folder,) = (bench.out / "trials").iterdir()
    record = json.loads((folder / "record.json").read_text())
    assert record["told"]["SOFTGAMMA_RUN_DIR"] == record["told"]["WANDB_DIR"] == str(folder)
    assert record["told"]["WANDB_MODE"] == "offline"
    assert record["group"] == bench.events("start")[0]["pid"]


def test_a_crashing_trial_is_retried_then_reported_and_the_sweep_goes_on(bench: Any) -> None:
    bench.write("crash: {values: ['no', once, always]}")
    status, output = bench.run(str(bench.file), "--out", str(bench.out), "--retries", "2")
    assert status == 1
    ends = {event["n"]: event["status"] for event in bench.events("end")}
    assert ends == {0: "finished", 1: "finished", 2: "failed"}
    assert bench.journal(1).count("start") == 2
    assert bench.journal(2).count("start") == 3
    assert "the trial's own words" in output and "sweep retry" in output


def test_retry_runs_only_what_failed(bench: Any) -> None:
    bench.write("crash: {values: ['no', always]}")
    bench.run(str(bench.file), "--out", str(bench.out), "--retries", "0")
    (bench.root / "trial.py").write_text(
        (bench.root / "trial.py")
        .read_text()
        .replace("== 'always'", "== 'never'")
        .replace('== "always"', '== "never"')
    )
    status, output = bench.run("retry", str(bench.out))
    assert status == 0, output
    assert bench.journal(0).count("start") == 1
    assert [event["status"] for event in bench.events("end") if event["n"] == 1] == [
        "failed",
        "finished",
    ]


def test_exit_zero_without_a_record_is_a_failure(bench: Any) -> None:
    bench.write("seed: {values: [0]}")
    (bench.root / "trial.py").write_text("print('nothing done')")
    status, output = bench.run(str(bench.file), "--out", str(bench.out), "--retries", "0")
    assert status == 1
    assert "no finished record.json" in output and "nothing done" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_the_trials_and_the_same_command_goes_on(
    bench: Any, number: signal.Signals
) -> None:
    bench.write("steps: {value: 9}\nhold: {value: 5}\nseed: {values: [0, 1]}")
    before = signal.signal(number, signal.default_int_handler)  # below `nohup` one is ignored
    process = bench.start()
    signal.signal(number, before)
    wait_for_steps(bench, 5, trials=2)
    process.send_signal(number)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert "to go on where this stopped" in output
    assert processes_of(bench.out) == []
    assert len(bench.events("interruption")) == 2
    assert bench.run()[0] == 0
    assert bench.ends() == {0: 1, 1: 1}
    steps = [line for line in bench.journal(0) if line.startswith("step")]
    assert steps == [f"step {i}" for i in range(1, 10)]  # none twice: it went on where it stopped


def test_stop_ends_a_running_sweep_from_another_terminal(bench: Any) -> None:
    bench.write("steps: {value: 9}\nhold: {value: 5}\nseed: {values: [0, 1, 2]}")
    process = bench.start()
    wait_for_steps(bench, 5, trials=2)
    status, output = bench.run("stop", str(bench.out))
    assert (status, process.wait(timeout=120)) == (0, 130)
    assert "stopped" in output
    process.communicate()
    assert "no sweep is running" in bench.run("stop", str(bench.out))[1]


def test_a_trial_deaf_to_sigterm_is_killed_after_its_grace(bench: Any) -> None:
    bench.write("seed: {values: [0]}")
    (bench.root / "trial.py").write_text(
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open(os.environ['SOFTGAMMA_RUN_DIR'] + '/checkpoint', 'w').close()\n"
        "time.sleep(600)"
    )
    process = bench.start(str(bench.file), "--out", str(bench.out), "--grace", "0.5")
    wait_until(lambda: list(bench.out.glob("trials/*/checkpoint")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert processes_of(bench.out) == []


def test_two_coordinators_on_one_folder_are_refused(bench: Any) -> None:
    bench.write("steps: {value: 9}\nhold: {value: 5}\nseed: {values: [0]}")
    process = bench.start()
    wait_for_steps(bench, 5, trials=1)
    status, output = bench.run()
    assert status != 0
    assert f"is being run by process {process.pid}" in output
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)


def test_orphans_of_a_killed_coordinator_are_ended_and_their_trials_go_on(bench: Any) -> None:
    bench.write("steps: {value: 9}\nhold: {value: 5}\nseed: {values: [0, 1]}")
    process = bench.start()
    wait_for_steps(bench, 5, trials=2)
    process.kill()
    process.communicate()
    assert len(processes_of(bench.out)) == 2
    status, output = bench.run()
    assert status == 0, output
    assert "left running by a killed sweep" in output
    assert bench.ends() == {0: 1, 1: 1}
    for n in (0, 1):
        steps = [line for line in bench.journal(n) if line.startswith("step")]
        assert steps == [f"step {i}" for i in range(1, 10)]


def test_status_calls_no_trial_running_whose_process_is_gone(bench: Any) -> None:
    bench.write("steps: {value: 9}\nhold: {value: 5}\nseed: {values: [0, 1]}")
    process = bench.start()
    wait_for_steps(bench, 5, trials=2)
    process.kill()
    process.communicate()
    assert "2 running of 2; not running now" in bench.run("status", str(bench.out))[1]  # orphans
    first, *_ = left = processes_of(bench.out)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(processes_of(bench.out)) == len(left) - 1)
    assert "1 running, 1 pending of 2" in bench.run("status", str(bench.out))[1]
    told = json.loads(bench.run("status", str(bench.out), "--json")[1])
    assert sorted(trial["status"] for trial in told["trials"]) == ["pending", "running"]
    assert not bench.events("interruption")  # looking writes nothing
    assert bench.run()[0] == 0 and bench.ends() == {0: 1, 1: 1}


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_ends_each_of_24_points_once(bench: Any, kills: int) -> None:
    """Half the time the trials are killed too; nothing is trained twice beyond its checkpoint."""
    bench.write(
        "loss.gamma: {values: [0, 0.5, 1, 2]}\nseed: {values: [0, 1, 2, 3, 4, 5]}\n"
        "steps: {value: 12}\npause: {value: 0.01}"
    )
    draw = random.Random(7)
    for _ in range(kills):
        process = bench.start()
        time.sleep(draw.uniform(0.2, 0.7))
        process.kill()
        if draw.random() < 0.5:
            for pid in processes_of(bench.out):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
    status, output = bench.run()
    assert status == 0, output
    assert bench.ends() == {n: 1 for n in range(24)}
    for n in range(24):
        lines = bench.journal(n)
        steps = [int(line.split()[1]) for line in lines if line.startswith("step")]
        assert sorted(set(steps)) == list(range(1, 13))
        # A step may be done again only where a kill fell between the step and its checkpoint.
        assert len(steps) - 12 <= lines.count("start") - 1


@pytest.mark.parametrize("seeds", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_a_grid_of_trivial_trials_has_no_duplicate_and_a_small_ledger(
    bench: Any, seeds: int
) -> None:
    bench.write(f"seed: {{min: 1, max: {seeds}}}\nloss.gamma: {{values: [0.0, 0.5, 1.0, 2.0]}}")
    script = bench.root / "trial.sh"
    command = f"command: [/bin/sh, {script}, '${{args}}']"
    bench.file.write_text(re.sub(r"command: .*", command, bench.file.read_text()))
    script.write_text(
        """printf '{"status":"finished","metrics":{}}' > "$SOFTGAMMA_RUN_DIR/record.json" """
    )
    status, output = bench.run()
    points = 4 * seeds
    assert status == 0, output[-2000:]
    assert bench.ends() == {n: 1 for n in range(points)}
    assert len({event["key"] for event in bench.events("point")}) == points
    assert (bench.out / "ledger.jsonl").stat().st_size < 2500 * points


def test_a_torn_last_line_is_cut_and_the_sweep_goes_on(bench: Any) -> None:
    bench.write(POINTS)
    bench.run(str(bench.file), "--out", str(bench.out), "--limit", "3")
    path = bench.out / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + b'{"event":"end","n":5,"sta')
    status, output = bench.run()
    assert status == 0, output
    assert bench.ends() == {n: 1 for n in range(8)}


def test_an_end_lost_from_the_ledger_is_found_in_the_record(bench: Any) -> None:
    bench.write("seed: {values: [0]}")
    bench.run()
    path = bench.out / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"end"' in lines[-1]
    path.write_bytes(b"".join(lines[:-1]))
    assert bench.run()[0] == 0
    assert bench.ends() == {0: 1}
    assert bench.journal(0).count("start") == 1


def test_a_changed_file_is_refused_and_extend_adds_its_points(bench: Any) -> None:
    bench.write("seed: {values: [0, 1]}")
    bench.run()
    bench.write("seed: {values: [0, 1, 2]}")
    status, output = bench.run()
    assert status != 0 and "1 points are new" in output and "sweep extend" in output
    status, output = bench.run("extend", str(bench.file), "--out", str(bench.out))
    assert status == 0, output
    assert bench.ends() == {0: 1, 1: 1, 2: 1}
    assert bench.journal(0).count("start") == 1


def test_a_full_disk_keeps_what_was_finished(bench: Any) -> None:
    bench.write("seed: {min: 0, max: 15}\npadding: {value: " + "x" * 400 + "}")
    words = bench.command(str(bench.file), "--out", str(bench.out), "--jobs", "2")
    limited = ["sh", "-c", 'ulimit -f 20; exec "$@"', "sh", *words]
    found = subprocess.run(limited, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode != 0
    assert "finished trials are kept" in found.stderr
    assert processes_of(bench.out) == []
    finished = len(bench.ends())
    status, output = bench.run()
    assert status == 0, output[-2000:]
    assert 0 < finished < 16 and bench.ends() == {n: 1 for n in range(16)}


def test_random_sweeps_draw_the_same_points_after_a_restart(bench: Any) -> None:
    extra = "method: random\nrun_cap: 6"
    bench.write("loss.gamma: {min: 0.0, max: 5.0}", extra)
    bench.run(str(bench.file), "--out", str(bench.out), "--limit", "2")
    assert len(bench.ends()) == 2
    bench.run()
    points = [event["parameters"] for event in bench.events("point")]
    other = bench.root / "other"
    bench.run(str(bench.file), "--out", str(other))
    lines = (other / "ledger.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert points == [e["parameters"] for e in events if e["event"] == "point"]
    assert bench.ends() == {n: 1 for n in range(6)}


def test_hyperband_stops_the_worse_trials_and_keeps_what_they_did(bench: Any) -> None:
    bench.write(
        "loss.gamma: {values: [5.0, 4.0, 0.1, 0.2]}\nsteps: {value: 60}\npause: {value: 0.02}",
        "method: grid\nearly_terminate: {type: hyperband, min_iter: 5, eta: 2}",
    )
    status, output = bench.run(str(bench.file), "--out", str(bench.out), "--jobs", "2")
    assert status == 0, output
    ends = {event["n"]: event["status"] for event in bench.events("end")}
    assert ends[0] == "finished"
    assert "stopped" in (ends[2], ends[3])


@pytest.mark.parametrize("reader", ["2>&1 | head -n 1", ">/dev/full 2>&1", ">&- 2>&-"])
def test_a_sweep_needs_no_reader(reader: str, bench: Any) -> None:
    """A pager that was left, a full disk below a log: what is told is for the eye alone."""
    bench.write("seed: {values: [0, 1]}")
    words = f"{sys.executable} -m experiments sweep {bench.file} --out {bench.out}"
    subprocess.run(f"{words} {reader}", shell=True, cwd=Path(__file__).parents[3], check=False)
    assert bench.ends() == {0: 1, 1: 1}
