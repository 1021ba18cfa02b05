"""curves.jsonl: written a line an iteration, read as a sample, followed while it grows."""

import dataclasses
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.record.curves import CURVES_FILE, MOST_POINTS, CurveWriter, read_curves
from experiments.record.follow import MOST_LOSSES, Progress
from experiments.record.lines import BLOCK_BYTES, Appender, Tail
from experiments.record.parts import ClassMetrics, Metrics, Point
from experiments.record.replay import Replay


def metrics(voc07: float | None = 71.5) -> Metrics:
    one = ClassMetrics(voc07, 72.0, 40.0, 70.0, objects=3, difficult=1, detections=9)
    return Metrics("test", voc07, 72.0, 40.0, 70.0, 41.0, None, 38.0, 44.0, {"cat": one})


def write(folder: Path, iterations: range) -> Path:
    with CurveWriter(folder) as writer:
        for iteration in iterations:
            writer.point({"iteration": iteration, "loss": 1 / iteration})
    return folder / CURVES_FILE


def iterations(points: tuple[Point, ...]) -> list[Any]:
    return [point["iteration"] for point in points]


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_log_cut_at_any_byte_of_its_last_line_reads_and_goes_on(tmp_path: Path, cut: int) -> None:
    with CurveWriter(tmp_path) as writer:
        writer.point({"iteration": 1, "loss": 1.0})
        writer.point({"iteration": 2, "loss": 0.5})
    path = tmp_path / "curves.jsonl"
    whole = path.read_bytes()
    assert len(whole.splitlines()[1]) == 26
    path.write_bytes(whole[:-cut])
    kept = 2 if cut == 1 else 1  # without its line end the object is still whole
    found = read_curves(path)
    assert len(found.points) == kept and not found.file.damaged
    with CurveWriter(tmp_path) as writer:
        writer.point({"iteration": 3, "loss": 0.25})
    found = read_curves(path)
    assert iterations(found.points) == [*range(1, kept + 1), 3] and not found.file.damaged


def test_a_first_line_cut_off_is_taken_off(tmp_path: Path) -> None:
    (tmp_path / "curves.jsonl").write_text('{"iterat')
    with CurveWriter(tmp_path) as writer:
        writer.point({"iteration": 1})
    assert read_curves(tmp_path / "curves.jsonl").points == ({"iteration": 1},)


def test_a_resumed_run_replaces_what_it_trained_again(tmp_path: Path) -> None:
    with CurveWriter(tmp_path) as writer:
        for iteration in (10, 20, 30):
            writer.point({"iteration": iteration, "loss": 1.0})
            writer.validation(iteration, metrics(1.0))
    with CurveWriter(tmp_path) as writer:  # resumed from a checkpoint of iteration 10
        writer.point({"iteration": 20, "loss": 2.0})
        writer.validation(20, metrics(2.0))
    points, validations, file = read_curves(tmp_path / "curves.jsonl")
    assert [(point["iteration"], point["loss"]) for point in points] == [(10, 1.0), (20, 2.0)]
    assert [entry.metrics.voc07_map for entry in validations] == [1.0, 2.0]
    assert file.rows == 4


@pytest.mark.parametrize(
    "line", ['{"iteration": ', '{"loss": 1.0}', "[]", '{"iteration": 2, "metrics": {}}', "\x00" * 9]
)
def test_a_damaged_line_is_named_with_its_number_and_the_others_are_read(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text('{"iteration": 1}\n' + line + '\n\n{"iteration": 3}\n')
    found = read_curves(path)
    assert iterations(found.points) == [1, 3]
    assert len(found.file.damaged) == 1 and "curves.jsonl:2: no row" in found.file.damaged[0]


@pytest.mark.parametrize("blank", ["", "  "])
def test_empty_lines_shift_nothing(tmp_path: Path, blank: str) -> None:
    rows = [json.dumps({"iteration": n, "loss": n / 2}) for n in range(1, 5001)]
    rows[3000:3000] = [blank, "broken"]
    path = tmp_path / "curves.jsonl"
    path.write_text("\n".join(rows) + "\n")
    found = read_curves(path)
    assert iterations(found.points) == [1, *range(4, 5001, 4)]
    assert all(point["loss"] == (point["iteration"] or 0) / 2 for point in found.points)
    assert found.file.rows == 5000 and "curves.jsonl:3002:" in found.file.damaged[0]


def test_of_many_damaged_lines_the_first_are_named_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text("broken\n" * 30 + '{"iteration": 1}\n')
    *_, last = read_curves(path).file.damaged
    assert last == "25 more such lines"


def test_a_point_without_iteration_is_refused(tmp_path: Path) -> None:
    with CurveWriter(tmp_path) as writer, pytest.raises(ValueError, match="iteration"):
        writer.point({"loss": 1.0})


def test_what_json_cannot_hold_is_written_as_null(tmp_path: Path) -> None:
    with CurveWriter(tmp_path) as writer:
        writer.point({"iteration": 1, "loss": math.nan, "lr": -math.inf})
        writer.validation(1, dataclasses.asdict(metrics(math.nan)))
    points, (validation,), _ = read_curves(tmp_path / "curves.jsonl")
    assert points == ({"iteration": 1, "loss": None, "lr": None},)
    assert validation.metrics.voc07_map is None


def test_a_short_run_keeps_every_row(tmp_path: Path) -> None:
    found = read_curves(write(tmp_path, range(1, MOST_POINTS + 1)))
    assert iterations(found.points) == [*range(1, MOST_POINTS + 1)]
    assert (found.file.rows, found.file.every) == (MOST_POINTS, 1)


@settings(max_examples=30, deadline=None)
@given(
    last=st.integers(1, 9000),
    back=st.integers(0, 9000),
    most=st.integers(8, 600),
)
def test_the_sample_is_every_kth_row_with_the_first_and_the_last(
    tmp_path_factory: pytest.TempPathFactory, last: int, back: int, most: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    write(folder, range(1, last + 1))
    path = write(folder, range(max(1, last - back), last + 1))  # as a resumed run does
    found = read_curves(path, most)
    every = found.file.every
    assert every & (every - 1) == 0 and last // every <= most
    assert every == 1 or last // (every // 2) > most
    assert iterations(found.points) == sorted({1, *range(every, last + 1, every), last})
    assert all(point["loss"] == 1 / (point["iteration"] or 0) for point in found.points)


def test_a_long_file_is_read_in_little_memory(tmp_path: Path) -> None:
    row = json.dumps({"iteration": 7} | {f"term{n}": n / 7 for n in range(10)})
    path = tmp_path / "curves.jsonl"
    with path.open("w") as file:
        for iteration in range(1, 60_001):
            file.write(row.replace("7,", f"{iteration},", 1) + "\n")
    tracemalloc.start()
    found = read_curves(path, 500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.file.rows == 60_000 and 250 <= len(found.points) <= 502
    assert path.stat().st_size > 12e6 and peak < 5e6


def test_lines_longer_than_a_block_are_read_whole(tmp_path: Path) -> None:
    log = Appender(tmp_path / "deep" / "log.jsonl")
    long = "x" * (3 * BLOCK_BYTES)
    for values in ({"a": 1}, {"b": long}, {"c": "line\nend"}):
        log.append(values)
    log.close()
    log.close()
    tail = Tail(tmp_path / "deep" / "log.jsonl")
    lines = [line for block in tail.blocks() for line in block.splitlines()]
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"b": long}, {"c": "line\nend"}]
    assert not list(tail.blocks())


def test_a_followed_run_that_goes_back_says_its_metric_once(tmp_path: Path) -> None:
    progress = Progress(tmp_path, "voc07_map")
    assert not progress.update()
    with CurveWriter(tmp_path) as writer:
        for iteration in (10, 20):
            writer.point({"iteration": iteration, "loss": 3.0, "progress": iteration / 100})
            writer.validation(iteration, metrics(float(iteration)))
        assert progress.update() and progress.history == [10.0, 20.0]
        writer.point({"iteration": 11, "loss": 2.0, "images_per_second": 9.0})
        assert progress.update() and not progress.update()
    assert progress.history == [10.0] and progress.losses == [3.0, 2.0]
    assert (progress.iteration, progress.loss, progress.speed) == (11, 2.0, 9.0)


def test_a_metric_that_every_row_has_is_followed_row_by_row(tmp_path: Path) -> None:
    write(tmp_path, range(1, 300))
    progress = Progress(tmp_path, "loss")
    assert progress.update()
    assert len(progress.history) == 299 and len(progress.losses) <= MOST_LOSSES


def test_every_row_is_replayed_once_as_it_was_trained_last(tmp_path: Path) -> None:
    last = MOST_POINTS + 500
    write(tmp_path, range(1, last + 1))
    for back, loss in ((2000, 5.0), (1500, 6.0), (2400, 7.0)):  # stopped and resumed three times
        with CurveWriter(tmp_path) as writer:
            for iteration in range(back, last + 1):
                writer.point({"iteration": iteration, "loss": loss})
            writer.validation(last, metrics(loss))
    replay = Replay(tmp_path)
    write(tmp_path, range(last + 1, last + 9))  # what this sitting adds is its own
    rows = list(replay.after(1000))
    points = [(at, row["loss"]) for at, row in rows if "metrics" not in row]
    assert [at for at, _ in points] == [*range(1001, last + 1)] and replay.last == last
    assert [loss for at, loss in points if at in (1499, 1500, 2399, 2400)] == [1 / 1499, 6, 6, 7]
    assert [row["metrics"]["voc07_map"] for _, row in rows if "metrics" in row] == [7.0]


def test_a_run_without_curves_has_nothing_to_replay(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    assert replay.last == 0 and not list(replay.after(0))
