"""Names are read on any photo: letters of a size that grows with it, on plates in sight."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.pixels.lettering import drawable, stand_ins, told
from experiments.evaluation.plates import Plate, place_plates, text_width
from experiments.run.drawing import LEAST_TEXT, Found, colour_of, drawn


@pytest.mark.parametrize("side", [160, 500, 4000])
def test_letters_stand_out_and_are_of_a_size_to_be_read(side: int) -> None:
    grey = np.full((side * 3 // 4, side, 3), 90, np.uint8)
    box = (0.2 * side, 0.3 * side, 0.6 * side, 0.6 * side)
    picture = np.asarray(drawn(grey, [Found("no helmet", 0.87, box, "#4363d8")]))
    assert picture.shape[1] in (side, 3 * side)  # a small one is enlarged
    plate = (picture == [0x43, 0x63, 0xD8]).all(2)
    white = (picture > 200).all(2)
    rows, columns = np.nonzero(white)
    height = rows.max() - rows.min()
    assert height >= max(LEAST_TEXT, 0.02 * picture.shape[1]) * 0.6  # of a capital
    around = plate[rows.min() : rows.max(), columns.min() : columns.max()]
    assert around.mean() > 0.4 and white.sum() > 60


def test_the_likeliest_is_on_top_and_nothing_found_changes_nothing() -> None:
    grey = np.full((600, 600, 3), 90, np.uint8)
    assert (np.asarray(drawn(grey, [])) == 90).all()
    box = (100.0, 100.0, 300.0, 300.0)
    found = [Found("low", 0.3, box, "#ff0000"), Found("high", 0.9, box, "#00ff00")]
    assert np.asarray(drawn(grey, found))[299, 200].tolist() == [0, 255, 0]


def test_a_box_without_area_or_at_the_edge_is_drawn() -> None:
    grey = np.zeros((60, 90, 3), np.uint8)
    boxes = [(0.0, 0.0, 90.0, 60.0), (10.0, 10.0, 10.0, 10.0), (89.5, 59.5, 90.0, 60.0)]
    drawn(grey, [Found("x" * 80, 0.5, box, colour_of(9)) for box in boxes])


BOX = st.tuples(*[st.floats(0, 900)] * 4)


@given(st.lists(BOX, max_size=12))
def test_plates_stay_in_the_picture(boxes: list[tuple[float, float, float, float]]) -> None:
    plates = place_plates(boxes, [120.0] * len(boxes), 20.0, (900, 700))
    for plate in plates:
        assert 0 <= plate.x <= 900 - plate.width and 0 <= plate.y <= 700 - plate.height


def test_plates_of_one_place_do_not_cover_each_other() -> None:
    box = (300.0, 300.0, 600.0, 500.0)
    plates = place_plates([box] * 4, [100.0] * 4, 20.0, (900, 700))

    def apart(one: Plate, other: Plate) -> bool:
        beside = one.x >= other.x + other.width or other.x >= one.x + one.width
        return beside or one.y >= other.y + other.height or other.y >= one.y + one.height

    assert all(apart(one, other) for i, one in enumerate(plates) for other in plates[:i])


def test_names_that_the_font_cannot_write_are_told_apart_by_their_numbers() -> None:
    names = ("cat", "größe", "猫", "犬", "собака", "กระต่าย", "two\nlines")
    assert drawable(names) == ["cat", "größe", "#2", "#3", "собака", "#5", "#6"]
    assert stand_ins(names[:2]) == {}
    assert "#2 is '猫', #3 is '犬'" in told(stand_ins(names[:4]))
    assert text_width("猫犬") == 2 and 1 < text_width("cats") < 4


def test_pictures_of_names_without_a_font_differ() -> None:
    grey, box = np.full((300, 400, 3), 90, np.uint8), (100.0, 100.0, 300.0, 200.0)
    one, other = (
        np.asarray(drawn(grey, [Found(name, 0.9, box, "#4363d8")])) for name in drawable("猫犬")
    )
    assert (one != other).any()
