"""The words of a trial's command: what they give to every trial, and `wandb agent`'s macros."""

import json
import re
from pathlib import Path

import pytest

from experiments.config.located import located
from experiments.errors import ConfigError
from experiments.sweep.command import at, expand, fixed_words, not_found
from experiments.sweep.space import Sweep
from experiments.sweep.sweep_file import read_sweep

ONE = "parameters: {g: {values: [1]}}\n"


def read(tmp_path: Path, text: str, head: str) -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(head + text)
    return read_sweep(path)


def fixed(words: list[str]) -> dict[str, object]:
    places = {word: at(word, located(None, "command")) for word in words}
    return {name: node.value for name, node in fixed_words(words, places).items()}


def test_fixed_words_are_what_every_trial_is_given() -> None:
    words = ["${env}", "-m", "experiments", "train", "--config", "a.yaml", "train.iterations=5"]
    assert fixed(words) == {"config": "a.yaml", "train.iterations": 5}
    assert fixed(["--config=b.yaml", "--seed=1"]) == {"config": "b.yaml", "seed": 1}


@pytest.mark.parametrize(
    "words",
    [
        "${env} CUDA_VISIBLE_DEVICES=0 OMP_THREADS=1 ${interpreter} -m experiments train seed=1",
        "${env} torchrun --standalone --nproc_per_node=2 -m experiments train --seed=1",
        "torchrun --nproc_per_node=2 train.py ++seed=1",
        "${env} A=b ${interpreter} ${program} seed=1",
        "${interpreter} -m our.trial seed=1",
    ],
)
def test_words_of_a_launcher_are_no_configuration(words: str) -> None:
    assert fixed(words.split()) == {"seed": 1}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("a.yaml seed=1", {"config": "a.yaml", "seed": 1}),
        ("--seed=1 --tape-gib 2 a.yaml --tape-gib=3 --", {"config": "a.yaml", "seed": 1}),
        ("--config=${envvar:RECIPE_S} ++seed=1", {"config": "b.yaml", "seed": 1}),
        ("{'config':'a.yaml','loss.gamma':null}", {"config": "a.yaml", "loss.gamma": None}),
        ("config={'_base_':'a.yaml','seed':1}", {"config": {"_base_": "a.yaml", "seed": 1}}),
        ("--config a.yaml --out runs/x", "--out would be one folder of all trials"),
        ("--config a.yaml seed=1 --seed=2", "seed: is given more than once, as 1 and 2"),
        ("a.yaml --config b.yaml", "config: is given more than once, as 'a.yaml' and 'b.yaml'"),
        ("--config a.yaml --verbose", "'train' does not read '--verbose'"),
        ("-config a.yaml", "'train' does not read '-config'"),
    ],
)
def test_a_command_s_own_words_are_read_as_train_reads_them(
    words: str, found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECIPE_S", "b.yaml")
    line = ["${interpreter}", "-m", "experiments", "train", *words.split(), "${args_json}"]
    if isinstance(found, dict):
        assert fixed(line) == found
        return
    with pytest.raises(ConfigError, match=re.escape(str(found))):
        fixed(line)


def test_recipes_of_a_parameter_and_of_the_command_exclude_each_other(tmp_path: Path) -> None:
    text = "parameters: {config: {values: [a.yaml, b.yaml]}}\n"
    head = "method: grid\ncommand: [python, -m, experiments, train, c.yaml, '${args}']\n"
    with pytest.raises(ConfigError, match=r"'c.yaml' leaves none for the parameter 'config'"):
        read(tmp_path, text, head)
    (told,) = read(tmp_path, text, head.replace("c.yaml", "--config=c.yaml")).warnings
    assert "in force in every trial, this recipe in none" in told
    with pytest.raises(ConfigError, match=r"'-m experiments train', found 'trian' for the verb"):
        read(tmp_path, text, head.replace("train, c.yaml", "trian"))


def test_a_command_of_one_text_is_split_as_a_shell_does(tmp_path: Path) -> None:
    head = "method: grid\ncommand: python -m experiments train 'my file.yaml' ${args}\n"
    sweep = read(tmp_path, ONE, head)
    assert sweep.fixed["config"].value == "my file.yaml"
    assert "W&B's agents read a list alone" in sweep.warnings[0]


@pytest.mark.parametrize(
    ("macro", "taken"),
    [
        *((name, True) for name in ("args", "args_no_hyphens", "args_append_hydra")),
        *((name, True) for name in ("args_override_hydra", "args_json")),
        *((name, False) for name in ("args_no_equals", "args_json_file")),
        *((name, False) for name in ("args_no_boolean_flags",)),
    ],
)
@pytest.mark.parametrize("program", ["", "program: train.py\n"])
def test_what_train_does_not_read_is_refused_at_once(
    macro: str, taken: bool, program: str, tmp_path: Path
) -> None:
    module = '"${program}"' if program else "-m, experiments, train"
    head = f'method: grid\n{program}command: ["${{interpreter}}", {module}, "${{{macro}}}"]\n'
    text = "parameters:\n  seed: {values: [0]}\n"
    if taken:
        read(tmp_path, text, head)
    else:
        with pytest.raises(ConfigError, match=r"'train' does not read .*args_no_hyphens"):
            read(tmp_path, text, head)


def test_macros_are_filled_in_as_wandb_agent_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE", "here")
    values: dict[str, object] = {"lr": 0.1, "flag": True, "off": False}

    def line(word: str) -> list[str]:
        return expand([word], "prog.py", values, tmp_path)

    assert line("${program}") == ["prog.py"]
    assert line("${env}") == ["/usr/bin/env"]
    assert line("${envvar:WHERE}/x") == ["here/x"]
    assert line("${args}") == ["--lr=0.1", "--flag=true", "--off=false"]
    assert line("${args_no_hyphens}") == ["lr=0.1", "flag=true", "off=false"]
    assert line("${args_no_boolean_flags}") == ["--lr=0.1", "--flag"]
    assert line("${args_no_equals}")[:2] == ["--lr", "0.1"]
    assert json.loads(line("${args_json}")[0]) == values
    assert json.loads(Path(line("${args_json_file}")[0]).read_text()) == values


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("${env} ${interpreter} -u here.py", None),
        ("${env} A=1 B=2 ${interpreter} -m experiments train", None),
        ("${env} ${interpreter} ${program}", "'there.py': no such file below"),
        ("env -i sh x", None),
        ("env PATH=/x launcher", None),
        ("poetri run python x.py", "'poetri': there is no such program"),
        ("${env} OMP_NUM_THREADS=1 torchrum x.py", "'torchrum': there is no such program"),
        ("sh -c x", None),
        ("beside_this_interpreter x", None),
    ],
)
def test_what_a_command_starts_is_looked_for(
    words: str, missing: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.py").write_text("")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    for name in ("python", "beside_this_interpreter"):
        Path(name).touch(mode=0o755)
    told = not_found([*words.split(), "${args}"], "there.py")
    assert told is None if missing is None else told is not None and missing in told


def test_a_module_may_be_the_program(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "method: grid\nprogram: experiments\nparameters: {config: {values: [a.yaml]}}\n"
        "command: ['${interpreter}', -m, '${program}', train, seed=3, '${args}']\n"
    )
    assert {name: node.value for name, node in read_sweep(path).fixed.items()} == {"seed": 3}
