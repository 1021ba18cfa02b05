"""Starts trials from a process that has their imports done (`zygote.py`), where that can be.

It can where a trial is `interpreter -m MODULE ..` with this very interpreter, on Linux. Anything
else, and everything after a failure of the warm process, starts cold.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.sweep.executors import Task
from experiments.sweep.executors.processes import start_mark

# What every trial imports sooner or later, seconds of each.
TRAINING = (
    "experiments.run.training",
    "experiments.run.measuring",
    "experiments.tracking.pictures",
    "experiments.tracking.wandb:warmed",
)
ENV = "/usr/bin/env"
# Whether there is a GPU is then asked without CUDA, which no fork could use afterwards.
ASKS_NVML = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
READY_SECONDS = 300.0  # for the imports, on a busy machine
FORK_SECONDS = 60.0
LOST = -9  # the exit code told for trials whose end a dead warm process could not tell


@dataclass(slots=True)
class WarmChild:
    """A trial forked from the warm process."""

    pid: int
    gate: int | None
    code: int | None = None


class WarmProcess:
    """The warm process and the trials forked from it; `environment` is that of its imports."""

    def __init__(self, modules: Sequence[str], environment: dict[str, str]) -> None:
        self._link, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __package__ + ".zygote", str(theirs.fileno()), *modules],
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **environment, **ASKS_NVML},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # what goes wrong here goes wrong in a cold trial's log too
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._children: dict[int, WarmChild] = {}
        self._unread = b""
        self._forked: int | None = None  # the process id that the last request was answered with
        self._ready = False
        self._lost = False
        self._limit = time.monotonic() + READY_SECONDS

    def ready(self) -> bool:
        """Whether the imports are done, or will never be: a spawn is answered at once from now."""
        if not self._ready and not self._lost:
            self._listen(0)
            if time.monotonic() > self._limit:
                self._lose()
        return self._ready or self._lost

    def spawn(self, task: Task, environment: dict[str, str], log: int) -> WarmChild | None:
        """Fork `task` behind its gate; None where it has to be started cold."""
        words = warm_words(task.command)
        if words is None or self._lost or not self._ready:
            return None
        module, arguments = words
        request = {"n": task.n, "module": module, "arguments": arguments}
        message = json.dumps({**request, "environment": environment}).encode()
        gate_read, gate_write = os.pipe()
        pid = self._request(message, gate_read, log)
        os.close(gate_read)
        if pid is None:
            os.close(gate_write)
            self._lose()
            return None
        self._children[task.n] = child = WarmChild(pid, gate_write)
        return child

    def poll(self, n: int) -> int | None:
        """The exit code of trial `n`, or None while it runs."""
        child = self._children[n]
        if child.code is None and not self._lost:
            self._listen(0)
        if child.code is None and self._lost and start_mark(child.pid) is None:
            child.code = LOST
        return child.code

    def release(self, n: int) -> None:
        """Open the gate of trial `n`."""
        child = self._children[n]
        if child.gate is not None:
            try:
                os.write(child.gate, b"g")
            except BrokenPipeError:
                pass  # it was killed at the gate; poll() will tell
            os.close(child.gate)
            child.gate = None

    def forget(self, n: int) -> None:
        """Drop what is known of a trial that has ended."""
        child = self._children.pop(n)
        if child.gate is not None:
            os.close(child.gate)

    def close(self) -> None:
        """End the warm process; trials that still run are not touched."""
        self._link.close()
        if not self._ready:
            self._process.kill()  # in the middle of its imports it would not notice
        self._process.wait()

    def _request(self, message: bytes, *files: int) -> int | None:
        self._forked = None
        limit = time.monotonic() + FORK_SECONDS
        try:
            socket.send_fds(self._link, [message], list(files))
        except OSError:
            return None
        while self._forked is None and not self._lost and time.monotonic() < limit:
            self._listen(1.0)
        return self._forked

    def _listen(self, seconds: float) -> None:
        """Take in what the warm process says, waiting at most so long for the first of it."""
        while not self._lost and select.select([self._link], [], [], seconds)[0]:
            try:
                block = self._link.recv(65536)
            except OSError:
                block = b""
            if not block:
                self._lost = True
            *lines, self._unread = (self._unread + block).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
            seconds = 0

    def _hear(self, answer: dict[str, Any]) -> None:
        if "ready" in answer:
            self._ready = True
        elif "started" in answer:
            self._forked = answer["pid"]
        elif answer["ended"] in self._children:
            self._children[answer["ended"]].code = answer["code"]

    def _lose(self) -> None:
        self._lost = True
        self._process.kill()


def warm_words(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module and arguments of an `[env] interpreter -m MODULE ..` line of this interpreter."""
    words = list(command[1:] if command and command[0] == ENV else command)
    if not sys.platform.startswith("linux") or len(words) < 3:
        return None
    if words[0] != sys.executable or words[1] != "-m":
        return None
    return words[2], words[3:]


def preloads(command: Sequence[str]) -> tuple[str, ...]:
    """What a warm process imports for the trials of a sweep's command, if they are our own runs."""
    macros = {"${env}": ENV, "${interpreter}": sys.executable}
    words = warm_words([macros.get(word, word) for word in command])
    return TRAINING if words is not None and words[0] == "experiments" else ()
