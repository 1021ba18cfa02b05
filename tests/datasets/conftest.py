import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).parents[2].parent / "shared/data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test starts with an empty index cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(folder))  # the user's own is not a test's
    return folder


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A folder of the real data beside the checkout; skips where it is absent."""

    def find(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"real data {name} is not beside this checkout")
        return SHARED / name

    return find


def _xml(objects: list[dict[str, Any]], width: int, height: int) -> str:
    parts = []
    for thing in objects:
        x1, y1, x2, y2 = thing["box"]
        difficult = thing.get("difficult", 0)
        flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
        parts.append(
            f"<object><name>{thing['name']}</name>{flag}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(parts)}</annotation>"


@pytest.fixture
def make_voc(tmp_path: Path) -> Callable[..., Path]:
    """Write a VOC folder: {split: {stem: [objects]}}, images 60 wide and 40 high."""

    def make(
        splits: dict[str, dict[str, list[dict[str, Any]]]],
        *,
        folder: str = "voc",
        images: bool = True,
    ) -> Path:
        root = tmp_path / folder
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for split, stems in splits.items():
            (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{s}\n" for s in stems))
            for stem, objects in stems.items():
                (root / f"Annotations/{stem}.xml").write_text(_xml(objects, 60, 40))
                if images:
                    write_image(root / f"JPEGImages/{stem}.jpg", len(stem))
        return root

    return make


@pytest.fixture
def make_coco(tmp_path: Path) -> Callable[..., Path]:
    """Write a COCO folder with one split `train` from a document; images named in it are drawn."""

    def make(document: Any, *, folder: str = "coco") -> Path:
        root = tmp_path / folder
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / "images").mkdir(exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        (root / "annotations/instances_train.json").write_text(text)
        if isinstance(document, dict):
            for image in document.get("images", []):
                write_image(root / "images" / image["file_name"], 0)
        return root

    return make


def write_image(path: Path, seed: int, width: int = 60, height: int = 40) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture
def draw_image() -> Iterator[Callable[..., None]]:
    """The function that writes a random image."""
    yield write_image
