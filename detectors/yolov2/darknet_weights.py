"""Darknet's .weights files, in and out: little-endian, a header and then float32 values layer by
layer.

Header: int32 major, minor, revision, then the number of images seen, 8 bytes wide from version 0.2
on and 4 before. A layer: biases, with batch norm then scales, means and variances, then weights
[out, in, k, k].
"""

import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from detectors.errors import DetectorError
from detectors.yolov2.convolution import ConvBlock, darknet_layers

TRANSPOSED = (
    1000  # Darknet marks matrices stored transposed with a version above this; YOLOv2 has none
)


@dataclass(frozen=True, slots=True)
class DarknetHeader:
    """Version and images seen, as a .weights file opens."""

    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0

    @property
    def wide(self) -> bool:
        """Whether `seen` takes 8 bytes rather than 4."""
        return self.major * 10 + self.minor >= 2

    def pack(self) -> bytes:
        """The header's bytes."""
        form = "<iiiQ" if self.wide else "<iiiI"
        return struct.pack(form, self.major, self.minor, self.revision, self.seen)


def read_header(data: bytes, name: str) -> tuple[DarknetHeader, int]:
    """The header of a file's bytes and the position where it ends; raises DetectorError."""
    if len(data) < 12:
        raise DetectorError(f"{name}: ends at byte {len(data)}, inside the header (16 or 20 bytes)")
    major, minor, revision = struct.unpack_from("<iii", data)
    for byte, value in ((0, major), (4, minor)):
        if not 0 <= value <= TRANSPOSED:
            raise DetectorError(
                f"{name}: byte {byte} holds version part {value}, not one of 0 to {TRANSPOSED}: "
                "no Darknet file"
            )
    wide = DarknetHeader(major, minor).wide
    size = 8 if wide else 4
    if len(data) < 12 + size:
        raise DetectorError(
            f"{name}: ends at byte {len(data)}, inside the header ({12 + size} bytes)"
        )
    (seen,) = struct.unpack_from("<Q" if wide else "<I", data, 12)
    return DarknetHeader(major, minor, revision, seen), 12 + size


def load_darknet(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    rest_allowed: int = 0,
    drop_last: bool = False,
) -> DarknetHeader:
    """Fill the convolutions of `module`, in their order, from a .weights file.

    `rest_allowed`: that many bytes may be left over (a classifier that is not wanted). `drop_last`:
    the last convolution stays as it is, whatever number of filters the file has for it. The module
    is changed only when the whole file fits. Raises DetectorError with the byte where the file goes
    wrong.
    """
    name = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DetectorError(f"{name}: cannot be read: {error.strerror}") from error
    header, position = read_header(data, name)
    found: list[tuple[Tensor, Tensor]] = []
    layers = darknet_layers(module)
    for number, layer in enumerate(layers):
        if layer is layers[-1] and isinstance(layer, nn.Conv2d):
            filters = _filters(len(data) - position, layer)
            if drop_last and filters:
                position = len(data)
                break
            if filters not in (0, layer.out_channels):
                raise DetectorError(
                    f"{name}: the last layer has {filters} filters in the file, "
                    f"{layer.out_channels} here: other classes or anchors; set drop_head: true to "
                    "keep all but that layer"
                )
        for part, tensor in _tensors(layer):
            values, position = _values(data, position, tensor, f"{name}: layer {number} {part}")
            found.append((tensor, values))
    rest = len(data) - position
    if rest not in (0, rest_allowed):
        raise DetectorError(
            f"{name}: the last layer ends at byte {position}, but {rest} bytes follow: "
            "another network"
        )
    with torch.no_grad():
        for tensor, values in found:
            tensor.copy_(values)
    return header


def _filters(size: int, layer: nn.Conv2d) -> int:
    """Filters that a layer with these inputs has in `size` bytes; 0 where they do not fill them."""
    filters, over = divmod(size, 4 * (1 + layer.weight[0].numel()))
    return 0 if over else filters


def save_darknet(
    module: nn.Module, path: str | os.PathLike[str], header: DarknetHeader | None = None
) -> None:
    """Write the convolutions of `module` as a .weights file, whole or not at all."""
    target = Path(path)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
        try:
            file.write((header or DarknetHeader()).pack())
            for layer in darknet_layers(module):
                for _, tensor in _tensors(layer):
                    file.write(tensor.detach().cpu().numpy().astype("<f4", copy=False).tobytes())
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, target)


def _tensors(layer: ConvBlock | nn.Conv2d) -> list[tuple[str, Tensor]]:
    """A layer's tensors in file order, with what each is called in messages."""
    if isinstance(layer, nn.Conv2d):
        if layer.bias is None:
            raise DetectorError("a convolution without bias has no place in a Darknet file")
        return [("biases", layer.bias), ("weights", layer.weight)]
    norm = layer.norm
    if (
        not isinstance(norm, nn.BatchNorm2d)
        or norm.running_mean is None
        or norm.running_var is None
    ):
        raise DetectorError("a fused network keeps no batch norm: save or load it before fuse()")
    return [
        ("biases", norm.bias),
        ("scales", norm.weight),
        ("means", norm.running_mean),
        ("variances", norm.running_var),
        ("weights", layer.convolution.weight),
    ]


def _values(data: bytes, position: int, like: Tensor, what: str) -> tuple[Tensor, int]:
    end = position + 4 * like.numel()
    if end > len(data):
        raise DetectorError(
            f"{what} {list(like.shape)} need bytes {position} to {end}, "
            f"the file ends at byte {len(data)}"
        )
    values = np.frombuffer(data, "<f4", like.numel(), position)
    wrong = ~np.isfinite(values) if "variances" not in what else ~(values >= 0)
    if wrong.any():
        first = int(wrong.argmax())
        raise DetectorError(
            f"{what} {list(like.shape)}: byte {position + 4 * first} holds {values[first]}: "
            "another network"
        )
    return torch.from_numpy(values.astype(np.float32)).view(like.shape), end
