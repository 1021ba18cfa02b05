"""What is told of a data set: tables of statistics and findings, one figure."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from rich.console import Console
from rich.table import Table

from datasets.dataset import Dataset
from datasets.doctor.examine import Examination
from datasets.doctor.kinds import KINDS
from datasets.doctor.repair import Balance
from datasets.errors import Finding
from datasets.layouts import short_names
from datasets.pixels.lettering import drawable, stand_ins, told
from datasets.stats import Stats

_MOST_LINES = 40  # of one kind; the rest is counted


def _console(file: IO[str] | None = None) -> Console:
    """One that prints names as they are: a class may be called `[/]` or `:car:`."""
    return Console(file=file, markup=False, emoji=False)


def print_stats(stats: Mapping[str, Stats]) -> None:
    """Two tables: totals of each split, and objects of each class in each split."""
    console = _console()
    for table in (_totals, _classes):
        for part in _fitting(console, stats, table):
            console.print(table(part))
    for name, split in stats.items():
        if split.unknown:
            counted = ", ".join(f"{label} {count}" for label, count in split.unknown.items())
            console.print(f"{name}: objects of classes nobody asked for: {counted}")
        if split.problems:
            told = "1 finding" if split.problems == 1 else f"{split.problems} findings"
            console.print(f"{name}: {told} in its labels; the doctor names them")


def _fitting(
    console: Console, stats: Mapping[str, Stats], table: Callable[[Mapping[str, Stats]], Table]
) -> Iterator[Mapping[str, Stats]]:
    """The splits in as many parts as it takes for none to be cut off at the console's width."""
    part: dict[str, Stats] = {}
    for name, split in stats.items():
        wider = {**part, name: split}
        width = console.measure(table(wider), options=console.options.update(width=10_000)).maximum
        if part and width > console.width:
            yield part
            wider = {name: split}
        part = wider
    yield part


def stats_csv(stats: Mapping[str, Stats]) -> str:
    """One line a split and class: images with it, objects, ignored ones (difficult or crowd).

    A split's first line has no class: its images, and the sums of the others.
    """
    import pandas as pd

    columns = ("split", "class", "images", "objects", "ignored")
    rows = [
        row
        for name, split in stats.items()
        for row in (
            (name, "", split.images, split.objects, split.ignored),
            *((name, row.name, row.images, row.objects, row.ignored) for row in split.per_class),
        )
    ]
    text: str = pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")
    return text


def _totals(stats: Mapping[str, Stats]) -> Table:
    table = Table("", *stats, title="splits")
    rows: dict[str, Callable[[Stats], str]] = {
        "images": lambda s: f"{s.images:,}",
        "without a box": lambda s: f"{s.empty_images:,}",
        "objects": lambda s: f"{s.objects:,}",
        "ignored (difficult, crowd)": lambda s: f"{s.ignored:,}",
        "small, medium, large": lambda s: f"{s.small:,}, {s.medium:,}, {s.large:,}",
        "box side, px: 5 %, median, 95 %": lambda s: _three(s.sides),
        "box width / height: 5 %, median, 95 %": lambda s: _three(s.aspects),
        "image height, px": lambda s: f"{s.heights[0]} - {s.heights[1]}",
        "image width, px": lambda s: f"{s.widths[0]} - {s.widths[1]}",
        "most frequent : rarest class": lambda s: f"{s.imbalance:.1f} : 1",
    }
    for title, text in rows.items():
        table.add_row(title, *(text(split) for split in stats.values()))
    return table


def _three(quantiles: tuple[float, ...]) -> str:
    if not quantiles:
        return "-"
    return ", ".join(f"{quantiles[place]:.3g}" for place in (1, 3, 5))


def _classes(stats: Mapping[str, Stats]) -> Table:
    table = Table("class", title="objects (ignored) in images")
    for name in stats:
        table.add_column(name, justify="right")
    for rows in zip(*(split.per_class for split in stats.values()), strict=True):
        cells = [
            f"{row.objects:,}"
            + (f" ({row.ignored:,})" if row.ignored else "")
            + f" in {row.images:,}"
            for row in rows
        ]
        table.add_row(rows[0].name, *cells)
    return table


def print_looked(seen: Examination, file: IO[str]) -> None:
    """What the doctor looked at: each split's images and objects, and if pixels were decoded."""
    titles = ("images", "objects as written", "used", "ignored")
    counts = {
        name: (split.images, split.written, split.objects, split.ignored)
        for name, split in seen.splits.items()
    }
    console = _console(file)
    decoded = "images decoded" if seen.decoded else "images not decoded, headers only"
    console.print(f"{seen.root}: {seen.layout.upper()} layout, {decoded}", soft_wrap=True)
    console.print(_by_split(titles, counts))


def print_balance(balance: Mapping[str, Balance], file: IO[str]) -> None:
    """What a repair kept, changed and left out, by split, with a line for each reason."""
    titles = ("images", "gone", "objects as they were", "changed", "gone")
    counts = {
        name: (
            *(one.images, sum(one.images_gone.values())),
            *(one.kept, one.changed, sum(one.gone.values())),
        )
        for name, one in balance.items()
    }
    console = _console(file)
    console.print("the copy, read again:")
    console.print(_by_split(titles, counts))
    for what, kinds in (
        ("objects", [one.gone for one in balance.values()]),
        ("images", [one.images_gone for one in balance.values()]),
    ):
        for kind, count in sum(kinds, Counter[str]()).most_common():
            console.print(f"gone: {count:,} {what}: {KINDS[kind]}", soft_wrap=True)


def _by_split(titles: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Table:
    table = Table("split")
    for title in titles:
        table.add_column(title, justify="right")
    table.columns[0].overflow = "fold"
    for name, row in zip(short_names(list(counts)), counts.values(), strict=True):
        table.add_row(name, *(f"{count:,}" for count in row))
    return table


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """One line a finding, the first of each kind in full, then a count of each kind."""
    if as_json:
        for finding in findings:
            print(json.dumps(asdict(finding)))
        return
    shown: Counter[str] = Counter()
    for finding in findings:
        shown[finding.kind] += 1
        if shown[finding.kind] <= _MOST_LINES:
            print(finding)
    for kind, count in shown.most_common():
        left = f", {count - _MOST_LINES} not shown: --json gives all" if count > _MOST_LINES else ""
        print(f"{count} x {kind}: {KINDS[kind]}{left}")
    if not findings:
        print("nothing found")


def save_figure(path: Path, splits: Mapping[str, Dataset]) -> None:
    """Objects a class, and sizes of boxes, of all splits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    classes = next(iter(splits.values())).classes
    width = 0.8 / len(splits)
    bins = np.geomspace(4, 1024, 33)
    for number, (name, data) in enumerate(splits.items()):
        columns = data.columns
        counts = np.bincount(columns["label"], minlength=len(classes))
        places = np.arange(len(classes)) + (number - (len(splits) - 1) / 2) * width
        left.bar(places, counts, width, label=name)
        sides = np.sqrt(np.prod(columns["boxes"][:, 2:] - columns["boxes"][:, :2], axis=1))
        right.hist(sides, bins, histtype="step", label=name)
    left.set_xticks(range(len(classes)), drawable(classes), rotation=60, ha="right")
    instead = stand_ins(classes)
    if instead:
        print(f"{path}: {told(instead)}", file=sys.stderr)
    left.set_ylabel("objects")
    right.set_xscale("log")
    right.set_xlabel("side of the box, sqrt(width x height), pixels")
    right.set_ylabel("objects")
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
