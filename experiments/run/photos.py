"""The photos that `detect` is given: which files they are, and their pixels, upright."""

import glob
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from datasets.decoding import decode_bytes
from datasets.formats.finder import IMAGE_ENDINGS
from datasets.pixels.header import header_of
from datasets.pixels.reading import refuse_bomb, rgb
from datasets.sample import Sample
from experiments.errors import UsageError


@dataclass(slots=True)
class Files:
    """Image files in order, each once; `left_out` counts what folders and patterns hold besides."""

    images: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """What was left out, in words; "" where nothing was."""
        return ", ".join(f"{count} {what}" for what, count in self.left_out.items())


def image_files(paths: Sequence[Path]) -> Files:
    """The named files, those that patterns (*, ?, [..], **) match, and the images in the named
    folders.

    UsageError where a path isn't there, or there is no image.
    """
    files = Files()
    for path in paths:
        if path.is_file():
            files.images.append(path)
        elif path.is_dir():
            _sort(path.iterdir(), files)
        elif glob.has_magic(str(path)):
            _sort(map(Path, glob.glob(str(path), recursive=True)), files)
        else:
            raise UsageError(f"{path}: no such file or folder")
    files.images = list(dict.fromkeys(files.images))
    if not files.images:
        named = ", ".join(map(str, paths))
        left = f"; left out: {files.told()}" if files.left_out else ""
        raise UsageError(f"no images ({', '.join(IMAGE_ENDINGS)}) in {named}{left}")
    return files


def _sort(paths: Iterable[Path], files: Files) -> None:
    for path in sorted(paths):
        if path.is_dir():
            files.left_out["sub-folders ('**/*.jpg' goes into them)"] += 1
        elif path.name.startswith("._"):
            files.left_out["'._' files, which macOS keeps beside others"] += 1
        elif path.suffix.lower() not in IMAGE_ENDINGS:
            files.left_out["files that are no images"] += 1
        elif path.is_file():
            files.images.append(path)
        else:
            files.left_out["links to nothing"] += 1


def output_names(files: Sequence[Path]) -> list[str]:
    """A name an image: its stem, with the folder before it where stems alone would collide.

    What of a file's name is no UTF-8 stands as an escape: `gr\\udcfcn`.
    """
    stems = Counter(file.stem for file in files)
    names: dict[str, None] = {}
    for file in files:
        alone = stems[file.stem] == 1
        name = file.stem if alone else "_".join((*file.parts[-2:-1], file.stem))
        name = name.encode("utf-8", "backslashreplace").decode()
        number = 1
        while (one := name if number == 1 else f"{name}_{number}") in names:
            number += 1
        names[one] = None
    return list(names)


def read_photo(file: Path) -> tuple[Sample, bool]:
    """A photo without labels, and whether it was turned upright, as EXIF says.

    OSError or ValueError where it can't be read.
    """
    data = file.read_bytes()
    turn = header_of(data).orientation or 1
    return unlabelled(decode_bytes(data, turn), file.stem), turn != 1


def photo_of(image: NDArray[np.uint8] | Image.Image) -> Sample:
    """A photo in memory without labels: uint8 pixels [H, W, 3] (RGB) or [H, W] (grey), 0..255, or a
    Pillow image of any mode, turned upright as its EXIF says.

    Raises ValueError for any other array.
    """
    if isinstance(image, Image.Image):
        pixels_HWC = rgb(ImageOps.exif_transpose(image))
    else:
        if image.dtype != np.uint8 or image.shape[2:] not in ((3,), ()) or image.ndim < 2:
            raise ValueError(
                f"an image: expected uint8 pixels of shape [H, W, 3] or [H, W], found {image.dtype}"
                f" of shape {list(image.shape)}"
            )
        pixels_HWC = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    refuse_bomb(*pixels_HWC.shape[:2])
    pixels_CHW = torch.from_numpy(np.array(pixels_HWC)).permute(2, 0, 1)  # a copy: ours to keep
    return unlabelled(pixels_CHW, "image")


def unlabelled(image_CHW: torch.Tensor, name: str) -> Sample:
    """Pixels as a sample without objects."""
    return Sample(
        image_CHW=image_CHW,
        boxes_N4=torch.zeros(0, 4),
        labels_N=torch.zeros(0, dtype=torch.int64),
        ignore_N=torch.zeros(0, dtype=torch.bool),
        image_id=name,
        index=0,
        original_hw=(image_CHW.shape[1], image_CHW.shape[2]),
    )


def warn(message: str) -> None:
    """One line on stderr."""
    print(f"warning: {message}", file=sys.stderr)
