"""Softgamma in Python: records as tables, training, and detectors to use.

    from experiments.api import load_detector, load_runs, train

    runs = load_runs("runs/demo")               # every run at or below the folder
    runs.frame()                                # pandas: one row a run
    runs.compare()                              # pandas: one row an arm, with the referee's verdict
    runs[0].detections, runs[0].curves          # pandas again
    run = train("configs/glyphs/retinanet_focal.yaml", seed=1)
    load_detector(run.folder).predict("photo.jpg")

Everything here asks the rooms that the verbs ask, so both give the same numbers. torch is loaded
by `train` and `load_detector` alone. Mistakes of the caller are UserError (experiments/errors.py),
whose message says what to mend.
"""

from experiments.api.detector import Detector, Photo, load_detector
from experiments.api.run import Run
from experiments.api.runs import Runs, load_runs
from experiments.api.training import TrainingError, train

__all__ = [
    "Detector",
    "Photo",
    "Run",
    "Runs",
    "TrainingError",
    "load_detector",
    "load_runs",
    "train",
]
