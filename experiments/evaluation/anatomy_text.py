"""An anatomy as tables in a terminal."""

from experiments.evaluation.anatomy_file import KINDS, Anatomy
from experiments.evaluation.text import aligned


def anatomy_text(anatomy: Anatomy) -> str:
    """How concentrated the loss of each kind is, and who makes the gradient, gamma by gamma."""
    counted = ", ".join(f"{anatomy.counts[kind]:,} {kind}" for kind in KINDS)
    lines = [f"{anatomy.of}, {anatomy.images} images of {anatomy.split}: {counted}"]
    lines += ["", "Half of a kind's loss lies on this share of it, the hardest:"]
    head = ["gamma", *(f"{kind} %" for kind in KINDS), "gradient from foreground %"]
    rows = [head]
    for one in anatomy.shares:
        halves = [percent(one.half_share[kind]) for kind in KINDS]
        rows.append([f"{one.gamma:g}", *halves, percent(one.of_gradient("foreground"))])
    lines.append(aligned(rows))
    if len(anatomy.levels) > 1:
        lines += ["", "Share of the gradient by level, foreground + background, %:"]
        lines.append(aligned(_levels(anatomy)))
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share 0..1 as percent with three digits that count, however small it is."""
    return "-" if share != share else f"{100 * share:.3g}"


def _levels(anatomy: Anatomy) -> list[list[str]]:
    rows = [["level", *(f"gamma {one.gamma:g}" for one in anatomy.shares)]]
    for level, name in enumerate(anatomy.levels):
        cells = [
            " + ".join(percent(one.of_gradient(kind, level)) for kind in KINDS)
            for one in anatomy.shares
        ]
        rows.append([name, *cells])
    return rows
