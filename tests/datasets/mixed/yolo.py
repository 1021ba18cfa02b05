"""A scene as text labels in the layouts of ultralytics, Roboflow and Darknet, with their faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.datasets.mixed.scene import (
    CLASSES,
    HEIGHT,
    PICTURE_FAULTS,
    WIDTH,
    Fault,
    Photo,
    Picture,
    Scene,
    write,
)

Line = list[str]


KEYPOINTS = "0.2 0.3 2 0.9 0.8 1".split()  # two of them, whether in sight


class File:
    """One label file before it is written."""

    def __init__(self, number: int, photo: Photo, keypoints: bool) -> None:
        self.tail = KEYPOINTS if keypoints else []
        self.picture = Picture(number, photo.stem)
        self.there = True
        self.encode: Callable[[str], bytes] = str.encode
        self.lines: list[Line] = []
        for thing in photo.things:
            x1, y1, x2, y2 = thing.box
            numbers = (
                *((x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT),
                *((x2 - x1) / WIDTH, (y2 - y1) / HEIGHT),
            )
            label = str(CLASSES.index(thing.name))
            self.lines.append([label, *(f"{value:.6f}" for value in numbers)])

    def text(self) -> bytes:
        lines = (line + self.tail if len(line) == 5 else line for line in self.lines)
        return self.encode("".join(f"{' '.join(line)}\n" for line in lines))


def _word(place: int, change: Callable[[str], str]) -> Callable[[File, Line], None]:
    def edit(_: File, line: Line) -> None:
        if place < len(line):
            line[place] = change(line[place])

    return edit


def _flat(_: File, line: Line) -> None:
    if len(line) == 5:
        line[4] = "0"


def _polygon(file: File, line: Line) -> None:
    if len(line) == 5 and file.lines.count(line) == 1:  # its twin would be rounded otherwise
        try:
            cx, cy, w, h = map(float, line[1:])
        except ValueError:
            return
        corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        line[1:] = [f"{value:.6f}" for value in (*corners, cx - w / 2, cy + h / 2)]


def _flip(word: str) -> str:
    return word[1:] if word.startswith("-") else f"-{word}"


POLYGONS = ("polygon", "score", "short")  # no lines of a set with keypoints
FAULTS: dict[str, Callable[[File, Line], Any]] = {
    "class_float": _word(0, lambda word: f"{word}.0" if word.isdigit() else word),
    "class_name": _word(0, lambda word: CLASSES[0] if word == "0" else word),
    "class_beyond": _word(0, lambda word: "99"),
    "class_below": _word(0, lambda word: "-1"),
    "class_word": _word(0, lambda word: "dgo"),
    "no_number": _word(2, lambda word: "nan"),
    "word": _word(3, lambda word: "wide"),
    "pixels": _word(3, lambda word: "317"),
    "far": _word(1, lambda word: "0.98"),
    "outside": _word(2, lambda word: "1.9"),
    "negative": _word(3, _flip),
    "no_area": _flat,
    "score": lambda _, line: line.append("0.9") if len(line) == 5 else None,
    "short": lambda _, line: line.__delitem__(slice(3, None)),
    "polygon": _polygon,
    "twice": lambda file, line: file.lines.append(list(line)),
    "blank_line": lambda file, line: file.lines.insert(0, []),
    "bom_crlf": lambda file, line: setattr(
        file, "encode", lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    ),
    "tabs": lambda file, line: setattr(
        file, "encode", lambda text: text.replace(" ", "\t").encode()
    ),
    "no_newline": lambda file, line: setattr(file, "encode", lambda text: text[:-1].encode()),
    "no_text": lambda file, line: setattr(
        file, "encode", lambda text: b"\xff\xfe\x00" + text.encode()
    ),
    "no_labels": lambda file, line: setattr(file, "there", False),
}
LISTS: dict[str, Callable[[str], str]] = {
    "list_bom_crlf": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "list_from_elsewhere": lambda text: "".join(
        f"/content/drive/set/{line}\n" for line in text.splitlines()
    ),
    "list_backslashes": lambda text: text.replace("/", "\\"),
    "list_twice": lambda text: text + text,
    "list_blank_lines": lambda text: text.replace("\n", "\n\n"),
}
LAYOUTS = ("ultralytics", "roboflow", "folders", "darknet", "darknet_labels", "keypoints")
NAMES = "names: [cat, hot dog, größe]\n"


class _YOLO:
    def __init__(self, layout: str) -> None:
        self._layout = layout
        unfit = POLYGONS if layout == "keypoints" else ()
        self.faults = [f for f in (*FAULTS, *PICTURE_FAULTS, *LISTS) if f not in unfit]

    def __call__(self, root: Path, scene: Scene) -> None:
        pose = self._layout == "keypoints"
        files = [File(number, photo, pose) for number, photo in enumerate(scene.photos)]
        spelt: Callable[[str], str] = str
        for fault in scene.faults:
            spelt = LISTS.get(fault.name, spelt)
            _apply(files[fault.photo % len(files)], fault)
        for split, part in (("train", files[:-1]), ("val", files[-1:])):
            images, labels = self._folders(split)
            for file in part:
                file.picture.write(root / images)
                # without a list a photo of which both files are gone has never been there
                listed = self._layout.startswith("darknet")
                if file.there or not (file.picture.there or listed):
                    write(root / labels / f"{file.picture.stem}.txt", file.text())
            if self._layout.startswith("darknet"):
                lines = (f"{images}/{f.picture.stem}{f.picture.ending}\n" for f in part)
                write(root / f"data/{split}.txt", spelt("".join(lines)).encode())
        self._describe(root)

    def _folders(self, split: str) -> tuple[str, str]:
        """Of images and of labels."""
        if self._layout == "roboflow":
            folder = "valid" if split == "val" else split
            return f"{folder}/images", f"{folder}/labels"
        if self._layout == "darknet":
            return f"data/obj_{split}_data", f"data/obj_{split}_data"
        return f"images/{split}", f"labels/{split}"

    def _describe(self, root: Path) -> None:
        folders = "train: images/train\nval: images/val\n"
        texts = {
            "ultralytics": {"data.yaml": f"path: .\n{folders}{NAMES}"},
            "keypoints": {"pose.yaml": f"{folders}{NAMES}kpt_shape: [2, 3]\n"},
            "roboflow": {
                "data.yaml": f"train: ../train/images\nval: ../valid/images\nnc: 3\n{NAMES}"
            },
            "folders": {"classes.txt": "\n".join(CLASSES)},
        }.get(
            self._layout,
            {
                "data/obj.data": "classes= 3\ntrain  = data/train.txt\nvalid = data/val.txt\n"
                "names = data/obj.names\nbackup = backup\n",
                "data/obj.names": "\r\n".join(CLASSES) + "\r\n",
            },
        )
        for name, text in texts.items():
            write(root / name, text.encode())


def _apply(file: File, fault: Fault) -> None:
    if fault.name in PICTURE_FAULTS:
        PICTURE_FAULTS[fault.name](file.picture)
    elif fault.name in FAULTS and file.lines:
        FAULTS[fault.name](file, file.lines[fault.thing % len(file.lines)])


YOLO_FORMS = {layout: _YOLO(layout) for layout in LAYOUTS}
