"""The strict reader says where, what, what is allowed and the nearest right spelling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import yaml

from experiments.config.strict import Choice, Reader
from experiments.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Linear:
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Constant:
    value: float


@dataclass(frozen=True, slots=True)
class Loss:
    gamma: float | Linear | Constant = 2.0
    alpha: float | tuple[float, ...] | None = None
    form: Literal["sigmoid", "softmax"] = "sigmoid"

    def __post_init__(self) -> None:
        if isinstance(self.gamma, float) and self.gamma < 0:
            raise ValueError(f"gamma: must be >= 0, found {self.gamma}")


@dataclass(frozen=True, slots=True)
class Run:
    iterations: int
    loss: Loss = field(default_factory=Loss)
    size: tuple[int, int] = (4, 4)
    names: dict[str, int] = field(default_factory=dict)
    quick: bool = False


READER = Reader((Choice("schedule", {"linear": Linear, "constant": Constant}),))


def read(values: Mapping[str, Any]) -> Run:
    run: Run = READER.read(Run, values, lambda key: f"a.yaml:7[{key}]")
    return run


def test_values_become_settings_and_come_back() -> None:
    values = {
        "iterations": 10,
        "loss": {"gamma": {"schedule": "linear", "start": 0, "end": 2}, "alpha": [0.1, 0.2]},
        "size": [1, 2],
        "names": {"a": 1},
    }
    run = read(values)
    assert run.loss.gamma == Linear(0.0, 2.0)
    assert run.loss.alpha == (0.1, 0.2)
    assert read(READER.plain(run)) == run
    assert READER.plain(run)["loss"]["gamma"] == {"schedule": "linear", "start": 0.0, "end": 2.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": 1, "loss": {"gama": 1}}, "loss.gama: unknown key; did you mean 'gamma'?"),
        ({"iterations": 1, "loss": {"gama": 1}}, "(known: gamma, alpha, form)"),
        ({"iterations": "many"}, "iterations: expected a whole number, found 'many'"),
        ({"iterations": 1.5}, "iterations: expected a whole number, found 1.5"),
        ({"iterations": True}, "iterations: expected a whole number, found True"),
        ({}, "missing iterations"),
        ({"iterations": 1, "loss": {"gamma": -1}}, "loss.gamma: must be >= 0, found -1.0"),
        (
            {"iterations": 1, "loss": {"form": "sigmiod"}},
            "loss.form: found 'sigmiod'; did you mean 'sigmoid'? (known: sigmoid, softmax)",
        ),
        ({"iterations": 1, "size": [1]}, "size: expected 2 values, found 1"),
        ({"iterations": 1, "quick": "yes"}, "quick: expected true or false, found 'yes'"),
        (
            {"iterations": 1, "loss": {"gamma": {"schedule": "liner", "start": 0, "end": 1}}},
            "loss.gamma.schedule: found 'liner'; did you mean 'linear'?",
        ),
        (
            {"iterations": 1, "loss": {"gamma": {"start": 0}}},
            "loss.gamma: needs 'schedule' (linear, constant)",
        ),
        ({"iterations": 1, "loss": 3}, "loss: expected keys and values, found 3"),
        ({"iterations": 1, "names": {"a": "b"}}, "names.a: expected a whole number, found 'b'"),
    ],
)
def test_what_is_wrong_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(values)
    assert message in str(error.value)
    assert str(error.value).startswith("a.yaml:7[")


def test_numbers_written_as_yaml_1_1_text_are_numbers() -> None:
    assert read({"iterations": 1, "loss": {"gamma": "1e-1"}}).loss.gamma == pytest.approx(0.1)


def test_none_as_text_is_none_where_none_is_allowed() -> None:
    assert read({"iterations": 1, "loss": {"alpha": "None"}}).loss.alpha is None


@pytest.mark.parametrize("word", ["off", "no"])
def test_a_word_that_yaml_1_1_reads_as_false_is_that_word_where_it_is_allowed(word: str) -> None:
    @dataclass(frozen=True, slots=True)
    class Cache:
        images: int | Literal["off", "whole"] = 0
        boxes: int | Literal["no", "whole"] = 0

    key = {"off": "images", "no": "boxes"}[word]
    cache = Reader(()).read(Cache, {key: yaml.safe_load(word)}, lambda key: key)
    assert getattr(cache, key) == word
