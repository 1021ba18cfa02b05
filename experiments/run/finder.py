"""Objects in photos: a checkpoint or an exported file with its recipe and classes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasets.sample import Batch, Sample, collate
from detectors.base import Detections
from experiments.config.run import RunConfig
from experiments.engine.arithmetic import device_here, placed
from experiments.engine.inference import detect_batches, found_by
from experiments.engine.machine import check_compiler, compile_parts
from experiments.run.trained import load_trained

ONNX_SUFFIX = ".onnx"
SIZE_MULTIPLE = 32  # of both detectors' inputs
Find = Callable[[Iterable[Batch]], Iterator[tuple[str, Detections]]]


@dataclass(frozen=True, slots=True)
class Finder:
    """Call it with samples; `find` turns batches into detections in the original images."""

    config: RunConfig
    classes: tuple[str, ...]
    find: Find

    def __call__(self, samples: Sequence[Sample]) -> list[Detections]:
        """Each sample's detections, in pixels of its own image, from one forward pass."""
        if not samples:
            return []
        pipeline = self.config.input.test()
        batch = collate([pipeline(sample) for sample in samples], multiple=SIZE_MULTIPLE)
        return [detections for _, detections in self.find([batch])]


def load_finder(model: Path, *, compiled: bool = False) -> Finder:
    """A checkpoint, a run's folder, its `best`, or an ONNX file, which ONNX Runtime executes.

    `compiled`: torch.compile the network first; not of an ONNX file.
    """
    if model.suffix == ONNX_SUFFIX:
        from experiments.run.onnx import load_onnx

        loaded = load_onnx(model)
        return Finder(loaded.config, loaded.classes, partial(found_by, loaded))
    trained = load_trained(model)
    detector = placed(trained.detector.fuse(), device_here(), trained.arithmetic)
    if compiled:
        check_compiler()
        compile_parts(detector, frozen=True)
    return Finder(
        trained.config,
        trained.classes,
        lambda batches: detect_batches(detector, batches, trained.arithmetic),
    )
