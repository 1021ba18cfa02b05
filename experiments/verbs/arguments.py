"""What several verbs take: the recipe, weights, others' detections, a data set's place, counts."""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from experiments.errors import UsageError, nearest

if TYPE_CHECKING:
    from experiments.sweep.cost import Known, Paces

_UNKNOWN_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser whose help shows every default, with descriptions as they are written, and whose
    errors name the nearest choice.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*arguments, **options)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """As argparse's; the help says the default, where there is one and it does not say it."""
        if options.get("nargs") == "*" and not str(names[0]).startswith("-"):
            options.setdefault("default", [])  # or argparse calls it required
        return super().add_argument(*names, **with_default(options))

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; a word that is no choice is told the nearest one."""
        found = _UNKNOWN_CHOICE.search(message)
        if found is not None:
            known = re.findall(r"[^\s,']+", found[2])
            told = f"found {found[1]!r}{nearest(found[1], known)}"
            message = message[: found.start()] + told + message[found.end() :]
        raise UsageError(f"{message} (see '{self.prog} --help')")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raise UsageError for words that nothing takes, with the nearest option of this verb."""
        wrong = next((word.partition("=")[0] for word in words if word.startswith("-")), None)
        near = "" if wrong is None else nearest(wrong, self._options())
        self.error(f"unrecognised arguments: {' '.join(words)}{near}")

    def _options(self) -> list[str]:
        """Every long option, those of its kinds too."""
        found = [name for action in self._actions for name in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                found += [name for kind in action.choices.values() for name in kind._options()]
        return [name for name in dict.fromkeys(found) if name.startswith("--")]


def with_default(options: dict[str, Any]) -> dict[str, Any]:
    """The options of `add_argument` with the default in the help."""
    default, told = options.get("default"), str(options.get("help", ""))
    if default in (None, False, argparse.SUPPRESS) or default == [] or "default" in told:
        return options
    words = " ".join(map(str, default)) if isinstance(default, list) else "%(default)s"
    return options | {"help": f"{told} (default: {words})".strip()}


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The recipe, as the first word or by --config, and values over it; see `recipe_of`."""
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="RECIPE key=value",
        help="the recipe, a YAML file below configs/, then values over the recipe's, for example "
        "loss.gamma=1.5 train.iterations=200 'loss={name: cross_entropy}'; 'show' lists every key",
    )
    parser.add_argument("--config", metavar="RECIPE", help="the recipe, as W&B's agents give it")


def recipe_of(arguments: argparse.Namespace) -> tuple[Path, list[str]]:
    """The recipe's file and the overrides; W&B's agents give the recipe as `config=FILE` or
    `--config=FILE`. A recipe written as a mapping is the overrides of its `_base_`.

    Raises:
        UsageError: no recipe is named, or two are.
    """
    words = [part for word in arguments.overrides for part in _unpacked(word)]
    for option, value in zip(words, words[1:], strict=False):
        bare = "=" not in option + value and not value.endswith((".yaml", ".yml"))
        if option.startswith("--") and bare:
            raise UsageError(
                f"values over a recipe are written key=value, found '{option} {value}': "
                f"{option.lstrip('-')}={value}"
            )
    plain = [word for word in words if "=" not in word and word[:1] not in ("-", "+", "{")]
    named = [word.partition("=")[2] for word in words if _is_config(word)]
    configs = [*plain, *([named[-1]] if named else [arguments.config] if arguments.config else [])]
    if not configs:
        raise UsageError(
            "name a recipe: a YAML file below configs/, such as configs/glyphs/yolov2_focal.yaml"
        )
    if len(set(configs)) > 1:
        raise UsageError(
            f"one recipe is needed, found {' and '.join(configs)} (values over it are written "
            "key=value)"
        )
    others = [word for word in words if word not in plain and not _is_config(word)]
    if not configs[0].startswith("{"):
        return Path(configs[0]), others
    from experiments.config.located import read_value
    from experiments.config.resolve import named_recipe

    path, over = named_recipe(read_value(configs[0], key="config"))
    return path, [json.dumps({key: node.value for key, node in over}), *others]


def _unpacked(word: str) -> list[str]:
    """A word; of W&B's `${args_json}`, one mapping of all parameters, the recipe apart."""
    if not word.startswith("{"):
        return [word]
    from experiments.config.located import read_value

    values = dict(read_value(word).mapping())
    recipe = values.pop("config", None)
    if recipe is None:
        return [word]
    named = recipe.value if isinstance(recipe.value, str) else json.dumps(recipe.value)
    return [f"config={named}", json.dumps({key: node.value for key, node in values.items()})]


def _is_config(word: str) -> bool:
    return word.lstrip("-+").startswith("config=")


def add_tape(parser: argparse.ArgumentParser) -> None:
    """How much disk the tapes of frozen backbones may take."""
    parser.add_argument(
        "--tape-gib",
        type=not_below_zero,
        metavar="GIB",
        help="bound on tapes of frozen backbones; 0: none (default: a quarter of the free disk)",
    )


def add_weights(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """A run or a checkpoint, with a recipe before it whose data replace the run's own."""
    parser.add_argument(
        "model",
        nargs="*" if optional else "+",
        type=Path,
        metavar="[RECIPE] RUN",
        help="a run's folder, RUN/best, or a checkpoint; a recipe before it replaces its data",
    )


def weights_of(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """The run or checkpoint, and the recipe if one stands before it."""
    model: list[Path] = arguments.model
    if len(model) not in (1, 2):
        raise UsageError(
            f"{arguments.verb}: name a run or a checkpoint, with at most a recipe before it"
        )
    return model[-1], model[0] if len(model) == 2 else None


def add_detections(parser: argparse.ArgumentParser, split: str) -> None:
    """Detections that are there already, by whomever, and their truth; `split` is of what."""
    parser.add_argument("--detections", type=Path, metavar="PATH", help="a dump, or others' files")
    parser.add_argument(
        "--truth", type=Path, metavar="PATH", help="by default what lies beside the detections"
    )
    parser.add_argument("--split", default="test", help=split)


def add_data_set(parser: argparse.ArgumentParser) -> None:
    """A data set on disk, in any layout, and how to read it."""
    parser.add_argument("root", type=Path, metavar="DATA", help="the data set's folder")
    parser.add_argument(
        "splits",
        nargs="*",
        metavar="SPLIT",
        help="VOC: names such as trainval or 2007/test; COCO: JSON files below the folder; YOLO: "
        "train, val, test, or folders of images (default: all there are)",
    )
    parser.add_argument("--images", metavar="DIR", help="COCO: folder of images below the root")
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="the classes asked for (default: all)"
    )
    parser.add_argument(
        "--first-pixel",
        type=int,
        choices=(0, 1),
        default=1,
        help="VOC: what the files call the first pixel",
    )


def data_set_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """How to read the data set, as `datasets.layouts.open_all` and the doctor take it."""
    return {
        "images": arguments.images,
        "classes": arguments.classes,
        "first_pixel": arguments.first_pixel,
    }


def add_known(parser: argparse.ArgumentParser) -> None:
    """Where the cost of trials is told from; see `known_of`."""
    parser.add_argument(
        "--records",
        type=Path,
        action="append",
        metavar="DIR",
        help="where earlier runs tell the pace, repeatable (default: runs, results)",
    )
    parser.add_argument("--no-probe", action="store_true", help="time nothing that records lack")


def records_of(arguments: argparse.Namespace) -> list[Path]:
    """The folders of earlier runs."""
    return arguments.records or [Path("runs"), Path("results")]


def known_of(arguments: argparse.Namespace, *, probe: bool) -> "Known":
    """What the cost of trials is told from. `probe`: what records lack is timed or counted now,
    unless the user said not to.
    """
    from experiments.sweep.cost import Known
    from experiments.sweep.paces import machine_here, runs_on_record

    runs = runs_on_record(records_of(arguments))
    jobs, bound = arguments.jobs, _tape_bound(arguments)
    if not probe:  # and no torch
        return Known(runs, machine_here(), jobs, tape_bound=bound)
    if arguments.no_probe:
        return Known(runs, machine_here(), jobs, map_bytes=_map_bytes, tape_bound=bound)
    from experiments.engine.machine import product_gflops
    from experiments.probes.cost import training_operations

    here = machine_here(product_gflops())
    return Known(runs, here, jobs, _timed, training_operations, _map_bytes, bound)


def _map_bytes(config: Mapping[str, Any]) -> float:
    from experiments.probes.cost import map_bytes  # with torch, for sweeps with tapes alone

    return map_bytes(config)


def _tape_bound(arguments: argparse.Namespace) -> float:
    """What the tapes of a sweep in its own folder may take, bytes."""
    from experiments.record.tapes import bound_of

    given = getattr(arguments, "tape_gib", None)
    if given is None and getattr(arguments, "executor", "local") == "ray":
        return 0.0
    return bound_of(arguments.out or Path("runs"), given)


def _timed(config: Mapping[str, Any], jobs: int) -> "Paces | None":
    from experiments.probes.pace import probe_pace
    from experiments.sweep.cost import SURE, TIMED, Pace, Paces

    try:
        found = probe_pace(config, jobs)
    except ValueError as error:  # data that is not there: the sweep will say so of every trial
        print(f"not timed: {error}", file=sys.stderr)
        return None
    computing = Pace(found.iteration, found.validation, found.rest, found.source, SURE[TIMED])
    if found.replayed is None:
        return Paces(computing)
    return Paces(computing, computing._replace(iteration=found.replayed))


def above_zero(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def not_below_zero(text: str) -> float:
    """A number from 0 on, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, found {text!r}")
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1, for `type=`; of a percentage it says what was meant."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = float("nan")
    if 0 <= value <= 1 and "%" not in text:
        return value
    meant = f"; {value:g} % is {value / 100:g}" if 0 <= value <= 100 else ""
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}{meant}")


def positive(text: str) -> int:
    """A whole number from 1 on, for `type=`."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """A whole number from 0 on, for `type=`."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, found {text}")
    return number
