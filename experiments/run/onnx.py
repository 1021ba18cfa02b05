"""An exported detector: the file with its recipe and classes, written here and run by ONNX
Runtime.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datasets.sample import Batch
from detectors.base import AnyDetector, Detections
from detectors.errors import DetectorError
from detectors.exporting import INPUTS, OUTPUTS, export_onnx, require_packages, select
from experiments.config.run import RunConfig, plain_config, read_config
from experiments.errors import ConfigError, UsageError
from experiments.record.files import whole_file

CONFIG_KEY, CLASSES_KEY = "softgamma.config", "softgamma.classes"
PORTS = [
    *zip(INPUTS, ("tensor(uint8)", "tensor(int64)"), strict=True),
    *zip(OUTPUTS, ("tensor(float)", "tensor(float)"), strict=True),
]
FATAL = 4  # of ONNX Runtime's log, which says by itself what is said in one sentence here
MOST_INPUT = 2**26  # pixels of a network input: what asks for more wants the memory
SLACK = 1e-3  # of scores, by rounding


def write_onnx(
    detector: AnyDetector, config: RunConfig, classes: tuple[str, ...], path: Path
) -> None:
    """Export; the file keeps the recipe and the classes, and so is enough to detect with.

    Raises UsageError where the package for it is missing.
    """
    metadata = {
        CONFIG_KEY: json.dumps(plain_config(config)),
        CLASSES_KEY: json.dumps(list(classes)),
    }
    try:
        with whole_file(path) as temporary:
            export_onnx(detector, temporary, metadata)
    except DetectorError as error:
        raise UsageError(str(error)) from error


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A loaded file: call it with a batch."""

    path: Path
    config: RunConfig
    classes: tuple[str, ...]
    session: Any

    def __call__(self, batch: Batch) -> list[Detections]:
        """Detections of each image in pixels of the input, chosen as PyTorch's path chooses.

        Raises UsageError where the network fails or gives no such boxes and scores.
        """
        inputs = (batch.images_BCHW.contiguous().numpy(), batch.content_B2.numpy())
        size_hw = (batch.images_BCHW.shape[2], batch.images_BCHW.shape[3])
        try:
            found = self.session.run(None, dict(zip(INPUTS, inputs, strict=True)))
            boxes_BN4, scores_BNK = map(torch.from_numpy, found)
            self._check(boxes_BN4, scores_BNK, len(inputs[0]))
            return select(self.config.detector, boxes_BN4, scores_BNK, batch.content_B2, size_hw)
        except Exception as error:  # the runtime has a dozen kinds for a network that fails
            raise UsageError(f"{self.path}: its network can't be used: {error}") from error

    def _check(self, boxes: Tensor, scores: Tensor, images: int) -> None:
        predictions = boxes.shape[1] if boxes.ndim == 3 else -1
        for name, found, wanted in (
            ("boxes", boxes, (images, predictions, 4)),
            ("scores", scores, (images, predictions, len(self.classes))),
        ):
            if found.shape != wanted:
                raise ValueError(f"{name}: expected the shape {wanted}, found {tuple(found.shape)}")
            if not found.isfinite().all():
                raise ValueError(f"{name}: not all are finite numbers")
        if scores.numel() and not -SLACK <= scores.min() <= scores.max() <= 1 + SLACK:
            raise ValueError(f"scores: expected 0 to 1, found {scores.min()} to {scores.max()}")


def load_onnx(path: Path) -> OnnxModel:
    """Open a file that `write_onnx` wrote; raises UsageError for any other and without ONNX
    Runtime.
    """
    try:
        require_packages("onnxruntime")
    except DetectorError as error:
        raise UsageError(str(error)) from error
    if not path.is_file():
        raise UsageError(f"{path}: no such file; 'export' writes one")
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = FATAL
    try:
        session = runtime.InferenceSession(str(path), options, runtime.get_available_providers())
    except Exception as error:  # the runtime has a dozen kinds for a file that is none
        raise UsageError(f"{path}: not a readable ONNX file: {error}") from error
    _refuse_others_ports(path, session)
    kept = session.get_modelmeta().custom_metadata_map
    try:
        config, classes = _read_metadata(kept[CONFIG_KEY], kept[CLASSES_KEY])
    except (KeyError, ValueError, RecursionError, ConfigError) as error:
        raise UsageError(f"{path}: not an ONNX file that 'export' wrote: {error!r}") from error
    return OnnxModel(path, config, classes, session)


def _refuse_others_ports(path: Path, session: Any) -> None:
    """UsageError for a network with other inputs or outputs than `Dense` has."""
    found = [(port.name, port.type) for port in (*session.get_inputs(), *session.get_outputs())]
    if found != PORTS:
        told, wanted = (
            ", ".join(f"{name} {kind}" for name, kind in some) for some in (found, PORTS)
        )
        raise UsageError(
            f"{path}: not an ONNX file that 'export' wrote: its inputs and outputs are"
            f" {told or 'none'}; expected {wanted}"
        )


def _read_metadata(config: str, classes: str) -> tuple[RunConfig, tuple[str, ...]]:
    settings, names = json.loads(config), json.loads(classes)
    if not isinstance(settings, dict):
        raise ValueError(f"{CONFIG_KEY}: expected an object, found {settings!r:.80}")
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{CLASSES_KEY}: expected a list of names, found {names!r:.80}")
    read = read_config(settings)
    height, width = read.input.fit.extent((1000, 1000), None)[0]
    if height * width > MOST_INPUT:
        raise ValueError(f"an input of {width}x{height} pixels is more than {MOST_INPUT:,}")
    return read, tuple(names)
