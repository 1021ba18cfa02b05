"""Parsed labels are kept, found again, and made anew when files change or the index is damaged."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import VOC
from datasets.dataset import Dataset
from datasets.formats import voc_xml
from datasets.index import Columns, pack_text, read_columns, text_at, write_columns

Make = Callable[..., Path]
CAT = {"name": "cat", "box": (11, 6, 30, 25)}


def opened(root: Path) -> Dataset:
    return VOC(str(root), "train", "train", "train").open("train")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are parsed from now on."""
    names: list[str] = []
    original = voc_xml.parse

    def counted(data: bytes, path: Path | str) -> voc_xml.Raw:
        names.append(Path(path).name)
        return original(data, path)

    monkeypatch.setattr(voc_xml, "parse", counted)
    return names


def test_labels_are_parsed_once(make_voc: Make, parsed: list[str]) -> None:
    root = make_voc({"train": {"a": [CAT], "b": []}})
    first = opened(root)
    second = opened(root)
    assert parsed == ["a.xml", "b.xml"]
    np.testing.assert_array_equal(first.columns["boxes"], second.columns["boxes"])
    assert second.columns.path is not None


def test_a_changed_file_is_seen_even_at_the_same_size_and_time(
    make_voc: Make, parsed: list[str]
) -> None:
    root = make_voc({"train": {"a": [CAT]}})
    opened(root)
    path = root / "Annotations/a.xml"
    status = path.stat()
    path.write_text(path.read_text().replace("11", "12"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert opened(root).annotation(0).boxes_N4[0, 0] == 11
    assert parsed == ["a.xml"] * 2


def test_touched_files_are_read_but_not_parsed_again(make_voc: Make, parsed: list[str]) -> None:
    root = make_voc({"train": {"a": [CAT]}})
    opened(root)
    os.utime(root / "Annotations/a.xml")
    opened(root)
    assert parsed == ["a.xml"]


@pytest.mark.parametrize("harm", ["cut", "text", "empty"])
def test_a_damaged_index_is_made_anew(make_voc: Make, own_cache: Path, harm: str) -> None:
    root = make_voc({"train": {"a": [CAT]}})
    opened(root)
    for path in own_cache.iterdir():
        data = path.read_bytes()
        path.write_bytes({"cut": data[:-20], "text": b"nonsense" * 9, "empty": b""}[harm])
    assert opened(root).annotation(0).boxes_N4.tolist() == [[10, 5, 30, 25]]


def test_without_a_writable_cache_labels_stay_in_memory(
    make_voc: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(tmp_path / "file/cache"))  # cannot be made
    data = opened(make_voc({"train": {"a": [CAT]}}))
    assert data.columns.path is None and len(data.annotation(0).boxes_N4) == 1
    again = pickle.loads(pickle.dumps(data))  # our own bytes, as they go to loader workers
    assert again.content_hash() == data.content_hash()


def test_the_cache_folder_stays_small(
    make_voc: Make, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import index

    monkeypatch.setattr(index, "MOST_FILES", 4)
    for number in range(6):
        opened(make_voc({"train": {"a": [CAT] * number}}, folder=f"voc{number}"))
    assert len(list(own_cache.glob("*.columns"))) <= 4


def test_columns_come_back_as_written(tmp_path: Path) -> None:
    text, ends = pack_text(["ä", "", "b\n"])
    arrays = {
        "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
        "none": np.zeros((0, 4), np.int64),
        "text": text,
        "text_ends": ends,
    }
    write_columns(tmp_path / "x", Columns(arrays, {"names": ["a"]}))
    back = read_columns(tmp_path / "x")
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
    assert [text_at(back, "text", row) for row in range(3)] == ["ä", "", "b\n"]
    assert back.meta == {"names": ["a"]}
    with pytest.raises(ValueError, match="read-only"):
        back["floats"][0, 0] = 1


def _index_of(folder: Path, boxes: int) -> Dataset:
    images = boxes // 10
    numbers = np.arange(boxes)
    ids, ends = pack_text([str(number) for number in range(images)])
    arrays = {
        "first": np.arange(0, boxes + 1, 10),
        "size_hw": np.full((images, 2), 500, np.int32),
        "turn": np.ones(images, np.uint8),
        "boxes": np.tile(np.array([1, 2, 30, 40], np.float32), (boxes, 1)),
        "label": (numbers % 20).astype(np.int16),
        "difficult": numbers % 7 == 0,
        "crowd": np.zeros(boxes, np.bool_),
        "area": np.ones(boxes, np.float32),
        "object": numbers,
    }
    arrays |= {"image_id": ids, "image_id_ends": ends, "image": ids, "image_ends": ends}
    meta = {"classes": [str(k) for k in range(20)], "findings": [], "unknown": {}}
    write_columns(folder / "big", Columns(arrays, meta))
    return Dataset(folder, read_columns(folder / "big"))


READ_ALL = """
import pickle, sys
from pathlib import Path

def private_bytes():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return int(dict(line.split(":") for line in lines)["Private_Dirty"].split()[0]) * 1024

data = pickle.load(sys.stdin.buffer)  # from the test itself, as a spawned worker gets it
for i in range(0, len(data), 50):  # the interpreter's own memory grows with the first objects
    data.annotation(i)
before = private_bytes()
total = sum(float(data.annotation(i).boxes_N4.sum()) for i in range(0, len(data), 3))
total += sum(float(array.sum()) for array in data.columns.arrays.values())
assert total > 0
print(private_bytes() - before)
"""


@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_share_one_copy_of_a_million_boxes(tmp_path: Path, workers: int) -> None:
    """Processes that read all labels grow, together, by less than a tenth of one copy."""
    if not Path("/proc/self/smaps_rollup").is_file():
        pytest.skip("private memory of a process is read from Linux's /proc")
    data = _index_of(tmp_path, 1_000_000)
    copy = sum(array.nbytes for array in data.columns.arrays.values())
    assert copy > 25e6
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", READ_ALL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(workers)
    ]
    grown = [int(process.communicate(pickle.dumps(data))[0]) for process in processes]
    assert sum(grown) < 0.1 * copy, grown
