"""detect and export as a user gives them, on a small network of random weights."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from experiments.__main__ import main
from experiments.config.run import load_config, plain_config
from experiments.engine.checkpoint import save_checkpoint
from experiments.run import detecting
from experiments.run.assembly import build_detector
from experiments.run.onnx import CLASSES_KEY, CONFIG_KEY
from tests.calling import refused

MISSING = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)}: an optional extra, is not here"
)
CLASSES = ("one", "two", "three")
RECIPE = {
    "data": {"name": "voc", "root": "nowhere", "classes": list(CLASSES)},
    "detector": {
        "name": "yolov2",
        "backbone": {"name": "darknet19", "width": 0.125},
        "head_width": 32,
        "head_depth": 1,
        "passthrough": 16,
        "score_threshold": 0.15,
    },
    "loss": {"name": "focal", "alpha": None, "gamma": 2.0},
    "input": {"fit": {"mode": "letterbox", "height": 96, "width": 128}},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@pytest.fixture(scope="module")
def checkpoint(recipe: Path) -> Path:
    config = load_config(recipe)
    detector = build_detector(config, CLASSES)
    path = recipe.parent / "run/checkpoints/iteration_00000001.pt"
    context = {"config": plain_config(config), "classes": list(CLASSES)}
    save_checkpoint(path, {"detector": detector.state_dict(), "average": None, "context": context})
    return path


def test_names_without_letters_are_drawn_by_number_and_said_once(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("猫", "犬", "three")
    detector = build_detector(load_config(recipe), names)
    context = {"config": plain_config(load_config(recipe)), "classes": list(names)}
    state = {"detector": detector.state_dict(), "average": None, "context": context}
    save_checkpoint(tmp_path / "cats.pt", state)
    for number in range(2):
        Image.new("RGB", (64, 48), (90, 200, 90)).save(tmp_path / f"{number}.png")
    photos = [str(tmp_path / f"{number}.png") for number in range(2)]
    words = [str(tmp_path / "cats.pt"), *photos, "--out", str(tmp_path / "out"), "--score", "0"]
    assert main(["detect", *words]) == 0
    told = capsys.readouterr().err
    assert told.count("#0 is '猫', #1 is '犬'") == 1 and "three" not in told
    rows = json.loads((tmp_path / "out/detections.json").read_text())
    assert {one["class"] for row in rows for one in row["detections"]} & {"猫", "犬"}


@pytest.fixture(scope="module")
def photos(small_glyphs: Path) -> Path:
    return small_glyphs / "JPEGImages"


def detections(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "detections.json").read_text())
    return rows


def test_detect_writes_pictures_json_and_vocs_text(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pattern = str(photos / "test_*.jpg")
    words = ["--out", str(out), "--score", "0.15", "--batch", "3", "--voc"]
    assert main(["detect", str(checkpoint.parents[1]), pattern, *words]) == 0
    rows = detections(out)
    assert [row["image"] for row in rows] == sorted(map(str, photos.glob("test_*.jpg")))
    assert len(list(out.glob("*.jpg"))) == len(rows) == 8
    found = sum(len(row["detections"]) for row in rows)
    assert found > 8
    lines = [
        line for name in CLASSES for line in (out / f"voc/{name}.txt").read_text().splitlines()
    ]
    assert len(lines) == found
    image, score, *box = lines[0].split()
    assert image == Path(rows[0]["image"]).stem and 0.15 <= float(score) <= 1
    assert len(box) == 4 and min(map(float, box)) >= 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_detects_the_same(
    checkpoint: Path, photos: Path, tmp_path: Path
) -> None:
    words = ["detect", str(checkpoint), str(photos), "--batch", "3"]
    assert main([*words, "--out", str(tmp_path / "eager")]) == 0
    assert main([*words, "--out", str(tmp_path / "compiled"), "--compile"]) == 0
    eager, compiled = detections(tmp_path / "eager"), detections(tmp_path / "compiled")
    assert [row["image"] for row in compiled] == [row["image"] for row in eager]
    assert sum(len(row["detections"]) for row in eager) > 0
    for one, other in zip(eager, compiled, strict=True):
        assert [found["class"] for found in other["detections"]] == [
            found["class"] for found in one["detections"]
        ]
        for theirs, ours in zip(one["detections"], other["detections"], strict=True):
            assert ours["score"] == pytest.approx(theirs["score"], abs=2e-4)
            assert ours["box"] == pytest.approx(theirs["box"], abs=0.2)


@needs_onnx
def test_an_exported_model_detects_the_same(
    checkpoint: Path, recipe: Path, photos: Path, tmp_path: Path
) -> None:
    model = tmp_path / "deep/model.onnx"
    assert main(["export", str(recipe), str(checkpoint), "--out", str(model)]) == 0
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]
    words = [str(photos), "--score", "0.15"]
    assert main(["detect", str(checkpoint), *words, "--out", str(tmp_path / "torch")]) == 0
    run = ["detect", str(model), *words, "--backend", "onnxruntime", "--batch", "5"]
    assert main([*run, "--out", str(tmp_path / "onnx")]) == 0
    theirs, ours = detections(tmp_path / "onnx"), detections(tmp_path / "torch")
    assert len(ours) == 38
    for found, expected in zip(theirs, ours, strict=True):
        assert found["image"] == expected["image"]
        assert [row["class"] for row in found["detections"]] == [
            row["class"] for row in expected["detections"]
        ]
        for one, other in zip(found["detections"], expected["detections"], strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=2e-4)
            assert one["box"] == pytest.approx(other["box"], abs=0.2)


@needs_onnx
def test_a_recipe_exports_the_weights_it_names(recipe: Path, tmp_path: Path) -> None:
    from experiments.run.onnx import load_onnx

    path = tmp_path / "model.onnx"
    words = [str(recipe), "detector.nms_iou=0.3", "seed=5", "--out", str(path)]
    assert main(["export", *words]) == 0
    model = load_onnx(path)
    assert model.classes == CLASSES and model.config.seed == 5
    assert plain_config(model.config)["detector"]["nms_iou"] == 0.3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["detect", "{run}", "nowhere.jpg"], "nowhere.jpg: no such file or folder"),
        (["detect", "{run}", "no*thing.jpg"], "no images (.jpg"),
        (["detect", "{run}", "{photos}", "--batch", "0"], "--batch: must be at least 1"),
        (["detect", "{run}", "{photos}", "--backend", "onnxruntime"], "'export' writes one"),
        (["detect", "m.onnx", "{photos}", "--backend", "torch"], "runs a checkpoint"),
        (["detect", "m.onnx", "{photos}", "--compile"], "--compile is for checkpoints"),
        (["export", "{run}", "x=1", "--out", "m.onnx"], "name one checkpoint, or one recipe"),
        (["export", "{run}", "{run}", "--out", "m.onnx"], "name one checkpoint, or one recipe"),
        (["export", "nowhere", "--out", "m.onnx"], "nowhere: no such"),
    ],
)
def test_what_can_not_be_done_ends_with_2_and_a_message(
    checkpoint: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    filled = [word.format(run=checkpoint, photos=photos) for word in words]
    assert main(filled) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@needs_onnx
def test_a_foreign_onnx_file_is_refused(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(b"not a model")
    assert main(["detect", str(path), str(photos)]) == 2
    assert "not a readable ONNX file" in capsys.readouterr().err


def write_photo(path: Path, orientation: int = 1, size: tuple[int, int] = (90, 60)) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)).save(
        path, exif=exif
    )


def test_what_a_folder_holds_besides_images_is_left_out_and_what_is_broken_is_counted(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    (folder / "more.jpg").mkdir(parents=True)
    for name in ("b0", "b1", "b2"):
        write_photo(folder / f"{name}.jpg")
    whole = (folder / "b0.jpg").read_bytes()
    (folder / "zz_half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "._b1.jpg").write_bytes(b"\0\5\26\7 Mac OS X")
    (folder / "notes.txt").touch()
    out = tmp_path / "out"
    for batch in ("1", "3"):
        words = ["--out", str(out), "--batch", batch, "--voc"]
        assert main(["detect", str(checkpoint), str(folder), *words]) == 1
        error = capsys.readouterr().err
        assert "1 '._' files" in error and "1 sub-folders" in error and "1 files that are" in error
        assert "zz_half.jpg: not a readable image: " in error
        assert "1 of 4 images can't be read" in error and "Traceback" not in error
        rows = detections(out)
        assert [Path(row["image"]).name for row in rows] == [
            *("b0.jpg", "b1.jpg", "b2.jpg", "zz_half.jpg")
        ]
        assert ["error" in row for row in rows] == [False, False, False, True]
        assert sorted(path.name for path in out.glob("*.jpg")) == ["b0.jpg", "b1.jpg", "b2.jpg"]
        assert (out / "voc/one.txt").is_file()


def test_only_broken_images_still_leave_a_list_of_them(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"none")
    out = tmp_path / "out"
    assert main(["detect", str(checkpoint), str(tmp_path / "a.jpg"), "--out", str(out)]) == 1
    assert detections(out)[0]["error"] == "not a readable image: of no known format"


def test_detections_are_written_when_the_program_is_stopped(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_photo(tmp_path / f"{name}.jpg")
    drawn = detecting.drawn

    def stopped(pixels: Any, found: Any) -> Any:
        if (tmp_path / "out/b.jpg").exists():
            raise KeyboardInterrupt
        return drawn(pixels, found)

    monkeypatch.setattr(detecting, "drawn", stopped)
    with pytest.raises(KeyboardInterrupt):
        detecting.detect_files(checkpoint, [tmp_path], tmp_path / "out", least_score=0.3)
    assert [Path(row["image"]).name for row in detections(tmp_path / "out")][:2] == [
        *("a.jpg", "b.jpg")
    ]


def test_photos_are_turned_upright_with_their_boxes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photo(tmp_path / "side.png", 6)
    with Image.open(tmp_path / "side.png") as image:
        ImageOps.exif_transpose(image).save(tmp_path / "upright.png")
    words = ["--score", "0", "--out", str(tmp_path / "out")]
    assert main(["detect", str(checkpoint), str(tmp_path), *words]) == 0
    assert "1 of them turned upright" in capsys.readouterr().err
    side, upright = detections(tmp_path / "out")
    assert side["detections"] == upright["detections"]
    with Image.open(tmp_path / "out/side.jpg") as shown:
        assert shown.height > shown.width


@pytest.mark.parametrize(
    ("score", "told"),
    [
        ("2", "from 0 to 1, found '2'"),
        ("30%", "30 % is 0.3"),
        ("30", "30 % is 0.3"),
        ("nan", "nan"),
    ],
)
def test_a_score_that_no_detection_has_is_refused(
    checkpoint: Path, tmp_path: Path, score: str, told: str
) -> None:
    refused(re.escape(told), "detect", checkpoint, tmp_path, "--score", score)


Change = Callable[[Any], object]


def network(path: Path, change: Change, **metadata: str) -> Path:
    """An ONNX file of a graph that has our inputs and outputs, changed."""
    onnx = importlib.import_module("onnx")
    make, kinds = onnx.helper, onnx.TensorProto
    value = make.make_tensor_value_info
    graph = make.make_graph(
        [
            make.make_node("Constant", [], ["boxes"], value_float=0.0),
            make.make_node("Constant", [], ["scores"], value_float=0.0),
        ],
        "graph",
        [
            value("images", kinds.UINT8, ["b", 3, "h", "w"]),
            value("content", kinds.INT64, ["b", 2]),
        ],
        [value(name, kinds.FLOAT, None) for name in ("boxes", "scores")],
    )
    for node, shape in zip(graph.node, ((1, 30, 4), (1, 30, 3)), strict=True):
        tensor = onnx.numpy_helper.from_array(np.full(shape, 0.5, np.float32))
        node.attribute[0].CopyFrom(make.make_attribute("value", tensor))
    change(graph)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    make.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())
    return path


def constant(place: int, values: Any) -> Change:
    """Give one of the two outputs these values."""

    def change(graph: Any) -> None:
        onnx = importlib.import_module("onnx")
        tensor = onnx.numpy_helper.from_array(np.asarray(values, np.float32))
        graph.node[place].attribute[0].CopyFrom(onnx.helper.make_attribute("value", tensor))

    return change


def outside(graph: Any) -> None:
    """Take the values of an output from a file elsewhere."""
    tensor = graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in (("location", "../../../../../../etc/passwd"), ("length", "480")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


HOSTILE: dict[str, tuple[Change, dict[str, str], str]] = {
    "no_metadata": (lambda _: None, {"{config}": ""}, "not an ONNX file that 'export' wrote"),
    "config_is_no_json": (lambda _: None, {"config": "{"}, "that 'export' wrote"),
    "config_is_a_list": (lambda _: None, {"config": "[]"}, "config: expected an object"),
    "config_is_deep": (lambda _: None, {"config": "[" * 10**5}, "that 'export' wrote"),
    "unknown_key": (lambda _: None, {"config": '{"x": 1}'}, "that 'export' wrote"),
    "classes_are_no_names": (lambda _: None, {"classes": "[1, 2, 3]"}, "expected a list of names"),
    "no_classes": (lambda _: None, {"classes": "[]"}, "expected a list of names"),
    "other_classes": (lambda _: None, {"classes": '["one"]'}, "scores: expected the shape"),
    "huge_input": (lambda _: None, {"height": "10000000"}, "pixels is more than 67,108,864"),
    "other_input": (
        lambda graph: setattr(graph.input[0], "name", "x"),
        {},
        "its inputs and outputs are x tensor(uint8)",
    ),
    "no_output": (lambda graph: graph.output.pop(), {}, "its inputs and outputs are"),
    "flat_boxes": (constant(0, [1.0]), {}, "boxes: expected the shape"),
    "no_numbers": (constant(0, np.full((1, 30, 4), np.nan)), {}, "boxes: not all are finite"),
    "scores_of_100": (constant(1, np.full((1, 30, 3), 100.0)), {}, "scores: expected 0 to 1"),
    "values_elsewhere": (outside, {}, "not a readable ONNX file"),
    "unknown_operation": (
        lambda graph: setattr(graph.node[0], "op_type", "Explode"),
        {},
        "not a readable ONNX file",
    ),
}


@needs_onnx
@pytest.mark.parametrize("kind", list(HOSTILE))
def test_a_hostile_onnx_file_is_refused_in_a_sentence(
    kind: str, recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change, told, message = HOSTILE[kind]
    plain = plain_config(load_config(recipe))
    plain["input"]["fit"]["height"] = int(told.get("height", 96))
    config = told.get("config", json.dumps(plain))
    kept = {CONFIG_KEY: config, CLASSES_KEY: told.get("classes", json.dumps(CLASSES))}
    path = network(tmp_path / "m.onnx", change, **({} if kind == "no_metadata" else kept))
    write_photo(tmp_path / "a.jpg")
    assert main(["detect", str(path), str(tmp_path / "a.jpg"), "--out", str(tmp_path / "o")]) == 2
    error = capfd.readouterr().err
    assert message in error and f"{path}: " in error and "Traceback" not in error
    assert len(error.strip().splitlines()) == 1, error


@needs_onnx
def test_a_network_of_the_expected_form_is_run(recipe: Path, tmp_path: Path) -> None:
    config = json.dumps(plain_config(load_config(recipe)))
    kept = {CONFIG_KEY: config, CLASSES_KEY: json.dumps(CLASSES)}
    path = network(tmp_path / "m.onnx", lambda _: None, **kept)
    write_photo(tmp_path / "a.jpg")
    assert main(["detect", str(path), str(tmp_path / "a.jpg"), "--out", str(tmp_path / "o")]) == 0
