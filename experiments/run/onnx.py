"""An exported detector: the file with its recipe and classes, written here and run by ONNX
Runtime.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datasets.sample import Batch
from detectors.base import AnyDetector, Detections
from detectors.errors import DetectorError
from detectors.exporting import INPUTS, export_onnx, require_packages, select
from experiments.config.run import RunConfig, plain_config, read_config
from experiments.errors import ConfigError, UsageError
from experiments.record.files import whole_file

CONFIG_KEY, CLASSES_KEY = "softgamma.config", "softgamma.classes"


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

    config: RunConfig
    classes: tuple[str, ...]
    session: Any

    def __call__(self, batch: Batch) -> list[Detections]:
        """Detections of each image in pixels of the input, chosen as PyTorch's path chooses."""
        inputs = (batch.images_BCHW.contiguous().numpy(), batch.content_B2.numpy())
        found = self.session.run(None, dict(zip(INPUTS, inputs, strict=True)))
        boxes_BN4, scores_BNK = map(torch.from_numpy, found)
        size_hw = (batch.images_BCHW.shape[2], batch.images_BCHW.shape[3])
        return select(self.config.detector, boxes_BN4, scores_BNK, batch.content_B2, size_hw)


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
    try:
        session = runtime.InferenceSession(str(path), options, runtime.get_available_providers())
    except Exception as error:  # the runtime has a dozen kinds for a file that is none
        raise UsageError(f"{path}: not a readable ONNX file: {error}") from error
    kept = session.get_modelmeta().custom_metadata_map
    try:
        config = read_config(json.loads(kept[CONFIG_KEY]))
        classes = tuple(json.loads(kept[CLASSES_KEY]))
    except (KeyError, ValueError, ConfigError) as error:
        raise UsageError(f"{path}: not an ONNX file that 'export' wrote: {error!r}") from error
    return OnnxModel(config, classes, session)
