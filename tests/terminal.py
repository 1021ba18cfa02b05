"""What stands on a terminal of a given width: a process on a pseudo terminal, read by pyte."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

import pyte

ROWS = 40


def shown(command: Sequence[str], columns: int, folder: Path) -> list[list[str]]:
    """The screens of a command, a list of lines each, one for every time it wrote."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    screens = []
    while True:
        try:
            written = os.read(master, 65536)
        except OSError:  # EIO: the process has ended
            break
        if not written:
            break
        stream.feed(written)
        screens.append([line.rstrip() for line in screen.display])
    os.close(master)
    assert process.wait(timeout=60) == 0, screens[-1]
    return screens
