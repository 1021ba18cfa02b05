"""`data import`: splits and a recipe for a folder, and what is told of them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from datasets import DATASETS
from datasets.errors import DataError
from datasets.importing.finding import Found, Item
from datasets.importing.proposing import Imported, Report, import_folder
from experiments.probes.proposal import DetectorName, propose
from experiments.record.files import write_text

MOST_CLASSES = 30  # lines of the table


def import_data(
    root: Path,
    detector: DetectorName,
    *,
    val: float,
    test: float,
    seed: int,
    labels: str | None,
    out: Path | None,
    report: Report,
) -> str:
    """Write splits and recipe; returns what to print. DataError where a folder can't be used."""
    made = import_folder(root, val=val, test=test, seed=seed, layout=labels, out=out, report=report)
    settings = {"name": made.found.layout, "root": str(root)} | made.settings
    path = made.folder / f"{detector}.yaml"
    command = f"python -m experiments train {quote(str(path))}"
    try:
        recipe = propose(_opened(settings), settings, detector, command)
    except DataError as error:
        raise DataError("; ".join([str(error), *_left_out(made.found)])) from None
    write_text(path, recipe.text)
    return "\n".join([*_told(made), *recipe.reasons, f"recipe: {path}", *_next(made, path)])


def _opened(settings: dict[str, Any]) -> Any:
    known = {key: value for key, value in settings.items() if key not in ("name", "classes")}
    classes = tuple(settings["classes"])
    row: Any = DATASETS[settings["name"]]
    return row(**known, classes=classes).open("train")


def _next(made: Imported, recipe: Path) -> list[str]:
    run = quote(f"runs/{made.found.root.resolve().name}-{recipe.stem}")
    photos = quote(str((made.found.root / made.found.items[0].image).parent))
    return [
        "next:",
        f"  python -m experiments train {quote(str(recipe))} --out {run}",
        f"  python -m experiments detect {run} {photos} --out found",
    ]


def _told(made: Imported) -> list[str]:
    found, lines = made.found, []
    lines.append(
        f"{len(found.items)} images with {found.layout.upper()} labels,"
        f" {len(found.classes)} classes: {made.folder}"
    )
    lines += _left_out(found)
    if made.copies:
        lines.append(f"{made.copies} images are copies of others and stay in their split")
    lines += made.notes
    return lines + _table(found.classes, made.splits)


def _left_out(found: Found) -> list[str]:
    return [
        f"left out: {count} {why}, the first is {found.first[why]}"
        for why, count in found.left_out.items()
    ]


def _table(classes: Sequence[str], splits: Any) -> list[str]:
    """Images of each class in each split."""
    counts = {role: _counted(items) for role, items in splits.items()}
    width = max(len(name) for name in ("images", *classes))
    rows = [("images", [len(items) for items in splits.values()])]
    rows += [(name, [counts[role][name] for role in splits]) for name in classes]
    lines = ["  ".join([" " * width, *(f"{role:>6}" for role in splits)])]
    for name, values in rows[:MOST_CLASSES]:
        empty = "   in one split or two only" if 0 in values else ""
        lines.append("  ".join([f"{name:<{width}}", *(f"{v:>6}" for v in values)]) + empty)
    if len(rows) > MOST_CLASSES:
        lines.append(f"and {len(rows) - MOST_CLASSES} more classes")
    return lines


def _counted(items: Sequence[Item]) -> Counter[str]:
    return Counter(name for item in items for name in item.classes)
