"""What of a backbone no training changes, and that it can be run by itself to the same bits."""

import copy

import pytest
import torch
from torch import Tensor

from detectors.backbones import TimmBackbone, TorchvisionBackbone
from detectors.base import Backbone
from detectors.staged import StagedBackbone
from detectors.yolov2.darknet19 import Darknet19

STRIDES = (8, 16, 32)
KINDS = {
    "torchvision": TorchvisionBackbone(arch="resnet18", norm="frozen"),
    "torchvision, trained norms": TorchvisionBackbone(arch="resnet18"),
    "timm, blocks": TimmBackbone(arch="tf_efficientnet_lite0"),
    "timm, list": TimmBackbone(arch="resnet18"),
}


def built(kind: str, frozen_stages: int) -> Backbone:
    torch.manual_seed(0)
    settings = KINDS[kind]
    changed = type(settings)(arch=settings.arch, norm=settings.norm, frozen_stages=frozen_stages)
    return changed.build(STRIDES)


def images() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stages", [0, 1, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fixed_front_and_the_rest_are_the_whole(kind: str, stages: int) -> None:
    backbone = built(kind, stages).train()
    assert bool(backbone.fixed()) == (stages > 0)
    for _ in range(2):  # trained norms move between the two
        twin = copy.deepcopy(backbone)
        expected = twin(images())
        with torch.no_grad():
            begun = backbone.begin(images())
        found = backbone.finish(begun)
        assert [m.shape for m in found] == [m.shape for m in expected]
        assert all(map(torch.equal, found, expected))
        assert [m.stride() for m in found] == [m.stride() for m in expected]


def test_all_stages_frozen_leave_nothing_to_finish() -> None:
    backbone = built("timm, blocks", 5)
    begun = backbone.begin(images())
    assert backbone.finish(begun) is begun
    assert not any(map_.requires_grad for map_ in begun)


def test_a_frozen_averages_copy_begins_where_its_source_does() -> None:
    """An average of weights needs no gradient anywhere: that does not make all of it fixed."""
    backbone = built("torchvision", 2)
    average = copy.deepcopy(backbone).eval().requires_grad_(False)
    assert len(average.fixed()) == len(backbone.fixed()) == 5


def test_a_backbone_without_frozen_stages_has_no_front() -> None:
    darknet = Darknet19(1 / 16).build((16, 32))
    assert darknet.fixed() == ()
    assert all(map(torch.equal, darknet.finish(darknet.begin(images())), darknet(images())))


def test_stages_of_a_network_that_is_no_chain_are_fixed_together_or_not_at_all() -> None:
    for stages in (2, 5):
        backbone = built("timm, list", stages)
        assert isinstance(backbone, StagedBackbone)
        backbone.settle([])
        assert backbone.fixed() == ((backbone,) if stages == 5 else ())
