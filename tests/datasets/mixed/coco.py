"""A scene as instances JSON, with the faults that people's programs put there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.datasets.mixed.scene import (
    CLASSES,
    HEIGHT,
    PICTURE_FAULTS,
    WIDTH,
    Fault,
    Picture,
    Scene,
    write,
)

Row = dict[str, Any]
Edit = Callable[["File", Row, Row], Any]


class File:
    """One instances file before it is written: a row of `images` for each picture."""

    def __init__(self, scene: Scene, split: slice) -> None:
        photos = list(enumerate(scene.photos))[split]
        self.pictures = [Picture(number, photo.stem) for number, photo in photos]
        self.images: list[Any] = []
        self.annotations: list[Any] = []
        self.categories: list[Any] = [{"id": k, "name": n} for k, n in enumerate(CLASSES, 1)]
        self.encode: Callable[[str], bytes] = str.encode
        for number, photo in photos:
            size = {"width": WIDTH, "height": HEIGHT}
            self.images.append({"id": number, "file_name": f"{photo.stem}.jpg", **size})
            for thing in photo.things:
                x1, y1, x2, y2 = thing.box
                self.annotations.append(
                    {
                        "id": 10 * number + len(self.annotations) + 1,
                        "image_id": number,
                        "category_id": 1 + CLASSES.index(thing.name),
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )

    def image(self, row: Row) -> Row:
        return next(image for image in self.images if image.get("id") == row.get("image_id"))


def _set(field: str, value: Any) -> Edit:
    return lambda file, image, thing: thing.update({field: value})


def _change(field: str, change: Callable[[Any], Any]) -> Edit:
    def edit(file: File, image: Row, thing: Row) -> None:
        if field in thing:
            thing[field] = change(thing[field])

    return edit


def _image(field: str, change: Callable[[Any], Any]) -> Edit:
    def edit(file: File, image: Row, thing: Row) -> None:
        if field in image:
            image[field] = change(image[field])

    return edit


def _ids(change: Callable[[int], Any]) -> Edit:
    def edit(file: File, image: Row, thing: Row) -> None:
        for row in file.images:
            if isinstance(row, dict) and "id" in row:
                row["id"] = change(int(row["id"]))

    return edit


def _numbers(change: Callable[[float], Any]) -> Callable[[Any], Any]:
    def edit(box: Any) -> Any:
        return [change(v) if isinstance(v, (int, float)) else v for v in box] if box else box

    return edit


def _twice(file: File, image: Row, thing: Row) -> None:
    """Most annotations of the first class use a second id of the same name."""
    file.categories.insert(0, {"id": 0, "name": CLASSES[0]})
    thing["category_id"] = 0 if thing["category_id"] == 1 else thing["category_id"]


FAULTS: dict[str, Edit] = {
    "crowd_text": _set("iscrowd", "0"),
    "crowd_null": _set("iscrowd", None),
    "crowd_false": _set("iscrowd", False),
    "crowd_word": _set("iscrowd", "unknown"),
    "crowd_missing": lambda file, image, thing: thing.pop("iscrowd", None),
    "area_missing": lambda file, image, thing: thing.pop("area", None),
    "area_word": _set("area", "?"),
    "area_below_zero": _set("area", -1),
    "area_text": _change("area", str),
    "box_text": _change("bbox", _numbers(str)),
    "box_float": _change("bbox", _numbers(float)),
    "box_missing": lambda file, image, thing: thing.pop("bbox", None),
    "box_null": _set("bbox", None),
    "box_empty": _set("bbox", []),
    "box_short": _change("bbox", lambda box: box[:3] if isinstance(box, list) else box),
    "box_mapping": _set("bbox", {"x": 1}),
    "box_nan": _set("bbox", [1, float("nan"), 5, 5]),
    "box_endless": _set("bbox", [1, 2, float("inf"), 5]),
    "box_negative": _change(
        "bbox", lambda b: [float(b[0]) + float(b[2]), b[1], -float(b[2]), b[3]]
        if b and len(b) == 4 and all(isinstance(v, (int, float)) for v in b) else b
    ),
    "box_flat": _set("bbox", [5, 5, 0, 8]),
    "box_far": _set("bbox", [30, 20, 90, 90]),
    "box_outside": _set("bbox", [900, 900, 5, 5]),
    "id_text": _change("id", str),
    "id_float": _change("id", float),
    "id_missing": lambda file, image, thing: thing.pop("id", None),
    "id_twice": _set("id", 1),
    "image_id_text": _change("image_id", str),
    "image_id_orphan": _set("image_id", 999),
    "image_id_missing": lambda file, image, thing: thing.pop("image_id", None),
    "category_text": _change("category_id", str),
    "category_orphan": _set("category_id", 77),
    "category_twice": _twice,
    "row_twice": lambda file, image, thing: file.annotations.append(dict(thing)),
    "row_null": lambda file, image, thing: file.annotations.insert(0, None),
    "row_word": lambda file, image, thing: file.annotations.append("thing"),
    "image_null": lambda file, image, thing: file.images.append(None),
    "image_twice": lambda file, image, thing: file.images.append(dict(image)),
    "image_no_name": lambda file, image, thing: image.pop("file_name", None),
    "image_no_id": lambda file, image, thing: image.pop("id", None),
    "image_ids_text": _ids(str),
    "image_ids_float": _ids(float),
    "width_missing": lambda file, image, thing: image.pop("width", None),
    "width_zero": _image("width", lambda value: 0),
    "width_text": _image("width", str),
    "size_other": lambda file, image, thing: image.update(width=30, height=20),
    "name_backslash": _image("file_name", lambda name: f".\\images\\{name}"),
    "name_folder": _image("file_name", lambda name: f"images/{name}"),
    "name_elsewhere": _image("file_name", lambda name: f"/home/someone/photos/{name}"),
    "name_other_case": _image("file_name", lambda name: str(name).upper()),
    "bom": lambda file, image, thing: setattr(
        file, "encode", lambda text: b"\xef\xbb\xbf" + text.encode()
    ),
    "utf16": lambda file, image, thing: setattr(file, "encode", lambda text: text.encode("utf-16")),
    "cut_json": lambda file, image, thing: setattr(file, "encode", lambda t: t.encode()[:-30]),
    "no_categories_used": lambda file, image, thing: file.categories.append(
        {"id": 40, "name": "things", "supercategory": "none"}
    ),
    "category_null": lambda file, image, thing: file.categories.append(None),
}  # fmt: skip


class _COCO:
    faults = (*FAULTS, *PICTURE_FAULTS)

    def __call__(self, root: Path, scene: Scene) -> None:
        for split, part in (("train", slice(-1)), ("val", slice(-1, None))):
            file = File(scene, part)
            for fault in scene.faults:
                _apply(file, fault)
            for picture in file.pictures:
                picture.write(root / "images")
            document = {
                "images": file.images,
                "annotations": file.annotations,
                "categories": file.categories,
            }
            text = json.dumps(document, ensure_ascii=False)
            write(root / f"annotations/instances_{split}.json", file.encode(text))


def _apply(file: File, fault: Fault) -> None:
    """Faults hit both files alike."""
    if fault.name in PICTURE_FAULTS:
        number = fault.photo % len(file.pictures)
        PICTURE_FAULTS[fault.name](file.pictures[number])
        row = file.images[number]
        if isinstance(row, dict) and fault.name == "turned":
            pass  # the labels are of the upright picture, whose size they state
        return
    things = [row for row in file.annotations if isinstance(row, dict)]
    images = [row for row in file.images if isinstance(row, dict)]
    FAULTS[fault.name](file, images[fault.photo % len(images)], things[fault.thing % len(things)])


coco = _COCO()
