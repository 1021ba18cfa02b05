"""Every command that the pages give: it parses, and those of a page run in their order.

Training is cut to two updates, sweeps are listed instead of run but for the tutorial's, and what
would take hours, a network or a server is in TOO_LONG, by why.
"""

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from datasets.glyphs.write import write_glyphs
from experiments.__main__ import build_parser
from experiments.api import train
from tests.calling import call

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *CHECKOUT.glob("docs/*.md")]
PAGES = sorted([*PAGES, CHECKOUT / "results/README.md"])
STARTS = ("python -m ", ".venv/bin/", "torchrun ", "wandb ", "make ")
OURS = "python -m experiments "
# What a page leaves to its reader, as the folder of these tests has it.
STAND_INS = {
    "ROOT": "data/glyphs",
    "RECIPE": "configs/glyphs/yolov2_focal.yaml",
    "RUN": "runs/mine",
    "REPORT": "runs/demo/report",
    "DIR": "runs/demo",
    "FOLDER": "kangaroo",
    "more/**/*.jpg": "photos/*.jpg",
}
TINY = {
    "train.iterations": 2,
    "train.batch_size": 2,
    "input.fit": {"mode": "stretch", "height": 64, "width": 64},
    "tracking.wandb": "off",
}
# A beginning of commands -> why they are not run here. All of them are parsed.
TOO_LONG = {
    "make ": "the whole environment, demo or suite",
    "wandb ": "W&B's server (tests/experiments/sweep/test_wandb.py has a stand-in)",
    "torchrun ": "starts processes (tests/experiments/engine/test_distributed.py)",
    ".venv/bin/python -m pytest": "the suite itself",
    ".venv/bin/python -m zensical": "tests/docs/test_site.py builds the site",
    "python -m pip": "changes the environment",
    f"{OURS}demo": "minutes (tests/test_end_to_end.py has a small one)",
    f"{OURS}serve": "serves until it is ended (tests/experiments/report/test_live.py)",
    f"{OURS}data bccd": "downloads",
    f"{OURS}data voc": "downloads",
    f"{OURS}data coco": "downloads",
    f"{OURS}data animals": "needs the devkit",
    f"{OURS}data anchors data/VOCdevkit": "needs the devkit",
    f"{OURS}train configs/voc": "days, and the devkit (tests/configs/test_recipes_run.py)",
    f"{OURS}train configs/bccd": "needs the data",
    f"{OURS}export configs/voc": "needs Darknet's weights",
    f"{OURS}show --cfg yolov2-voc.cfg": "needs Darknet's file",
    f"{OURS}train mine.yaml": "needs Darknet's file",
    f"{OURS}eval --detections results": "others' files (interchange/test_reading.py)",
    f"{OURS}sweep sweep.yaml --backend wandb": "W&B's server",
    f"{OURS}sweep pull": "W&B's server",
    f"{OURS}sweep sweep.yaml --executor ray": "a Ray cluster (test_ray.py)",
    f"{OURS}sweep stop": "asks a running sweep (test_running.py)",
    f"{OURS}train configs/glyphs/retinanet_poly": "tests/docs/test_your_own_loss.py",
    f"{OURS}show configs/glyphs/retinanet_poly": "tests/docs/test_your_own_loss.py",
    f"{OURS}report results --readme": "tests/docs/test_readme.py",
}


def commands(page: Path) -> list[str]:
    """The commands in a page's blocks, in order, without what is said beside them."""
    found, fenced = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        text = line.strip().removeprefix("$ ")
        if (fenced or line.startswith("    ")) and text.startswith(STARTS):
            found.append(re.split(r"\s{2,}|\s#\s|\s>\s", text)[0])
    return found


def spans(page: Path) -> list[str]:
    """Commands within a sentence."""
    found = re.findall(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", page.read_text())
    return [" ".join(text.split()) for text in found if text.startswith(OURS)]


def words_of(command: str) -> list[str]:
    """What a command of ours gives its verb, placeholders filled in."""
    _, _, rest = command.partition("-m experiments ")
    words = shlex.split(rest.replace("..", ""))
    words = [re.sub(r"^FOLDER/", f"{STAND_INS['FOLDER']}/", word) for word in words]
    return [STAND_INS.get(word.rstrip("/."), word) for word in words]


def told(command: str) -> str | None:
    return next((why for start, why in TOO_LONG.items() if command.startswith(start)), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_every_command_parses(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.M)
    for command in [*commands(page), *spans(page)]:
        if "-m experiments " in command:
            words = [word for word in words_of(command) if word != "--help"]
            if len(words) > 1:
                parsed, rest = build_parser(words[0]).parse_known_args(words)
                assert not rest or hasattr(parsed, "overrides"), command
        elif command.startswith("make "):
            assert command.split()[1] in targets, command
        elif module := re.match(r"python -m ((?:docs|benchmarks)\.[a-z_]+)", command):
            assert (CHECKOUT / f"{module[1].replace('.', '/')}.py").is_file(), command


def test_what_is_too_long_is_there() -> None:
    given = [command for page in PAGES for command in [*commands(page), *spans(page)]]
    assert not [start for start in TOO_LONG if not any(one.startswith(start) for one in given)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a checkout after `make demo` and a run of one's own, all of it small."""
    root = tmp_path_factory.mktemp("place")
    for name in ("configs", "docs", "results", "sweep.yaml"):
        (root / name).symlink_to(CHECKOUT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_glyphs(root / "data/glyphs", train=16, val=6, test=6)
        write_glyphs(root / "kangaroo", train=30, val=3, test=3)
        for name in ("ImageSets", "annotations"):
            shutil.rmtree(root / "kangaroo" / name)
        (root / "photos").mkdir()
        for path in sorted((root / "data/glyphs/JPEGImages").glob("test_*"))[:2]:
            Image.open(path).save(root / "photos" / f"{path.stem}.jpg")
        first = root / "runs/demo/trials/0000-first"
        train("configs/glyphs/yolov2_focal.yaml", out=first, overrides=TINY)
        second = root / "runs/demo/trials/0001-second"
        train("configs/glyphs/yolov2_soft_gamma.yaml", out=second, overrides=TINY)
        shutil.copytree(first, root / "runs/mine")
        yield root


def tiny(words: list[str]) -> list[str]:
    """The same command, small."""
    verb, rest = words[0], words[1:]
    if verb == "train":
        new = ["runs/new" if word == "runs/mine" else word for word in words]
        return [*new, *(f"{key}={_flow(value)}" for key, value in TINY.items())]
    if verb == "sweep" and rest[0].endswith(".yaml") and "--dry-run" not in rest:
        return words if rest[0].startswith("kangaroo") else [verb, rest[0], "--dry-run"]
    if verb == "sweep" and rest[0] == "extend":
        return ["sweep", rest[1], "--dry-run"]
    if verb == "sweep" and rest[0] in ("status", "retry") and rest[1] == "runs/sweep":
        return ["sweep", "status", "runs/kangaroo"] if Path("runs/kangaroo").exists() else []
    if verb == "reproduce":
        return [*words[:2], "--dry-run", "--no-probe"]
    if words[:2] == ["data", "glyphs"]:
        return [*words, "--root", "data/more", "--train", "8", "--val", "4", "--test", "4"]
    return words


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).partition("\n")[0]


def expanded(words: list[str]) -> list[str]:
    """As a shell does it."""
    return [each for word in words for each in (sorted(glob.glob(word)) or [word])]


def write_files(page: Path, root: Path) -> None:
    """The YAML files that a page tells its reader to write; a sweep gets small and short."""
    for name, text in re.findall(r"```yaml\n# (\S+)\n(.*?)```", page.read_text(), re.DOTALL):
        values = yaml.safe_load(text)
        if "parameters" not in values:
            continue
        values["parameters"] |= {key: {"value": value} for key, value in TINY.items()}
        values["parameters"]["seed"] = {"value": 0}
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def done() -> set[str]:
    """What was run already, of other pages: looking runs alike."""
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_the_commands_of_a_page_run(
    page: Path, place: Path, done: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    write_files(page, place)
    for command in commands(page):
        if told(command) is not None or "-m experiments" not in command:
            assert told(command) is not None, f"{command}: neither run nor in TOO_LONG"
            continue
        words = expanded(tiny(words_of(command)))
        if shlex.join(words) in done:
            continue
        done.add(shlex.join(words))
        if words and words[0] == "sweep":  # starts processes of its own
            ours = [sys.executable, "-m", "experiments", *words]
            environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
            ran = subprocess.run(ours, env=environment, capture_output=True, text=True)
            assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        elif "--help" in words:
            with pytest.raises(SystemExit, match="0"):
                call(*words)
        elif words:
            assert call(*words) == 0 or words[0] == "doctor", command
