"""YAML as people write it is read, and what is wrong with a file is told at once, with lines."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.config.located import read_located, read_value
from experiments.errors import ConfigError


def write(folder: Path, text: str | bytes, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-4", 1e-4), ("1E5", 1e5), ("1.5e3", 1500.0), ("+2e+1", 20.0), (".5e-2", 0.005)],
        *[("3", 3), ("0.1", 0.1), (".5", 0.5), ("1_000", 1000), (".inf", float("inf"))],
        *[("true", True), ("off", False), ("null", None), ("~", None), ("", None)],
        *[("2026-01-31", "2026-01-31"), ("1.2.3", "1.2.3"), ("e5", "e5"), ("=", "=")],
        *[("'1e-4'", "1e-4"), ("!!str 5", "5"), ("[1e-3, b]", [0.001, "b"])],
        ("{'gamma': 1.0, 'alpha': None}", {"gamma": 1.0, "alpha": "None"}),
        ('{"a": [1, {"b": 2}]}', {"a": [1, {"b": 2}]}),
    ],
)
def test_a_value_is_what_it_looks_like(tmp_path: Path, text: str, value: Any) -> None:
    assert read_value(text).value == value
    assert read_located(write(tmp_path, f"a: {text}\n")).value == {"a": value}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_every_editor_are_read(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "arm: naïve\r\nseed: 1\r\n".encode(encoding))
    assert read_located(path).value == {"arm": "naïve", "seed": 1}


def test_nodes_know_their_lines(tmp_path: Path) -> None:
    tree = read_located(write(tmp_path, "# card\na:\n  b: 1\n  c: [1,\n    2]\n"))
    assert [tree.keys["a"].keys[name].line for name in "bc"] == [3, 4]
    assert [item.line for item in tree.keys["a"].keys["c"].items] == [4, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", ":1: a: the YAML tag !!python/object"),
        ("a: !thing 1\n", ":1: a: the YAML tag !thing is not allowed"),
        ("a: !!timestamp 2026-01-01\n", "!!timestamp is not allowed"),
        ("a: &x [1]\nb: *x\n", ":2: YAML aliases (*name) are not allowed"),
        ("x: 1\n<<: {a: 1}\n", ":2: YAML merge keys (<<) are not allowed"),
        ("a: 1\nb: 2\na: 2\n", ":3: 'a' is given twice, first on line 1"),
        ("a: {b: 1,\n b: 2}\n", ":2: a: 'b' is given twice, first on line 1"),
        ("a: !!int five\n", ":1: a: not a YAML int: 'five'"),
        (f"a: {'9' * 5000}\n", ":1: a: not a YAML int"),
        ("? [1, 2]\n: 3\n", ":1: a key must be text"),
        ("a: [1\n", "not valid YAML"),
        ("a:\t- 1\n", ":1: not valid YAML"),
        ("a: b: c\n", ":1: not valid YAML"),
        ("--- {a: 1}\n--- {a: 2}\n", ":2: not valid YAML"),
        ("a: 1\nb: \x00\n", ":2: not valid YAML: the character 0 is not allowed"),
        ("- 1\n", "expected keys and values, found [1]"),
        ("", "expected keys and values, found nothing"),
        ("# nothing\n", "expected keys and values, found nothing"),
        ("[" * 5000, "not valid YAML: nested too deeply"),
        (b"a: \xff\n", ":1: is no text in UTF-8"),
    ],
)
def test_bad_files_are_refused_by_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_located(path)
    assert message in str(error.value)
    assert all(finding.startswith(str(path)) for finding in error.value.findings)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a: !x 1\nb: {c: 1, c: 2}\nb: 3\nd: [!!int z]\n")
    with pytest.raises(ConfigError) as error:
        read_located(path)
    assert [finding.split(":")[1] for finding in error.value.findings] == ["1", "2", "3", "4"]


def test_aliases_that_would_grow_without_end_are_not_expanded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(ConfigError, match="aliases"):
        read_located(write(tmp_path, "\n".join(lines)))


def test_a_missing_file_is_named_with_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "a: 1\n", "yolov2_focal.yaml")
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'yolov2_focal\.yaml'"):
        read_located(tmp_path / "yolo2_focal.yaml")
    with pytest.raises(ConfigError, match="there is no folder"):
        read_located(tmp_path / "nowhere" / "a.yaml")


@pytest.mark.parametrize("text", ["[1", "a: b: c", "*x", "{a: 1, a: 2}", "#1 run", "run #1"])
def test_words_that_yaml_would_read_otherwise_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="command line: notes:"):
        read_value(text, key="notes")


def test_the_safe_loader_itself_is_left_alone() -> None:
    assert yaml.safe_load("1e-4") == "1e-4"
