"""A frame comes back as it was, in every bit, stride and alignment, or is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from datasets.sample import Batch, Placement
from experiments.engine.frames import (
    ALIGNMENT,
    Frame,
    FrameError,
    encoded,
    framed,
    read_frame,
    write_whole,
)


def batch(images: int = 2, boxes: int = 3) -> Batch:
    chance = torch.Generator().manual_seed(5)
    return Batch(
        images_BCHW=torch.full((images, 3, 64, 96), 7, dtype=torch.uint8),
        content_B2=torch.tensor([[64, 90]] * images),
        boxes_BM4=torch.rand(images, boxes, 4, generator=chance),
        labels_BM=torch.arange(images * boxes).view(images, boxes),
        ignore_BM=torch.zeros(images, boxes, dtype=torch.bool),
        valid_BM=torch.ones(images, boxes, dtype=torch.bool),
        image_ids=tuple(f"é {number}" for number in range(images)),
        original_hw=((333, 500),) * images,
        placements=(Placement(0.1 + 0.2, 1 / 3, -1.5, 2.0, True),) * images,
    )


def maps() -> tuple[Tensor, ...]:
    x = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(2))
    return (
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.bfloat16().contiguous(memory_format=torch.channels_last),
        x.half(),
        x[:, ::2],  # with gaps
        torch.zeros(2, 1, 4, 6).contiguous(memory_format=torch.channels_last),
        torch.tensor([float("nan"), -0.0, float("inf"), 1e-42]),  # bits, not values
    )


def written(path: Path, frame: Frame, key: str = "k", number: int = 3) -> Path:
    write_whole(path, encoded(frame, key, number))
    return path


def test_a_frame_comes_back_to_the_bit(tmp_path: Path) -> None:
    given = framed(batch(), maps())
    found = read_frame(written(tmp_path / "000003", given), "k", 3)
    for name in ("content_B2", "boxes_BM4", "labels_BM", "ignore_BM", "valid_BM"):
        assert torch.equal(getattr(found.batch, name), getattr(given.batch, name))
    for name in ("image_ids", "original_hw", "placements"):
        assert getattr(found.batch, name) == getattr(given.batch, name)
    assert found.input_hw == (64, 96) and len(found.batch.images_BCHW) == 0
    for there, here in zip(found.begun, given.begun, strict=True):
        assert there.dtype == here.dtype and there.shape == here.shape
        bits = [t.contiguous().view(torch.uint8) for t in (there, here)]
        assert torch.equal(*bits)
        assert there.data_ptr() % ALIGNMENT == 0
    dense = [place for place in range(7) if place != 4]
    assert all(found.begun[n].stride() == given.begun[n].stride() for n in dense)


def test_a_batch_without_boxes_is_a_frame_too(tmp_path: Path) -> None:
    given = framed(batch(boxes=0), maps()[:1])
    found = read_frame(written(tmp_path / "f", given), "k", 3)
    assert found.batch.boxes_BM4.shape == (2, 0, 4) and found.batch.labels_BM.dtype == torch.int64


def test_what_is_written_to_a_frame_s_tensors_is_not_in_its_file(tmp_path: Path) -> None:
    path = written(tmp_path / "f", framed(batch(), maps()[:1]))
    before = path.read_bytes()
    read_frame(path, "k", 3).begun[0].zero_()  # as an operation in place would
    assert path.read_bytes() == before


@pytest.mark.parametrize("place", [0, 8, 12, 16, 700, 3000, -1])
def test_a_changed_byte_is_noticed_wherever_it_is(place: int, tmp_path: Path) -> None:
    path = written(tmp_path / "f", framed(batch(), maps()))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(FrameError, match="damaged"):
        read_frame(path, "k", 3)


@pytest.mark.parametrize("length", [0, 7, 15, 16, 300, 4096])
def test_half_a_frame_is_noticed(length: int, tmp_path: Path) -> None:
    path = written(tmp_path / "f", framed(batch(), maps()))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FrameError, match="cut short|damaged"):
        read_frame(path, "k", 3)


def test_a_frame_of_another_tape_or_number_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "f", framed(batch(), maps()[:1]))
    for key, number in (("other", 3), ("k", 4)):
        with pytest.raises(FrameError, match="frame 3 of tape k"):
            read_frame(path, key, number)


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_whole(tmp_path / "absent" / "f", b"x")
    assert not list(tmp_path.iterdir())
