"""The import law of docs/architecture.md, read from the source files themselves."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
ROOMS = ("losses", "datasets", "detectors", "experiments")
ALLOWED_ROOMS = {
    "losses": {"losses"},
    "datasets": {"datasets"},
    "detectors": {"detectors", "losses"},
    "experiments": set(ROOMS),
}
# Inside experiments: what a room may import of ours, besides itself and the plain files.
PLAIN = {"experiments.ending", "experiments.errors", "experiments.importing"}
OUTER = {"losses", "datasets", "detectors"}
ALLOWED_INSIDE = {
    "verbs": {"experiments"} | OUTER,
    "api": {f"experiments.{room}" for room in ("config", "evaluation", "record", "report", "run")}
    | {"experiments.sweep.study", "datasets.sample"},
    "probes": {f"experiments.{room}" for room in ("run", "engine", "evaluation", "record")}
    | {"experiments.config"}
    | OUTER,
    "run": {f"experiments.{room}" for room in ("engine", "evaluation", "tracking", "record")}
    | {"experiments.config"}
    | OUTER,
    "report": {"experiments.evaluation", "experiments.record", "experiments.config.strict"}
    | {"experiments.config.words"}
    | {"datasets.pixels"},
    "tracking": {"experiments.evaluation", "experiments.record", "datasets.pixels"}
    | {"experiments.config.words"},
    "sweep": {"experiments.config", "experiments.record", "experiments.evaluation.significance"}
    | {"experiments.evaluation.measures"},
    "engine": {"experiments.config.train", "experiments.record"} | OUTER,
    "evaluation": {"experiments.record"},
    "config": OUTER,
    "record": set(),
}
OWED: set[tuple[str, str]] = set()  # breaches that a change under way mends
MOST_AT_THE_TOP, MOST_IN_A_ROOM = 4, 20  # files of one folder
FOREIGN = {
    "wandb": ("experiments/tracking/wandb.py", "experiments/sweep/wandb.py"),
    "mmengine": ("experiments/engine/",),
    "ray": ("experiments/sweep/executors/ray.py",),
}


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (CHECKOUT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


def within(name: str, parents: set[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    name = path.relative_to(CHECKOUT).as_posix()
    room = name.partition("/")[0]
    for imported in imports(path):
        top = imported.partition(".")[0]
        if top in ROOMS:
            assert top in ALLOWED_ROOMS[room], f"{name} imports {imported}"
            if room == "experiments" and name.count("/") > 1:
                inside = name.split("/")[1]
                allowed = ALLOWED_INSIDE[inside] | PLAIN | {f"experiments.{inside}"}
                known = (name, imported) in OWED
                assert known or within(imported, allowed), f"{name} imports {imported}"
        elif room == "losses":
            assert top == "torch" or top in sys.stdlib_module_names, f"{name} imports {imported}"
        for foreign, places in FOREIGN.items():
            if top == foreign:
                assert name.startswith(places), f"{name} imports {imported}"


def test_architecture_says_who_may_import_whom() -> None:
    page = (CHECKOUT / "docs/architecture.md").read_text()
    told = dict(re.findall(r"^    ([a-z]+) +-> (.+?)(?:  |$)", page, re.M))
    assert set(told) == set(ALLOWED_INSIDE)
    for room, allowed in ALLOWED_INSIDE.items():
        words = {"all": "experiments", "nothing": "", "the rooms' tables": ""}
        named = set(words.get(told[room], told[room]).split(", ")) - {""}
        known = {name.split(".")[1] for name in allowed if name.startswith("experiments.")}
        assert named == (known or ({"experiments"} & allowed)), room


def test_no_file_is_named_for_nothing() -> None:
    assert not [path for path in sources() if path.stem in ("utils", "helpers", "misc", "common")]


def files_in(folder: Path) -> list[str]:
    """Sources of one folder, but for what every folder may have."""
    plain = {"__init__.py", "__main__.py"}
    return sorted(path.name for path in folder.glob("*.py") if path.name not in plain)


def test_the_top_of_experiments_is_no_corridor() -> None:
    assert len(files_in(CHECKOUT / "experiments")) <= MOST_AT_THE_TOP


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_is_a_corridor(room: str) -> None:
    folders = {path.parent for path in (CHECKOUT / room).rglob("*.py")}
    crowded = {folder: len(files_in(folder)) for folder in folders}
    assert not {folder: count for folder, count in crowded.items() if count > MOST_IN_A_ROOM}


def test_no_line_of_a_docstring_is_broken_off() -> None:
    """A line of one word in the middle of a sentence: what is left where a longer one was cut."""
    broken = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                lines = [line.strip() for line in (ast.get_docstring(node) or "").splitlines()]
                for above, line, below in zip(lines, lines[1:], lines[2:], strict=False):
                    alone = line.isalpha() and line.islower()
                    if alone and len(above) > 60 and below[:1].islower():
                        broken.append(f"{path}: {above} / {line}")
    assert not broken


@pytest.mark.parametrize(
    "module", ["experiments.report", "experiments.record.record", "datasets.pixels.reading"]
)
def test_reports_are_made_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0


def test_a_foreign_room_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "datasets"
    foreign.mkdir()
    (foreign / "__init__.py").touch()
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); sys.path.insert(0, {str(tmp_path)!r});"
        "from experiments.__main__ import refuse_foreign_rooms; refuse_foreign_rooms()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "'datasets' would be imported from" in done.stderr
