"""What lies below a group's mAP: precision and recall, kinds of errors, scores, where the loss is.

Made from the dumps and anatomies that lie beside the records; where there are none a group has no
such part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from experiments.evaluation.anatomy import ANATOMY_FILE, KINDS, Anatomy, read_anatomy
from experiments.evaluation.diagnosis import Diagnosis
from experiments.evaluation.tables import EvaluationError
from experiments.evaluation.verdict import fixed, listed, mean_sd
from experiments.report.arms import Arm, Group
from experiments.report.evidence.diagnoses import Diagnoses, foremost, named
from experiments.report.evidence.item import FigureItem, item
from experiments.report.figures import anatomy, calibration, confusion, recall
from experiments.report.figures import errors as kinds
from experiments.report.figures.classes import chosen
from experiments.report.figures.errors import KINDS as ERROR_KINDS
from experiments.report.load import Run
from experiments.report.written import cell, csv_text, escape_markdown

MOST_SHOWN = 2


class Found(NamedTuple):
    """One run's anatomy."""

    arm: Arm
    run: Run
    anatomy: Anatomy


def find(arms: Sequence[Arm]) -> tuple[list[Found], list[str]]:
    """The anatomies of the first arms that have one, of each its lowest seed's, and what is wrong
    with others.
    """
    found: list[Found] = []
    notes: list[str] = []
    for arm in arms:
        for run in arm.finished:
            anatomy, note = _usable(run)
            notes += [note] if note else []
            if anatomy is not None:
                found.append(Found(arm, run, anatomy))
                break
        if len(found) == MOST_SHOWN:
            break
    return found, notes


def _usable(run: Run) -> tuple[Anatomy | None, str]:
    try:
        anatomy = read_anatomy(run.folder)
    except EvaluationError as error:
        return None, f"{run.arm} seed {run.seed}: {error}."
    if anatomy is None:
        return None, ""
    if (anatomy.config_hash, anatomy.seed) != (run.config_hash, run.seed):
        return None, f"{run.arm} seed {run.seed}: its {ANATOMY_FILE} is of another run."
    return anatomy, ""


Diagnosed = Sequence[tuple[Arm, Sequence[Diagnosis]]]


class GradientRow(NamedTuple):
    """One gamma of one anatomy: percent. Levels are foreground and background of each."""

    gamma: float
    half_foreground: float
    half_background: float
    foreground: float
    levels: tuple[tuple[float, float], ...]


class LossPart(NamedTuple):
    """One run's anatomy as the page shows it."""

    found: Found
    figure: FigureItem
    rows: tuple[GradientRow, ...]


@dataclass
class Detail:
    """One group's part of the page."""

    group: Group
    errors: list[kinds.ErrorRow] = field(default_factory=list)
    figures: list[FigureItem] = field(default_factory=list)
    losses: list[LossPart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_detail(
    group: Group,
    ranked: Sequence[Arm],
    names: dict[str, str],
    diagnoses: Diagnoses | None,
    stand: Sequence[Arm],
) -> Detail:
    """Everything that the files beside the group's records give; `ranked` is highest first, `names`
    the arms' palette names, `stand` the settings that stand for their arms. `diagnoses` None leaves
    out what is computed from detections.
    """
    detail = Detail(group)
    if diagnoses is not None:
        known = [(arm, diagnoses.of(arm)) for arm in named(group.arms, names)]
        known = [(arm, runs) for arm, runs in known if runs]
        detail.errors = [kinds.error_row(arm, runs) for arm, runs in known]
        known = [(arm, runs) for arm, runs in known if arm in stand]
        detail.figures = _figures(replace(group, arms=tuple(stand)), ranked, known, names)
    order = foremost([arm for arm in group.arms if arm.finished], ranked, group.baseline)
    order += [arm for arm in ranked if arm not in order]
    found, detail.notes = find(order)
    detail.losses = [_loss_part(group, one, place) for place, one in enumerate(found)]
    return detail


def _figures(
    group: Group, ranked: Sequence[Arm], known: Diagnosed, names: dict[str, str]
) -> list[FigureItem]:
    if not known:
        return []
    few = foremost([arm for arm, _ in known], ranked, group.baseline)
    shown = [(arm, runs) for chosen in few for arm, runs in known if arm is chosen]
    made = [
        _recall_figure(group, known, names),
        _class_figure(group, shown[:2], names),
        _error_figure(group, shown, names),
        _calibration_figure(group, shown, names),
    ]
    made += [_confusion_figure(group, one, place) for place, one in enumerate(shown[:2])]
    return [figure for figure in made if figure is not None]


def _drawn_of(group: Group, shown: int) -> str:
    """What a figure of few arms says of the others."""
    measured = sum(bool(arm.finished) for arm in group.arms)
    if measured == shown:
        return ""
    which = "the highest" if group.baseline is None else "the baseline and the highest others"
    return f" {shown} of {measured} arms: {which}."


def _recall_figure(group: Group, known: Diagnosed, names: dict[str, str]) -> FigureItem | None:
    info = recall.recall_info(known)
    if not info.lines:
        return None
    caption = (
        "At an IoU of .5: the best precision at each recall or more, mean over classes and seeds."
        " A band spans an arm’s seeds." + _drawn_of(group, len(info.lines))
    )
    title = "Precision against recall"
    return item(group, "recall", title, caption, lambda: recall.draw(info, names))


def _class_figure(group: Group, shown: Diagnosed, names: dict[str, str]) -> FigureItem | None:
    labels = chosen(group.classes, recall.MOST_CLASSES)
    infos = [recall.recall_info(shown, label) for label in labels]
    infos = [info for info in infos if info.lines]
    if not infos:
        return None
    caption = "The same by class, the most frequent first." + _drawn_of(group, len(shown))
    if len(group.classes) > len(infos):
        left_out = len(group.classes) - len(infos)
        caption += f" {left_out} classes between the frequent and the rare are not drawn."
    title = "Precision against recall by class"
    return item(group, "recall-classes", title, caption, lambda: recall.draw_classes(infos, names))


def _error_figure(group: Group, shown: Diagnosed, names: dict[str, str]) -> FigureItem | None:
    rows = [kinds.error_row(arm, runs) for arm, runs in shown]
    if not any(summary.mean for row in rows for summary in row.gains.values()):
        return None
    caption = (
        "AP50 gained if errors of this kind alone were mended (TIDE); they don’t add up. Whiskers:"
        " one SD over seeds." + _drawn_of(group, len(rows))
    )
    return item(group, "errors", "Kinds of errors", caption, lambda: kinds.draw(rows, names))


def _calibration_figure(group: Group, shown: Diagnosed, names: dict[str, str]) -> FigureItem | None:
    lines = [calibration.reliability(arm, runs) for arm, runs in shown]
    if not any(len(line.score) for line in lines):
        return None
    caption = (
        "Below the diagonal scores promise too much. A larger γ lowers scores, so one fixed cut is"
        " not fair to all arms. “Off”: expected calibration error." + _drawn_of(group, len(lines))
    )
    title = "Calibration"
    return item(group, "calibration", title, caption, lambda: calibration.draw(lines, names))


def _confusion_figure(
    group: Group, one: tuple[Arm, Sequence[Diagnosis]], place: int
) -> FigureItem | None:
    arm, runs = one
    if len(set(runs[0].classes) & set(group.classes)) < 2:
        return None  # one class is confused with nothing but background
    info = confusion.confusion_info(arm, runs, group.classes)
    cuts = sorted({f"{run.cut:.2f}" for run in runs})
    caption = (
        "Percent of a class’s objects by what was found there (IoU .5), seeds summed, at the score"
        f" where F1 is highest ({listed(cuts)})."
    )
    if info.left_out:
        caption += f" {info.left_out} classes between the frequent and the rare are not drawn."
    title = f"Confusion of {arm.short}"
    return item(group, f"confusion-{place + 1}", title, caption, lambda: confusion.draw(info))


def _loss_part(group: Group, found: Found, place: int) -> LossPart:
    one = found.anatomy
    rows = tuple(
        GradientRow(
            gamma=shares.gamma,
            half_foreground=100 * shares.half_share["foreground"],
            half_background=100 * shares.half_share["background"],
            foreground=100 * shares.of_gradient("foreground"),
            levels=tuple(
                (
                    100 * shares.of_gradient(KINDS[0], level),
                    100 * shares.of_gradient(KINDS[1], level),
                )
                for level in range(len(one.levels))
            ),
        )
        for shares in one.shares
    )
    last = rows[-1]
    caption = (
        f"{found.arm.short}, seed {found.run.seed}: {one.of}, {one.images:,} images of {one.split}."
        f" At γ {last.gamma:g} half of the background's loss lies on"
        f" {fixed(last.half_background, 3)} % of it."
    )
    info, title = anatomy.anatomy_info(one), "Where the loss is"
    figure = item(group, f"anatomy-{place + 1}", title, caption, lambda: anatomy.draw(info))
    return LossPart(found, figure, rows)


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
