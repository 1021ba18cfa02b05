"""State dicts as the world saves them, and what cannot be read in one sentence."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detectors.errors import DetectorError
from detectors.state_files import read_state_dict


def test_parallel_training_and_torchvisions_script_are_unwrapped(tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2, 2)}
    wrapped = {f"module.{name}": value for name, value in state.items()}
    scripted = {"model": state, "epoch": 3, "args": argparse.Namespace(lr=0.01)}
    compiled = {f"_orig_mod.module.{name}": value for name, value in state.items()}
    lightning = {"state_dict": {f"model.{name}": value for name, value in state.items()}}
    other = {"model_state_dict": state, "best": np.float64(0.5), "at": Path("x"), "optimizer": {}}
    contents = (state, wrapped, {"state_dict": wrapped}, scripted, compiled, lightning, other)
    for number, content in enumerate(contents):
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
    assert "it holds an object of torch.nn.modules.linear.Linear" in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>Sign in", "a text that begins with '<!DOCTYPE html>"),
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with 'version https://git-lfs"),
        ({"optimizer": {}, "epoch": 3}, "holds a dict of optimizer, epoch, not names with tensors"),
        ({"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}}, "holds a dict of a, b, not names"),
        ({"fc.bias": torch.tensor([1.0, torch.nan])}, "fc.bias holds a value that is no finite"),
    ],
)
def test_what_a_file_holds_instead_is_told(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "model.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(DetectorError) as raised:
        read_state_dict(path)
    assert told in str(raised.value)
