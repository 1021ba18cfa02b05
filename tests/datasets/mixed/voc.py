"""A scene as VOC XML and lists, with the faults that exporters put there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.datasets.mixed.scene import (
    HEIGHT,
    PICTURE_FAULTS,
    WIDTH,
    Fault,
    Photo,
    Picture,
    Scene,
    write,
)

TAGS = ("xmin", "ymin", "xmax", "ymax")
Row = dict[str, Any]


class File:
    """One XML file before it is written."""

    def __init__(self, number: int, photo: Photo) -> None:
        self.picture = Picture(number, photo.stem)
        self.size: tuple[Any, Any] | None = (WIDTH, HEIGHT)
        self.filename = ""
        self.head, self.encoding, self.before = "", "utf-8", b""
        self.cut, self.there = False, True
        self.things: list[Row] = []
        for thing in photo.things:
            x1, y1, x2, y2 = thing.box
            corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
            flag = "<difficult>0</difficult>"
            self.things.append({"name": thing.name, "flag": flag, "box": corners})

    def text(self) -> bytes:
        parts = [f"{self.head}<annotation>"]
        if self.filename:
            parts.append(f"<filename>{self.filename}</filename>")
        if self.size is not None:
            width, height = self.size
            parts.append(f"<size><width>{width}</width><height>{height}</height></size>")
        for thing in self.things:
            box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in thing["box"].items())
            box = f"<bndbox>{box}</bndbox>" if thing["box"] else ""
            parts.append(f"<object><name>{thing['name']}</name>{thing['flag']}{box}</object>\n")
        text = "".join([*parts, "</annotation>"])
        if self.cut:
            text = text[: len(text) - 20]
        return self.before + text.encode(self.encoding)


def _flag(word: str | None) -> Callable[[File, Row], None]:
    def edit(_: File, thing: Row) -> None:
        thing["flag"] = "" if word is None else f"<difficult>{word}</difficult>"

    return edit


def _corner(tag: str, change: Callable[[float], Any]) -> Callable[[File, Row], None]:
    def edit(_: File, thing: Row) -> None:
        value = thing["box"].get(tag)
        if isinstance(value, (int, float)):
            thing["box"][tag] = change(value)

    return edit


def _swap(low: str, high: str) -> Callable[[File, Row], None]:
    def edit(_: File, thing: Row) -> None:
        box = thing["box"]
        if low in box and high in box:
            box[low], box[high] = box[high], box[low]

    return edit


def _size(width: Any, height: Any) -> Callable[[File, Row], None]:
    return lambda file, _: setattr(file, "size", (width, height))


def _text(encoding: str, head: str, before: bytes = b"") -> Callable[[File, Row], None]:
    def edit(file: File, _: Row) -> None:
        file.encoding, file.head, file.before = encoding, head, before

    return edit


FAULTS: dict[str, Callable[[File, Row], Any]] = {
    "flag_word": _flag("Unspecified"),
    "flag_blank": _flag("\n  0\n"),
    "flag_no": _flag("False"),
    "flag_missing": _flag(None),
    "float": _corner("xmin", lambda value: f"{value}.0"),
    "blanks": _corner("ymax", lambda value: f" {value}\n"),
    "word": _corner("xmax", lambda value: "?"),
    "no_number": _corner("ymin", lambda value: "nan"),
    "endless": _corner("xmax", lambda value: "inf"),
    "far": _corner("xmax", lambda value: value + 80),
    "before": _corner("ymin", lambda value: value - 60),
    "outside": _corner("xmin", lambda value: value + 900),
    "swapped_x": _swap("xmin", "xmax"),
    "swapped_y": _swap("ymin", "ymax"),
    "no_area": lambda _, thing: thing["box"].update(xmax=thing["box"].get("xmin", 1)),
    "no_corner": lambda _, thing: thing["box"].pop("ymax", None),
    "no_box": lambda _, thing: thing["box"].clear(),
    "no_name": lambda _, thing: thing.update(name=" "),
    "blank_name": lambda _, thing: thing.update(name=f"\n {thing['name']} "),
    "twice": lambda file, thing: file.things.append({**thing, "box": dict(thing["box"])}),
    "no_size": lambda file, _: setattr(file, "size", None),
    "size_zero": _size(0, 0),
    "size_word": _size("?", HEIGHT),
    "size_other": _size(30, 20),
    "size_turned": _size(HEIGHT, WIDTH),
    "size_float": _size(float(WIDTH), float(HEIGHT)),
    "filename": lambda file, _: setattr(file, "filename", f"{file.picture.stem}.jpg"),
    "filename_windows": lambda file, _: setattr(
        file, "filename", f"C:\\photos\\{file.picture.stem.upper()}.JPG"
    ),
    "filename_other": lambda file, _: setattr(file, "filename", "elsewhere.jpg"),
    "bom": _text("utf-8", '<?xml version="1.0"?>', b"\xef\xbb\xbf"),
    "latin": _text("latin-1", '<?xml version="1.0" encoding="ISO-8859-1"?>'),
    "latin_unsaid": _text("latin-1", ""),
    "utf16": _text("utf-16", '<?xml version="1.0" encoding="UTF-16"?>'),
    "doctype": _text("utf-8", "<!DOCTYPE annotation>"),
    "comment": _text("utf-8", "<!-- made by hand -->"),
    "cut_xml": lambda file, _: setattr(file, "cut", True),
    "no_xml": lambda file, _: setattr(file, "there", False),
}
LISTS: dict[str, Callable[[str], bytes]] = {
    "list_bom_crlf": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    "list_utf16": lambda text: text.encode("utf-16"),
    "list_endings": lambda text: text.replace("\n", ".jpg\n").encode(),
    "list_verdicts": lambda text: text.replace("\n", "  1\n").encode(),
    "list_paths": lambda text: "".join(
        f"D:\\data\\JPEGImages\\{line}.jpg\n" for line in text.splitlines()
    ).encode(),
    "list_twice": lambda text: (text + text).encode(),
}


class _VOC:
    faults = (*FAULTS, *PICTURE_FAULTS, *LISTS)

    def __call__(self, root: Path, scene: Scene) -> None:
        files = [File(number, photo) for number, photo in enumerate(scene.photos)]
        encode: Callable[[str], bytes] = str.encode
        for fault in scene.faults:
            encode = LISTS.get(fault.name, encode)
            _apply(files[fault.photo % len(files)], fault)
        for file in files:
            file.picture.write(root / "JPEGImages")
            if file.there:
                write(root / f"Annotations/{file.picture.stem}.xml", file.text())
        stems = [f"{file.picture.stem}\n" for file in files]
        for split, part in (("train", stems[:-1]), ("val", stems[-1:])):
            write(root / f"ImageSets/Main/{split}.txt", encode("".join(part)))


def _apply(file: File, fault: Fault) -> None:
    if fault.name in PICTURE_FAULTS:
        PICTURE_FAULTS[fault.name](file.picture)
    elif fault.name in FAULTS:
        FAULTS[fault.name](file, file.things[fault.thing % len(file.things)])


voc = _VOC()
