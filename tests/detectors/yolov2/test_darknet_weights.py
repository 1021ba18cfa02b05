"""Darknet's .weights files: byte-equal round trips, and refusals that say at which byte."""

import dataclasses
from pathlib import Path

import pytest
import torch

from detectors.errors import DetectorError
from detectors.yolov2.convolution import ConvBlock
from detectors.yolov2.darknet19 import Darknet19
from detectors.yolov2.darknet_weights import DarknetHeader, load_darknet, save_darknet
from detectors.yolov2.detector import YOLOv2

WIDTH = 1 / 64


def small() -> torch.nn.Module:
    backbone = Darknet19(width=WIDTH)
    model = YOLOv2(backbone=backbone, head_width=16, passthrough=8).build(2)
    model(torch.rand(2, 3, 64, 64))  # moves the running statistics away from 0 and 1
    return model


@pytest.mark.parametrize(
    ("header", "size"), [(DarknetHeader(0, 1, 0, 320), 16), (DarknetHeader(0, 2, 5, 2**33), 20)]
)
def test_round_trip_is_byte_equal(tmp_path: Path, header: DarknetHeader, size: int) -> None:
    first, second = tmp_path / "first.weights", tmp_path / "second.weights"
    save_darknet(small(), first, header)
    other = small()
    assert load_darknet(other, first) == header
    save_darknet(other, second, header)
    assert first.read_bytes() == second.read_bytes()
    numbers = sum(t.numel() for t in other.parameters()) + sum(
        2 * block.norm.num_features for block in other.modules() if isinstance(block, ConvBlock)
    )
    assert first.stat().st_size == size + 4 * numbers


def test_layers_are_written_bias_scale_mean_variance_weights(tmp_path: Path) -> None:
    block = ConvBlock(1, 1, 1)
    for tensor, value in (
        (block.norm.bias, 1.0),
        (block.norm.weight, 2.0),
        (block.norm.running_mean, 3.0),
        (block.norm.running_var, 4.0),
        (block.convolution.weight, 5.0),
    ):
        tensor.data.fill_(value)
    path = tmp_path / "one.weights"
    save_darknet(block, path)
    expected = bytes.fromhex("0000000002000000000000000000000000000000")
    assert path.read_bytes() == expected + torch.arange(1.0, 6.0).numpy().astype("<f4").tobytes()


def test_backbone_file_of_23_layers_and_classifier_file_load(tmp_path: Path) -> None:
    source = Darknet19(width=WIDTH).build((16, 32))
    path = tmp_path / "darknet19.conv.23"
    save_darknet(source, path)
    loaded = Darknet19(width=WIDTH, weights=str(path)).build((16, 32))
    for mine, theirs in zip(loaded.parameters(), source.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    whole = tmp_path / "darknet19.weights"
    whole.write_bytes(path.read_bytes() + bytes(4 * 1000 * (1 + 16)))
    Darknet19(width=WIDTH, weights=str(whole)).build((16, 32))


@pytest.mark.parametrize("keep", [0, 7, 14, 19, 20, 400, -4, -1])
def test_truncated_files_are_refused_with_the_byte_and_change_nothing(
    tmp_path: Path, keep: int
) -> None:
    path = tmp_path / "cut.weights"
    save_darknet(small(), path)
    data = path.read_bytes()[:keep]
    path.write_bytes(data)
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(DetectorError, match=rf"\b{len(data)}\b"):
        load_darknet(model, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_longer_files_are_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "long.weights"
    save_darknet(small(), path)
    end = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DetectorError, match=rf"byte {end}, but 4 bytes follow"):
        load_darknet(small(), path)


def test_foreign_files_are_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(10000)}, path)
    with pytest.raises(DetectorError, match="byte 0 holds version part"):
        load_darknet(small(), path)
    path.write_bytes(bytes([255]) * 100000)
    with pytest.raises(DetectorError, match="byte 0"):
        load_darknet(small(), path)


def test_values_that_no_network_has_are_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "wrong.weights"
    save_darknet(small(), path)
    data = bytearray(path.read_bytes())
    place = 20 + 4 * 8 * 3 + 4  # second variance of the first layer of 8 channels
    data[place : place + 4] = b"\x00\x00\x80\xbf"  # -1.0
    path.write_bytes(bytes(data))
    with pytest.raises(DetectorError, match=rf"layer 0 variances .*byte {place} holds -1.0"):
        load_darknet(small(), path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="absent.weights: cannot be read"):
        load_darknet(small(), tmp_path / "absent.weights")


def test_a_file_with_other_classes_gives_all_but_its_head(tmp_path: Path) -> None:
    file = tmp_path / "two.weights"
    theirs = small()
    save_darknet(theirs, file)
    settings = dataclasses.replace(theirs.settings, weights=str(file))  # type: ignore[arg-type]
    with pytest.raises(DetectorError, match="35 filters in the file, 40 here.*drop_head: true"):
        settings.build(3)
    mine = dataclasses.replace(settings, drop_head=True).build(3)
    for (name, value), other in zip(
        mine.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        assert name.startswith("head.output") or value.equal(other) or "tracked" in name
    with pytest.raises(ValueError, match="^drop_head: has no meaning without weights"):
        YOLOv2(drop_head=True)
