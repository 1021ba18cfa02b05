"""Errors that are told without a traceback: the user's to mend, or a guard's that ended a run.

And the words in which they name what was found and the nearest right answer.
"""

import difflib
import errno
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MOST_NAMES_TOLD = 40
MOST_LETTERS_SHOWN = 60


class UserError(ValueError):
    """What the user has to mend; caught once, in `__main__`: its message, exit status 2."""


class ConfigError(UserError):
    """A configuration that cannot be read; says where, what was found, and what is allowed.

    `findings` are all that is wrong, as far as one reading can tell; the message has a line each.
    """

    def __init__(self, *findings: str) -> None:
        self.findings = tuple(dict.fromkeys(findings))
        super().__init__("\n".join(self.findings))


class UsageError(UserError):
    """A command that cannot be carried out as it was given."""


class GuardError(RuntimeError):
    """A run that a guard ended, exit status 1: what happened, what to change, what is kept."""


# Rooms that know nothing of this one have a base class each.
_OF_ROOMS = (("datasets.errors", "DataError"), ("detectors.errors", "DetectorError"))
# What the system says of a path that the user named.
_OF_PATHS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


# What the system says of a write or a path that it refuses, whoever asked.
_OF_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)


def refusal(error: OSError) -> str | None:
    """One sentence where the system refused for want of room, rights or a shorter name."""
    if error.errno not in _OF_SYSTEM:
        return None
    name = str(error.filename or "")
    place = f"{name if len(name) <= 300 else name[:297] + '...'}: " if name else ""
    return f"{place}{error.strerror}"


def users_errors() -> tuple[type[Exception], ...]:
    """Every error that is the user's to mend; those of rooms not loaded cannot have been raised."""
    rooms = ((sys.modules.get(module), name) for module, name in _OF_ROOMS)
    loaded = (getattr(module, name) for module, name in rooms if module is not None)
    return (UserError, *_OF_PATHS, *loaded)


class Findings:
    """Collects what is wrong, so that it is told at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, *findings: str) -> None:
        """Keep findings, each a line that says where and what."""
        self._found += findings

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what a ConfigError inside says, and go on after it."""
        try:
            yield
        except ConfigError as error:
            self._found += error.findings

    def told(self) -> None:
        """Raise ConfigError if anything was found."""
        if self._found:
            raise ConfigError(*self._found)


def nearest(found: object, known: Iterable[object]) -> str:
    """`; did you mean 'cat'? (known: cat, dog)`: the closest of `known`, if any is, and all of
    them, or their number.

    >>> nearest("gama", ["gamma", "alpha"]), nearest("x", [])
    ("; did you mean 'gamma'? (known: gamma, alpha)", '')
    """
    names = list(dict.fromkeys(map(str, known)))
    close = difflib.get_close_matches(str(found), names, n=1) or _otherwise_spelt(found, names)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if not names:
        return hint
    told = ", ".join(names) if len(names) <= MOST_NAMES_TOLD else f"{len(names)} names"
    return f"{hint} (known: {told})"


def _otherwise_spelt(found: object, names: list[str]) -> list[str]:
    """Those that differ in capitals or signs between words, else the one that it begins."""
    typed = _plain(str(found))
    begun = [name for name in names if typed and _plain(name).startswith(typed)]
    same = [name for name in begun if _plain(name) == typed]
    return same or (begun if len(begun) == 1 and len(typed) > 2 else [])


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def shown(value: object) -> str:
    """A value in an error message, cut to a readable length."""
    text = repr(value)
    short = MOST_LETTERS_SHOWN - 3
    return text if len(text) <= MOST_LETTERS_SHOWN else f"{text[:short]}..."
