"""Several processes: the same training as one, one record, and an end when one of them is lost."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from datasets.sampling import Order
from experiments.config.run import load_config
from experiments.run.assembly import open_splits

# Darknet's batch norm would differ between ranks; RetinaNet's groups and a frozen backbone do not.
PROBE = """
import json, torch
from pathlib import Path
from experiments.run.assembly import batches_from, build_detector, fit_task, open_splits
from experiments.engine.arithmetic import choose, device_here
from experiments.config.run import load_config
from experiments.engine import distributed
from experiments.engine.fit import Fit
from experiments.run.loss_preparation import prepare_loss

config = load_config(Path({config!r}), {words!r})
folder = Path({out!r})
with distributed.joined(60.0, folder):
    splits = open_splits(config)
    detector = build_detector(config, splits.train.classes)
    for module in detector.modules():  # batch norm frozen: its statistics would be a rank's own
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True, module=module: module
    first = next(iter(batches_from(config, splits.train, detector, 0)))
    arithmetic = choose(config.train, detector, device_here())
    loss, facts = prepare_loss(config, splits.train, detector, arithmetic, first)
    gradients, rows, weights = [], [], []
    known = folder.parent / "one" / "weights.pt"
    path = torch.load(known) if distributed.world() > 1 else []

    def trained(optimizer):
        return [p for group in optimizer.param_groups for p in group["params"]]

    def remember(optimizer, *rest):
        gradients.append(torch.cat([p.grad.flatten() for p in trained(optimizer)]))

    @torch.no_grad()
    def follow(optimizer, *rest):  # rounding grows where a ReLU bends: each step starts level
        if path:
            for mine, theirs in zip(trained(optimizer), path[len(gradients) - 1], strict=True):
                mine.copy_(theirs)
        weights.append([p.detach().clone() for p in trained(optimizer)])

    fit = Fit(
        detector,
        lambda start: batches_from(config, splits.train, detector, start),
        folder,
        fit_task(config, splits.train.classes, loss, arithmetic),
        sinks=[rows.append],
        validate=lambda detector, iteration: dict(),
    )
    fit._optimizer.register_step_pre_hook(remember)
    fit._optimizer.register_step_post_hook(follow)
    fit.run()
    if distributed.is_first():
        told = dict(rows=rows, scale=facts.gradient_scale)
        (folder / "told.json").write_text(json.dumps(told))
        torch.save(weights, folder / "weights.pt")
        torch.save(torch.stack(gradients), folder / "gradients.pt")
"""
NORMALISERS = {
    "all_reduced": "{name: all_reduced}",
    "image": "{name: image}",
    "ema": "{name: ema, start: 20.0}",
    "fixed": "{name: fixed}",
    "fixed for the batch": "{name: fixed, value: 64.0, per: batch}",
}


def probe(small: Any, out: Path, count: int, *words: str) -> dict[str, Any]:
    out.mkdir()
    code = PROBE.format(config=str(small.config), words=list(words), out=str(out))
    small.run(code, out.with_name(f"log-{out.name}"), count)
    told: dict[str, Any] = json.loads((out / "told.json").read_text())
    return told | {"gradients": torch.load(out / "gradients.pt")}


def check_equal(runs: Any, tmp_path: Path, detector: str, normaliser: str, *words: str) -> None:
    words = (
        "train.iterations=20",
        "train.batch_size=4",
        "train.ema=null",
        "train.match_gradient=true",
        "optimizer={name: sgd, lr: 0.002}",
        f"detector.normaliser={NORMALISERS[normaliser]}",
        *words,
    )
    small = runs(detector)
    one, two = (probe(small, tmp_path / name, n, *words) for n, name in ((1, "one"), (2, "two")))
    assert two["scale"] == pytest.approx(one["scale"], rel=1e-5)
    assert len(one["rows"]) == len(two["rows"]) == 20
    for left, right in zip(one["rows"], two["rows"], strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-5)
        assert right["foreground"] == pytest.approx(left["foreground"])
    mine, theirs = one["gradients"], two["gradients"]
    apart = ((mine - theirs).norm(dim=1) / mine.norm(dim=1)).tolist()
    assert max(apart) < 1e-5, apart


def test_two_processes_train_as_one(runs, tmp_path: Path) -> None:
    """Loss and gradients over 20 iterations, the scale that match_gradient found, accumulation."""
    check_equal(runs, tmp_path, "retinanet", "all_reduced", "train.accumulate=2")


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_each_normaliser_keeps_its_promise(
    runs, tmp_path: Path, detector: str, normaliser: str
) -> None:
    check_equal(runs, tmp_path, detector, normaliser)


# Each rank has a clock of its own, and tells what was in force at each of its updates.
CLOCKS = """
import json, os, time
from pathlib import Path
from experiments.engine.hooks import ScheduleHook

rank, real, put = int(os.environ["RANK"]), time.perf_counter, ScheduleHook.before_train_iter
time.perf_counter = lambda: real() * (1 + 4 * rank)

def told(self, *arguments, **named):
    put(self, *arguments, **named)
    with open({folder!r} + f"/force-{{rank}}.jsonl", "a") as file:
        file.write(json.dumps(self.in_force) + "\\n")

ScheduleHook.before_train_iter = told
"""


def test_ranks_follow_the_first_ones_clock(runs, tmp_path: Path) -> None:
    words = ("train.iterations=100000", "train.seconds=3", "train.progress=time")
    small, out = runs(), tmp_path / "run"
    code = CLOCKS.format(folder=str(tmp_path)) + small.code(out, *words, "loss.gamma.ramp=[0,1]")
    small.run(code, tmp_path / "log", 2)
    first, second = (
        [json.loads(line) for line in (tmp_path / f"force-{rank}.jsonl").read_text().splitlines()]
        for rank in (0, 1)
    )
    assert first == second and len(first) > 3
    record = small.record(out)
    assert (record["status"], record["ended"]) == ("finished", "seconds")
    assert [row["gamma"] for row in record["curves"]] == [row["gamma"] for row in first]
    for before, row in zip(record["curves"], first[1:], strict=False):
        assert row["progress"] == pytest.approx(min(1.0, before["seconds"] / 3), abs=0.02)


def test_one_record_of_all_and_each_image_measured_once(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    for rank in small.together(out, "train.validate_every=5"):
        assert rank.wait() == 0, rank.told
    first, second = small.started
    assert "mAP (VOC07)" in first.told
    assert second.said + second.told == ""
    record = small.record(out)
    assert record["status"] == "finished"
    assert [row["iteration"] for row in record["curves"]] == list(range(1, 11))
    assert (record["ranks"], record["images_an_update"]) == (2, 2)
    assert "2 images an update, 2 processes" in first.told.splitlines()[0]
    assert small.rows(out) == 12  # ten rows, two validations, nothing twice
    assert [entry["iteration"] for entry in record["validations"]] == [5, 10]
    assert not list(out.glob(".rank*"))
    alone = tmp_path / "alone"
    measured = small.verb("eval", str(out), "--out", str(alone))
    assert measured.process.exitcode == 0, measured.told
    metrics = json.loads((alone / "metrics.json").read_text())
    for name in ("voc07_map", "coco_ap"):
        assert record["metrics"][name] == pytest.approx(metrics[name], abs=1e-6)
    both = [pd.read_parquet(folder / "detections.parquet") for folder in (out, alone)]
    assert both[0]["image_id"].tolist() == both[1]["image_id"].tolist()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_rank_ends_the_run_with_a_message(
    runs, tmp_path: Path, number: signal.Signals
) -> None:
    """One that is killed, and one that merely answers no more."""
    small, out = runs(), tmp_path / "run"
    first, second = small.together(out, "train.iterations=100000", "train.timeout=10")
    small.until(lambda: small.rows(out) > 8, first)
    second.send(number)
    assert first.wait() == 1
    if number == signal.SIGSTOP:
        second.send(signal.SIGKILL)
    assert second.wait() == -signal.SIGKILL
    record = small.record(out)
    assert (record["status"], record["error"]["type"]) == ("failed", "LostRankError")
    assert "error: another rank is gone or did not answer within train.timeout" in first.told
    assert "Traceback" not in first.told
    assert small.checkpoints(out)[-1] >= 6


def test_a_rank_that_fails_tells_why_in_the_one_record(
    runs, small_glyphs: Path, tmp_path: Path
) -> None:
    """A file that the second rank reads first is cut short."""
    root = tmp_path / "data"
    shutil.copytree(small_glyphs, root)
    small = runs(root=root)
    train = open_splits(load_config(small.config)).train
    gone = Path(train.annotation(Order(len(train), 4, 0).batch_draws(0)[1].image).path)
    gone.write_bytes(gone.read_bytes()[:400])
    first, second = small.together(tmp_path / "run")
    assert (first.wait(), second.wait()) == (1, 2)
    record = small.record(tmp_path / "run")
    assert record["status"] == "failed"
    assert f"rank 1 failed: {gone}" in record["error"]["message"]


def test_sigterm_saves_one_state_that_another_number_of_ranks_goes_on_from(
    runs, tmp_path: Path
) -> None:
    small, out = runs(), tmp_path / "run"
    words = ("train.iterations=400", "train.checkpoint_every=1000")
    both = small.together(out, *words)
    small.until(lambda: small.rows(out) > 3, both[0])
    both[1].send(signal.SIGTERM)  # either hears it, both stop at the same iteration
    assert [rank.wait() for rank in both] == [75, 75]
    record = small.record(out)
    assert record["status"] == "interrupted"
    assert small.checkpoints(out) == [record["curves"][-1]["iteration"]]
    alone = small.start(out, *words)
    small.until(lambda: small.rows(out) > len(record["curves"]) + 1, alone)
    assert "continuing from" in alone.said
    alone.send(signal.SIGKILL)
    alone.wait()


def test_a_batch_that_ranks_cannot_share_is_refused(runs, tmp_path: Path) -> None:
    ranks = runs().together(tmp_path / "run", "train.batch_size=3")
    assert [rank.wait() for rank in ranks] == [2, 2]
    told = "train.batch_size: 3 images cannot be shared out evenly to 2 processes; start 1, 3"
    assert told in ranks[0].told
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.slow
def test_torchrun_starts_it(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["-m", "experiments", "train", "--config", str(small.config), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, *launcher, *words],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert small.record(out)["status"] == "finished"
