"""A process that has done the slow imports once, and forks a trial from itself for each request.

Started by `warm.py` as `python -m experiments.sweep.executors.zygote FD MODULE..`; FD is one end of
a socket pair. MODULE may be `MODULE:FUNCTION`, which is called once the module is imported; what
it returns, if anything, is called in each fork. A
request is one message: JSON, with the descriptors of the trial's gate and log attached. Answers are
lines: {"ready"}, {"started": n, "pid"}, {"ended": n, "code"}. When the coordinator is gone the
socket closes and this process ends; trials that run go on, as they would without it.

The fork happens in a process that has read no data, drawn no number and touched no GPU: what a
trial finds is what its own imports would have left, and its random state is drawn afresh. Imports
ask whether there is a GPU, and CUDA's answer would bar all forks from it: here NVML gives it, and a
process that CUDA was asked in all the same ends before it serves, so that trials start cold.
"""

import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from experiments.importing import uncollected

MOST_BYTES = 1 << 20  # of a request: a command line and an environment
GO = b"g"


def serve(link: socket.socket) -> dict[str, Any] | None:
    """Answer requests until the link closes (None), or return, in a fork, the task to become."""
    numbers: dict[int, int] = {}  # process id -> the trial's number
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        selector.register(read_end, selectors.EVENT_READ)
        _answer(link, {"ready": True})
        while True:
            for key, _ in selector.select():
                if key.fileobj == read_end:
                    os.read(read_end, 4096)
                    _tell_ends(link, numbers)
                    continue
                message, files, _, _ = socket.recv_fds(link, MOST_BYTES, 2)
                if not message:
                    return None
                task = json.loads(message)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    for unneeded in (read_end, write_end, link.detach()):
                        os.close(unneeded)
                    return {**task, "gate": files[0], "log": files[1]}
                numbers[pid] = task["n"]
                for file in files:
                    os.close(file)
                _answer(link, {"started": task["n"], "pid": pid})


def become(task: dict[str, Any], forked: Sequence[Callable[[], object]]) -> None:
    """Take on a trial's session, output and environment, wait for the gate, and run its module."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for output in (1, 2):
        os.dup2(task["log"], output)
    os.close(task["log"])
    if os.read(task["gate"], 1) != GO:
        os._exit(1)  # the coordinator died before it had written this trial down
    os.close(task["gate"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.argv[1:] = task["arguments"]
    for function in forked:
        function()
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    runpy.run_module(task["module"], run_name="__main__", alter_sys=True)


def _bars_gpus() -> bool:
    """Whether there are GPUs that a fork of this process could not use, by asking one; where there
    are none, asking for them bars forks as well, and from nothing.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.device_count():
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(int(torch.cuda._is_in_bad_fork()))
    return os.waitpid(pid, 0)[1] != 0


def _tell_ends(link: socket.socket, numbers: dict[int, int]) -> None:
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        _answer(link, {"ended": numbers.pop(pid), "code": code})


def _answer(link: socket.socket, answer: dict[str, Any]) -> None:
    try:
        link.sendall(json.dumps(answer).encode() + b"\n")
    except (BrokenPipeError, ConnectionResetError):
        return  # the coordinator is gone; serve() sees it next


def _main() -> None:
    # Ctrl-C in a terminal is for the coordinator, which ends its trials one by one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(link.fileno(), False)
    forked: list[Callable[[], object]] = []
    with uncollected():
        for name in sys.argv[2:]:
            module, _, function = name.partition(":")
            imported = importlib.import_module(module)
            in_forks = getattr(imported, function)() if function else None
            if in_forks is not None:
                forked.append(in_forks)
    if _bars_gpus():
        return  # the socket closes, and the coordinator starts its trials cold
    gc.freeze()  # a fork shares pages until somebody writes on them, and a collection writes on all
    task = serve(link)
    if task is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        become(task, forked)


if __name__ == "__main__":
    _main()
