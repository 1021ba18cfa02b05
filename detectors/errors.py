"""The one exception of this room."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES_TOLD = 40  # timm knows over a thousand architectures


class DetectorError(ValueError):
    """A detector cannot be built, or weights do not fit it; the message says what is allowed."""


def unknown_name(what: str, found: str, allowed: Iterable[str]) -> DetectorError:
    """The error for a name outside a closed list: what was found, the nearest spelling, the list or
    its length.
    """
    known = sorted(allowed)
    nearest = get_close_matches(found, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    told = ", ".join(known) if len(known) <= MOST_NAMES_TOLD else f"{len(known)} names"
    return DetectorError(f"{what}: unknown {found!r}{hint} (known: {told})")
