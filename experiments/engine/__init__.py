"""Training on mmengine's Runner, and inference; mmengine's quirks live here and nowhere else."""

from types import ModuleType

from experiments.importing import without

# mmengine imports what shards optimisers and weights over ranks, .7 s with sympy; not used here.
_SHARDED = ModuleType("sharded")
_SHARDED.MMFullyShardedDataParallel = type("NotLoaded", (), {})  # type: ignore[attr-defined]

with without(
    "torch.distributed.optim",
    "torch.distributed.fsdp",
    placeholders={"mmengine.model.wrappers.fully_sharded_distributed": _SHARDED},
):
    import mmengine.runner  # noqa: F401  # this room's first import of mmengine
