"""The training loop: one iteration is one update of the weights, whatever is accumulated."""

from collections.abc import Iterator
from typing import Any

from mmengine.runner import BaseLoop, Runner

from datasets.sample import Batch
from experiments.engine import distributed
from experiments.engine.stopping import Stop


class UpdateLoop(BaseLoop):
    """Runs to `iterations`, from wherever a checkpoint left it.

    mmengine's own loop skips data on resume by loading it all again and counts forward passes; here
    the
    loader is started at the right batch (`start_iteration`) and only updates are counted.
    """

    def __init__(
        self, runner: Runner, dataloader: Any, iterations: int, accumulate: int, batch_size: int
    ) -> None:
        super().__init__(runner, dataloader)
        self._iterations = iterations
        self._accumulate = accumulate
        self._images_a_batch: int = batch_size * runner.world_size
        self._images_elsewhere: int = batch_size * (runner.world_size - 1)
        self.iteration = 0
        self.stop = Stop.NONE  # asked for here
        self.stopped_by = Stop.NONE  # agreed with the other ranks
        self.batches: Iterator[Batch] | None = None

    @property
    def iter(self) -> int:
        """The number of updates done, under the name mmengine's hooks use."""
        return self.iteration

    @property
    def max_iters(self) -> int:
        """The number of updates to do."""
        return self._iterations

    @property
    def epoch(self) -> int:
        """Training is counted in updates alone."""
        return 0

    @property
    def max_epochs(self) -> int:
        """One, for mmengine's hooks."""
        return 1

    @property
    def images_seen(self) -> int:
        """Training images behind the updates done so far, over all ranks."""
        return self.iteration * self._accumulate * self._images_a_batch

    def run(self) -> Any:
        """Train until done, or until `stop` is set on any rank, after a whole iteration."""
        self.runner.optim_wrapper.initialize_count_status(
            self.runner.model,
            self.iteration * self._accumulate,
            self._iterations * self._accumulate,
        )
        self.runner.call_hook("before_train")
        self.batches = iter(self.dataloader)
        self.runner.model.train()
        while self.iteration < self._iterations and not self._stopped():
            self._update()
        self.runner.call_hook("after_train")
        return self.runner.model

    def _stopped(self) -> bool:
        self.stopped_by = Stop(distributed.anywhere(self.stop))
        return self.stopped_by is not Stop.NONE

    def _update(self) -> None:
        assert self.batches is not None
        self.runner.call_hook("before_train_iter", batch_idx=self.iteration, data_batch=None)
        image_ids: list[str] = []
        # A detector adds its own batch to what was seen before; the joint batch counts as one.
        images_here = self.images_seen + self._images_elsewhere
        outputs: dict[str, Any] = {}
        for _ in range(self._accumulate):
            batch = next(self.batches)
            image_ids.extend(batch.image_ids)
            terms = self.runner.model.train_step(
                {"batch": batch, "images_seen": images_here},
                optim_wrapper=self.runner.optim_wrapper,
            )
            images_here += self._images_a_batch
            for name, value in terms.items():
                outputs[name] = outputs.get(name, 0) + value.detach() / self._accumulate
        self.iteration += 1
        self.runner.call_hook(
            "after_train_iter",
            batch_idx=self.iteration - 1,
            data_batch=image_ids,
            outputs=outputs,
        )
