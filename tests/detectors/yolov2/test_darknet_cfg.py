"""Reading .cfg files: what a file of the family becomes, and refusals that name file, line and
key.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from detectors.errors import DetectorError
from detectors.yolov2.darknet19 import Darknet19, TinyDarknet
from detectors.yolov2.darknet_cfg import read_cfg, read_sections
from experiments.config.darknet import cfg_recipe
from experiments.config.run import load_config

GOLDEN = Path(__file__).parents[2] / "golden"
DEBIAN = Path("/usr/share/darknet/cfg")


def text(name: str) -> str:
    with np.load(GOLDEN / f"darknet_{name}.npz", allow_pickle=False) as file:
        return str(file["cfg"])


def written(folder: Path, content: str) -> Path:
    path = folder / "net.cfg"
    path.write_text(content)
    return path


def test_the_whole_network_is_read(tmp_path: Path) -> None:
    config = read_cfg(written(tmp_path, text("yolov2")))
    detector = config.detector
    assert detector.backbone == Darknet19(1 / 64)
    assert (detector.head_width, detector.head_depth, detector.passthrough) == (16, 2, 8)
    assert detector.anchors[0] == (1.3221, 1.73145) and len(detector.anchors) == 5
    assert detector.region.ignore_iou == 0.6 and detector.region.object_scale == 5
    assert config.net["learning_rate"] == "0.001"


def test_the_tiny_network_has_no_passthrough(tmp_path: Path) -> None:
    detector = read_cfg(written(tmp_path, text("tiny"))).detector
    assert detector.backbone == TinyDarknet(1 / 64)
    assert detector.passthrough is None and not detector.region.rescore


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="no Debian darknet here")
@pytest.mark.parametrize(
    ("name", "width", "classes", "side"),
    [("yolov2", 1024, 80, 608), ("yolov2-voc", 1024, 20, 416), ("yolov2-tiny", 512, 80, 416)],
)
def test_published_files_are_read(name: str, width: int, classes: int, side: int) -> None:
    config = read_cfg(DEBIAN / f"{name}.cfg")
    assert config.detector.head_width == width
    assert (config.classes, config.input_hw) == (classes, (side, side))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reorg", "upsample", r"net\.cfg:\d+: found \[upsample\] where YOLOv2 has \[reorg\]"),
        ("layers=-9", "layers=-8", r"\[route\] layers: must be -9, found -8"),
        ("activation=linear", "activation=leaky", "activation: must be linear, found leaky"),
        ("classes=20", "classes=21", "filters: must be 130, found 125"),
        ("classes=20", "classes=many", "classes: must be a whole number, found 'many'"),
        ("num=5", "num=4", "anchors: 10 values for num=4"),
        ("softmax=1", "softmax=2", "softmax: must be 0 or 1, found 2"),
        ("activation=linear", "activation=linear\nxnor=1", "xnor=1: weights and inputs become"),
        ("activation=linear", "activation=linear\nflipped=1", "flipped=1: the weights lie trans"),
        ("activation=linear", "activation=linear\ngroups=2", "groups=2: channels are convolved"),
        ("softmax=1", "softmax=1\nbackground=1", "background: must be 0, found 1"),
        ("rescore=1", "rescor=1", "unknown 'rescor'; did you mean 'rescore'"),
        ("thresh = .6", "thresh = often", "could not convert"),
        ("object_scale=5", "object_scale=-5", "object_scale: must be >= 0"),
        ("[region]", "[yolo]", r"starts with \[net\] and ends with \[region\]"),
        ("bias_match=1", "bias_match", r"net\.cfg:\d+: neither \[section\] nor key=value"),
    ],
)
def test_other_networks_are_refused_by_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    content = text("yolov2")
    assert old in content
    with pytest.raises(DetectorError, match=message):
        read_cfg(written(tmp_path, content.replace(old, new)))


def test_lines_are_counted_and_comments_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "# one\n; two\n\n[net]\n height = 4 \n[region]\n")
    net, region = read_sections(path)
    assert (net.line, net.options, region.line) == (4, {"height": "4"}, 6)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.weights"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DetectorError, match="cannot be read as a .cfg file"):
        read_cfg(path)


def test_files_as_people_write_them(tmp_path: Path) -> None:
    plain = read_cfg(written(tmp_path, text("yolov2")))
    content = text("yolov2").replace("[convolutional]", "[conv]").replace("[net]", "[network]")
    content = content.replace("classes=20", "classes = 20  # of VOC").replace("\n", "\r\n")
    path = tmp_path / "net.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert read_cfg(path) == dataclasses.replace(plain, net=read_cfg(path).net)


def test_a_missing_softmax_is_logistic_as_in_darknet(tmp_path: Path) -> None:
    detector = read_cfg(written(tmp_path, text("yolov2").replace("softmax=1", ""))).detector
    assert detector.region.class_form == "sigmoid" and detector.sites == ("class_sigmoid",)


def test_focal_loss_of_the_fork_is_told_as_what_it_is(tmp_path: Path) -> None:
    content = text("yolov2").replace("softmax=1", "softmax=1\nfocal_loss=1")
    config = read_cfg(written(tmp_path, content))
    assert config.focal and config.detector.region.class_scale == 0.5


def test_switched_off_keys_change_nothing(tmp_path: Path) -> None:
    content = text("yolov2").replace("activation=linear", "activation=linear\nxnor=0\ngroups=1")
    assert not read_cfg(written(tmp_path, content)).focal


def test_a_cfg_becomes_a_recipe_of_the_same_network(tmp_path: Path) -> None:
    path = written(tmp_path, text("tiny"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(cfg_recipe(path))
    config = load_config(recipe, [])
    assert config.detector == read_cfg(path).detector
    assert config.input.fit.height == read_cfg(path).input_hw[0]
