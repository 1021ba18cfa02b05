"""Figure 4 from a checkpoint: what is counted, and the verb as a user calls it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from datasets.sample import Batch
from detectors import DETECTORS
from detectors.retinanet.detector import RetinaNet
from detectors.retinanet.head import Head
from detectors.retinanet.pyramid import Pyramid
from detectors.yolov2.darknet19 import TinyDarknet
from experiments.evaluation.anatomy import KINDS, Anatomy, read_anatomy
from experiments.probes.anatomy import answers, gradient_weights, levels_of, probe
from experiments.record.parts import Arithmetic
from tests.calling import call, refused

CHECKOUT = Path(__file__).parents[3]
RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: retinanet
  backbone: {{name: darknet19, width: 0.125}}
  pyramid: {{width: 16, levels: 3}}
  head: {{depth: 1, norm: group, groups: 4}}
loss: {{name: focal, alpha: 0.25, gamma: 1.5}}
input:
  fit: {{mode: stretch, height: 96, width: 96}}
optimizer: {{name: adamw, lr: 3.0e-3, clip_norm: 10.0}}
train: {{iterations: 60, batch_size: 4, workers: 0}}
tracking: {{wandb: "off"}}
"""


@pytest.fixture(scope="module")
def trained(small_glyphs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small RetinaNet, trained for a few seconds: its background is easy by then."""
    folder = tmp_path_factory.mktemp("anatomy")
    (folder / "recipe.yaml").write_text(RECIPE.format(root=small_glyphs))
    assert call("train", folder / "recipe.yaml", "--out", folder / "run") == 0
    return folder / "run"


def found(folder: Path) -> Anatomy:
    anatomy = read_anatomy(folder)
    assert anatomy is not None
    return anatomy


def test_gamma_2_gathers_the_background_more_than_the_foreground(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("anatomy", trained, "--images", "8") == 0
    told = capsys.readouterr().out
    assert "every class of every anchor, 8 images of test" in told and "stride 32" in told
    anatomy = found(trained)
    assert [one.gamma for one in anatomy.shares] == [0.0, 0.5, 1.0, 1.5, 2.0]  # its own is there
    plain, focal = anatomy.shares[0], anatomy.shares[-1]
    shrink = {kind: focal.half_share[kind] / plain.half_share[kind] for kind in KINDS}
    assert shrink["background"] < 0.5 * shrink["foreground"]
    assert focal.of_gradient("foreground") > plain.of_gradient("foreground")
    for one in anatomy.shares:
        for kind in KINDS:
            assert one.share_of_loss[kind][-1] == 1
            assert (np.diff(one.share_of_loss[kind]) >= 0).all()


def test_the_file_is_of_this_run_and_the_record_stays_as_it_was(
    trained: Path, tmp_path: Path
) -> None:
    before = (trained / "record.json").read_bytes()
    checkpoint = sorted((trained / "checkpoints").glob("*.pt"))[-1]
    assert call("anatomy", checkpoint, "--gamma", "2", "--images", "1", "--out", tmp_path) == 0
    anatomy, record = found(tmp_path), json.loads(before)
    assert (anatomy.config_hash, anatomy.seed) == (record["config_hash"], record["seed"])
    assert anatomy.checkpoint == checkpoint.name and [s.gamma for s in anatomy.shares] == [2.0]
    assert anatomy.weights == (0.25, 0.75)
    assert (trained / "record.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: no such"),
        (("a", "b", "c"), "name a run or a checkpoint"),
        (("a", "--gamma", "-1"), "must be >= 0, found -1"),
        (("a", "--images", "0"), "must be at least 1"),
    ],
)
def test_mistakes_are_usage_errors(words: tuple[str, ...], message: str) -> None:
    refused(message, "anatomy", *words)


def batch(boxes: int = 2) -> Batch:
    """Two images of 96 px with boxes of class 1 and an ignored one."""
    corner = torch.tensor(
        [[8.0, 8.0, 40.0, 40.0], [50.0, 40.0, 90.0, 84.0], [0.0, 60.0, 20.0, 90.0]]
    )
    valid = torch.zeros(2, 3, dtype=torch.bool)
    valid[:, :boxes] = True
    valid[1, 2] = True
    ignore = torch.zeros_like(valid)
    ignore[1, 2] = True
    images = torch.randint(0, 255, (2, 3, 96, 96), generator=torch.Generator().manual_seed(0))
    return Batch(
        images_BCHW=images.to(torch.uint8),
        content_B2=torch.full((2, 2), 96),
        boxes_BM4=corner.repeat(2, 1, 1) * valid[..., None],
        labels_BM=torch.ones(2, 3, dtype=torch.int64),
        ignore_BM=ignore,
        valid_BM=valid,
        image_ids=("a", "b"),
        original_hw=((96, 96), (96, 96)),
        placements=(),
    )


def retinanet(activation: str) -> RetinaNet:
    settings: Callable[..., RetinaNet] = RetinaNet
    return settings(
        backbone=TinyDarknet(width=0.125),
        pyramid=Pyramid(width=16, levels=3),
        head=Head(depth=1, norm="group", groups=4),
        activation=activation,
    )


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_every_anchor_that_counts_is_counted_once(activation: str) -> None:
    torch.manual_seed(0)
    detector, truth = retinanet(activation).build(4).eval(), batch()
    output = detector(detector.normalise(truth.images_BCHW))
    assignment = detector.assign(output, truth)
    each = 4 if activation == "sigmoid" else 1
    parts = list(answers(detector, output, truth))
    assert len(parts) == len(levels_of(detector)) == 3
    foreground = torch.cat([part.foreground for part in parts])
    background = torch.cat([part.background for part in parts])
    positives = len(assignment.anchor_F)
    assert positives > 0 and len(foreground) == positives
    assert len(background) == int(assignment.counted_BA.sum()) * each - positives
    assert not assignment.counted_BA.all()  # the ignored box sets anchors aside
    assert right(foreground) == pytest.approx(right(expected(detector, output, truth)), rel=1e-5)


def expected(detector: object, output: object, truth: Batch) -> Tensor:
    """Foreground's signed logits from probabilities, the plain way."""
    assignment = detector.assign(output, truth)  # type: ignore[attr-defined]
    logits_FK = output.logits_BAK[assignment.image_F, assignment.anchor_F].double()  # type: ignore[attr-defined]
    softmax = logits_FK.shape[1] == 5
    p_F = (logits_FK.softmax(-1) if softmax else logits_FK.sigmoid())[:, 1]
    return torch.logit(p_F)


def right(logits: Tensor) -> float:
    return float(logits.detach().double().sigmoid().sum())


def test_yolov2_counts_objectness_of_who_answers_and_who_idles() -> None:
    torch.manual_seed(0)
    settings = DETECTORS["yolov2"](
        backbone=TinyDarknet(width=0.125), head_width=32, head_depth=1, passthrough=16
    )
    detector, truth = settings.build(4).eval(), batch()
    probed = probe(detector, [truth, truth], Arithmetic("float32", False), most_images=2)
    assert probed.images == 2 and probed.of == "objectness of every prediction"
    counts = {kind: int(probed.counts.by_kind[kind].sum()) for kind in KINDS}
    assert counts["foreground"] == 4  # one prediction answers for each real box
    assert 0 < counts["background"] <= 2 * 3 * 3 * 5 - 4
    assert gradient_weights(detector, 0.25) == (0.25 * 5.0, 0.75 * 1.0)
