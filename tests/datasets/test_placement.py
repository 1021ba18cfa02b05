"""Pixels and boxes move together, and come back."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.colour import Colour
from datasets.placement import compose, place_boxes, to_original
from datasets.sample import Placement, Sample
from datasets.transforms import FITS, Jitter, Letterbox, ShortEdge, SSDCrop, Stretch, Transforms

side = st.integers(16, 400)
fit = st.one_of(
    st.builds(Stretch, st.integers(32, 300), st.integers(32, 300)),
    st.builds(Letterbox, st.integers(32, 300), st.integers(32, 300)),
    st.builds(ShortEdge, st.integers(32, 300), st.integers(300, 500)),
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    height, width = draw(side), draw(side)
    count = draw(st.integers(0, 5))
    corners = draw(
        st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=count, max_size=count)
    )
    unit = torch.tensor(corners).view(-1, 2, 2).sort(1).values.view(-1, 4)
    boxes = unit * torch.tensor([width, height] * 2)
    return Sample(
        image_CHW=torch.zeros(3, height, width, dtype=torch.uint8),
        boxes_N4=boxes,
        labels_N=torch.zeros(count, dtype=torch.int64),
        ignore_N=torch.arange(count) % 3 == 2,
        image_id="x",
        index=0,
        original_hw=(height, width),
    )


@settings(max_examples=150, deadline=None)
@given(samples(), fit)
def test_the_way_back_is_exact_to_half_a_pixel(sample: Sample, fit: Stretch) -> None:
    there = Transforms(fit, flip=1.0, vertical_flip=1.0, min_box_px=0).train()(sample)
    placed = place_boxes(sample.boxes_N4, there.placement)
    back = to_original(placed, there.placement, sample.original_hw)
    if len(back):
        assert float((back - sample.boxes_N4).abs().max()) < 0.01


@settings(max_examples=200, deadline=None)
@given(samples(), fit, st.integers(0, 2**32), st.booleans(), st.booleans())
def test_boxes_stay_inside_the_image(
    sample: Sample, fit: Stretch, seed: int, jitter: bool, crop: bool
) -> None:
    pipeline = Transforms(
        fit,
        crop=SSDCrop() if crop else None,
        jitter=Jitter() if jitter else None,
        vertical_flip=0.5,
        min_box_px=2,
    ).train()
    there = pipeline(sample, seed)
    height, width = there.image_CHW.shape[1:]
    boxes = there.boxes_N4
    assert len(boxes) == len(there.labels_N) == len(there.ignore_N) <= len(sample.boxes_N4)
    assert bool((boxes >= 0).all())
    assert bool((boxes[:, 2] <= width).all()) and bool((boxes[:, 3] <= height).all())
    assert bool(((boxes[:, 2:] - boxes[:, :2]) >= 2).all())
    again = pipeline(sample, seed)
    assert torch.equal(again.boxes_N4, boxes) and again.placement == there.placement


@settings(max_examples=60, deadline=None)
@given(
    st.integers(40, 120), st.integers(40, 120), st.integers(0, 2**32), st.sampled_from(list(FITS))
)
def test_a_painted_rectangle_is_where_its_box_says(
    height: int, width: int, seed: int, name: str
) -> None:
    chosen = FITS[name](90, 130)
    x1, y1, x2, y2 = width // 4, height // 4, width // 4 + 15, height // 4 + 12
    image = torch.full((3, height, width), 30, dtype=torch.uint8)
    image[:, y1:y2, x1:x2] = 230
    sample = Sample(
        image,
        torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32),
        torch.zeros(1, dtype=torch.int64),
        torch.zeros(1, dtype=torch.bool),
        "x",
        0,
        (height, width),
    )
    jitter = Jitter(0.2, (0.5, 1.0))
    there = Transforms(chosen, jitter=jitter, vertical_flip=0.5).train()(sample, seed)
    bright = (there.image_CHW[0] > 130).nonzero()
    seen = torch.tensor(
        [bright[:, 1].min(), bright[:, 0].min(), bright[:, 1].max() + 1, bright[:, 0].max() + 1]
    )
    assert float((seen - there.boxes_N4[0]).abs().max()) <= 1.0


def test_a_mirror_by_hand() -> None:
    placement = Placement(-2.0, 2.0, 100.0, 4.0, True)
    placed = place_boxes(torch.tensor([[10.0, 3.0, 20.0, 8.0]]), placement)
    assert placed.tolist() == [[60.0, 10.0, 80.0, 20.0]]
    assert to_original(placed, placement, (50, 50)).tolist() == [[10.0, 3.0, 20.0, 8.0]]


def test_composition_is_one_after_the_other() -> None:
    boxes = torch.tensor([[10.0, 3.0, 20.0, 8.0]])
    first, then = Placement(2, 3, 5, 7), Placement(-0.5, 2, 40, 1, True)
    assert torch.equal(
        place_boxes(place_boxes(boxes, first), then), place_boxes(boxes, compose(first, then))
    )
    assert compose(then, then).flipped is False


def test_letterbox_keeps_proportions_and_centres_on_grey() -> None:
    image = torch.zeros(3, 40, 80, dtype=torch.uint8)
    empty = torch.zeros(0)
    sample = Sample(image, empty.view(0, 4), empty.long(), empty.bool(), "x", 0, (40, 80))
    there = Transforms(Letterbox(64, 64)).test()(sample)
    assert there.image_CHW.shape == (3, 64, 64)
    assert there.placement == Placement(0.8, 0.8, 0.0, 16.0, False)
    assert there.image_CHW[0, :16].unique().tolist() == [127]
    assert there.image_CHW[0, 16:48].unique().tolist() == [0]


def test_the_retinanet_resize_is_the_papers() -> None:
    for hw, expected in (
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((300, 900), (444, 1333)),
    ):
        assert ShortEdge().extent(hw, None)[0] == expected


def test_colour_zero_changes_nothing() -> None:
    colour = Colour(0.0, 1.0, 1.0)
    image = torch.arange(3 * 8 * 8).view(3, 8, 8).to(torch.uint8)
    empty = torch.zeros(0)
    sample = Sample(image, empty.view(0, 4), empty.long(), empty.bool(), "x", 0, (8, 8))
    there = Transforms(Stretch(8, 8), colour=colour, flip=0).train()(sample, 3)
    assert torch.equal(there.image_CHW, image)
