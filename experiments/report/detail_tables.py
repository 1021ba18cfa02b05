"""Kinds of errors and shares of loss as csv and md."""

from collections.abc import Sequence

from experiments.evaluation.anatomy_file import KINDS
from experiments.report.detail import Detail
from experiments.report.figures.errors import KINDS as ERROR_KINDS
from experiments.report.tables import cell, csv_text, escape_markdown, fixed, mean_sd


def errors_csv(details: Sequence[Detail]) -> str:
    """One line an arm: AP50, calibration error, and of each kind of error the points of AP50 that
    mending it would gain and how many there are. Empty: not known.
    """
    names = ["ap50", "calibration_error"]
    names += [f"{kind}_{part}" for kind in ERROR_KINDS for part in ("gain", "count")]
    head = ["detector", "arm", "setting", "seeds"]
    lines = [head + [f"{name}_{part}" for name in names for part in ("mean", "sd")]]
    for detail in details:
        for row in detail.errors:
            arm = row.arm
            line = [arm.detector, arm.name, arm.setting, str(row.ap50.seeds)]
            summaries = [row.ap50, row.calibration]
            for kind in ERROR_KINDS:
                summaries += [row.gains[kind], row.counts[kind]]
            for summary in summaries:
                line += [cell(summary.mean), cell(summary.sd)]
            lines.append(line)
    return csv_text(lines)


def anatomy_csv(details: Sequence[Detail]) -> str:
    """One line a run, gamma and level ("all": every level): shares in percent."""
    head = ["detector", "arm", "setting", "seed", "gamma", "level"]
    lines = [head + [f"{kind}_{part}" for part in ("half_loss", "gradient") for kind in KINDS]]
    for detail in details:
        for part in detail.losses:
            arm, run, anatomy = part.found
            for row in part.rows:
                line = [arm.detector, arm.name, arm.setting, str(run.seed), f"{row.gamma:g}"]
                halves = [cell(row.half_foreground), cell(row.half_background)]
                whole = [cell(row.foreground), cell(100 - row.foreground)]
                lines.append([*line, "all", *halves, *whole])
                for name, shares in zip(anatomy.levels, row.levels, strict=True):
                    lines.append([*line, name, "", "", *(cell(share) for share in shares)])
    return csv_text(lines)


def errors_markdown(detail: Detail) -> str:
    """GitHub Markdown of one group's kinds of errors; empty where nothing was diagnosed."""
    if not detail.errors:
        return ""
    head = ["arm", "AP50", *ERROR_KINDS, "calibration error"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in detail.errors:
        cells = [escape_markdown(row.arm.short), fixed(row.ap50.mean)]
        cells += [mean_sd(row.gains[kind]) for kind in ERROR_KINDS]
        lines.append([*cells, mean_sd(row.calibration)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
