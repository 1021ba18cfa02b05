"""What holds of every verb: its file, its help, how mistakes and closed pipes end it."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.errors import DataError
from detectors.errors import DetectorError
from experiments.__main__ import CHECKOUT, VERBS, build_parser, main
from experiments.errors import ConfigError, UsageError
from experiments.evaluation.tables import EvaluationError
from experiments.record.record import RecordError
from experiments.report.load import ReportError
from experiments.sweep.actions import Running
from experiments.sweep.space import Sweep
from tests.calling import call, refused

RECIPE = "configs/glyphs/yolov2_focal.yaml"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of a verb, and those of its kinds."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def test_a_verb_is_a_file_of_its_name() -> None:
    files = {path.stem for path in (CHECKOUT / "experiments/verbs").glob("*.py")}
    assert files - {"__init__", "arguments"} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches_with_an_example_and_says_every_default(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"python -m experiments {verb}" in capsys.readouterr().out.partition("\n\n")[2]
    for parser in parsers(build_parser(verb)):
        told = " ".join(parser.format_help().split())
        for action in parser._actions:
            default = action.default
            if default in (None, False, argparse.SUPPRESS) or default == []:
                continue
            words = " ".join(map(str, default)) if isinstance(default, list) else str(default)
            assert f"(default: {words})" in told, f"{parser.prog} {action.option_strings}"


def test_help_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (["help"], "verbs:"), (["help", "train"], "experiments train configs/"):
        with pytest.raises(SystemExit, match="0"):
            main(words)
        assert told in capsys.readouterr().out
    refused("did you mean 'train'", "help", "trian")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom experiments.__main__ import main\n"
        "for words in (['--help'], ['train', '--help'], ['sweep', '--help'], ['report', '--help']):"
        "\n    try:\n        main(words)\n    except SystemExit:\n        pass\n"
        "sys.exit(str({'torch', 'numpy', 'rich', 'yaml', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.stderr == "set()\n"


@pytest.mark.parametrize(
    "kind",
    [ConfigError, UsageError, DataError, DetectorError, EvaluationError, RecordError, ReportError],
)
def test_users_errors_of_every_room_end_with_2_and_a_message(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise kind("here: what was found")

    monkeypatch.setattr("experiments.verbs.verify.run", fail)
    assert call("verify", "somewhere") == 2
    assert capsys.readouterr().err == "error: here: what was found\n"
    monkeypatch.setenv("SOFTGAMMA_DEBUG", "1")
    assert call("verify", "somewhere") == 2
    told = capsys.readouterr().err
    assert told.startswith("Traceback") and told.endswith("error: here: what was found\n")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: argparse.Namespace) -> int:
        raise ValueError("a value that no user gave")

    monkeypatch.setattr("experiments.verbs.verify.run", fail)
    with pytest.raises(ValueError, match="no user gave"):
        call("verify", "somewhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "found 'trian'; did you mean 'train'"),
        (["predict", "runs/mine", "a.jpg"], "found 'predict'; did you mean 'detect'"),
        (["test", "runs/mine"], "found 'test'; did you mean 'eval'"),
        (["data", "glyps"], "found 'glyps'; did you mean 'glyphs'"),
        (["sweep", "stats", "x"], "found 'stats'; did you mean 'status'"),
        ([], "VERB"),
        (
            ["report", "runs", "--imges", "3"],
            "unrecognised arguments: --imges 3; did you mean '--images'.*experiments report --help",
        ),
        (["data", "glyphs", "--rot=x"], "--rot=x; did you mean '--root'"),
        (["train"], "name a recipe"),
        (["doctor"], "arguments are required: DATA .see"),
        (["train", RECIPE, "configs/bccd/yolov2_focal.yaml"], "one recipe is needed, found"),
        (["train", RECIPE, "--epochs"], "expected key=value, found '--epochs'"),
        (["train", RECIPE, "--loss.gamma", "2"], "found '--loss.gamma 2': loss.gamma=2"),
        (["train", RECIPE, "gamma=2"], "gamma: unknown key; did you mean 'loss.gamma'?"),
        (["train", RECIPE, "batch=2"], "did you mean 'train.batch_size'?"),
        (["train", RECIPE, "imgsz=640"], "imgsz: unknown key .known: data, detector"),
        (["train", RECIPE, "loss={name:focal}"], "a space goes after its colon: name: focal"),
        (["train", "sweep.yaml"], "is a sweep's file, which `sweep` runs"),
        (["sweep", RECIPE, "--dry-run"], "is a recipe, which `train` runs"),
        (["sweep", "sweep.yaml", "--grace", "-1"], "expected a number from 0 on, found '-1'"),
        (["report", "results", "--study", "no.yaml"], "no.yaml: no such file"),
        (["train", RECIPE, "sede=2"], "did you mean 'seed'?"),
        (["train", "yolov2_focal"], "no such file.*configs/glyphs/yolov2_focal.yaml"),
        (["show", "configs/glyphs"], "is a folder; name a file in it .known: retinanet"),
        (["show", "configs/glyphs/yolov2_focl.yaml"], "did you mean .*yolov2_focal.yaml"),
    ],
)
def test_a_mistake_is_told_with_the_nearest_right_word(words: list[str], message: str) -> None:
    refused(message, *words)


def test_no_run_is_trained_in_a_sweep_s_folder(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").touch()
    refused("holds a sweep; name another folder", "train", RECIPE, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.jsonl"]


@pytest.mark.parametrize(
    "words",
    [
        ["show", RECIPE, "loss.gamma=1.5"],
        ["show", "loss.gamma=1.5", RECIPE],
        ["show", "--config", RECIPE, "loss.gamma=1.5"],
        ["show", f"--config={RECIPE}", "--loss.gamma=1.5"],
        ["show", f"config={RECIPE}", "loss.gamma=1.5"],
    ],
)
def test_the_recipe_is_the_first_word_or_what_wandb_writes(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == 0
    assert "gamma: 1.5" in capsys.readouterr().out


def piped(command: str) -> tuple[list[int], str]:
    """A pipeline in bash: the statuses of its members, and everything that was said."""
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONUNBUFFERED", None)  # it would hide what fails at the interpreter's end
    done = subprocess.run(
        ["bash", "-c", f'{command}; echo "${{PIPESTATUS[@]}}"'],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    *said, statuses = done.stdout.splitlines()
    return [int(status) for status in statuses.split()], "\n".join(said)


@pytest.mark.parametrize(
    "words", [f"show {RECIPE}", "--help", "data --help", f"show {RECIPE} 2>&1"]
)
def test_a_pipe_closed_early_ends_quietly(words: str) -> None:
    statuses, said = piped(f"$PYTHON -m experiments {words} | true")
    assert said == "" and statuses[0] == 141


def test_an_error_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    statuses, said = piped(f"$PYTHON -m experiments verify {tmp_path} 2>&1 | true")
    assert said == "" and statuses[0] in (2, 141)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("--version")
    assert capsys.readouterr().out.startswith("softgamma 0.")


@pytest.mark.parametrize(
    ("line", "known"),
    [("tra", "train "), ("data gl", "glyphs "), ("report --gal", "--gallery ")],
)
def test_the_shell_completes_verbs_and_options(line: str, known: str, tmp_path: Path) -> None:
    line, told = f"python -m experiments {line}", tmp_path / "completions"
    asked = {"_ARGCOMPLETE": "3", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    asked["_ARGCOMPLETE_STDOUT_FILENAME"] = str(told)
    command = [sys.executable, "-m", "experiments"]
    subprocess.run(command, cwd=CHECKOUT, env=os.environ | asked, check=True, timeout=60)
    assert told.read_text() == known


def test_the_demo_draws_checks_and_runs_its_sweep_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials are forked from what was imported while the data set was drawn."""
    told: list[object] = []

    def write(root: Path, **_: object) -> None:
        told.append(root)

    def study(sweep: Sweep, out: Path, how: Running) -> int:
        assert how.lent is not None and how.checked is not None
        told.extend((sweep.size(), len(how.checked.places), out, how.lent.slots))
        return 0

    monkeypatch.chdir(tmp_path)
    refused("sweep.yaml: not in this folder; start 'demo' in", "demo")
    (tmp_path / "sweep.yaml").write_text((CHECKOUT / "sweep.yaml").read_text())
    (tmp_path / "configs").symlink_to(CHECKOUT / "configs")
    monkeypatch.setattr("datasets.glyphs.write.write_glyphs", write)
    monkeypatch.setattr("experiments.verbs.reproduce.run_study", study)
    assert call("demo", "--jobs", "3", "--out", "runs/mine") == 0
    assert told == [Path("data/glyphs"), 18, 18, Path("runs/mine"), 3]
