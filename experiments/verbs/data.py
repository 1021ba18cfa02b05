"""`data`: get a data set or import one's own, count what one holds, fit anchors to it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageError
from experiments.verbs.arguments import add_data_set, data_set_of, natural, positive

if TYPE_CHECKING:
    from datasets.dataset import Dataset

TEACH = """\
Get data and look at it.

  python -m experiments data glyphs                     the embedded data set, drawn in seconds
  python -m experiments data bccd                       364 blood-cell images, 8 MB
  python -m experiments data voc                        PASCAL VOC 2007 and 2012, 3 GB
  python -m experiments data coco --years 2017          COCO, 20 GB
  python -m experiments data animals --from data/VOCdevkit    3,426 images of VOC 2012, made small
  python -m experiments data import kangaroo            one's own: splits and a recipe for it
  python -m experiments data stats data/BCCD            what a data set holds, as a table
  python -m experiments data anchors data/BCCD train    YOLOv2's anchors for its boxes

Downloads go on where they stopped, are checked against published checksums, and unpack nothing
outside the folder named. Archives that are on disk already are taken with --archives FOLDER.
"""
PLACES = {"voc": "data/VOCdevkit", "coco": "data/coco", "bccd": "data/BCCD"}
YEARS = {"voc": ("2007", "2012"), "coco": ("2014", "2017")}
USUAL = {"voc": ["2007", "2012"], "coco": ["2017"]}  # what recipes train and measure on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `data` takes: a kind, and its own options."""
    kinds: Any = parser.add_subparsers(title="what", dest="what", metavar="WHAT", required=True)
    _add_glyphs(kinds)
    for name in PLACES:
        _add_source(kinds, name)
    _add_animals(kinds)
    _add_import(kinds)
    _add_stats(kinds)
    _add_anchors(kinds)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked of the data.

    Raises:
        DataError: the data cannot be had or read.
        UsageError: the options do not go together.
    """
    status: int = arguments.do(arguments)
    return status


def _add_glyphs(kinds: Any) -> None:
    parser = kinds.add_parser(
        "glyphs",
        help="draw the embedded data set, in VOC and COCO layout at once",
        description="""\
Draw the embedded data set: 12 shapes with a long-tailed frequency among look-alikes, as VOC
folders and as COCO JSON over the same images. The same seed gives the same files. A folder that
is whole already is left as it is.""",
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data/glyphs"), metavar="DIR", help="where to"
    )
    parser.add_argument("--seed", type=natural, default=0, help="of everything drawn")
    for split, count in (("train", 800), ("val", 200), ("test", 300)):
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help="images")
    parser.set_defaults(do=_glyphs)


def _add_source(kinds: Any, name: str) -> None:
    parser = kinds.add_parser(
        name,
        help=f"download and unpack {name.upper()}",
        description=f"""\
Download {name.upper()}, check it, unpack it. An interrupted download goes on where it stopped when
the same command is given again.""",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(PLACES[name]), metavar="DIR", help="where to"
    )
    if name in YEARS:
        years = YEARS[name]
        parser.add_argument(
            "--years", nargs="+", choices=years, default=USUAL[name], help="which of them"
        )
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="take the archives from here, download nothing"
    )
    parser.add_argument("--mirror", metavar="URL", help="download from URL/NAME instead")
    parser.set_defaults(do=_obtain, source=name)


def _add_animals(kinds: Any) -> None:
    parser = kinds.add_parser(
        "animals",
        help="make VOC-animals of VOC 2012",
        description="""\
Make the small set of configs/voc/animals_*: 3,426 images of PASCAL VOC 2012, at most 320 px, with
their labels, in VOC's own train and val. Boxes are checked exactly, pixels by what they look like.

  python -m experiments data voc --years 2012
  python -m experiments data animals --from data/VOCdevkit""",
    )
    parser.add_argument(
        "--from", dest="devkit", type=Path, required=True, metavar="DIR", help="VOC's devkit"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data/VOC-animals"), metavar="DIR", help="where to"
    )
    parser.set_defaults(do=_animals)


def _add_import(kinds: Any) -> None:
    parser = kinds.add_parser(
        "import",
        help="a folder of images and labels to splits and a recipe",
        description="""\
Find labels of any layout below a folder (VOC XML, COCO JSON, YOLO text) and their images by name.
Write train, val and test splits, classes in proportion and copies of a photo in one split, and a
recipe whose input, anchors and length fit the boxes. Images and labels stay where they are.

  python -m experiments data import kangaroo
  python -m experiments train kangaroo/splits/yolov2.yaml""",
    )
    parser.add_argument("root", type=Path, metavar="FOLDER", help="where images and labels lie")
    parser.add_argument(
        "--detector", choices=("yolov2", "retinanet"), default="yolov2", help="of the recipe"
    )
    parser.add_argument("--val", type=float, default=0.15, help="part for validation")
    parser.add_argument("--test", type=float, default=0.15, help="part for the last measure")
    parser.add_argument("--seed", type=natural, default=0, help="of the splits")
    parser.add_argument(
        "--labels",
        metavar="LAYOUT",
        help="which labels count, voc, coco or yolo (default: those of most images)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to, for data that can't be written to (default: FOLDER/splits)",
    )
    parser.set_defaults(do=_import)


def _import(arguments: argparse.Namespace) -> int:
    from experiments.probes.importing import import_data
    from experiments.run.progress import counted

    with counted("look at images", "images") as step:
        told = import_data(
            arguments.root,
            arguments.detector,
            val=arguments.val,
            test=arguments.test,
            seed=arguments.seed,
            labels=arguments.labels,
            out=arguments.out,
            report=step,
        )
    print(told)
    return 0


def _add_stats(kinds: Any) -> None:
    parser = kinds.add_parser(
        "stats",
        help="count classes, boxes and images of a data set",
        description="""\
Count what a data set holds: objects of each class in each split, sizes and proportions of boxes,
empty images. With --config also how rare foreground is: the anchors of that recipe's detector that
answer for an object.""",
    )
    add_data_set(parser)
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[],
        metavar="RECIPE",
        help="count the foreground of these recipes' detectors, on this data set's first split",
    )
    parser.add_argument(
        "--sample", type=positive, default=64, metavar="N", help="images to count foreground in"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="also draw it (.png, .svg, .pdf)"
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="also write the counts of every split and class"
    )
    parser.set_defaults(do=_stats)


def _add_anchors(kinds: Any) -> None:
    parser = kinds.add_parser(
        "anchors",
        help="YOLOv2's anchors by k-means on a data set's boxes",
        description="""\
Clusters the boxes of some splits by k-means under 1 - IoU as YOLOv2 did, and prints the lines for
a recipe, with the average IoU and Darknet's anchors' own on the same boxes. Difficult objects and
crowds are left out. Sizes are those in a network input of --input pixels, in cells of 32 px as
Darknet writes anchors, or in pixels.

  python -m experiments data anchors data/VOCdevkit 2007/trainval 2012/trainval --anchors 5""",
    )
    add_data_set(parser)
    parser.add_argument("--anchors", type=positive, default=5, metavar="K", help="how many")
    parser.add_argument(
        "--input",
        type=positive,
        nargs="+",
        default=[416],
        metavar="PX",
        help="side of the network input, or its height and width",
    )
    parser.add_argument(
        "--fit",
        choices=("stretch", "letterbox", "none"),
        default="stretch",
        help="how images get there, stretch as Darknet's; none: sizes in the original images",
    )
    parser.add_argument("--unit", choices=("cells", "pixels"), default="cells", help="of the sizes")
    parser.add_argument("--seed", type=natural, default=0, help="of the starts of k-means")
    parser.set_defaults(do=_anchors)


def _glyphs(arguments: argparse.Namespace) -> int:
    from datasets.glyphs.write import write_glyphs
    from experiments.run.progress import counted

    with counted("draw glyphs", "images") as step:
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
    from experiments.run.progress import counted

    for year in getattr(arguments, "years", [""]):
        with counted(arguments.source + year, "bytes") as step:
            obtain(
                arguments.source + year,
                arguments.root,
                archives=arguments.archives,
                mirror=arguments.mirror,
                report=step,
            )
    print(arguments.root)
    return 0


def _animals(arguments: argparse.Namespace) -> int:
    from datasets.download.animals import make_animals
    from experiments.run.progress import counted

    with counted("scale images", "images") as step:
        make_animals(arguments.devkit, arguments.root, step)
    print(arguments.root)
    return 0


def _open(arguments: argparse.Namespace) -> "dict[str, Dataset]":
    from datasets.layouts import open_all

    return open_all(arguments.root, arguments.splits, **data_set_of(arguments))


def _stats(arguments: argparse.Namespace) -> int:
    from datasets.doctor.told import print_stats, save_figure, stats_csv
    from datasets.stats import describe
    from experiments.record.files import write_text

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
    from rich.console import Console

    from experiments.config.run import load_config
    from experiments.probes.cost import Imbalance, count_foreground, imbalance_table
    from experiments.run.progress import counted

    found: dict[str, Imbalance] = {}
    with counted("count foreground", "recipes") as step:
        for number, path in enumerate(arguments.config, 1):
            config = load_config(path)
            name = f"{path.parent.name}/{path.stem}"
            found[name] = count_foreground(config, dataset, arguments.sample)
            step("count foreground", number, len(arguments.config))
    Console(markup=False).print(imbalance_table(found))


def _anchors(arguments: argparse.Namespace) -> int:
    if len(arguments.input) > 2:
        raise UsageError(f"--input: one side, or height and width, found {arguments.input}")
    from experiments.probes.anchors import anchor_lines, fit_anchors
    from experiments.run.progress import counted

    with counted("read labels", "rounds") as step:
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
