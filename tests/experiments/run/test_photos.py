"""The photos that `detect` is given: a name of its own for each."""

import os
from pathlib import Path

from experiments.run.photos import output_names


def test_no_two_photos_have_one_name() -> None:
    alike = [Path("x.jpg"), Path("x.png"), Path("x_2.jpg"), Path("a/y.jpg"), Path("b/y.jpg")]
    assert output_names(alike) == ["x", "x_2", "x_2_2", "a_y", "b_y"]


def test_a_name_in_another_encoding_can_be_written() -> None:
    (name,) = output_names([Path(os.fsdecode(b"gr\xfcn.jpg"))])
    assert name == r"gr\udcfcn"
