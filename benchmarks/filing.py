"""What every filed result says of its machine, and where it goes."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.record.origin import core_count, cpu_name, gpu_names, versions

RESULTS = Path(__file__).parent / "results"


def instructions_here() -> str:
    """What networks compute with here: AMX or AVX512-BF16 where they train in bfloat16, else the
    widest of AVX2, AVX512 ..
    """
    import torch  # not at the top: benchmarks of memory leave it out

    from experiments.engine.arithmetic import computes_bfloat16, instructions

    able, words = computes_bfloat16(torch.device("cpu"))
    return words if able else instructions()


def path_of(what: str, out: Path | None, machine: str | None = None) -> Path:
    """`out`, or results/WHAT_MACHINE_DATE.json; the machine is its instructions, or a card."""
    word = (machine or instructions_here()).lower()
    return out or RESULTS / f"{what}_{word}_{time.strftime('%Y-%m-%d')}.json"


def parts_at(path: Path) -> dict[str, Any]:
    """What an earlier call filed there."""
    return json.loads(path.read_text(encoding="utf-8"))["parts"] if path.is_file() else {}


def file_result(
    path: Path,
    what: str,
    *,
    load: float,
    packages: tuple[str, ...],
    parts: Mapping[str, Any],
    claims: Mapping[str, bool | None],
    **more: Any,
) -> int:
    """Write the JSON; 1 if a claim fails (None: it could not be tried).

    `load`: what else ran just before; `packages`: whose versions count; `more`: figures of the
    whole benchmark, or another word for `instructions`.
    """
    import torch

    result = {
        "what": what,
        "cpu": cpu_name(),
        "gpus": gpu_names(),
        "cores": core_count(),
        "threads": torch.get_num_threads(),
        "instructions": more.pop("instructions", None) or instructions_here(),
        "load_before": load,
        "versions": versions(packages),
        **more,
        "parts": parts,
        "claims": claims,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(value is False for value in claims.values()))
