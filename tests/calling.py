"""The program as a user calls it, in this process."""

import io
import re
from contextlib import redirect_stderr
from pathlib import Path

from experiments.__main__ import main


def call(*words: str | Path) -> int:
    """`python -m experiments WORDS`; gives its exit status."""
    return main([str(word) for word in words])


def refused(match: str, *words: str | Path) -> None:
    """The command ends with status 2 and one message in which `match` is found."""
    told = io.StringIO()
    with redirect_stderr(told):
        status = call(*words)
    assert status == 2, told.getvalue()
    assert re.search(match, told.getvalue()), told.getvalue()
    assert "Traceback" not in told.getvalue()
