"""What trials cost: taken from the runs that tell most, scaled by what differs, else timed now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.located import dotted
from experiments.record import origin
from experiments.sweep.cost import Cost, Known, Pace, Paces, Trials, cost_of, makespan, told
from experiments.sweep.paces import Machine, machine_here, runs_on_record
from tests.calling import call

CHECKOUT = Path(__file__).parents[3]
HERE = machine_here()


def config(detector: str = "yolov2", side: int = 100, **train: Any) -> dict[str, Any]:
    return {
        "data": {"name": "voc", "root": "data/glyphs"},
        "detector": {"name": detector},
        "input": {"fit": {"mode": "stretch", "height": side, "width": side}, "sizes": []},
        "loss": {"name": "focal", "gamma": 2.0},
        "train": {"iterations": 100, "batch_size": 8, "accumulate": 1} | train,
        "seed": 0,
    }


def write_record(folder: Path, step: float, **changes: Any) -> None:
    """A run of 50 iterations that took `step` seconds each, 4 s to measure and 2 s of start."""
    folder.mkdir(parents=True)
    train = 50 * step
    record = {
        "status": "finished",
        "config": config(),
        "seconds": {"train": train, "evaluate": 4.0, "total": train + 6.0},
        "curves": [{"iteration": 50}],
        "hardware": {"cpu": HERE.cpu, "cores": HERE.cores, "gpus": list(HERE.gpus)},
    }
    (folder / "record.json").write_text(json.dumps(record | changes))


def pace(folder: Path, wanted: Mapping[str, Any], jobs: int = 1, **known: Any) -> Pace | None:
    given = {"machine": HERE} | known
    known = Known(runs_on_record([folder, folder / "nowhere"]), jobs=jobs, **given)
    return known.paces(wanted).computing


def test_runs_of_this_machine_are_believed_and_their_spread_is_told(tmp_path: Path) -> None:
    for place, seconds in enumerate((0.4, 0.5, 1.0)):
        write_record(tmp_path / str(place), seconds)
    write_record(tmp_path / "failed", 9.0, status="failed")
    write_record(tmp_path / "other", 9.0, hardware={"cpu": "another", "cores": 2, "gpus": []})
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/record.json").write_text('{"status": ')
    found = pace(tmp_path, config(), timed=lambda *_: pytest.fail("nothing has to be timed"))
    assert found is not None
    assert (found.iteration, found.rest) == (pytest.approx(0.5), pytest.approx(6.0))
    assert found.source == "3 runs on record" and found.sure == "they spread by 150%"
    assert found.seconds(config()) == pytest.approx(100 * 0.5 + 6)


def test_a_key_of_a_later_version_makes_no_other_kind(tmp_path: Path) -> None:
    write_record(tmp_path / "old", 0.5)
    found = pace(tmp_path, config(new_key_of_train=1))
    assert found is not None and found.sure == "one run tells no spread"


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        (config(batch_size=16), 2),
        (config(accumulate=3), 3),
        (config(side=200), 4),
        (config() | {"input": {"sizes": [100, 200]}}, 2.5),
        (config() | {"input": {"fit": {"mode": "inside", "short": 150, "long": 300}}}, 3),
    ],
)
def test_another_size_is_scaled_where_nothing_can_be_timed(
    wanted: dict[str, Any], times: float, tmp_path: Path
) -> None:
    write_record(tmp_path / "a", 0.5)
    found = pace(tmp_path, wanted, timed=lambda *_: None)
    assert found is not None
    assert found.iteration == pytest.approx(0.5 * times) and found.sure.startswith("rough")


def test_five_steps_are_timed_rather_than_another_size_scaled(tmp_path: Path) -> None:
    write_record(tmp_path / "a", 0.5)
    timed = Pace(0.1, 0.0, 3.0, "timed now", "likely")
    asked = []

    def probe(wanted: Mapping[str, Any], jobs: int) -> Paces:
        asked.append(jobs)
        return Paces(timed)

    found = pace(tmp_path, config(side=200), 3, timed=probe)
    assert found is not None and found._replace(gigabytes=None) == timed
    assert asked == [3]


def test_trials_at_a_time_share_the_machine(tmp_path: Path) -> None:
    """Runs side by side on record are known by their times; alone, each would have been faster."""
    for name, began, ended in (("a", "00:00", "02:00"), ("b", "00:02", "01:58")):
        times = {
            "started": f"2026-01-01T00:{began}+00:00",
            "finished": f"2026-01-01T00:{ended}+00:00",
        }
        write_record(tmp_path / name, 0.5, **times)
    found = [pace(tmp_path, config(), jobs) for jobs in (1, 2, 4)]
    if len(HERE.gpus) > 1:
        pytest.skip("each trial has a GPU of its own here")
    assert [each and each.iteration for each in found] == [pytest.approx(x) for x in (0.25, 0.5, 1)]
    assert found[1] is not None and "rough" not in found[1].sure
    assert found[0] is not None and "made 2 at a time" in found[0].sure


def test_another_machine_is_scaled_by_its_matrix_product(tmp_path: Path) -> None:
    hardware = {"cpu": "another", "cores": 64, "gpus": [], "gflops": 400.0}
    write_record(tmp_path / "a", 0.5, hardware=hardware)
    here = Machine("mine", 2, (), 100.0)
    found = pace(tmp_path, config(), machine=here)
    assert found is not None and found.iteration == pytest.approx(2.0)
    assert "another machine" in found.sure
    two = pace(tmp_path, config(), 2, machine=here)
    assert two is not None and two.iteration == pytest.approx(4.0)
    unmeasured = pace(tmp_path, config(), machine=Machine("mine", 2))
    assert unmeasured is not None and unmeasured.sure.startswith("a guess")
    gpu = Machine("mine", 2, ("A GPU",))
    assert pace(tmp_path, config(), machine=gpu) is None  # nothing tells what a GPU makes of it


def test_another_detector_is_scaled_by_its_operations(tmp_path: Path) -> None:
    write_record(tmp_path / "a", 0.5)
    counts = {"yolov2": 10.0, "retinanet": 30.0}

    def operations(wanted: Mapping[str, Any]) -> float:
        return counts[wanted["detector"]["name"]]

    found = pace(tmp_path, config("retinanet", batch_size=16), operations=operations)
    assert found is not None and found.iteration == pytest.approx(3.0)
    assert found.sure.startswith("a guess")
    assert pace(tmp_path, config("retinanet")) is None
    assert pace(tmp_path, config("retinanet"), operations=lambda _: None) is None


def test_validations_cost_what_they_cost_in_the_run(tmp_path: Path) -> None:
    seconds = {"train": 25.0, "evaluate": 4.0, "total": 49.0}
    write_record(tmp_path / "a", 0.5, seconds=seconds, validations=[{}] * 5)
    found = pace(tmp_path, config())
    assert found is not None
    assert found.seconds(config(iterations=50, validate_every=10)) == pytest.approx(49.0)
    assert found.seconds(config(iterations=50)) == pytest.approx(29.0)


def test_cost_by_hand(tmp_path: Path) -> None:
    write_record(tmp_path / "a", 0.5)
    known = Known(runs_on_record([tmp_path]), HERE, 1)
    trials = [Trials(config(), 2), Trials(config(iterations=10), 1)]
    cost = cost_of(trials, known)
    assert cost.seconds == cost.wall_seconds == pytest.approx(2 * 56 + 11)
    assert [(kind.trials, kind.iterations) for kind in cost.kinds] == [(3, 210)]
    lines = told(cost, 1)
    assert "1 run on record; one run tells no spread" in lines[0]
    assert lines[1] == "time: about 2 min of trials" and lines[2].startswith("disk: 0.00 GB")
    other = cost_of([*trials, Trials(config("retinanet"), 1)], known)
    assert (other.seconds, other.gigabytes) == (None, None)
    assert told(other, 1)[-1].startswith("time: unknown")
    assert cost_of([], known) == Cost((), None, None, None)


FROZEN = {"name": "timm", "arch": "lite", "frozen_stages": 5}


def taped(**train: Any) -> dict[str, Any]:
    """A configuration whose trials share tapes."""
    detector = {"name": "yolov2", "backbone": FROZEN}
    return config(tape="sweeps", seconds=None, **train) | {"detector": detector}


def write_taped(folder: Path, step: float, replayed: int, written: int) -> None:
    played = {"train": {"replayed": replayed, "written": written, "computed": 0, "damaged": 0}}
    measure = 1.0 if replayed else 4.0  # who writes a tape of val computes it
    seconds = {"train": 50 * step, "evaluate": measure, "total": 50 * step + measure + 2}
    write_record(folder, step, config=taped(), seconds=seconds, tape={"played": played})


def test_who_writes_a_tape_and_who_replays_it_are_counted_apart(tmp_path: Path) -> None:
    for n in range(2):
        write_taped(tmp_path / f"write{n}", 0.5, 0, 50)
        write_taped(tmp_path / f"read{n}", 0.1, 50, 0)
    write_taped(tmp_path / "both", 0.3, 25, 25)  # tells neither
    known = Known(runs_on_record([tmp_path]), HERE, map_bytes=lambda _: 1e6)
    cost = cost_of([Trials(taped(), 12, 3)], known)
    if HERE.gpus:
        pytest.skip("a GPU plays no tapes")
    assert [(kind.trials, kind.pace and kind.pace.iteration) for kind in cost.kinds] == [
        (3, pytest.approx(0.5)),
        (9, pytest.approx(0.1)),
    ]
    assert cost.seconds == pytest.approx(3 * 53 + 9 * 13)  # val's tape is written by one alone
    assert cost.taped == pytest.approx(3 * 100 * 8 * 1e6 / 1e9)
    lines = told(cost, 1)
    assert "writing a tape" in lines[0] and "replaying it" in lines[1]
    assert "2.40 GB of tapes" in lines[-1]
    half = cost_of([Trials(taped(), 12, 3)], known, share=0.5)  # a tryout leaves no tape out
    assert [kind.trials for kind in half.kinds] == [3, 3] and half.taped == cost.taped
    in_turn = cost_of([Trials(taped(), 12, 3)], known, turns=3)
    assert in_turn.taped is not None and cost.taped is not None
    assert in_turn.taped == pytest.approx(cost.taped * 2 / 3)


def test_a_bound_on_tapes_costs_time_and_is_said(tmp_path: Path) -> None:
    write_taped(tmp_path / "write", 0.5, 0, 50)
    write_taped(tmp_path / "read", 0.1, 50, 0)
    runs = runs_on_record([tmp_path])
    machine = HERE._replace(gpus=())
    for bound, step in ((0.6e9, 0.2), (0.0, None)):
        known = Known(runs, machine, map_bytes=lambda _: 1e6, tape_bound=bound)
        cost = cost_of([Trials(taped(), 4, 1)], known)
        if machine != HERE:
            pytest.skip("the records are of a machine with a GPU")
        found = [kind.pace and kind.pace.iteration for kind in cost.kinds]
        assert found == [pytest.approx(0.5), *([] if step is None else [pytest.approx(step)])]
        assert ("75% fit their bound" in told(cost, 1)[-1]) == (step is not None)


def test_where_no_run_replayed_one_is_timed_and_scaled_or_the_time_is_at_most(
    tmp_path: Path,
) -> None:
    write_taped(tmp_path / "write", 0.5, 0, 50)
    runs = runs_on_record([tmp_path])
    here = HERE._replace(gpus=())
    trials = [Trials(taped(), 4, 1)]
    if here != HERE:
        pytest.skip("the records are of a machine with a GPU")
    most = cost_of(trials, Known(runs, here))
    assert most.seconds == pytest.approx(4 * 56) and told(most, 1)[-2].startswith("time: at most")
    quick = Pace(0.25, 0.0, 3.0, "timed now", "likely")
    timed = Paces(quick, quick._replace(iteration=0.05))
    known = Known(runs, here, timed=lambda *_: timed)
    found = known.paces(taped(), tapes=True)
    assert found.computing is not None and found.computing.iteration == pytest.approx(0.5)
    assert found.replaying is not None and found.replaying.iteration == pytest.approx(0.1)


def test_the_demo_s_own_records_tell_its_time_within_a_quarter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole sweep, as its trials' times on record say it took, two at a time."""
    from datetime import datetime

    from experiments.record.follow import read_record
    from experiments.record.record import find_records
    from experiments.sweep.checking import Checker
    from experiments.sweep.sweep_file import read_sweep

    monkeypatch.chdir(CHECKOUT)
    records = [read_record(run) or {} for run in find_records(Path("results/demo"))]
    times = [[datetime.fromisoformat(r[key]) for r in records] for key in ("started", "finished")]
    took = (max(times[1]) - min(times[0])).total_seconds()
    runs = runs_on_record([Path("results/demo")])
    with Checker(read_sweep(Path("sweep.yaml"))) as checker:
        checker.check()
    assert [(each.number, each.tapes) for each in checker.trials] == [(9, 3), (9, 3)]
    cost = cost_of(checker.trials, Known(runs, runs[0][0].machine, 2))
    assert cost.wall_seconds == pytest.approx(took, rel=0.25)


def test_what_a_tape_takes_is_counted_without_data(small_glyphs: Path) -> None:
    from experiments.config.run import load_config, plain_config
    from experiments.config.upstream import shares_tapes
    from experiments.engine.arithmetic import choose
    from experiments.engine.frames import encoded
    from experiments.engine.playing import beginning
    from experiments.probes.cost import map_bytes
    from experiments.run.assembly import batches_from, build_detector, open_splits

    for name in ("yolov2", "retinanet"):
        words = [f"data.root={small_glyphs}", "train.batch_size=2"]
        config = load_config(CHECKOUT / f"configs/glyphs/{name}_focal.yaml", words)
        plain = plain_config(config)
        assert shares_tapes(dotted(plain))
        train = open_splits(config).train
        detector = build_detector(config, train.classes)
        arithmetic = choose(config.train, detector, torch.device("cpu"))
        batch = next(iter(batches_from(config, train, detector, 0)))
        frame = beginning(detector.eval(), arithmetic)(batch)
        height, width = frame.input_hw
        one = len(encoded(frame, "key", 0)) / 2
        seen = {
            "input": plain["input"] | {"fit": {"mode": "stretch", "height": height, "width": width}}
        }
        assert map_bytes(plain | seen) == pytest.approx(one, rel=0.05)


def test_who_can_share_a_tape_is_told_by_the_recipe() -> None:
    from experiments.config.run import load_config, plain_config
    from experiments.config.upstream import shares_tapes
    from experiments.run.assembly import build_detector, without_weights

    told: dict[str, bool] = {}
    paths = sorted((CHECKOUT / "configs").rglob("*_*.yaml"))
    for path in (path for path in paths if path.parent.name != "studies"):
        config = load_config(path)
        plain = plain_config(config)
        backbone = json.dumps([plain["detector"]["name"], plain["detector"]["backbone"]])
        if backbone not in told:
            detector = build_detector(without_weights(config), tuple("abc"))
            told[backbone] = bool(detector.backbone.fixed())
        assert shares_tapes(dotted(plain)) == told[backbone], path


def test_workers_take_the_next_trial_when_free() -> None:
    assert makespan([4.0, 1.0, 1.0, 1.0], 2) == 4.0
    assert makespan([1.0, 1.0, 1.0, 4.0], 2) == 5.0
    assert makespan([3.0], 5) == 3.0


def test_records_of_results_are_read_with_who_ran_beside_them() -> None:
    """The demo was run two trials at a time; its records say so by their times."""
    groups = runs_on_record([CHECKOUT / "results/demo"])
    assert groups
    assert {run.beside for runs in groups for run in runs} <= {1, 2}
    assert all(run.iteration > 0 and run.start >= 0 for runs in groups for run in runs)


def test_a_training_s_operations_leave_out_what_is_frozen() -> None:
    from experiments.config.run import load_config, plain_config
    from experiments.probes.cost import count_costs, training_operations

    recipe = CHECKOUT / "configs/glyphs/yolov2_focal.yaml"
    frozen = load_config(recipe)
    forward = count_costs(frozen, 20).operations
    found = training_operations(plain_config(frozen))
    plain = plain_config(frozen)
    plain["detector"]["backbone"]["frozen_stages"] = 0
    whole = training_operations(plain)
    assert forward < found < whole == pytest.approx(3 * forward, rel=0.05)


def test_a_pace_is_timed_on_the_recipe_s_own_images(small_glyphs: Path) -> None:
    from experiments.config.run import load_config, plain_config
    from experiments.probes.pace import Timed, probe_pace

    words = [f"data.root={small_glyphs}", "input.fit={mode: stretch, height: 64, width: 64}"]
    words += ["train.batch_size=2", "evaluate.batch_size=2"]
    config = load_config(CHECKOUT / "configs/glyphs/yolov2_focal.yaml", words)
    values = plain_config(config)
    found = probe_pace(values)
    assert found.iteration > 0 and found.rest > 0 and found.source.startswith("timed now, 5 steps")
    values["train"]["accumulate"] = 1000
    assert probe_pace(values).iteration > 10 * found.iteration
    assert isinstance(found, Timed)


@pytest.mark.slow
def test_trials_at_a_time_are_timed_at_a_time(small_glyphs: Path) -> None:
    from experiments.config.run import load_config, plain_config
    from experiments.probes.pace import probe_pace

    words = [f"data.root={small_glyphs}", "input.fit={mode: stretch, height: 64, width: 64}"]
    config = load_config(CHECKOUT / "configs/glyphs/yolov2_focal.yaml", words)
    found = probe_pace(plain_config(config), 2)
    cores = origin.core_count()
    assert found.source.endswith("2 at a time") == (cores > 1) and found.iteration > 0


@pytest.mark.slow
def test_plan_dry_run_and_reproduce_tell_one_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(CHECKOUT)
    words = ["sweep.yaml", "--no-probe", "--records", "results/demo", "--jobs", "2"]
    told = set()
    for verb in (["sweep", "plan"], ["sweep", "--dry-run"], ["reproduce", "--dry-run"]):
        assert call(*verb, *words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any("writing a tape" in line and "3 runs on record" in line for line in lines)
        assert any("replaying it" in line and "6 runs on record" in line for line in lines)
        told.add(next(line for line in lines if line.startswith("time: about")))
    assert len(told) == 1
