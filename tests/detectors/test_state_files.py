"""State dicts as the world saves them, and what cannot be read in one sentence."""

import argparse
from pathlib import Path

import pytest
import torch

from detectors.errors import DetectorError
from detectors.state_files import read_state_dict


def test_parallel_training_and_torchvisions_script_are_unwrapped(tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2, 2)}
    wrapped = {f"module.{name}": value for name, value in state.items()}
    scripted = {"model": state, "epoch": 3, "args": argparse.Namespace(lr=0.01)}
    for number, content in enumerate((state, wrapped, {"state_dict": wrapped}, scripted)):
        torch.save(content, tmp_path / f"{number}.pth")
        found = read_state_dict(tmp_path / f"{number}.pth")
        assert list(found) == ["fc.weight"] and found["fc.weight"].equal(state["fc.weight"])


def test_a_file_of_objects_is_refused_in_one_plain_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(DetectorError) as raised:
        read_state_dict(path)
    told = str(raised.value)
    assert "\x1b" not in told and "\n" not in told and "torch.save(model.state_dict()" in told
