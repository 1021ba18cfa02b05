"""The embedded data set is what it says, and the same from the same seed."""

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from datasets import COCO, VOC
from datasets.dataset import Dataset
from datasets.errors import DataError
from datasets.glyphs.write import GLYPH_CLASSES, write_glyphs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glyphs(tmp_path_factory.mktemp("g") / "glyphs", train=120, val=10, test=10)


def files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def voc(root: Path, split: str = "train") -> Dataset:
    return VOC(str(root), "train", "val", "test").open(split)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    one, two, other = (
        files(write_glyphs(tmp_path / name, seed, train=4, val=2, test=2))
        for name, seed in (("one", 7), ("two", 7), ("other", 8))
    )
    assert one == two
    assert one["JPEGImages/train_00000.jpg"] != other["JPEGImages/train_00000.jpg"]


def test_both_layouts_say_the_same(root: Path) -> None:
    name = "annotations/instances_train.json"
    coco = COCO(str(root), name, name, name, images="JPEGImages").open("train")
    data = voc(root)
    assert coco.classes == data.classes == GLYPH_CLASSES
    assert data.problems == coco.problems == []
    for index in range(len(data)):
        one, two = data.annotation(index), coco.annotation(index)
        assert one.path == two.path and one.size_hw == two.size_hw
        np.testing.assert_array_equal(one.boxes_N4, two.boxes_N4)
        np.testing.assert_array_equal(one.labels_N, two.labels_N)
        np.testing.assert_array_equal(one.difficult_N, two.crowd_N)
        assert (two.area_N <= one.area_N).all()


def test_it_is_small_objects_in_a_long_tail_with_some_difficult_ones(root: Path) -> None:
    data = voc(root)
    columns = data.columns
    counts = np.sort(np.bincount(columns["label"], minlength=len(GLYPH_CLASSES)))
    assert len(GLYPH_CLASSES) >= 10 and counts[0] >= 1 and counts[-1] > 4 * counts[0]
    sides = columns["boxes"][:, 2:] - columns["boxes"][:, :2]
    assert np.median(sides) < 32 and sides.min() >= 4 and sides.max() <= 64
    assert 0.01 < columns["difficult"].mean() < 0.1
    assert 2.5 < len(columns["boxes"]) / len(data) < 5


def test_boxes_are_tight_around_what_was_drawn(root: Path) -> None:
    from datasets.glyphs.write import draw_glyphs

    image_HWC, glyphs = draw_glyphs(0, "train", 3, 0.82)
    assert image_HWC.dtype == np.uint8 and glyphs
    for glyph in glyphs:
        x1, y1, x2, y2 = glyph.box
        assert 0 <= x1 < x2 <= image_HWC.shape[1] and 0 <= y1 < y2 <= image_HWC.shape[0]
        assert 0 < glyph.area <= (x2 - x1) * (y2 - y1)


def test_a_whole_folder_is_kept_and_a_damaged_one_made_anew(root: Path, tmp_path: Path) -> None:
    small = {"train": 3, "val": 1, "test": 1}
    folder = write_glyphs(tmp_path / "g", **small)
    before = files(folder)
    image = folder / "JPEGImages/train_00001.jpg"
    stamp = image.stat().st_mtime_ns
    write_glyphs(folder, **small)
    assert image.stat().st_mtime_ns == stamp
    image.unlink()
    write_glyphs(folder, **small)
    assert files(folder) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        write_glyphs(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_nothing_is_left_when_drawing_is_interrupted(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_glyphs(tmp_path / "g", train=5, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_drawing(tmp_path: Path) -> None:
    left, drawn_now, other = tmp_path / ".g-11", tmp_path / ".g-12", tmp_path / ".g-mine"
    for folder in (left, drawn_now, other):
        (folder / "JPEGImages").mkdir(parents=True)
    for folder in (left, other):
        os.utime(folder, (0, 0))
    write_glyphs(tmp_path / "g", train=1, val=1, test=1)
    assert not left.exists() and drawn_now.is_dir() and other.is_dir()


def test_a_full_disk_is_told_with_the_folder_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("datasets.glyphs.write._jpeg", full)
    with pytest.raises(DataError, match="glyphs: cannot be written: No space left on device"):
        write_glyphs(tmp_path / "glyphs", train=1, val=1, test=1)
    assert list(tmp_path.iterdir()) == []
