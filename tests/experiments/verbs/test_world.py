"""Labels as the world writes them: every verb reads the same objects, and none ends in a traceback.

A row is a data set with one kind of flaw and what is expected of it; a column is a verb.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.dataset import Dataset
from datasets.doctor.examine import examine
from datasets.doctor.kinds import REMARKS
from datasets.layouts import open_all, open_truth
from experiments.__main__ import main
from experiments.evaluation.dump import write_table
from experiments.evaluation.tables import CORNERS
from experiments.run.truth import read_truth

WIDTH, HEIGHT = 96, 64
BOX = (10, 12, 50, 44)  # 0-based, exclusive
IMAGES = ("a", "b", "c")


class Case(NamedTuple):
    make: Callable[[Path], Any]
    kinds: set[str]  # of findings, besides images in two splits
    boxes: int = 3  # usable ones of the training split
    split: str = "train"
    layout: str = "voc"
    fixed: bool = True  # by --fix without --allow-loss


def photo(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path.name))).integers(0, 255, (size[1], size[0], 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path, **options)


def xml(flag: str = "<difficult>0</difficult>", size: str | None = None, box: Any = None) -> str:
    x1, y1, x2, y2 = box or (BOX[0] + 1, BOX[1] + 1, BOX[2], BOX[3])
    stated = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    return (
        f"<annotation>{stated if size is None else size}<object><name>cat</name>{flag}<bndbox>"
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        "</annotation>"
    )


def voc(
    root: Path, text: str, names: tuple[str, ...] = IMAGES, lists: str = "\n", **how: Any
) -> None:
    for name in names:
        photo(root / f"JPEGImages/{name}{how.get('ending', '.jpg')}")
        path = root / f"Annotations/{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for split in ("train", "val", "test"):
        path = root / f"ImageSets/Main/{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((how.get("before", "") + lists.join(names) + lists).encode())


def turned(root: Path) -> None:
    """Photos on their side, with labels of the upright picture."""
    upright = f"<size><width>{HEIGHT}</width><height>{WIDTH}</height></size>"
    voc(root, xml(size=upright, box=(11, 31, 40, 80)))
    for name in IMAGES:
        exif = Image.Exif()
        exif[0x0112] = 6
        photo(root / f"JPEGImages/{name}.jpg", exif=exif)


def stray_bytes(root: Path) -> None:
    """JPEGs with bytes before a marker, which libjpeg skips."""
    voc(root, xml())
    for path in root.glob("JPEGImages/*.jpg"):
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\x00\x11\x22" + data[2:])


def deep_grey(root: Path) -> None:
    voc(root, xml(), ending=".png")
    for seed, path in enumerate(sorted(root.glob("JPEGImages/*.png"))):
        values = np.random.default_rng(seed).integers(8_000, 60_000, (HEIGHT, WIDTH))
        Image.fromarray(values.astype(np.uint16)).save(path)


def coco(
    root: Path,
    split: str = "annotations/instances_train.json",
    images: str = "train",
    **change: Any,
) -> None:
    for name in IMAGES:
        photo(root / images / f"{name}.jpg")
    rows = [
        {"id": n, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT}
        for n, name in enumerate(IMAGES)
    ]
    xywh = [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]
    things: list[dict[str, Any]] = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": xywh, "area": 1280, "iscrowd": 0}
        for n in range(3)
    ]
    document = {"images": rows, "annotations": things, "categories": [{"id": 1, "name": "cat"}]}
    change.get("edit", lambda document: None)(document)
    path = root / split
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(change.get("before", "") + json.dumps(document), "utf-8")


def edited(edit: Callable[[dict[str, Any]], Any], **how: Any) -> Callable[[Path], None]:
    return lambda root: coco(root, edit=edit, **how)


def each(table: str, **fields: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        for row in document[table]:
            row |= {k: v(row) if callable(v) else v for k, v in fields.items()}

    return edit


def roboflow(root: Path) -> None:
    for split in ("train", "valid", "test"):
        coco(root, f"{split}/_annotations.coco.json", split)


def yolo(root: Path) -> None:
    for split in ("train", "val", "test"):
        for name in IMAGES:
            photo(root / f"images/{split}/{name}.jpg")
            label = root / f"labels/{split}/{name}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("0 0.3125 0.4375 0.416666667 0.5\n")
    (root / "data.yaml").write_text(
        "train: images/train\nval: images/val\ntest: images/test\nnames: [cat]\n"
    )


JSON = "annotations/instances_train.json"
UNSAID = "<difficult>\n  Unspecified\n</difficult>"
CASES: dict[str, Case] = {
    "sound": Case(lambda root: voc(root, xml()), set()),
    "difficult_unspecified": Case(lambda root: voc(root, xml(UNSAID)), {"odd_flag"}),
    "difficult_missing": Case(lambda root: voc(root, xml("")), {"missing_difficult"}),
    "size_wrong": Case(
        lambda root: voc(root, xml(size="<size><width>40</width><height>30</height></size>")),
        {"other_size"},
    ),
    "size_zero": Case(
        lambda root: voc(root, xml(size="<size><width>0</width><height>0</height></size>")),
        {"missing_size"},
    ),
    "floats": Case(lambda root: voc(root, xml(box=("11.0", " 13.0\n", "50.0", "44.0"))), set()),
    "names_and_lists": Case(
        lambda root: voc(
            root, xml(), ("photo 1", "größe", "c"), "\r\n", before="\ufeff", ending=".PNG"
        ),
        set(),
    ),
    "exif_upright": Case(turned, {"turned"}),
    "stray_bytes": Case(stray_bytes, set()),
    "deep_grey": Case(deep_grey, {"deep_grey"}),
    "iscrowd_text": Case(edited(each("annotations", iscrowd="0")), set(), 3, JSON, "coco"),
    "ids_text": Case(
        edited(each("images", id=lambda row: str(row["id"]), width=str(WIDTH))),
        set(), 3, JSON, "coco",
    ),
    "box_text": Case(
        edited(each("annotations", bbox=lambda row: [str(v) for v in row["bbox"]])),
        set(), 3, JSON, "coco",
    ),
    "box_missing": Case(
        edited(lambda d: d["annotations"][1].pop("bbox")), {"bad_row"}, 2, JSON, "coco", False
    ),
    "box_empty": Case(
        edited(lambda d: d["annotations"][1].update(bbox=[])),
        {"not_a_number"}, 2, JSON, "coco", False,
    ),
    "not_a_number": Case(
        edited(lambda d: d["annotations"][1].update(bbox=[float("nan"), 1, 2, 3])),
        {"not_a_number"}, 2, JSON, "coco", False,
    ),
    "orphan": Case(
        edited(lambda d: d["annotations"][1].update(image_id=99)),
        {"bad_row"}, 2, JSON, "coco", False,
    ),
    "area_missing": Case(
        edited(lambda d: [row.pop("area") for row in d["annotations"]]),
        {"missing_area"}, 3, JSON, "coco",
    ),
    "category_twice": Case(
        edited(lambda d: d["categories"].insert(0, {"id": 0, "name": "cat"})),
        {"category_twice"}, 3, JSON, "coco",
    ),
    "backslash_and_bom": Case(
        edited(
            each("images", file_name=lambda row: f".\\train\\{row['file_name']}"),
            before="\ufeff",
        ),
        set(), 3, JSON, "coco",
    ),
    "roboflow": Case(roboflow, set(), 3, "train/_annotations.coco.json", "coco"),
    "yolo": Case(yolo, set(), layout="yolo"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Case, Path]:
    found = CASES[request.param]
    found.make(tmp_path / "data")
    return found, tmp_path / "data"


def objects(data: Dataset) -> list[tuple[str, str, bool, list[float]]]:
    found = []
    for index in range(len(data)):
        labels = data.annotation(index)
        rows = zip(labels.labels_N, labels.ignore_N, labels.boxes_N4, strict=True)
        found += [
            (labels.image_id, data.classes[label], bool(ignored), np.round(box, 2).tolist())
            for label, ignored, box in rows
        ]
    return found


def test_every_verb_reads_the_same_objects(
    case: tuple[Case, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, root = case
    trained = open_all(root, [row.split])
    (dataset,) = trained.values()
    seen = objects(dataset)
    assert len(seen) == row.boxes and not any(ignored for _, _, ignored, _ in seen)
    judged = examine(root, [row.split])
    assert judged.splits[row.split].objects == row.boxes
    assert {finding.kind for finding in judged.findings} - {"in_two_splits"} == row.kinds
    truth_at = root / row.split if row.layout == "coco" else root
    assert objects(open_truth(truth_at, row.split)[0]) == seen
    truth = read_truth(truth_at, row.split)
    boxes = truth.objects[CORNERS].to_numpy().round(2).tolist()
    assert boxes == [box for _, _, _, box in seen]
    found = pd.DataFrame({name: truth.objects[name] for name in ("image_id", "label", *CORNERS)})
    table = write_table(
        tmp_path / "found.parquet", found.assign(score=0.5), "detections", truth.classes
    )
    words = ["eval", "--detections", str(table), "--truth", str(truth_at), "--split", row.split]
    assert main(words) == 0
    assert "100.00" in capsys.readouterr().out
    assert main(["data", "stats", str(root), row.split]) == 0
    assert main(["doctor", str(root), row.split, "--json"]) in (0, 1)


def test_the_repaired_copy_has_the_same_objects(
    case: tuple[Case, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, root = case
    copy = tmp_path / "copy"
    words = ["doctor", str(root), row.split, "--fix", str(copy)]
    assert main(words) == (2 if not row.fixed else 0 if row.kinds <= REMARKS else 1)
    if not row.fixed:
        assert "1 of 3 objects would go" in capsys.readouterr().err and not copy.exists()
        assert main([*words, "--allow-loss"]) == 1
    (before,), (after,) = open_all(root, [row.split]).values(), open_all(copy, [row.split]).values()
    assert objects(before) == objects(after) and len(objects(after)) == row.boxes
    assert {finding.kind for finding in examine(copy, [row.split]).findings} <= REMARKS


TRAINED = ["difficult_unspecified", "roboflow", "yolo"]


@pytest.mark.parametrize(
    "name",
    [n if n in TRAINED else pytest.param(n, marks=pytest.mark.slow) for n in CASES],
)
def test_two_iterations_learn_from_them(name: str, tmp_path: Path) -> None:
    row, root = CASES[name], tmp_path / "data"
    row.make(root)
    splits = ", ".join(f"{split}: {row.split}" for split in ("train", "val", "test"))
    data = f"{{name: {row.layout}, root: {root}, {splits}}}"
    words = [f"data={data}", "train.iterations=2", "train.batch_size=1", "train.workers=0"]
    run = tmp_path / "run"
    assert main(["train", "configs/glyphs/yolov2_focal.yaml", *words, "--out", str(run)]) == 0
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "finished" and record["data"]["train"]["objects"] == row.boxes


def test_a_split_without_a_usable_object_stops_before_the_first_iteration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    voc(root, xml("<difficult>1</difficult>"))
    data = f"{{name: voc, root: {root}, train: train, val: val, test: test}}"
    words = [f"data={data}", "train.iterations=2", "--out", str(tmp_path / "run")]
    assert main(["train", "configs/glyphs/yolov2_focal.yaml", *words]) == 2
    told = capsys.readouterr().err
    assert "split train: not one usable object in 3 images (3 ignored" in told
    assert "Traceback" not in told
