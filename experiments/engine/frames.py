"""A frame of the tape: one batch as the frozen front of a backbone leaves it, in a file.

    8 bytes    MAGIC
    8 bytes    length of the header, and CRC-32 of it and of all that follows, little endian
    header     JSON: the tape's key, the batch's number, names and sizes, and where each tensor lies
    tensors    as they lay in memory, strides kept, each from a multiple of 64 bytes on

Strides and alignment are kept since they choose among kernels, which round differently.
"""

import contextlib
import dataclasses
import json
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datasets.sample import Batch, Placement
from detectors.base import AnyDetector

MAGIC = b"SGTAPE1\n"
ALIGNMENT = 64
_START = 16
_TENSORS = ("content_B2", "boxes_BM4", "labels_BM", "ignore_BM", "valid_BM")


class FrameError(Exception):
    """A file that is no whole frame, or one of another tape or number."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A batch without its pixels, and what the fixed front of a backbone made of these.

    `batch.images_BCHW` holds no image, but has the height and width of the network's input.
    """

    batch: Batch
    begun: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """What the maps take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.begun)

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels."""
        height, width = self.batch.images_BCHW.shape[-2:]
        return height, width


def framed(batch: Batch, begun: tuple[Tensor, ...]) -> Frame:
    """`batch` without its pixels, with what was made of them."""
    return Frame(dataclasses.replace(batch, images_BCHW=batch.images_BCHW[:0].clone()), begun)


def labels_of(fed: Batch | Frame) -> Batch:
    """What is known of a batch beside its pixels."""
    return fed.batch if isinstance(fed, Frame) else fed


def output_of(detector: AnyDetector, fed: Batch | Frame) -> Any:
    """The detector's dense output for a batch on its device, or from where a frame leaves off."""
    if isinstance(fed, Frame):
        return detector.from_maps(detector.backbone.finish(fed.begun), fed.input_hw)
    return detector(detector.normalise(fed.images_BCHW, fed.content_B2))


def encoded(frame: Frame, key: str, number: int) -> bytes:
    """The file of a frame."""
    tensors: dict[str, Tensor] = {name: getattr(frame.batch, name) for name in _TENSORS}
    tensors |= {f"begun_{place}": tensor for place, tensor in enumerate(frame.begun)}
    placed: list[dict[str, Any]] = []
    parts: list[bytes] = []
    end = 0
    for name, tensor in tensors.items():
        content, strides = _flat(tensor)
        place = {"name": name, "type": str(tensor.dtype).removeprefix("torch."), "at": end}
        placed.append({**place, "shape": list(tensor.shape), "strides": strides})
        padding = -len(content) % ALIGNMENT
        parts += [content, b"\0" * padding]
        end += len(content) + padding
    head = {"key": key, "number": number, "bytes": end, "tensors": placed, **_plain(frame.batch)}
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + _START) % ALIGNMENT)
    body = b"".join([text, *parts])
    length = len(text).to_bytes(4, "little")
    return MAGIC + length + zlib.crc32(body, zlib.crc32(length)).to_bytes(4, "little") + body


def read_frame(path: Path, key: str, number: int) -> Frame:
    """The frame in a file, whose tensors are mapped from it; writing to them changes no file.

    Raises FileNotFoundError, and FrameError where it is not the whole frame `number` of `key`.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _START:
            raise FrameError(f"{path}: cut short")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    view = memoryview(data)
    length, checksum = (int.from_bytes(view[at : at + 4], "little") for at in (8, 12))
    if view[:8] != MAGIC or zlib.crc32(view[_START:], zlib.crc32(view[8:12])) != checksum:
        raise FrameError(f"{path}: damaged")
    head = json.loads(bytes(view[_START : _START + length]))
    if (head["key"], head["number"]) != (key, number):
        raise FrameError(f"{path}: frame {head['number']} of tape {head['key'][:8]}")
    start = _START + length
    tensors = {place["name"]: _mapped(data, start, place) for place in head["tensors"]}
    begun = tuple(tensor for name, tensor in tensors.items() if name not in _TENSORS)
    batch = Batch(
        images_BCHW=torch.empty((0, *head["input"]), dtype=torch.uint8),
        **{name: tensors[name] for name in _TENSORS},
        image_ids=tuple(head["image_ids"]),
        original_hw=tuple((height, width) for height, width in head["original_hw"]),
        placements=tuple(Placement(*fields) for fields in head["placements"]),
        by_pillow=(),  # no image is decoded
    )
    return Frame(batch, begun)


def write_whole(path: Path, content: bytes) -> None:
    """Put a frame in place at once; what a power cut may spoil, its checksum tells. Raises OSError.

    Not synced: a tape is computed again in the time that syncing it would take.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _plain(batch: Batch) -> Mapping[str, Any]:
    return {
        "input": list(batch.images_BCHW.shape[1:]),
        "image_ids": list(batch.image_ids),
        "original_hw": [list(size) for size in batch.original_hw],
        "placements": [list(dataclasses.astuple(placement)) for placement in batch.placements],
    }


def _flat(tensor: Tensor) -> tuple[bytes, list[int]]:
    """A tensor's bytes in the order of memory, and its strides; one with gaps is made dense."""
    tensor = tensor.detach().cpu()
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() and last + 1 != tensor.numel():
        tensor = tensor.contiguous()
    flat = torch.as_strided(tensor, (tensor.numel(),), (1,))
    return flat.view(torch.uint8).numpy().tobytes(), list(tensor.stride())


def _mapped(data: mmap.mmap, start: int, place: Mapping[str, Any]) -> Tensor:
    kind: torch.dtype = getattr(torch, place["type"])
    count = 1
    for size in place["shape"]:
        count *= size
    if not count:
        return torch.empty(place["shape"], dtype=kind)
    flat = torch.frombuffer(data, dtype=kind, count=count, offset=start + place["at"])
    return flat.as_strided(place["shape"], place["strides"])
