"""Signals that ask a process to save and end: a system's, Ctrl-C, and the terminal's when it is
closed or its connection breaks.
"""

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None]
STANDARD_STREAMS = (0, 1, 2)


def ending_signals() -> tuple[signal.Signals, ...]:
    """All of them; not the terminal's where `nohup` has it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *(() if ignored else (signal.SIGHUP,)))


@contextmanager
def handled_by(handler: Handler) -> Iterator[dict[int, Any]]:
    """Have `handler` called by each of them; gives what was called before. Only a main thread can
    handle any.
    """

    def take(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        handler(number, frame)

    old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        old = {number: signal.signal(number, take) for number in ending_signals()}
    try:
        yield old
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def _leave_terminal() -> None:
    """What is said from now on goes nowhere: a terminal that is gone answers with errors."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in STANDARD_STREAMS:
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)
