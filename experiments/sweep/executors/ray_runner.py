"""The part of a Ray trial that lives on its node: an actor that runs one command.

It is sent to the nodes by value, so that it may use nothing but the standard library.
"""

import os
import subprocess
import sys
import threading

INTERRUPTED = 75  # of a trial that was stopped before it began


class Runner:
    """Runs one trial through the guardian; `order` may be called while `run` waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._ordered = False

    def run(
        self,
        guardian: str,
        command: list[str],
        folder: str,
        environment: dict[str, str],
        grace_seconds: float,
    ) -> int:
        """Run the command in its folder; returns its exit code. Raises OSError where the node does
        not see the folder.
        """
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"node {os.uname().nodename} does not see {folder}: a sweep on a cluster needs "
                "the checkout and --out on a file system that all nodes share"
            )
        with self._lock:
            if self._ordered:
                return INTERRUPTED
            self._guardian = subprocess.Popen(
                [sys.executable, "-S", "-E", guardian, str(grace_seconds), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **environment},
                cwd=environment["PWD"],
            )
        assert self._guardian.stdout is not None
        told = self._guardian.stdout.read().split()  # until the guardian is gone
        self._guardian.wait()
        return int(told[-1]) if told[:1] == [b"ended"] else -9

    def order(self, word: str) -> None:
        """Tell the guardian `stop` or `kill`."""
        with self._lock:
            self._ordered = True
            if self._guardian is None or self._guardian.stdin is None:
                return
            try:
                self._guardian.stdin.write(f"{word}\n".encode())
                self._guardian.stdin.flush()
            except BrokenPipeError:
                return  # it has ended; `run` tells how
