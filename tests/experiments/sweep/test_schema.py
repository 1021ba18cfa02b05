"""Every feature of W&B's schema is read alike or refused with a reason, as docs/sweeps.md says."""

import re
from pathlib import Path

import pytest

from experiments.errors import ConfigError
from experiments.sweep.sweep_file import read_sweep

CHECKOUT = Path(__file__).parents[3]
TRIAL = "command: [trial, '${args}']\n"
ONE = "parameters: {a: {value: 1}}\n"
METRIC = "metric: {name: m, goal: maximize}\n"


def drawn(*distributions: str) -> list[str]:
    return [
        f"method: random\n{TRIAL}parameters: {{a: {{{distribution}}}}}\n"
        for distribution in distributions
    ]


# By the first words of the table's row: examples, and what is said where they are refused.
FEATURES: dict[str, tuple[list[str], str | None]] = {
    "`method: grid`": (
        [f"method: {m}\n{METRIC}{TRIAL}{ONE}" for m in ("grid", "random", "bayes")],
        None,
    ),
    "`method: custom`": ([f"method: custom\n{TRIAL}{ONE}"], "unknown method 'custom'"),
    "`parameters` with dotted": (drawn("value: 1"), None),
    "nested `parameters`": (drawn("parameters: {b: {values: [1]}}"), None),
    "`value`": (drawn("value: null"), None),
    "`values`": (drawn("values: [1, b, null]"), None),
    "`values` with `prob": (drawn("values: [1, 2], probabilities: [0.5, 0.5]"), None),
    "`min` and `max`, whole": (drawn("min: 1, max: 3"), None),
    "`min` and `max`, real": (drawn("min: 1.0, max: 3"), None),
    "`distribution: constant`": (
        drawn(
            "distribution: constant, value: 1",
            "distribution: categorical, values: [1]",
            "distribution: categorical_w_probabilities, values: [1], probabilities: [1]",
            "distribution: int_uniform, min: 1, max: 2",
            "distribution: uniform, min: 1, max: 2",
        ),
        None,
    ),
    "`distribution: q_uniform`": (drawn("distribution: q_uniform, min: 0, max: 1, q: 0.1"), None),
    "`distribution: log_uniform`": (
        drawn(
            "distribution: log_uniform, min: -9, max: -2",
            "distribution: inv_log_uniform, min: 2, max: 9",
            "distribution: q_log_uniform, min: 0, max: 5",
        ),
        None,
    ),
    "`distribution: log_uniform_values`": (
        drawn(
            "distribution: log_uniform_values, min: 0.001, max: 1",
            "distribution: inv_log_uniform_values, min: 0.001, max: 1",
            "distribution: q_log_uniform_values, min: 1, max: 100, q: 5",
        ),
        None,
    ),
    "`distribution: normal`": (
        drawn(
            "distribution: normal, mu: 0, sigma: 1",
            "distribution: log_normal",
            "distribution: q_normal, q: 2",
            "distribution: q_log_normal",
        ),
        None,
    ),
    "`distribution: beta`": (drawn("distribution: beta, a: 2, b: 3", "distribution: q_beta"), None),
    "`metric.name`": (
        [f"method: grid\n{TRIAL}{ONE}metric: {{name: m, goal: minimize, target: 3}}"],
        None,
    ),
    "`metric.impute`": (
        [f"method: grid\n{TRIAL}{ONE}metric: {{name: m, goal: maximize, impute: worst}}"],
        "warned: metric.impute: holds on W&B's server",
    ),
    "`metrics`": ([f"method: grid\n{TRIAL}{ONE}metrics: [{{name: m}}]"], "metrics: is carried out"),
    "`early_terminate": (
        [
            f"method: grid\n{TRIAL}{ONE}{METRIC}early_terminate: {{type: hyperband, {more}}}"
            for more in ("min_iter: 2, eta: 2, strict: true", "max_iter: 27, s: 2")
        ],
        None,
    ),
    "`run_cap`": ([f"method: grid\n{TRIAL}{ONE}run_cap: 3"], None),
    "`program`": ([f"method: grid\nprogram: train.py\n{ONE}", f"method: grid\n{TRIAL}{ONE}"], None),
    "`name`": ([f"method: grid\n{TRIAL}{ONE}name: n\nproject: p\nentity: e\n"], None),
    "`description`": (
        [f"method: grid\n{TRIAL}{ONE}description: d\napiVersion: a\nkind: sweep\n"],
        None,
    ),
    "`controller`": ([f"method: grid\n{TRIAL}{ONE}controller: {{type: local}}"], None),
    "`scheduler`": (
        [f"method: grid\n{TRIAL}{ONE}scheduler: {{engine: ax}}"],
        "scheduler: is carried",
    ),
    "`job`": (
        [f"method: grid\n{TRIAL}{ONE}{key}: x" for key in ("job", "image_uri")],
        "is carried out by W&B's server",
    ),
}


def rows() -> list[tuple[str, str]]:
    text = (CHECKOUT / "docs/sweeps.md").read_text()
    table = text.partition("| of W&B's schema | here |\n|---|---|\n")[2].partition("\n\n")[0]
    return [(found[1], found[2]) for found in re.finditer(r"\| (.+?) \| (.+) \|", table)]


@pytest.mark.parametrize(("feature", "here"), rows(), ids=lambda words: words[:30])
def test_a_feature_is_what_the_table_says(feature: str, here: str, tmp_path: Path) -> None:
    name = max((name for name in FEATURES if feature.startswith(name)), key=len)
    examples, told = FEATURES[name]
    path = tmp_path / "sweep.yaml"
    for example in examples:
        path.write_text(example)
        if here.startswith("refused"):
            with pytest.raises(ConfigError) as caught:
                read_sweep(path)
            assert told is not None and told in str(caught.value)
        else:
            warnings = read_sweep(path).warnings
            assert here.startswith("read alike") or here.startswith("read")
            warned = " ".join(warnings)
            assert (told or "").removeprefix("warned: ") in warned
            assert bool(warned) is bool(told)


def test_the_table_has_every_feature() -> None:
    assert len(rows()) == len(FEATURES) == 26
