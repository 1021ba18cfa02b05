"""The peak memory of a run, as its record has it."""

import subprocess
import sys
from pathlib import Path

import torch

from experiments.engine.machine import peak_memory

CHECKOUT = Path(__file__).parents[3]
# A process that holds 300 MiB for a moment, then a child that holds 500.
CHILD = "import numpy; numpy.ones(500 << 20, dtype='uint8')"
PROCESS = f"""
import subprocess, sys, numpy, torch
from experiments.engine.machine import peak_memory
before = peak_memory(0)
numpy.ones(300 << 20, dtype='uint8')
after = peak_memory(0)
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
print(after.process_mib - before.process_mib, peak_memory(1).worker_mib)
"""


def test_the_peak_stays_when_the_memory_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    grown, worker = map(float, done.stdout.split())
    assert 200 < grown < 400
    assert 500 < worker < 1500


def test_what_there_is_none_of_is_none() -> None:
    memory = peak_memory(0)
    assert memory.worker_mib is None and memory.process_mib > 50
    assert (memory.gpu_mib is None) == (not torch.cuda.is_initialized())
