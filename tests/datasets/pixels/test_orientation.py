"""Labels tell whether they are of the pixels as stored or of the picture upright."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.pixels.orientation import UNDECIDED, turns

WIDE, TALL, NONE = (240, 320), (320, 240), (0, 0)
Box = tuple[float, float, float, float]


def decided(*images: tuple[Any, int, Any, list[Box]]) -> list[int]:
    """`turns` of images given as (stored size, orientation, stated size, boxes)."""
    counts = [len(boxes) for *_, boxes in images]
    return turns(
        np.array([stored for stored, *_ in images]),
        np.array([orientation for _, orientation, *_ in images]),
        np.array([written for *_, written, _ in images]),
        np.array([box for *_, boxes in images for box in boxes], np.float32).reshape(-1, 4),
        np.concatenate([[0], np.cumsum(counts)]),
    ).tolist()


LOW: list[Box] = [(10, 100, 50, 300)]  # in 240 x 320 (w x h) only
FAR: list[Box] = [(100, 10, 300, 50)]  # in 320 x 240 only
SMALL: list[Box] = [(10, 10, 50, 50)]


def test_a_stated_size_decides() -> None:
    assert decided((WIDE, 6, TALL, SMALL), (WIDE, 8, TALL, [])) == [6, 8]
    assert decided((WIDE, 6, WIDE, SMALL), (WIDE, 8, WIDE, [])) == [1, 1]
    assert decided((WIDE, 0, WIDE, SMALL), (WIDE, 1, TALL, SMALL)) == [1, 1]  # no turn asked for


def test_without_a_size_boxes_decide() -> None:
    assert decided((WIDE, 6, NONE, LOW)) == [6]
    assert decided((WIDE, 6, NONE, FAR)) == [1]


def test_what_nothing_tells_goes_with_most_of_the_set_or_upright() -> None:
    assert decided((WIDE, 6, NONE, SMALL), (WIDE, 3, WIDE, SMALL)) == [6, 3]
    stored = (WIDE, 6, WIDE, SMALL)
    assert decided(stored, (WIDE, 3, WIDE, SMALL), (WIDE, 8, NONE, [])) == [1, 1, 1]
    upright = (WIDE, 6, TALL, SMALL)
    assert decided(upright, upright, stored, (WIDE, 3, WIDE, SMALL)) == [6, 6, 1, 3]


def test_a_size_of_neither_frame_is_undecided_unless_boxes_tell() -> None:
    assert decided((WIDE, 6, (100, 120), SMALL)) == [UNDECIDED]
    assert decided((WIDE, 6, (100, 120), LOW)) == [6]
    assert decided((WIDE, 3, (100, 120), SMALL)) == [3]  # half a turn has one frame only


def test_sizes_that_boxes_contradict_throughout_do_not_count() -> None:
    lying = (WIDE, 6, WIDE, LOW)  # stated as stored, drawn on the upright picture
    assert decided(lying, lying, (WIDE, 6, WIDE, SMALL)) == [6, 6, 6]
    honest = (WIDE, 6, WIDE, FAR)
    assert decided(lying, honest, honest) == [1, 1, 1]  # one box that leaves its image


def test_a_coordinate_that_is_no_number_says_nothing() -> None:
    assert decided((WIDE, 6, WIDE, [(float("nan"), 1, 2, float("nan"))])) == [1]


IMAGE = st.tuples(
    st.sampled_from([WIDE, TALL]),
    st.sampled_from([5, 6, 7, 8]),
    st.lists(st.tuples(*[st.floats(0, 0.45)] * 2, *[st.floats(0.5, 1)] * 2), max_size=3),
)


@settings(deadline=None)
@given(st.lists(IMAGE, min_size=1, max_size=6), st.booleans())
def test_labels_made_in_one_frame_are_read_in_it(images: list[Any], upright: bool) -> None:
    made = []
    for stored, orientation, fractions in images:
        height, width = frame = stored[::-1] if upright else stored
        boxes = [(x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in fractions]
        made.append((stored, orientation, frame, boxes))
    assert decided(*made) == [orientation if upright else 1 for _, orientation, *_ in made]
