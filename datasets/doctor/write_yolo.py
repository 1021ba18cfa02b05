"""A repaired copy in YOLO's layout: label files, lists and the data.yaml that names them."""

from pathlib import Path
from typing import Any

import yaml

from datasets.doctor.examine import Examination
from datasets.doctor.fates import Fates
from datasets.formats.values import text_of
from datasets.formats.yolo_layout import SAME, SPLITS, read_layout
from datasets.formats.yolo_text import SCORED
from datasets.index import source_of, text_at


def write_yolo(seen: Examination, fates: Fates, out: Path) -> dict[str, str]:
    """Write label files, lists and data.yaml below `out`; returns the name of each split there."""
    layout = read_layout(seen.root)
    for image in range(len(seen.joined.splits)):
        source = seen.root / source_of(seen.raw, image)
        if source.is_file():
            target = out / source_of(seen.raw, image)
            target.parent.mkdir(parents=True, exist_ok=True)
            data = source.read_bytes()
            stays = fates.image_stays_I[image]
            target.write_bytes(
                _mended(seen, fates, image, data, layout.keypoints) if stays else data
            )
    names: dict[str, str] = {}
    for number, split in enumerate(seen.written):
        stays = [int(r) for r in seen.joined.rows[split] if fates.image_stays_I[r]]
        if not stays:
            continue  # counted; readers refuse a split without an image
        name = _name(split)
        name = f"split{number}" if name is None or name in names.values() else name
        names[split] = name
        lines = (f"./{text_at(seen.raw, 'image', row)}\n" for row in stays)
        (out / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    document: dict[Any, Any] = {name: f"{name}.txt" for name in names.values()}
    classes = dict(enumerate(seen.raw.meta["names"]))
    document |= {"names": classes, **layout.rest}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (out / "data.yaml").write_text(text, encoding="utf-8")
    return names


def _name(split: str) -> str | None:
    """The name that a split of any spelling has in data.yaml; None for one that has none there."""
    words = [SAME.get(word, word) for word in split.replace(".", "/").split("/")]
    return next((word for word in words if word in SPLITS), None)


def _mended(seen: Examination, fates: Fates, image: int, data: bytes, keypoints: bool) -> bytes:
    lines = text_of(data).splitlines()
    start, end = seen.raw["first"][image : image + 2].tolist()
    height, width = seen.raw["size_hw"][image].tolist()
    kept = []
    for row in range(start, end):
        if fates.stays_N[row]:
            words = lines[int(seen.raw["place"][row]) - 1].split()
            tail = words[5:] if keypoints else []
            words[0] = str(int(seen.raw["name"][row]))  # of two numbers of one name the first
            if fates.changed_N[row]:
                x1, y1, x2, y2 = fates.box(row)
                centre = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
                numbers = (*centre, (x2 - x1) / width, (y2 - y1) / height)
                told = (f"{value:.6f}" for value in numbers)
                words = [words[0], *told, *tail]
            elif len(words) == SCORED and not keypoints:
                words.pop()  # named by the doctor
            kept.append(" ".join(words))
    return "".join(f"{line}\n" for line in kept).encode()
