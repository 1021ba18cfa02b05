"""The sweep file: W&B's schema, read strictly, with the line of every mistake."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.errors import ConfigError
from experiments.sweep.command import expand, written
from experiments.sweep.proposals import first_points, point_at, random_quantiles
from experiments.sweep.space import (
    Sweep,
    grid_point,
    grid_points,
    point_key,
    quantile,
)
from experiments.sweep.state import State
from experiments.sweep.sweep_file import read_sweep

HEAD = "method: grid\ncommand: [train, '${args_no_hyphens}']\n"


def read(tmp_path: Path, text: str, head: str = HEAD) -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(head + text)
    return read_sweep(path)


def refused(tmp_path: Path, text: str, head: str = HEAD) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, head)
    return str(caught.value)


def test_a_grid_is_the_product_in_sorted_order_with_the_last_name_fastest(tmp_path: Path) -> None:
    sweep = read(tmp_path, "parameters:\n  seed: {values: [0, 1]}\n  a.b: {values: [x, y]}\n")
    assert list(grid_points(sweep)) == [
        {"a.b": "x", "seed": 0},
        {"a.b": "x", "seed": 1},
        {"a.b": "y", "seed": 0},
        {"a.b": "y", "seed": 1},
    ]


def test_whole_losses_are_values_beside_a_grid_of_numbers(tmp_path: Path) -> None:
    text = """
parameters:
  loss:
    values: [{name: cross_entropy}, {name: focal, gamma: 2.0, alpha: 0.25}]
  optimizer.lr: {values: [0.005, 0.01]}
"""
    points = list(grid_points(read(tmp_path, text)))
    assert len(points) == 4
    line = expand(["${args_no_hyphens}"], None, points[2], tmp_path)
    assert line == ['loss={"name": "focal", "gamma": 2.0, "alpha": 0.25}', "optimizer.lr=0.005"]


def test_nested_parameters_become_dotted_names(tmp_path: Path) -> None:
    text = "parameters: {loss: {parameters: {gamma: {values: [0, 2]}, alpha: {value: 0.5}}}}"
    points = list(grid_points(read(tmp_path, text)))
    assert points == [{"loss.alpha": 0.5, "loss.gamma": 0}, {"loss.alpha": 0.5, "loss.gamma": 2}]


def test_roles_are_read_from_comments_and_from_x_roles(tmp_path: Path) -> None:
    text = """
x-roles: {seed: seed}
parameters:
  loss.gamma: {values: [0]} # scientific
  lr:  #nuisance
    values: [1]
  train.seconds: {values: [9]}  # seed of nothing: prose changes nothing
  input.flip: {values: [0.5]}  # not fixed
  arm: {value: "a # seed"}
  seed: {values: [0]}
"""
    roles = {parameter.name: parameter.role for parameter in read(tmp_path, text).parameters}
    known = {name: role for name, role in roles.items() if role}
    assert known == {"loss.gamma": "scientific", "lr": "nuisance", "seed": "seed"}


def test_a_key_that_is_left_empty_is_not_given(tmp_path: Path) -> None:
    empty = "entity:\nproject: null\nname: ~\nrun_cap:\nmetric:\nearly_terminate:\nx-roles:\n"
    sweep = read(tmp_path, ONE + empty + "x-trial-hours:\nx-contrasts:\n")
    assert (sweep.entity, sweep.project, sweep.name, sweep.run_cap) == (None, None, "sweep", None)
    assert (sweep.metric, sweep.early_stop, sweep.trial_seconds) == (None, None, None)
    assert "'parameters' is missing" in refused(tmp_path, "parameters:")


def test_whole_numbers_are_whole_however_they_are_written(tmp_path: Path) -> None:
    text = "run_cap: 1e3\nparameters: {g: {distribution: int_uniform, min: 4.0, max: 1e1}}"
    sweep = read(tmp_path, text, HEAD.replace("grid", "random"))
    assert (sweep.run_cap, sweep.size()) == (1000, 7)  # as many as there are values
    assert all(type(point["g"]) is int for point in first_points(sweep, 7))


def test_a_value_that_is_listed_twice_in_a_draw_is_one_point(tmp_path: Path) -> None:
    text = "run_cap: 9\nparameters: {g: {values: [1, 1.0, 2]}, h: {values: [a, b]}}"
    sweep = read(tmp_path, text, HEAD.replace("grid", "random"))
    assert sweep.size() == 4 == len(first_points(sweep, 9))


def test_run_cap_cuts_the_grid(tmp_path: Path) -> None:
    sweep = read(tmp_path, "run_cap: 3\nparameters: {seed: {min: 0, max: 9}}")
    assert (len(list(grid_points(sweep))), sweep.size()) == (3, 3)


ONE = "parameters: {g: {values: [1]}}\n"
MISTAKES = [
    (ONE + "metrik: {name: x}", ":4: metrik: unknown key 'metrik'; did you mean 'metric'"),
    ("parameters: {g: {vales: [1]}}", "unknown key 'vales'; did you mean 'values'"),
    ("parameters: {g: {values: [1], q: 2}}", "unknown key 'q'"),
    ("parameters: {g: 3}", "write g: {value: 3} for a constant"),
    ("parameters: {}", "at least one parameter"),
    ("parameters: {g: {values: []}}", "at least one is needed"),
    ("parameters: {g: {values: [1, 1.0]}}", "listed twice"),
    ("parameters: {g: {min: 0.5, max: 2}}", "a grid needs values to list"),
    ("parameters: {g: {min: 2, max: 1}}", "max: must be >= min"),
    ("parameters: {g: {min: 2}}", "int_uniform needs 'max'"),
    ("parameters: {g: {distribution: log_unifrm, min: 1, max: 2}}", "did you mean 'log_uniform'"),
    ("parameters: {g: {values: [1]}, g: {values: [2]}}", "'g' is given twice, first on line"),
    (ONE + "run_cap: 0", "run_cap: must be >= 1"),
    (ONE + "early_terminate: {type: hyperband, min_iter: 3}", "needs 'metric'"),
    (ONE + "metric: {name: a}\nearly_terminate: {type: median}", "'hyperband' is the one"),
    (ONE + "metric: {goal: maximize}", "'name' is missing"),
    (ONE + "metric: {name: a, goal: maximise}", "unknown goal 'maximise'; did you mean 'maximize'"),
    (ONE + "scheduler: {engine: ax}", "W&B's server"),
    ("parameters: {a.b: {value: 1}, a: {parameters: {b: {value: 2}}}}", "nested and once dotted"),
    ("parameters: [", "not valid YAML"),
    ("parameters: {g: {values: [&a 1, *a]}}", "aliases (*name) are not allowed"),
    ("parameters: {g: {values: !!python/name:os.system [1]}}", "tag"),
    ("parameters: {g: {min: 1, max: 1.0e+400}}", "g.max: expected a finite number"),
    ("parameters: {g: {values: }}", "expected a list, found None"),
    ("parameters: {}\nmetric: {}", "'name' is missing"),
    ("parameters: {g: {distribution: log_uniform, min: 0, max: 800}}", "exp(800) is no number"),
    (ONE + "x-roles: {gg: seed}", "no parameter has this name; did you mean 'g'"),
    (ONE + "x-roles: {g: sead}", "did you mean 'seed'"),
    (ONE + "metric: {name: a, target: 3}", "metric: goal: is needed here"),
    (ONE + "metric: {name: a}\nearly_terminate: {type: hyperband, min_iter: 1}", "goal: is needed"),
    ("parameters: {g: [0, 2]}", "write g: {values: [0, 2]} to try each"),
    ("parameters: {config: {parameters: {_base_: {value: a.yaml}}}}", "config: give 'value' or"),
    (
        "parameters: {g: {values: [1]}, seed: {values: [1]}}  # seed",
        ":3: its comment stands behind",
    ),
    ("parameters:\n  g:", "write g: {value: null} for a constant"),
    ("parameters: {o: {lr: {values: [1]}}}", "below 'parameters': o: {parameters: {lr: ..}}"),
    ("parameters: {g: {min: 0, max: 99999999999999999999}}", "more whole numbers than can be"),
    ("parameters: {g: {distribution: q_uniform, min: 0, max: 2, q: 1e-300}}", "more steps than"),
    ("parameters: {g: {distribution: q_normal, mu: .inf}}", "g.mu: expected a finite number"),
    (ONE + "early_terminate: {type: hyperband, min_iter: 1, max_iter: 9, s: 2}", "by itself"),
    (ONE + "early_terminate: {type: hyperband, max_iter: 9, s: 0}", "s: must be >= 1"),
    (ONE + "metric: {name: a, goal: max}", "unknown goal 'max'; did you mean 'maximize'"),
    (ONE + "Run_Cap: 3", "did you mean 'run_cap'"),
    (ONE + "x_seed: 3", "did you mean 'x-seed'"),
    (ONE + "project: me/mine", "project: W&B's projects have none of / "),
    (ONE + "project: 2024", "project: expected text, in quotes, found 2024"),
    (ONE + "run_cap: '3'", "run_cap: expected a whole number, found '3'"),
    ("parameters: {g: {value: 1, values: [1, 2]}}", "g.values: does not go with constant"),
    ("parameters: {g: {values: [1], min: 0, max: 2}}", "g.max: does not go with categorical"),
    ("parameters: [{name: g, values: [1]}]", "parameters: expected keys and values, found"),
    (ONE + "x-question: [why]", "x-question: expected text, found ['why']"),
    (ONE + "x-baseline: 2", "x-baseline: expected text"),
    (ONE + "x-contrasts: [{arm: a, agianst: b}]", "x-contrasts[0]: expected {arm: NAME, against"),
    (ONE + "x-equivalence: .inf", "x-equivalence: expected points above 0"),
    (ONE + "x-published: 5", "x-published: expected tables or their names"),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_a_mistake_is_told_with_its_line_and_the_nearest_spelling(
    tmp_path: Path, text: str, told: str
) -> None:
    message = refused(tmp_path, text)
    assert told in message
    assert message.startswith(f"{tmp_path}/sweep.yaml:")


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("command: [t, '${args}']\n", "'method' is missing"),
        ("method: gird\ncommand: [t, '${args}']\n", "did you mean 'grid'"),
        ("method: grid\n", "'command' is missing"),
        ("method: grid\ncommand: [t]\n", "no macro hands the parameters over"),
        ("method: grid\ncommand: [t, '${arg_no_hyphens}']\n", "did you mean 'args_no_hyphens'"),
        ("method: grid\ncommand: [t, '--x=${args}']\n", "must be a word of its own"),
        ("method: grid\ncommand: [t, '${program}', '${args}']\n", "gives no 'program'"),
        ("method: grid\ncommand: [t, '${envvar:NO_SUCH_ONE}', '${args}']\n", "NO_SUCH_ONE"),
        ("method: bayes\ncommand: [t, '${args}']\n", "bayes needs 'metric'"),
        ("method: bayes\nmetric: {name: a}\ncommand: [t, '${args}']\n", "goal: is needed here"),
    ],
)
def test_a_command_or_method_that_cannot_run_is_refused(
    tmp_path: Path, head: str, told: str
) -> None:
    assert told in refused(tmp_path, "parameters: {g: {values: [1]}}", head)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = """method: gird
metrik: {name: x}
command: [t]
run_cap: 0
parameters:
  a: 3
  b: {vales: [1]}
  c: {min: 2, max: 1}
"""
    found = refused(tmp_path, text, head="").splitlines()
    lines = [int(line.removeprefix(f"{tmp_path}/sweep.yaml:").partition(":")[0]) for line in found]
    assert sorted(lines) == [1, 2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{values: [1e-4, 3e-4, 2e0]}", [1e-4, 3e-4, 2.0]),
        ("{values: [2026-01-31, 12:30]}", ["2026-01-31", 750]),
        ("{values: ['1e-4', yes, null]}", ["1e-4", True, None]),
    ],
)
def test_values_are_read_as_their_trials_read_them(
    text: str, values: list[object], tmp_path: Path
) -> None:
    (parameter,) = read(tmp_path, f"parameters: {{g: {text}}}").parameters
    assert list(parameter.distribution.choices() or ()) == values


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_file(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(HEAD + "parameters:\n  g: {values: [1]}  # fixed\n", encoding=encoding)
    assert read_sweep(path).parameters[0].role == "fixed"


@pytest.mark.parametrize(
    ("distribution", "warned"),
    [
        ("{distribution: log_uniform, min: 0.0001, max: 0.1}", True),
        ("{distribution: q_log_uniform, min: 0.01, max: 0.9, q: 0.1}", True),
        ("{distribution: log_uniform, min: -9.2, max: -2.3}", False),
        ("{distribution: log_uniform_values, min: 0.0001, max: 0.1}", False),
    ],
)
def test_log_uniform_with_bounds_that_are_no_exponents_is_warned_of(
    distribution: str, warned: bool, tmp_path: Path
) -> None:
    head = HEAD.replace("grid", "random")
    sweep = read(tmp_path, f"parameters: {{lr: {distribution}}}", head)
    assert bool(sweep.warnings) is warned
    if warned:
        assert "exponents" in sweep.warnings[0] and "log_uniform_values" in sweep.warnings[0]


def test_a_huge_grid_is_counted_and_entered_without_being_listed(tmp_path: Path) -> None:
    text = "parameters: {a: {min: 0, max: 49999}, b: {min: 0, max: 39999}}"
    sweep = read(tmp_path, text)
    assert sweep.size() == 2_000_000_000
    points = grid_points(sweep)
    assert [next(points) for _ in range(2)] == [{"a": 0, "b": 0}, {"a": 0, "b": 1}]
    assert grid_point(sweep, 1_999_999_999) == {"a": 49999, "b": 39999}


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(HEAD)
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'sweep.yaml'"):
        read_sweep(tmp_path / "sweeep.yaml")


def test_a_seed_of_many_values_is_crossed_without_being_listed(tmp_path: Path) -> None:
    text = "run_cap: 3\nparameters: {g: {min: 0.0, max: 1.0}, seed: {min: 0, max: 9999999999}}\n"
    sweep = read(
        tmp_path, text + "x-roles: {seed: seed}\n", "method: random\ncommand: [t, '${args}']\n"
    )
    assert [point["seed"] for point in first_points(sweep, 3)] == [0, 1, 2]


def test_a_name_that_makes_no_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "\u5b9f\u9a13.yaml"
    path.write_text(HEAD + ONE)
    with pytest.raises(ConfigError, match="name: holds no letter of a to z and no digit"):
        read_sweep(path)


PLAIN: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
    lambda kids: (
        st.lists(kids, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), kids, max_size=3)
    ),
    max_leaves=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN)
def test_every_value_comes_back_from_the_command_line_as_it_was(value: Any) -> None:
    assert yaml.safe_load(written(value)) == value


def test_a_point_is_named_by_its_values_not_by_their_spelling() -> None:
    assert point_key({"g": 2, "s": 0}) == point_key({"s": 0, "g": 2.0})
    assert point_key({"g": 2}) != point_key({"g": 2.5})


def test_draws_depend_on_seed_index_and_name_alone() -> None:
    assert quantile(0, 1, "g") == quantile(0, 1, "g")
    assert len({quantile(s, i, n) for s in (0, 1) for i in (0, 1) for n in "ab"}) == 8


RANDOM = "method: random\ncommand: [t, '${args}']\n"
LAWS: list[tuple[str, Any]] = [
    ("{min: 0.0, max: 5.0}", stats.uniform(0, 5)),
    ("{distribution: log_uniform, min: -2, max: 3}", stats.loguniform(math.exp(-2), math.exp(3))),
    ("{distribution: log_uniform_values, min: 0.001, max: 1}", stats.loguniform(0.001, 1)),
    ("{distribution: inv_log_uniform_values, min: 0.1, max: 9}", stats.loguniform(0.1, 9)),
    ("{distribution: inv_log_uniform, min: 0, max: 2}", stats.loguniform(math.exp(-2), 1)),
    ("{distribution: normal, mu: 1, sigma: 2}", stats.norm(1, 2)),
    ("{distribution: log_normal, mu: 0, sigma: 0.5}", stats.lognorm(0.5)),
    ("{distribution: beta, a: 2, b: 5}", stats.beta(2, 5)),
]


@pytest.mark.parametrize(("text", "law"), LAWS)
def test_draws_follow_their_distribution(tmp_path: Path, text: str, law: Any) -> None:
    sweep = read(tmp_path, f"parameters: {{g: {text}}}", RANDOM)
    draws = [point_at(sweep, random_quantiles(sweep, State(), i))["g"] for i in range(2000)]
    assert stats.kstest(draws, law.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{min: 1, max: 4}", {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}),
        ("{values: [a, b]}", {"a": 0.5, "b": 0.5}),
        ("{values: [a, b], probabilities: [0.9, 0.1]}", {"a": 0.9, "b": 0.1}),
        ("{distribution: q_uniform, min: 0, max: 2, q: 1}", {0: 0.25, 1: 0.5, 2: 0.25}),
    ],
)
def test_discrete_draws_have_their_frequencies(
    tmp_path: Path, text: str, expected: dict[Any, float]
) -> None:
    sweep = read(tmp_path, f"parameters: {{g: {text}}}", RANDOM)
    draws = [point_at(sweep, random_quantiles(sweep, State(), i))["g"] for i in range(2000)]
    counts = [draws.count(value) for value in expected]
    assert sum(counts) == 2000
    assert stats.chisquare(counts, [2000 * share for share in expected.values()]).pvalue > 0.01


def test_a_seed_is_crossed_with_every_draw(tmp_path: Path) -> None:
    text = "parameters:\n  g: {min: 0.0, max: 1.0}\n  seed: {values: [7, 8]} # seed\n"
    points = first_points(read(tmp_path, text, RANDOM), 6)
    assert [point["seed"] for point in points] == [7, 8, 7, 8, 7, 8]
    values = [point["g"] for point in points]
    assert values[0::2] == values[1::2] and len(set(values)) == 3


def test_a_random_sweep_of_few_values_ends_when_all_were_drawn(tmp_path: Path) -> None:
    points = first_points(read(tmp_path, "parameters: {g: {values: [1, 2, 3]}}", RANDOM), 50)
    assert sorted(point["g"] for point in points) == [1, 2, 3]


def test_probabilities_must_fit_their_values(tmp_path: Path) -> None:
    assert "one per value" in refused(
        tmp_path, "parameters: {g: {values: [1, 2], probabilities: [1]}}", RANDOM
    )
    assert "must sum to 1" in refused(
        tmp_path, "parameters: {g: {values: [1, 2], probabilities: [0.5, 0.4]}}", RANDOM
    )


def test_the_fingerprint_ignores_comments_and_sees_the_command(tmp_path: Path) -> None:
    text = "parameters: {g: {values: [1, 2]}}"
    plain = read(tmp_path, text).fingerprint()
    assert read(tmp_path, text + "  # scientific").fingerprint() == plain
    assert read(tmp_path, text, HEAD.replace("train", "eval")).fingerprint() != plain
