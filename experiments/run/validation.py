"""Validations in the middle of training, and the files behind image ids; pandas is not needed until
the first of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets.dataset import Dataset
from detectors.base import AnyDetector
from experiments.config.run import RunConfig
from experiments.record.parts import Arithmetic
from experiments.run.tape import Tapes


class Validation:
    """Measures the validation split and tells who listens; the split is opened at first use."""

    def __init__(
        self,
        config: RunConfig,
        arithmetic: Arithmetic,
        listeners: Sequence[Callable[[int, Mapping[str, Any]], None]] = (),
        tapes: Tapes | None = None,
    ) -> None:
        self._config = config
        self._arithmetic = arithmetic
        self._listeners = listeners
        self._tapes = tapes
        self._dataset: Dataset | None = None

    def __call__(self, detector: AnyDetector, iteration: int) -> Mapping[str, Any]:
        """Measure `detector` and return the numbers, the same on every rank."""
        from experiments.run.measuring import measure  # with pandas, which is not needed to begin

        if self._dataset is None:
            self._dataset = self._config.data.open("val")
        measured = measure(
            self._config, self._arithmetic, detector, self._dataset, "val", self._tapes
        )
        metrics = measured.metrics
        for listener in self._listeners:
            listener(iteration, metrics)
        return metrics


def image_paths(dataset: Dataset, image_ids: Sequence[str]) -> list[str]:
    """The files of these images; found by looking through all labels, for messages only."""
    wanted = set(image_ids)
    paths: dict[str, str] = {}
    for index in range(len(dataset)):
        labels = dataset.annotation(index)
        if labels.image_id in wanted:
            paths[labels.image_id] = str(labels.path)
    return [paths.get(name, name) for name in image_ids]
