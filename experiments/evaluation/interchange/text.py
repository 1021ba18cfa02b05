"""Detections as lines of text: a name of any words, then five numbers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.evaluation.tables import EvaluationError

NUMBERS = 5  # a score and four of a box


def read_lines(path: Path, form: str) -> tuple[list[str], NDArray[np.float64]]:
    """Names and [n, 5] numbers of a file; EvaluationError names the first line of another form.

    `form` is what a line should hold, in words.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: can't be read as text: {error}") from error
    lines = [(row, line) for row, line in enumerate(text.splitlines(), 1) if line.strip()]
    parts = [line.rsplit(None, NUMBERS) for _, line in lines]
    for (row, line), part in zip(lines, parts, strict=True):
        if len(part) <= NUMBERS:
            hint = "; without a score, as labels are" if len(part) == NUMBERS else ""
            raise EvaluationError(
                f"{path}:{row}: expected '{form}', found {line.strip()!r:.80}{hint}"
            )
    numbers = np.empty((len(parts), NUMBERS))
    try:
        numbers[:] = [part[1:] for part in parts] or numbers
    except ValueError:
        _refuse_word(path, lines, parts, form)
    bad = np.flatnonzero(~np.isfinite(numbers).all(1))
    if len(bad):
        row, line = lines[int(bad[0])]
        raise EvaluationError(f"{path}:{row}: a value is no finite number: {line.strip()!r:.80}")
    return [part[0].strip().strip('"') for part in parts], numbers


def _refuse_word(
    path: Path, lines: list[tuple[int, str]], parts: list[list[str]], form: str
) -> None:
    for (row, _), part in zip(lines, parts, strict=True):
        for word in part[1:]:
            try:
                float(word)
            except ValueError:
                message = f"{path}:{row}: expected '{form}', found {word!r} for a number"
                raise EvaluationError(message) from None
