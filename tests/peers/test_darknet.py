"""The full-size YOLOv2 beside the original Darknet, number by number.

Needs Debian's darknet (apt-get install darknet), a C compiler and the probe of
../shared/peers/darknet; skips otherwise.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from detectors.yolov2.darknet_cfg import DarknetConfig, read_cfg
from detectors.yolov2.darknet_weights import load_darknet, save_darknet
from detectors.yolov2.detector import RegionOutput, YOLOv2Detector

LIBRARY = Path("/usr/lib/darknet")
CFG = Path("/usr/share/darknet/cfg")
PEER = Path(__file__).parents[2].parent / "shared/peers/darknet"
COMPILER = shutil.which("cc")

pytestmark = [
    pytest.mark.skipif(not (LIBRARY / "libdarknet.so").is_file(), reason="no Debian darknet here"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler here"),
    pytest.mark.skipif(not PEER.is_dir(), reason="no shared/peers/darknet beside the checkout"),
]


@dataclass(frozen=True)
class Labels:
    """The truth of a batch, as `detectors.base.Truth` asks."""

    boxes_BM4: Tensor
    labels_BM: Tensor
    valid_BM: Tensor
    ignore_BM: Tensor


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe, compiled."""
    target = tmp_path_factory.mktemp("probe") / "probe"
    places = [f"-I{LIBRARY}/include", f"-L{LIBRARY}", "-ldarknet", "-lm", f"-Wl,-rpath,{LIBRARY}"]
    subprocess.run([str(COMPILER), str(PEER / "probe.c"), "-o", str(target), *places], check=True)
    return target


@dataclass(frozen=True)
class Case:
    """A network with random weights in both implementations, and what Darknet's wrote."""

    folder: Path
    config: DarknetConfig
    model: YOLOv2Detector
    batch: int
    size: int

    def array(self, name: str) -> Tensor:
        return torch.from_numpy(np.fromfile(self.folder / f"{name}.f32", "<f4"))

    def fields(self, name: str) -> Tensor:
        """Darknet's [B, A, F, S, S] as [B, S, S, A, F]."""
        cells = self.size // 32
        shape = (self.batch, len(self.model.anchors_A2), 5 + self.config.classes, cells, cells)
        return self.array(name).view(shape).permute(0, 3, 4, 1, 2).contiguous()

    def images(self) -> Tensor:
        return self.array("input").view(self.batch, 3, self.size, self.size)

    def truth(self) -> Labels:
        rows_BM5 = self.array("truth").view(self.batch, 30, 5)
        centre, extent = rows_BM5[..., :2] * self.size, rows_BM5[..., 2:4] * self.size
        valid = rows_BM5[..., 0] > 0
        boxes = torch.cat((centre - extent / 2, centre + extent / 2), -1)
        return Labels(boxes, rows_BM5[..., 4].long(), valid, torch.zeros_like(valid))

    def run_probe(self, probe: Path, seen: int) -> None:
        """Run Darknet as if `seen` images had been seen, this batch included."""
        model = [str(self.folder / file) for file in ("net.cfg", "net.weights")]
        data = [str(self.folder / file) for file in ("input.f32", "truth.f32")]
        call = [str(probe), *model, str(self.batch), str(seen), *data, str(self.folder)]
        subprocess.run(call, check=True, capture_output=True)


def make_case(folder: Path, cfg: str, size: int, batch: int, seed: int) -> Case:
    options = ["--size", str(size), "--batch", str(batch), "--seed", str(seed)]
    call = [sys.executable, str(PEER / "make_case.py"), str(CFG / cfg), str(folder), *options]
    subprocess.run(call, check=True)
    config = read_cfg(folder / "net.cfg")
    # Darknet on a CPU adds 1e-6 to the deviation, which this eps under the root comes closest to.
    settings = replace(
        config.detector, batch_norm_epsilon=2e-6, candidates=None, max_detections=None
    )
    model = settings.build(config.classes)
    load_darknet(model, folder / "net.weights")
    return Case(folder, config, model, batch, size)


def relative(mine: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((mine - theirs).abs().max() / theirs.abs().max())


def gradient_error(case: Case, seen: int) -> float:
    """Largest difference of the gradients at Darknet's own training head."""
    head = case.fields("train_head").requires_grad_()
    case.model.images_seen = seen - case.batch
    terms = case.model.loss(RegionOutput(head, 32), case.truth())
    (gradient,) = torch.autograd.grad(terms.total * case.batch, head)
    expected, active = -case.fields("train_delta"), head.detach().sigmoid()
    for field in (0, 1, 4):
        expected[..., field] *= (active * (1 - active))[..., field]
    return float((gradient - expected).abs().max())


def detections(case: Case) -> tuple[Tensor, Tensor]:
    """Rows of box in [0, 1], score, class of the first image: ours, Darknet's; each sorted
    alike.
    """
    with torch.no_grad():
        output = RegionOutput(case.fields("eval_head"), 32)
        found = case.model.decode(output, torch.tensor([[case.size] * 2] * case.batch))[0]
    labels = found.labels_D[:, None].float()
    mine = torch.cat((found.boxes_D4 / case.size, found.scores_D[:, None], labels), dim=1)
    rows = case.array("eval_detections").view(-1, 4 + case.config.classes)
    box, label = rows[:, 4:].nonzero(as_tuple=True)
    centre, extent = rows[box, :2], rows[box, 2:4]
    corners = torch.cat((centre - extent / 2, centre + extent / 2), -1).clamp(0, 1)
    theirs = torch.cat((corners, rows[box, 4 + label, None], label[:, None].float()), dim=1)
    return _sorted(mine), _sorted(theirs[(corners[:, 2:] > corners[:, :2]).all(1)])


def _sorted(rows: Tensor) -> Tensor:
    by_score = rows[rows[:, 4].argsort(descending=True, stable=True)]
    return by_score[by_score[:, 5].argsort(stable=True)]


CASES = [
    pytest.param("yolov2-voc.cfg", 96, 3, 7, 0),
    pytest.param("yolov2-voc.cfg", 160, 3, 8, 12800, marks=pytest.mark.slow),
    pytest.param("yolov2-voc.cfg", 160, 4, 9, 12799, marks=pytest.mark.slow),
    pytest.param("yolov2-voc.cfg", 416, 1, 10, 20000, marks=pytest.mark.slow),
    pytest.param("yolov2.cfg", 128, 3, 11, 0, marks=pytest.mark.slow),
    pytest.param("yolov2.cfg", 224, 4, 12, 20000, marks=pytest.mark.slow),
    pytest.param("yolov2-tiny-voc.cfg", 160, 3, 13, 0, marks=pytest.mark.slow),
    pytest.param("yolov2-tiny.cfg", 128, 5, 14, 20000, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("cfg", "size", "batch", "seed", "seen"), CASES)
def test_numbers_are_darknets(
    probe: Path, tmp_path: Path, cfg: str, size: int, batch: int, seed: int, seen: int
) -> None:
    case = make_case(tmp_path, cfg, size, batch, seed)
    case.run_probe(probe, seen)
    with torch.no_grad():
        evaluated = relative(
            case.model.eval()(case.images()).fields_BHWAF, case.fields("eval_head")
        )
        trained = relative(
            case.model.train()(case.images()).fields_BHWAF, case.fields("train_head")
        )
    gradient = gradient_error(case, seen)
    mine, theirs = detections(case)
    print(
        f"{cfg} {size} px x {batch}, {seen} seen: head {evaluated:.1e}, in training {trained:.1e}"
    )
    print(f"  gradient {gradient:.1e}; {len(mine)} detections, Darknet {len(theirs)}")
    assert evaluated < 1e-4
    # Darknet adds up batch statistics one by one in float32: its own rounding, not its method.
    assert trained < 5e-4
    assert gradient < 1e-5
    assert mine.shape == theirs.shape
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
    model_to_file_and_back(case)
    shutil.rmtree(tmp_path)


def model_to_file_and_back(case: Case) -> None:
    """The weights file, read and written again, is the same file."""
    again = case.folder / "again.weights"
    header = load_darknet(case.model, case.folder / "net.weights")
    save_darknet(case.model, again, header)
    assert again.read_bytes() == (case.folder / "net.weights").read_bytes()
