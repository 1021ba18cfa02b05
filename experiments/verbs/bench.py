"""The verb that times: bench. Heavy imports wait until it runs."""

import argparse
from pathlib import Path
from typing import Any

_TEACH = """\
Where does the time of a training step go? Takes the recipe's own images, network and loss, and
times the wait for data, forward pass, loss, backward pass and the optimiser's update:

  python -m experiments bench train --config configs/glyphs/retinanet_focal.yaml
  python -m experiments bench train --config configs/glyphs/yolov2_focal.yaml train.workers=2

A long wait for data asks for train.workers, train.cache_images or smaller images; nothing is
trained or written. Run it on a quiet machine.
"""


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb to the program's parser."""
    bench = verbs.add_parser("bench", help="time a training step by its parts")
    kinds = bench.add_subparsers(title="what", dest="what", metavar="WHAT", required=True)
    _add_train(kinds)


def _add_train(kinds: Any) -> None:
    parser = kinds.add_parser(
        "train",
        help="data wait, forward, loss, backward, optimiser",
        description=_TEACH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="the recipe, a YAML file below configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="over the recipe's")
    parser.add_argument("--steps", type=int, default=30, help="to time (30)")
    parser.add_argument("--warmup", type=int, default=5, help="before them (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.set_defaults(run=_bench_train)


def _bench_train(arguments: argparse.Namespace) -> int:
    from experiments.errors import UsageError
    from experiments.verbs.train import config_argument

    if arguments.steps < 1 or arguments.warmup < 0:
        raise UsageError("bench train: --steps must be >= 1 and --warmup >= 0")
    path, overrides = config_argument(arguments)
    from experiments.config.run import load_config
    from experiments.probes.pace import profile, profile_text, write_profile

    found = profile(load_config(path, overrides), arguments.steps, arguments.warmup)
    print(profile_text(found))
    if arguments.json is not None:
        write_profile(found, arguments.json)
    return 0
