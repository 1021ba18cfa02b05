"""Runs one trial for a starter that may vanish with its node: `python guardian.py GRACE COMMAND..`.

Standard input is the leash: the line `stop` asks the trial to save and end (SIGTERM), `kill` ends
it at once, and the end of the input, which the starter's death is, does the first and after GRACE
seconds the second. The last line of standard output is `ended CODE`, negative after a signal.

It leaves its starter's family at once, so that nothing that ends the starter ends it unheard, and
holds a lock in the trial's folder: a second attempt waits until the first is gone.

Only the standard library, and no import of ours: it is started by its path.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

LOCK = "attempt.lock"
LOG = "trial.log"
POLL_SECONDS = 0.1
FOLDER = "SOFTGAMMA_RUN_DIR"


def guard(grace_seconds: float, command: Sequence[str]) -> int:
    """Run the command to its end, or as the leash says; returns its exit code."""
    folder = os.environ[FOLDER]
    lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    if not _locked(lock, 2 * grace_seconds):
        return 1
    with open(os.path.join(folder, LOG), "ab", buffering=0) as log:
        trial = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),  # held as long as the trial lives, should this process be killed
        )
    code = _watched(trial, grace_seconds)
    _kill(trial)  # workers that outlived the trial
    return code


def _watched(trial: "subprocess.Popen[bytes]", grace_seconds: float) -> int:
    kill_at: float | None = None
    listening = [0]
    while trial.poll() is None:
        words = _heard(listening)
        if words & {"stop", "gone"} and kill_at is None:
            trial.terminate()
            kill_at = time.monotonic() + grace_seconds
        if "gone" in words:
            listening = []
        if "kill" in words or (kill_at is not None and time.monotonic() > kill_at):
            _kill(trial)
            kill_at = None
            trial.wait()
    return trial.returncode


def _heard(listening: list[int]) -> set[str]:
    if not listening:
        time.sleep(POLL_SECONDS)
        return set()
    if not select.select(listening, [], [], POLL_SECONDS)[0]:
        return set()
    text = os.read(0, 1024).decode()
    return set(text.split()) if text else {"gone"}


def _kill(trial: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(trial.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _locked(lock: int, seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > limit:
                return False
            time.sleep(POLL_SECONDS)


def _main() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    code = guard(float(sys.argv[1]), sys.argv[2:])
    try:
        os.write(1, f"ended {code}\n".encode())
    except BrokenPipeError:
        pass  # nobody is left to be told


if __name__ == "__main__":
    _main()
