"""Every shipped recipe trains: two updates and a measurement, on data of the layout it names.

The data are made on the fly: a devkit of two years, flat VOC folders, COCO files. Most recipes run
narrowed and on small inputs; those in FULL as they are, but for the images of an update.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.glyphs.write import write_glyphs
from datasets.labels import COCO_CATEGORY_IDS, COCO_CLASSES, VOC_CLASSES
from experiments.config.run import load_config, plain_config
from experiments.record.record import RunRecord
from experiments.run.training import train_run

CHECKOUT = Path(__file__).parents[2]
RECIPES = sorted(
    path.relative_to(CHECKOUT / "configs").with_suffix("").as_posix()
    for path in (CHECKOUT / "configs").rglob("*.yaml")
    if path.parent.name != "studies"
)
FULL = (
    "voc/voc0712_yolov2_focal",
    "voc/voc0712_retinanet_focal",
    "coco/yolov2_cross_entropy",
    "coco/retinanet_soft_gamma",
)
SAMPLE = ("voc/voc0712_yolov2_soft_gamma", "coco/retinanet_focal")
CELLS = ("RBC", "WBC", "Platelets")
ANIMALS = ("cat", "cow", "dog", "horse", "person", "sheep")
Object = tuple[str, tuple[int, int, int, int]]


def scene(number: int, classes: tuple[str, ...]) -> tuple[Image.Image, list[Object]]:
    """A noisy picture with three bright boxes, and what they are; corners 1-based, inclusive."""
    random = np.random.default_rng(number)
    height, width = (150, 200) if number % 2 else (200, 150)
    pixels = random.integers(0, 90, (height, width, 3), dtype=np.uint8)
    objects: list[Object] = []
    for place in range(3):
        x, y = 5 + 45 * place, 10 + int(random.integers(0, 60))
        w, h = int(random.integers(20, 40)), int(random.integers(20, 70))
        pixels[y : y + h, x : x + w] = random.integers(120, 255, 3)
        objects.append((classes[(3 * number + place) % len(classes)], (x + 1, y + 1, x + w, y + h)))
    return Image.fromarray(pixels), objects


def write_voc(root: Path, classes: tuple[str, ...], splits: dict[str, int], first: int = 0) -> None:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, count in splits.items():
        names = []
        for number in range(first, first + count):
            name = f"{split}{number:06}"
            image, objects = scene(number, classes)
            image.save(root / f"JPEGImages/{name}.jpg", quality=90)
            (root / f"Annotations/{name}.xml").write_text(annotation(name, image, objects))
            names.append(name)
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(names) + "\n")


def annotation(name: str, image: Image.Image, objects: list[Object]) -> str:
    parts = [
        f"<object><name>{label}</name><difficult>{int(place == 2)}</difficult><bndbox>"
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for place, (label, (x1, y1, x2, y2)) in enumerate(objects)
    ]
    size = f"<width>{image.width}</width><height>{image.height}</height><depth>3</depth>"
    return (
        f"<annotation><filename>{name}.jpg</filename><size>{size}</size>"
        f"{''.join(parts)}</annotation>"
    )


def write_coco(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 6), ("val2017", 3)):
        (root / split).mkdir()
        images, annotations = [], []
        for number in range(1, count + 1):
            name = f"{number:012}.jpg"
            image, objects = scene(number, COCO_CLASSES)
            image.save(root / split / name, quality=90)
            images.append(
                {"id": number, "file_name": name, "height": image.height, "width": image.width}
            )
            for place, (label, (x1, y1, x2, y2)) in enumerate(objects):
                box = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]
                annotations.append(
                    {
                        "id": 10 * number + place,
                        "image_id": number,
                        "category_id": COCO_CATEGORY_IDS[COCO_CLASSES.index(label)],
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": int(place == 2),
                    }
                )
        categories = [
            {"id": number, "name": label}
            for number, label in zip(COCO_CATEGORY_IDS, COCO_CLASSES, strict=True)
        ]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(whole))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder `data/` as the recipes expect it, with a handful of images in each set."""
    root = tmp_path_factory.mktemp("recipes") / "data"
    # 7 images of 3 objects name each of VOC's 20 classes.
    write_voc(root / "VOCdevkit/VOC2007", VOC_CLASSES, {"trainval": 7, "test": 3})
    write_voc(root / "VOCdevkit/VOC2012", VOC_CLASSES, {"trainval": 4}, first=20)
    write_voc(root / "BCCD", CELLS, {"train": 4, "val": 2, "test": 2})
    write_voc(root / "VOC-animals", ANIMALS, {"train": 4, "val": 2})
    write_coco(root / "coco")
    write_coco(root / "coco128")
    write_glyphs(root / "glyphs", train=6, val=2, test=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTGAMMA_CACHE", str(root / "cache"))
        yield root


def overrides(recipe: str, data: Path, *, full: bool) -> list[str]:
    """What makes the recipe run here: its data, no weights from files or networks, two updates."""
    plain = plain_config(load_config(CHECKOUT / f"configs/{recipe}.yaml"))
    backbone, network = plain["detector"]["backbone"], plain["detector"]["name"]
    words = [
        f"data.root={data / Path(plain['data']['root']).name}",
        "train.iterations=2",
        f"train.batch_size={1 if full else 2}",
        f"train.accumulate={min(2, plain['train']['accumulate'])}",
        "train.workers=0",
        "evaluate.batch_size=2",
        "tracking.wandb=off",
    ]
    if not str(backbone["weights"]).startswith("package:"):
        words.append("detector.backbone.weights=null")
    if full:
        return words
    words.append("input.fit={mode: stretch, height: 96, width: 128}")
    if plain["input"]["sizes"]:
        words += ["input.sizes=[[64, 64], [96, 96]]", "input.every=1"]
    if plain["input"]["last_size"]:
        words += ["input.last_size=[96, 96]", "input.last_batches=1"]
    if backbone["name"] == "darknet19":
        words.append("detector.backbone.width=0.125")
    if backbone.get("arch") in ("resnet50", "resnet101"):
        words.append("detector.backbone.arch=resnet18")
    narrow = {"yolov2": "head_width=64", "retinanet": "pyramid.width=64"}[network]
    return [*words, f"detector.{narrow}"]


def two_updates(recipe: str, data: Path, folder: Path, *, full: bool) -> RunRecord:
    words = overrides(recipe, data, full=full)
    return train_run(load_config(CHECKOUT / f"configs/{recipe}.yaml", words), folder, words)


def check(record: RunRecord) -> None:
    assert record.error is None and record.status == "finished"
    assert [row["iteration"] for row in record.curves] == [1, 2]
    for row in record.curves:
        assert math.isfinite(row["loss"] or math.nan) and (row["foreground"] or 0) > 0
    assert record.metrics is not None and record.metrics.voc07_map is not None
    assert record.data is not None and record.data.test is not None


@pytest.mark.parametrize("recipe", SAMPLE)
def test_a_sample_of_the_recipes_trains(recipe: str, data: Path, tmp_path: Path) -> None:
    check(two_updates(recipe, data, tmp_path / "run", full=False))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in SAMPLE])
def test_every_recipe_trains(recipe: str, data: Path, tmp_path: Path) -> None:
    check(two_updates(recipe, data, tmp_path / "run", full=False))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FULL)
def test_full_recipes_train_at_their_own_width_and_size(
    recipe: str, data: Path, tmp_path: Path
) -> None:
    check(two_updates(recipe, data, tmp_path / "run", full=True))


def test_every_recipe_is_run_here() -> None:
    assert set(FULL) <= set(RECIPES) and set(SAMPLE) <= set(RECIPES)
    assert len(RECIPES) >= 31
