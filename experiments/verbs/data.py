"""The verbs that concern data alone: data and doctor. Heavy imports wait until a verb runs."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageError
from experiments.record.files import write_text

if TYPE_CHECKING:
    from datasets.dataset import Dataset

_TEACH_DATA = """\
Get data and look at it.

  python -m experiments data glyphs                     the embedded data set, drawn in seconds
  python -m experiments data bccd                       364 blood-cell images, 8 MB
  python -m experiments data voc --years 2007 2012      PASCAL VOC, 3 GB
  python -m experiments data coco --years 2017          COCO, 20 GB
  python -m experiments data stats data/BCCD            what a data set holds, as a table
  python -m experiments data anchors data/BCCD train    YOLOv2's anchors for its boxes

Downloads go on where they stopped, are checked against published checksums, and unpack nothing
outside the folder named. Archives that are on disk already are taken with --archives FOLDER.
"""

_TEACH_DOCTOR = """\
Look for what is wrong in a data set: boxes that are swapped, empty or outside their image, numbers
that are none, coordinates counted from the wrong pixel, missing files, images that don't decode or
have another size than the labels say, ids and objects given twice, classes nobody asked for, images
that are in two splits.

  python -m experiments doctor data/BCCD                          a folder in VOC layout
  python -m experiments doctor data/COCO --images train2017 annotations/instances_train2017.json
  python -m experiments doctor data/mine --classes cat dog        other classes are findings
  python -m experiments doctor data/mine --fix data/mine-repaired

Exit status: 0 nothing found, 1 something found, 2 the data can't be read at all. --fix writes a
whole repaired copy to a new folder; the original is never touched.
"""


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs; each sets `run` to a function of the arguments that gives the exit status."""
    _add_data(subparsers)
    _add_doctor(subparsers)


def _add_data(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "data",
        help="get a data set (glyphs, voc, coco, bccd), count what one holds, fit anchors to it",
        description=_TEACH_DATA,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="what", dest="what", metavar="WHAT", required=True)
    _add_glyphs(verbs)
    for name, years in (("voc", ("2007", "2012")), ("coco", ("2014", "2017")), ("bccd", ())):
        _add_source(verbs, name, years)
    _add_stats(verbs)
    _add_anchors(verbs)


def _add_glyphs(verbs: Any) -> None:
    parser = verbs.add_parser(
        "glyphs",
        help="draw the embedded data set, in VOC and COCO layout at once",
        description="Draw the embedded data set: 12 shapes with a long-tailed frequency among "
        "look-alikes, as VOC folders and as COCO JSON over the same images. The same seed gives "
        "the same files. A folder that is whole already is left as it is.",
    )
    parser.add_argument("--root", type=Path, default=Path("data/glyphs"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    for split, count in (("train", 800), ("val", 200), ("test", 300)):
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"({count})")
    parser.set_defaults(run=_checked(_glyphs))


def _add_source(verbs: Any, name: str, years: tuple[str, ...]) -> None:
    parser = verbs.add_parser(
        name,
        help=f"download and unpack {name.upper()}",
        description=f"Download {name.upper()}, check it, unpack it. An interrupted download goes "
        "on where it stopped when the same command is given again.",
    )
    place = {"voc": "data/VOCdevkit", "coco": "data/COCO", "bccd": "data/BCCD"}[name]
    parser.add_argument("--root", type=Path, default=Path(place), metavar="DIR", help=f"({place})")
    if years:
        parser.add_argument(
            "--years", nargs="+", choices=years, default=[years[-1]], help=f"({years[-1]})"
        )
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="take the archives from here, download nothing"
    )
    parser.add_argument("--mirror", metavar="URL", help="download from URL/NAME instead")
    parser.set_defaults(run=_checked(_obtain), source=name)


def _add_stats(verbs: Any) -> None:
    parser = verbs.add_parser(
        "stats",
        help="count classes, boxes and images of a data set",
        description="Count what a data set holds: objects of each class in each split, sizes and "
        "proportions of boxes, empty images. With --config also how rare foreground is: the "
        "anchors of that recipe's detector that answer for an object.",
    )
    _add_place(parser)
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="count the foreground of these recipes' detectors, on this data set's first split",
    )
    parser.add_argument(
        "--sample", type=int, default=64, metavar="N", help="images to count foreground in (64)"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="also draw it (.png, .svg, .pdf)"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="also write the counts of every split and class"
    )
    parser.set_defaults(run=_checked(_stats))


def _add_anchors(verbs: Any) -> None:
    parser = verbs.add_parser(
        "anchors",
        help="YOLOv2's anchors by k-means on a data set's boxes",
        description="Clusters the boxes of some splits by k-means under 1 - IoU as YOLOv2 did, "
        "and prints the lines for a recipe, with the average IoU and Darknet's anchors' own on the "
        "same boxes. Difficult objects and crowds are left out. Sizes are those in a network input "
        "of --input pixels, in cells of 32 px as Darknet writes anchors, or in pixels.",
        epilog="Example: python -m experiments data anchors data/VOCdevkit 2007/trainval "
        "2012/trainval --anchors 5",
    )
    _add_place(parser)
    parser.add_argument("--anchors", type=_count, default=5, metavar="K", help="how many (5)")
    parser.add_argument(
        "--input",
        type=_count,
        nargs="+",
        default=[416],
        metavar="PX",
        help="side of the network input, or its height and width (416)",
    )
    parser.add_argument(
        "--fit",
        choices=("stretch", "letterbox", "none"),
        default="stretch",
        help="how images get there; none: sizes in the original images (stretch, as Darknet's)",
    )
    parser.add_argument("--unit", choices=("cells", "pixels"), default="cells", help="(cells)")
    parser.add_argument("--seed", type=int, default=0, help="of the starts of k-means (0)")
    parser.set_defaults(run=_checked(_anchors))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, found {number}")
    return number


def _add_doctor(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="find what is wrong in a data set, and write a repaired copy",
        description=_TEACH_DOCTOR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_place(parser)
    parser.add_argument("--no-decode", action="store_true", help="labels only: don't open images")
    parser.add_argument("--fix", type=Path, metavar="DIR", help="write a repaired copy here")
    parser.add_argument("--json", action="store_true", help="one JSON object a finding, on stdout")
    parser.set_defaults(run=_checked(_doctor))


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", type=Path, help="the data set's folder")
    parser.add_argument(
        "splits",
        nargs="*",
        metavar="SPLIT",
        help="VOC: names such as trainval or 2007/test; COCO: JSON files below the folder "
        "(default: all there are)",
    )
    parser.add_argument("--images", metavar="DIR", help="COCO: folder of images below the root")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="the classes asked for (all)")
    parser.add_argument(
        "--first-pixel",
        type=int,
        choices=(0, 1),
        default=1,
        help="VOC: what the files call the first pixel (1)",
    )


def _checked(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Data that can't be used is the user's to mend: no traceback, status 2."""

    def checked(arguments: argparse.Namespace) -> int:
        from datasets.errors import DataError

        try:
            return run(arguments)
        except DataError as error:
            raise UsageError(str(error)) from error

    return checked


def _glyphs(arguments: argparse.Namespace) -> int:
    from datasets.glyphs.write import write_glyphs

    with _bar("draw glyphs", "images") as step:
        write_glyphs(
            arguments.root,
            arguments.seed,
            train=arguments.train,
            val=arguments.val,
            test=arguments.test,
            progress=lambda done, total: step("draw glyphs", done, total),
        )
    print(arguments.root)
    return 0


def _obtain(arguments: argparse.Namespace) -> int:
    from datasets.download.sources import obtain

    for year in getattr(arguments, "years", [""]):
        with _bar(arguments.source + year, "bytes") as step:
            obtain(
                arguments.source + year,
                arguments.root,
                archives=arguments.archives,
                mirror=arguments.mirror,
                report=step,
            )
    print(arguments.root)
    return 0


def _open(arguments: argparse.Namespace) -> "dict[str, Dataset]":
    from datasets.layouts import open_all

    return open_all(
        arguments.root,
        arguments.splits,
        images=arguments.images,
        classes=arguments.classes,
        first_pixel=arguments.first_pixel,
    )


def _anchors(arguments: argparse.Namespace) -> int:
    from experiments.probes.anchors import anchor_lines, fit_anchors

    if len(arguments.input) > 2:
        raise UsageError(f"--input: one side, or height and width, found {arguments.input}")
    with _bar("read labels", "rounds") as step:
        splits = _open(arguments)
        print(f"boxes of {', '.join(splits)}", file=sys.stderr)
        fitted = fit_anchors(
            splits,
            arguments.anchors,
            (arguments.input[0], arguments.input[-1]),
            arguments.fit,
            seed=arguments.seed,
            report=step,
        )
    print(anchor_lines(fitted, arguments.unit), end="")
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    from datasets.stats import describe
    from experiments.verbs.data_tables import print_stats, save_figure, stats_csv

    splits = _open(arguments)
    stats = {name: describe(data) for name, data in splits.items()}
    print_stats(stats)
    if arguments.config:
        _print_imbalance(arguments, next(iter(splits.values())))
    if arguments.figure:
        save_figure(arguments.figure, splits)
        print(arguments.figure)
    if arguments.csv:
        write_text(arguments.csv, stats_csv(stats))
        print(arguments.csv)
    return 0


def _print_imbalance(arguments: argparse.Namespace, dataset: "Dataset") -> None:
    from experiments.config.run import load_config
    from experiments.probes.cost import Imbalance, count_foreground
    from experiments.verbs.data_tables import print_imbalance

    counted: dict[str, Imbalance] = {}
    with _bar("count foreground", "recipes") as step:
        for number, path in enumerate(arguments.config, 1):
            config = load_config(path)
            counted[f"{path.parent.name}/{path.stem}"] = count_foreground(
                config, dataset, arguments.sample
            )
            step("count foreground", number, len(arguments.config))
    print_imbalance(counted)


def _doctor(arguments: argparse.Namespace) -> int:
    from datasets.doctor.examine import REMARKS, examine
    from datasets.doctor.repair import repair
    from experiments.verbs.data_tables import print_findings

    with _bar("look", "files") as step:
        findings = examine(
            arguments.root,
            arguments.splits,
            images=arguments.images,
            classes=arguments.classes,
            first_pixel=arguments.first_pixel,
            decode=not arguments.no_decode,
            report=step,
        )
    print_findings(findings, as_json=arguments.json)
    if arguments.fix:
        with _bar("repair", "files") as step:
            repair(
                arguments.root,
                arguments.fix,
                arguments.splits,
                images=arguments.images,
                classes=arguments.classes,
                first_pixel=arguments.first_pixel,
                report=step,
            )
        print(f"repaired copy: {arguments.fix}", file=sys.stderr)
    return 1 if any(finding.kind not in REMARKS for finding in findings) else 0


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar on a terminal, nothing in a log; gives (what, done, total) -> None."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(file=sys.stderr)
    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def step(what: str, done: int, total: int | None) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield step
