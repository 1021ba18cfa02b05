"""Files, one base and overrides merge as their users expect, and remember their places."""

import json
from pathlib import Path

import pytest

from experiments.config.yaml_source import read_source
from experiments.errors import ConfigError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_child_wins_over_base_and_command_line_over_both(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "a: {b: 1, c: 2}\nd: 3\n")
    child = write(tmp_path, "child.yaml", "_base_: base.yaml\na: {b: 10}\n")
    source = read_source(child, ["a.c=20", "--e={f: 1}"])
    assert source.values == {"a": {"b": 10, "c": 20}, "d": 3, "e": {"f": 1}}
    assert source.where("a.b") == f"{child}:2"
    assert source.where("a.c") == "command line"
    assert source.where("d") == f"{tmp_path / 'base.yaml'}:2"


def test_another_choice_replaces_the_base_s_fields(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "loss: {name: focal, alpha: .25, gamma: 2}\n")
    child = write(tmp_path, "child.yaml", "_base_: base.yaml\nloss: {name: cross_entropy}\n")
    assert read_source(child).values == {"loss": {"name": "cross_entropy"}}
    same = write(tmp_path, "same.yaml", "_base_: base.yaml\nloss: {name: focal, gamma: 1}\n")
    assert read_source(same).values["loss"] == {"name": "focal", "alpha": 0.25, "gamma": 1}


def test_a_number_becomes_a_schedule_and_back(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "loss: {gamma: 2}\n")
    scheduled = "loss.gamma={schedule: linear, start: 0, end: 2}"
    gamma = {"schedule": "linear", "start": 0, "end": 2}
    assert read_source(path, [scheduled]).values == {"loss": {"gamma": gamma}}
    assert read_source(path, [scheduled, "loss.gamma=1"]).values == {"loss": {"gamma": 1}}


def test_a_mapping_on_the_command_line_replaces(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "loss: {name: focal, alpha: .25, gamma: 2}\n")
    values = read_source(path, ["loss={name: focal, gamma: 1}"]).values
    assert values == {"loss": {"name": "focal", "gamma": 1}}
    nested = {"name": "focal", "gamma": {"schedule": "linear", "end": 2}}
    assert read_source(path, [f"loss={json.dumps(nested)}"]).values == {"loss": nested}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("a: 1\na: 2\n", ":2: 'a' again; first on line 1"),
        ("a: [1\n", "not valid YAML"),
        ("- 1\n", "expected keys and values"),
        ("", "expected keys and values"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "a.yaml", text)
    with pytest.raises(ConfigError, match=r"a\.yaml") as error:
        read_source(path)
    assert message in str(error.value)


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "yolov2_focal.yaml", "a: 1\n")
    with pytest.raises(ConfigError, match=r"did you mean .*yolov2_focal\.yaml"):
        read_source(tmp_path / "yolo2_focal.yaml")


def test_a_base_with_a_base_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "x: 1\n")
    write(tmp_path, "b.yaml", "_base_: a.yaml\n")
    path = write(tmp_path, "c.yaml", "_base_: b.yaml\n")
    with pytest.raises(ConfigError, match="a base has no base"):
        read_source(path)


@pytest.mark.parametrize("word", ["novalue", "=1", "a=[1", "a.b.c=1"])
def test_bad_overrides_are_refused(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, "a.yaml", "a: {b: 1}\n")
    with pytest.raises(ConfigError, match="command line"):
        read_source(path, [word])
