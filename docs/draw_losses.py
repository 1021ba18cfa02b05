"""Draws the figures of docs/losses.md: `python -m docs.draw_losses [folder]`."""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from losses.alpha import PaperAlpha
from losses.focal import sigmoid_focal_loss
from losses.schedules import Cosine, Exponential, Linear, Piecewise, Staged

GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
COLOURS = ("#333333", "#4477aa", "#228833", "#cc6677", "#aa3377")
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "softgamma", "font.size": 9}
FOLDER = Path(__file__).parent / "figures"


def main(folder: Path = FOLDER) -> None:
    """Write every figure as an SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("loss", draw_loss), ("schedules", draw_schedules)):
        with mpl.rc_context(STYLE):
            figure = draw()
            # no date and no random ids, so that drawing again changes nothing
            figure.savefig(folder / f"losses_{name}.svg", metadata={"Date": None, "Creator": None})


def loss_and_slope(gamma: float, logits: Sequence[float]) -> tuple[list[float], list[float]]:
    """Focal loss of a positive at each logit, and the size of its gradient."""
    x = torch.tensor(logits, dtype=torch.float64)[:, None].requires_grad_()
    loss = sigmoid_focal_loss(x, torch.ones_like(x), gamma=gamma)
    loss.sum().backward()
    assert x.grad is not None
    return loss.flatten().tolist(), x.grad.abs().flatten().tolist()


def draw_loss() -> Figure:
    """Loss and gradient against p_t, and how much of the cross-entropy gradient is left."""
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    panels = figure.subplots(1, 3)
    p_t = [step / 200 for step in range(1, 200)]
    logits = [math.log(p / (1 - p)) for p in p_t]
    _, plain = loss_and_slope(0.0, logits)
    for gamma, colour in zip(GAMMAS, COLOURS, strict=True):
        loss, slope = loss_and_slope(gamma, logits)
        kept = [mine / whole for mine, whole in zip(slope, plain, strict=True)]
        for panel, values in zip(panels, (loss, slope, kept), strict=True):
            panel.plot(p_t, values, color=colour, label=f"γ = {gamma:g}", linewidth=1.4)
    titles = ("loss, nats", "size of the gradient in the logit", "part of γ = 0's gradient left")
    for panel, title in zip(panels, titles, strict=True):
        _finish(panel, title, "p of the true answer")
    panels[0].set_ylim(0, 4)
    panels[0].legend(frameon=False)
    return figure


def draw_schedules() -> Figure:
    """gamma over training for each schedule, and the alpha that goes with gamma."""
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    over_time, pairs = figure.subplots(1, 2, width_ratios=(2, 1))
    kinds: list[tuple[str, Callable[[float], float]]] = [
        ("staged", Staged((0.0, 1.0, 2.0), (0.2, 0.4))),
        ("linear", Linear(0.0, 2.0, (0.0, 0.5))),
        ("cosine", Cosine(0.0, 2.0, (0.0, 0.5))),
        ("exponential", Exponential(0.0, 2.0, (0.0, 0.5))),
        ("piecewise", Piecewise((0.1, 0.6, 1.0), (0.0, 2.0, 1.0))),
    ]
    progress = [step / 400 for step in range(401)]
    for (name, schedule), colour in zip(kinds, COLOURS, strict=True):
        values = [schedule(at) for at in progress]
        over_time.plot(progress, values, color=colour, label=name, linewidth=1.4)
    _finish(over_time, "γ", "progress of training")
    over_time.legend(frameon=False)
    gammas = [step / 100 for step in range(301)]
    pairs.plot(gammas, [PaperAlpha()(gamma) for gamma in gammas], color=COLOURS[1], linewidth=1.4)
    pairs.set_ylim(0, 1)
    _finish(pairs, "α that goes with γ", "γ")
    return figure


def _finish(panel: Axes, title: str, horizontal: str) -> None:
    panel.set_title(title, fontsize=9)
    panel.set_xlabel(horizontal)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
