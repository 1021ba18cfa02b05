"""What is edited between sittings holds from then on; names and hints can be followed anywhere."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from experiments.errors import UsageError
from experiments.sweep.actions import kept_sweep
from experiments.sweep.ledger import Ledger, read_events
from experiments.sweep.state import fold, open_state
from experiments.sweep.sweep_file import read_sweep

TWO = "loss.gamma: {values: [1, 2]}"


def sweep(*words: object) -> int:
    return main(["sweep", *map(str, words)])


def statuses(out: Path) -> list[tuple[str, float | None]]:
    return [(trial.status, trial.metric) for trial in fold(read_events(out)).trials.values()]


def test_another_metric_is_read_from_the_records_that_there_are(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.write(TWO)
    assert sweep(bench.file, "--out", bench.out) == 0
    bench.file.write_text(bench.file.read_text().replace("voc07_map", "val_voc07_map"))
    for record in bench.out.glob("trials/*/record.json"):
        values = json.loads(record.read_text())
        values["val_metrics"] = {"voc07_map": values["metrics"]["voc07_map"] + 1}
        record.write_text(json.dumps(values))
    assert sweep(bench.file, "--out", bench.out) == 0
    assert statuses(bench.out) == [("finished", 11.0), ("finished", 21.0)]
    assert "its metric was voc07_map: 2 trials are read again" in capsys.readouterr().err
    bench.file.write_text(bench.file.read_text().replace("maximize", "minimize"))
    assert sweep(bench.file, "--out", bench.out) == 0
    assert (fold(read_events(bench.out)).opened or {})["goal"] == "minimize"
    assert (bench.out / "sweep.yaml").read_text() == bench.file.read_text()


def test_a_folder_goes_on_by_the_last_file_under_its_first_name_wherever_it_is(bench: Any) -> None:
    bench.write("loss.gamma: {min: 1.0, max: 2.0}", "method: random\nrun_cap: 1")
    named = bench.file.rename(bench.root / "my grid.yaml")
    assert sweep(named, "--out", bench.out) == 0
    named.write_text(named.read_text().replace("run_cap: 1", "run_cap: 3"))
    assert sweep(named, "--out", bench.out, "--limit", "1") == 0
    moved = Path(shutil.move(bench.out, bench.root / "moved here"))
    assert sweep(moved) == 0
    assert [status for status, _ in statuses(moved)] == ["finished"] * 3
    assert kept_sweep(moved).name == "my-grid"


def test_a_file_in_utf_16_is_kept_as_it_is_read(bench: Any) -> None:
    bench.write(TWO)
    text = bench.file.read_text()
    bench.file.write_text(text, encoding="utf-16")
    assert sweep(bench.file, "--out", bench.out) == 0
    assert (bench.out / "sweep.yaml").read_text() == text


def test_a_hint_can_be_followed_where_a_folder_has_spaces(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.write("crash: {values: [always]}")
    out = bench.root / "a b"
    assert sweep(bench.file, "--out", out, "--retries", 0) == 1
    hint = capsys.readouterr().err.rpartition("python -m experiments ")[2]
    assert shlex.split(hint) == ["sweep", "retry", str(out)]


def test_a_folder_is_told_without_the_variables_and_keys_of_where_it_ran(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERE_ALONE", "1")
    path = bench.write(TWO)
    path.write_text(
        path.read_text().replace("command: [", "command: [env, 'A=${envvar:HERE_ALONE}', ")
    )
    assert sweep(path, "--out", bench.out) == 0
    monkeypatch.delenv("HERE_ALONE")
    capsys.readouterr()
    assert sweep("status", bench.out) == 0
    told = capsys.readouterr()
    assert "2 finished" in told.out and "no variable HERE_ALONE" in told.err


def test_what_cannot_start_is_refused_once_and_warned_of_by_a_dry_run(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench.write(TWO)
    path.write_text(path.read_text().replace("${interpreter}", "no-such-launcher"))
    assert sweep(path, "--dry-run") == 0
    assert "'no-such-launcher': there is no such program" in capsys.readouterr().err
    assert sweep(path, "--out", bench.out) == 2
    assert not bench.out.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("status", "sweep status: give the sweep's file or its folder, too"),
        ("FILE --agents 2", "--agents goes with --backend wandb"),
        ("FILE --backend wandb --jobs 2", "--jobs is of sweeps run here"),
        ("FILE --backend wandb --out x", "--out is of sweeps run here"),
        ("extend FILE --backend wandb", "extends no sweep"),
        ("retry FILE", "sweep retry takes a sweep's folder, its --out or runs/NAME"),
        ("status FILE --out a", "python -m experiments sweep status a"),
        ("retry nowhere --dry-run", "--dry-run goes with a sweep's file"),
        ("stop nowhere --dry-run", "--dry-run goes with a sweep's file"),
        ("retry nowhere --out x", "leave --out out"),
        ("FILE --trial-gpus 1", "--trial-gpus goes with --executor ray"),
        ("retry nowhere --carry X", "--carry goes with --executor ray"),
        ("FILE --json", "--json is not read by 'sweep run'"),
        ("FILE --no-probe", "--no-probe is not read by 'sweep run'"),
        ("status nowhere --jobs 2", "--jobs is not read by 'sweep status'"),
        ("pull a/b/c --retries 3", "--retries is not read by 'sweep pull'"),
        ("FILE --backend wandb --grace 5", "--grace is not read by 'sweep run'"),
        ("FILE --grace -5", "argument --grace: expected a number from 0 on"),
    ],
)
def test_words_that_nothing_reads_are_refused(
    words: str, told: str, bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench.write(TWO)
    assert sweep(*(path if word == "FILE" else word for word in words.split())) == 2
    assert told in capsys.readouterr().err


def test_a_dry_run_creates_no_sweep_on_a_server(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def created(*_: object) -> int:
        raise AssertionError("a sweep was created")

    monkeypatch.setattr("experiments.sweep.wandb.create_and_run", created)
    for words in (("--dry-run",), ("--dry-run", "--agents", "2")):
        assert sweep(bench.write(TWO), "--backend", "wandb", *words) == 0
    assert "2 points" in capsys.readouterr().out
    assert sweep("plan", bench.write(TWO), "--backend", "wandb", "--no-probe") == 0


def test_variables_of_one_run_are_no_trial_s(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    path = bench.write(TWO)
    path.write_text(
        path.read_text()
        .replace("${interpreter}", "sh")
        .replace(f"-S, -E, {bench.root}/trial.py", "-c, 'printenv WANDB_RUN_ID; exit 3', x")
    )
    assert sweep(path, "--out", bench.out, "--retries", 0) == 1
    assert "WANDB_RUN_ID is left aside" in capsys.readouterr().err
    logs = [log.read_text() for log in bench.out.glob("trials/*/trial.log")]
    assert len(logs) == 2 and not any("abc123" in log for log in logs)


def test_an_extended_search_learns_from_what_its_space_holds(bench: Any) -> None:
    """A grid becomes a search, whose space then gets a name: no trial is taken for another."""
    pytest.importorskip("optuna")
    bench.write(TWO)
    assert sweep(bench.file, "--out", bench.out) == 0
    for knobs, cap in ((TWO, 3), ("loss.gamma: {min: 1.0, max: 2.0}", 14)):
        more = "" if cap == 3 else "\nsteps: {values: [1, 2]}"
        bench.write(knobs + more, f"method: bayes\nrun_cap: {cap}")
        assert sweep("extend", bench.file, "--out", bench.out) == 0
    found = fold(read_events(bench.out)).trials.values()
    assert [trial.parameters.keys() >= {"steps"} for trial in found] == [False] * 2 + [True] * 12
    assert {trial.status for trial in found} == {"finished"}


def test_a_file_that_is_there_is_no_place_for_a_sweep_s_own(
    bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.write(TWO)
    bench.out.mkdir()
    (bench.out / "sweep.yaml").write_text("name: mine\n")
    assert sweep(bench.file, "--out", bench.out) == 2
    assert "is of no sweep that ran here, and would be lost" in capsys.readouterr().err
    assert (bench.out / "sweep.yaml").read_text() == "name: mine\n"


def test_a_recipe_that_is_edited_on_the_way_is_refused(tmp_path: Path) -> None:
    """Else one arm's trials would be of two configurations."""
    (tmp_path / "base.yaml").write_text("optimizer: {lr: 0.001}\n")
    (tmp_path / "recipe.yaml").write_text("_base_: base.yaml\nseed: 1\n")
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"method: grid\nparameters: {{config: {{values: [{tmp_path}/recipe.yaml]}}}}\n"
        "command: [python, -m, experiments, train, '${args}']\n"
    )
    out = tmp_path / "out"

    def opened(*, extend: bool = False) -> list[str]:
        said: list[str] = []
        with Ledger(out) as ledger:
            open_state(ledger, read_sweep(path), out, extend=extend, say=said.append)
        return said

    opened()
    (tmp_path / "recipe.yaml").write_text("# a comment\n_base_: base.yaml\nseed: 1\n")
    assert opened() == []
    (tmp_path / "base.yaml").write_text("optimizer: {lr: 0.005}\n")
    with pytest.raises(UsageError, match=r"base.yaml has changed since this sweep began"):
        opened()
    assert opened(extend=True) == [
        f"{tmp_path}/base.yaml: has changed since; what has not begun runs by it as it is now"
    ]
    assert opened() == []
