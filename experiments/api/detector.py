"""A trained detector to use."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from experiments.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from PIL import Image

    from datasets.sample import Sample
    from experiments.run.finder import Finder

Photo: TypeAlias = Union[str, PathLike[str], "NDArray[np.uint8]", "Image.Image"]  # noqa: UP007
BOX = ("x1", "y1", "x2", "y2")


class Detector:
    """A trained network with its recipe and classes."""

    def __init__(self, finder: "Finder") -> None:
        self._finder = finder

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what it finds, by label."""
        return self._finder.classes

    def predict(self, photo: Photo, *, score: float = 0.3) -> "pd.DataFrame":
        """One row an object found, the surest first: class, score (0..1), x1, y1, x2, y2 in pixels
        of the photo (x right, y down, 0-based; x2 and y2 exclusive).

        `photo`: a file's path, uint8 pixels [H, W, 3] in RGB or [H, W] in grey, or a Pillow image;
        files and Pillow images are turned upright as their EXIF says, and boxes are of the upright
        picture. `score`: the least to keep; the recipe's own threshold holds besides.

        Raises UserError for a file that is no image, ValueError for an array that is none.
        """
        return self.predict_all([photo], score=score).drop(columns="image")

    def predict_all(
        self, photos: "Iterable[Photo]", *, score: float = 0.3, batch_size: int = 8
    ) -> "pd.DataFrame":
        """As `predict` of many, `batch_size` at a time; the column `image` is the photo's place
        among `photos`.
        """
        import pandas as pd

        if batch_size < 1:
            raise UserError(f"batch_size: must be >= 1, found {batch_size}")
        tables: list[pd.DataFrame] = []
        waiting: list[Sample] = []

        def detect() -> None:
            for found in self._finder(waiting):
                box_D4 = found.boxes_D4.numpy()
                table = pd.DataFrame(box_D4, columns=list(BOX))
                table.insert(0, "score", found.scores_D.numpy())
                table.insert(0, "class", [self.classes[label] for label in found.labels_D.tolist()])
                table.insert(0, "image", len(tables))
                tables.append(table[table["score"] >= score].sort_values("score", ascending=False))
            waiting.clear()

        for photo in photos:
            waiting.append(_sample(photo))
            if len(waiting) == batch_size:
                detect()
        detect()
        if not tables:
            return pd.DataFrame(columns=["image", "class", "score", *BOX])
        return pd.concat(tables, ignore_index=True)


def load_detector(model: str | PathLike[str]) -> Detector:
    """The detector of a run's folder, of `RUN/best` (its best validation), of a checkpoint, or of
    an ONNX file that `export` wrote. It is on the GPU where there is one.

    Raises UserError where there is none.
    """
    from experiments.run.finder import load_finder

    return Detector(load_finder(Path(model)))


def _sample(photo: Photo) -> "Sample":
    from experiments.run.photos import photo_of, read_photo

    if not isinstance(photo, (str, PathLike)):
        return photo_of(photo)
    path = Path(photo)
    try:
        return read_photo(path)[0]
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: not a readable image: {error}") from None
