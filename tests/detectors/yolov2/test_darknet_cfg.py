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
from experiments.config.run import RunConfig, load_config

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
        ("num=5", "", "anchors: 10 values for num=1"),
        ("activation=linear", "activation=linear\nbatch_normalize=1", "batch_normalize: must be 0"),
        ("activation=linear", "activation=linear\nstopbackward=1", "backbone_lr_factor: 0"),
        ("activation=linear", "activation=linear\ntruth=2", "truth=2: this layer is not computed"),
        ("activation=linear\n", "activation=linear\npad=0\n", "pad: 0 after 1; keep one"),
        ("pad=1\nfilters=125", "padding=1\nfilters=125", "padding 0, found padding 1"),
        ("size=2\nstride=2", "size=3\nstride=2", r"\[maxpool\] size: must be 2, found 3"),
        ("size=2\nstride=2", "stride=2\npadding=0", "padding: must be 1, found 0"),
        ("stride=2\n\n[route]", "[route]", r"\[reorg\] stride: must be 2, found 1"),
        (
            "softmax=1",
            "softmax=1\ntree=data/9k.tree",
            "tree=data/9k.tree: classes form a hierarchy",
        ),
        ("bias_match=1", "", "bias_match: must be 1, found 0"),
        ("softmax=1", "softmax=2", "softmax: must be 0 or 1, found 2"),
        ("activation=linear", "activation=linear\nxnor=1", "xnor=1: weights and inputs become"),
        ("activation=linear", "activation=linear\nflipped=1", "flipped=1: the weights lie trans"),
        ("activation=linear", "activation=linear\ngroups=2", "groups=2: channels are convolved"),
        ("softmax=1", "softmax=1\nbackground=1", "background: must be 0, found 1"),
        ("rescore=1", "rescor=1", "unknown 'rescor'; did you mean 'rescore'"),
        (
            "thresh = .6",
            "thresh = often",
            r"\[region\] thresh: must be numbers, found 'often'",
        ),
        ("num=5", "num=5\nmax=90.5", r"\] max: must be a whole number, found '90.5'"),
        ("1.3221, 1.73145", "nan, 1.73145", "anchors: must be numbers, found 'nan,1.73145,"),
        ("1.3221, 1.73145", "-1, 1.73145", "anchors: widths and heights must be > 0, found -1,"),
        ("object_scale=5", "object_scale=1e400", "object_scale: must be numbers, found '1e400'"),
        ("object_scale=5", "object_scale=-5", "object_scale: must be >= 0"),
        ("[region]", "[yolo]", r"ends with \[region\], this one with \[yolo\]"),
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
    assert config.detector.region.coord_weight == "one"  # the fork weighs no box by its size


def test_keys_that_are_missing_are_darknets(tmp_path: Path) -> None:
    plain = read_cfg(written(tmp_path, text("yolov2")))
    fewer = text("yolov2").replace("size=1\n", "").replace("stride=1\n", "")
    fewer = fewer.replace("classes=20\n", "").replace("[maxpool]\nsize=2\n", "[maxpool]\n")
    assert fewer.count("size=") < text("yolov2").count("size=")
    again = read_cfg(written(tmp_path, fewer))
    assert (again.detector, again.classes) == (plain.detector, plain.classes)
    lone = text("yolov2").replace("num=5", "num=1").replace("filters=125", "filters=25")
    lone = "\n".join(line for line in lone.splitlines() if not line.startswith("anchors"))
    assert read_cfg(written(tmp_path, lone)).detector.anchors == ((0.5, 0.5),)


def test_a_route_may_name_its_layers_by_number(tmp_path: Path) -> None:
    content = (
        text("yolov2").replace("layers=-9", "layers=16").replace("layers=-1,-4", "layers=27,24")
    )
    assert read_cfg(written(tmp_path, content)).detector.passthrough == 8
    with pytest.raises(DetectorError, match=r"\[route\] layers: must be -9, found 17"):
        read_cfg(written(tmp_path, text("yolov2").replace("layers=-9", "layers=17")))


def test_comments_may_be_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "net.cfg"
    path.write_bytes("# \u8bad\u7ec3\n".encode("gb18030") + text("tiny").encode())
    assert read_cfg(path).detector == read_cfg(written(tmp_path, text("tiny"))).detector


def test_switched_off_keys_change_nothing(tmp_path: Path) -> None:
    off = "activation=linear\nxnor=0\ngroups=1\nlearning_rate=1.0\nstopbackward=0"
    content = text("yolov2").replace("activation=linear", off)
    assert not read_cfg(written(tmp_path, content)).focal


def test_a_cfg_becomes_a_recipe_of_the_same_network(tmp_path: Path) -> None:
    path = written(tmp_path, text("tiny"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(cfg_recipe(path))
    config = load_config(recipe, [])
    assert config.detector == read_cfg(path).detector
    assert config.input.fit.height == read_cfg(path).input_hw[0]


NET = """[net]
batch=64
subdivisions=8
height=416
width=416
learning_rate=0.001
max_batches=40200
saturation=1.5
exposure=1.5
hue=.1
"""


def recipe_of(folder: Path, net: str) -> RunConfig:
    """The recipe of a tiny network with another [net], as `show --cfg` prints it."""
    rest = text("tiny")
    path = folder / "net.cfg"
    path.write_text(net + rest[rest.index("[convolutional]") :])
    recipe = folder / "recipe.yaml"
    recipe.write_text(cfg_recipe(path))
    return load_config(recipe, [])


def rate(config: RunConfig, iteration: int) -> float:
    factor = config.learning_rate.factor(iteration, config.train.iterations)
    return config.optimizer.lr * factor


def test_the_rate_goes_as_darknets(tmp_path: Path) -> None:
    steps = NET + "policy=steps\nsteps=-1,100,20000,30000\nscales=.1,10,.1,.1\n"
    config = recipe_of(tmp_path, steps)
    found = [rate(config, at) for at in (0, 99, 100, 19999, 20000, 30000, 40199)]
    assert found == pytest.approx([1e-4, 1e-4, 1e-3, 1e-3, 1e-4, 1e-5, 1e-5])
    config = recipe_of(tmp_path, NET + "policy=step\nstep=10000\nscale=.5\nburn_in=100\npower=2\n")
    found = [rate(config, at) for at in (49, 9999, 10000, 35000)]
    assert found == pytest.approx([2.5e-4, 1e-3, 5e-4, 1.25e-4])
    assert config.train.images_an_update == 64
    constant = recipe_of(tmp_path, NET)
    assert {rate(constant, at) for at in (0, 40199)} == {1e-3}
    assert constant.optimizer.weight_decay == 1e-4 and constant.optimizer.momentum == 0.9


def test_the_input_is_as_darknet_trains(tmp_path: Path) -> None:
    given = recipe_of(tmp_path, NET).input
    assert given.colour is not None
    assert (given.colour.hue, given.colour.saturation, given.colour.exposure) == (0.1, 1.5, 1.5)
    assert given.jitter is not None and given.jitter.aspect == 0.2
    assert given.sizes[0] == (320, 320) and given.sizes[-1] == given.last_size == (608, 608)
    assert (given.every, given.last_batches) == (80, 1600)  # 10 and 200 updates of 8


def test_what_a_file_leaves_open_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, text("tiny").replace("batch=64", "batch=1"))
    content = path.read_text()
    net = NET.replace("batch=64", "batch=1").replace("max_batches=40200\n", "")
    path.write_text(net + content[content.index("[convolutional]") :])
    told = cfg_recipe(path)
    assert "# batch is 1, as for testing" in told and "# It has no max_batches" in told


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("policy=poly", r"net\.cfg: \[net\] policy: must be constant, step or steps, found poly"),
        ("policy=steps\nsteps=1,2\nscales=.1", "scales: must be as many as steps, found 1"),
        ("policy=steps", "steps: must be numbers, found ''"),
        ("policy=step\nstep=0", "step: must be >= 1, found 0"),
        ("adam=1", "adam: must be 0, found 1: it is not done here"),
        ("mosaic=1", "mosaic: must be 0, found 1"),
        ("clip=5.0", "clip: must be 0"),
        ("burnin=1000", "unknown 'burnin'; did you mean 'burn_in'"),
        ("momentum=fast", "momentum: must be numbers, found 'fast'"),
        ("learning_rate=0,001", "learning_rate: must be one number, found '0,001'"),
        ("learning_rate=nan", "learning_rate: must be numbers, found 'nan'"),
        ("learning_rate=-1", r"net\.cfg: as a recipe: optimizer\.lr: must be > 0, found -1"),
        ("max_batches=1e400", "max_batches: must be numbers, found '1e400'"),
        ("burn_in=10.5", "burn_in: must be a whole number, found '10.5'"),
        ("policy=steps\nsteps=700,400\nscales=.1,.1", r"learning_rate\.steps: rising fractions"),
    ],
)
def test_a_training_that_is_not_done_here_is_refused(
    tmp_path: Path, more: str, message: str
) -> None:
    keys = {line.partition("=")[0] for line in more.splitlines()}
    kept = [line for line in NET.splitlines() if line.partition("=")[0].strip() not in keys]
    with pytest.raises(DetectorError, match=message):
        recipe_of(tmp_path, "\n".join([*kept, more, ""]))
