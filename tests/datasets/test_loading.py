"""What a batch holds is a pure function of the seed and its number."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets import VOC
from datasets.colour import Colour
from datasets.dataset import Dataset
from datasets.errors import DataError
from datasets.loading import InMemory, test_loader, train_loader
from datasets.sample import Batch, Sample
from datasets.sampling import Order, orientation, repeat_factors
from datasets.transforms import FILL, Jitter, Letterbox, SSDCrop, Stretch, Transforms

Make = Callable[..., Path]
TRANSFORMS = Transforms(
    Letterbox(48, 64),
    crop=SSDCrop(),
    jitter=Jitter(),
    colour=Colour(),
    sizes=((32, 32), (48, 64)),
    every=2,
)


@pytest.fixture
def data(make_voc: Make) -> Dataset:
    box = {"name": "cat", "box": (11, 6, 30, 25)}
    root = make_voc({"train": {f"{'x' * (n % 4)}{n}": [box] * (n % 3) for n in range(10)}})
    return VOC(str(root), "train", "train", "train").open("train")


def take(batches: object, count: int) -> list[Batch]:
    iterator = iter(batches)  # type: ignore[call-overload]
    return [next(iterator) for _ in range(count)]


def same(one: Batch, other: Batch) -> bool:
    return (
        one.image_ids == other.image_ids
        and one.placements == other.placements
        and torch.equal(one.images_BCHW, other.images_BCHW)
        and torch.equal(one.boxes_BM4, other.boxes_BM4)
        and torch.equal(one.labels_BM, other.labels_BM)
    )


def test_the_number_of_workers_and_the_start_do_not_matter(data: Dataset) -> None:
    pipeline = TRANSFORMS.train()
    expected = take(train_loader(data, pipeline, 4, seed=3), 6)
    with_workers = take(train_loader(data, pipeline, 4, seed=3, workers=2), 6)
    assert all(map(same, expected, with_workers))
    resumed = take(train_loader(data, pipeline, 4, seed=3, start_batch=4), 2)
    assert all(map(same, expected[4:], resumed))
    in_memory = take(train_loader(InMemory(data), pipeline, 4, seed=3), 6)
    assert all(map(same, expected, in_memory))
    other = take(train_loader(data, pipeline, 4, seed=4), 6)
    assert not any(map(same, expected, other))


def test_images_kept_at_the_size_of_the_input_are_the_same(data: Dataset) -> None:
    still = Transforms(fit=Stretch(48, 64), colour=Colour(), flip=0.5, vertical_flip=0.5)
    batches = 3 * len(data) // 4 + 1  # each image several times, mirrored or not
    expected = take(train_loader(data, still.train(), 4, seed=3), batches)
    kept = still.train(keep=True)
    assert all(map(same, expected, take(train_loader(data, kept, 4, seed=3), batches)))
    sample = data[0]
    assert kept(sample, 1).image_CHW.shape == kept(blackened(sample), 2).image_CHW.shape
    assert kept(blackened(sample), 2).image_CHW.any()  # resized once, then kept


@pytest.mark.parametrize("moving", [{"jitter": Jitter()}, {"crop": SSDCrop()}])
def test_images_that_are_placed_anew_each_time_are_not_kept(
    data: Dataset, moving: dict[str, Any]
) -> None:
    pipeline = Transforms(fit=Stretch(48, 64), **moving).train(keep=True)
    pipeline(data[0], 1)
    assert not (pipeline(blackened(data[0]), 1).image_CHW > FILL).any()


def blackened(sample: Sample) -> Sample:
    return replace(sample, image_CHW=torch.zeros_like(sample.image_CHW))


def test_loaders_leave_the_global_generator_alone(data: Dataset) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    take(train_loader(data, TRANSFORMS.train(), 2, seed=0), 3)
    take(test_loader(data, TRANSFORMS.test(), 2), 2)
    assert torch.equal(before, torch.get_rng_state())


def test_a_pass_holds_each_image_once_and_passes_differ(data: Dataset) -> None:
    ids = [
        i for b in take(train_loader(data, TRANSFORMS.train(), 5, seed=0), 4) for i in b.image_ids
    ]
    everything = sorted(data.annotation(i).image_id for i in range(len(data)))
    assert sorted(ids[:10]) == sorted(ids[10:]) == everything
    assert ids[:10] != ids[10:]


def test_the_same_image_looks_different_on_each_visit(data: Dataset) -> None:
    batches = take(train_loader(data, TRANSFORMS.train(), 10, seed=0), 2)
    first = dict(zip(batches[0].image_ids, batches[0].placements, strict=True))
    second = dict(zip(batches[1].image_ids, batches[1].placements, strict=True))
    assert sum(first[name] != second[name] for name in first) >= 9


def test_ranks_share_the_batch_of_one_process(data: Dataset) -> None:
    pipeline = TRANSFORMS.train()
    whole = take(train_loader(data, pipeline, 4, seed=1), 3)
    ranks = [
        take(train_loader(data, pipeline, 2, seed=1, rank=rank, world=2), 3) for rank in (0, 1)
    ]
    for number, batch in enumerate(whole):
        assert {*ranks[0][number].image_ids, *ranks[1][number].image_ids} == {*batch.image_ids}


def test_multi_scale_sizes_belong_to_batches(data: Dataset) -> None:
    shapes = [
        tuple(b.images_BCHW.shape[2:])
        for b in take(train_loader(data, TRANSFORMS.train(), 2, 0), 16)
    ]
    assert set(shapes) == {(32, 32), (48, 64)}
    assert all(shapes[i] == shapes[i + 1] for i in range(0, 16, 2))


def test_the_last_batches_have_the_last_size_wherever_a_run_resumes(data: Dataset) -> None:
    """Darknet's rule: a size drawn now and then, and the end of the training at the largest."""
    settings = replace(TRANSFORMS, last_size=(64, 64), last_batches=3)
    pipeline = settings.train(batches=10)
    shapes = [b.images_BCHW.shape[2:] for b in take(train_loader(data, pipeline, 2, 0), 10)]
    assert [tuple(shape) for shape in shapes[7:]] == [(64, 64)] * 3
    assert (64, 64) not in map(tuple, shapes[:7])
    resumed = take(train_loader(data, settings.train(batches=10), 2, 0, start_batch=6), 4)
    assert [b.images_BCHW.shape[2:] for b in resumed] == shapes[6:]
    endless = settings.train()
    assert (64, 64) not in {endless.size_of_batch(batch, 0) for batch in range(10_000)}


@pytest.mark.parametrize(
    "changes", [{"last_size": (64, 64)}, {"last_batches": 3}, {"last_batches": -1}]
)
def test_half_an_ending_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="^last_"):
        replace(TRANSFORMS, **changes)


def test_the_test_loader_gives_every_image_once_in_order(data: Dataset) -> None:
    batches = list(test_loader(data, TRANSFORMS.test(), 4, multiple=32))
    assert [len(batch.image_ids) for batch in batches] == [4, 4, 2]
    ids = [name for batch in batches for name in batch.image_ids]
    assert ids == [data.annotation(i).image_id for i in range(10)]
    assert batches[0].images_BCHW.shape == (4, 3, 64, 64)
    halves = [
        name
        for rank in (0, 1)
        for batch in test_loader(data, TRANSFORMS.test(), 4, rank=rank, world=2)
        for name in batch.image_ids
    ]
    assert sorted(halves) == sorted(ids)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_from_wherever_it_is_read(data: Dataset, workers: int) -> None:
    path = Path(data.annotation(3).path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=path.name):
        take(train_loader(data, TRANSFORMS.train(), 10, seed=0, workers=workers), 1)


def test_in_memory_images_are_shrunk_once_with_their_boxes(data: Dataset) -> None:
    small = InMemory(data, longest=30)
    assert small.bytes == 10 * 3 * 20 * 30
    assert small[1].image_CHW.shape == (3, 20, 30) and small[1].original_hw == (40, 60)
    assert small[1].boxes_N4.tolist() == [[5, 2.5, 15, 12.5]]
    there = Transforms(Stretch(40, 60)).test()(small[1])
    assert there.boxes_N4.tolist() == data[1].boxes_N4.tolist()
    assert there.placement.scale_x == 1.0


def test_grouping_by_shape_fills_batches_with_one_shape_and_loses_nothing() -> None:
    chance = np.random.default_rng(0)
    groups = orientation(chance.integers(100, 200, (500, 2)))
    order = Order(500, 8, seed=0, groups_I=groups)
    batches = [order.batch_draws(number) for number in range(320)]
    mixed = sum(len({int(groups[draw.image]) for draw in batch}) > 1 for batch in batches)
    assert mixed <= 320 / 32
    counts = np.bincount([draw.image for batch in batches for draw in batch], minlength=500)
    assert counts.min() >= 4 and counts.max() <= 7  # 5.12 passes
    assert order.batch_draws(77) == Order(500, 8, seed=0, groups_I=groups).batch_draws(77)


def test_repeat_factors_by_hand_and_on_average() -> None:
    # Four images; class 0 in all, class 1 in one: threshold 0.5 repeats it sqrt(0.5 / 0.25) times.
    factors = repeat_factors(np.array([0, 1, 2, 3, 5]), np.array([0, 0, 0, 0, 1]), 2, 0.5)
    assert factors.tolist() == pytest.approx([1, 1, 1, 2**0.5])
    order = Order(4, 1, seed=0, repeats_I=factors)
    assert order.pass_length == 4
    images = [order.batch_draws(number)[0].image for number in range(4000)]
    share = np.bincount(images, minlength=4) / 4000
    assert share.tolist() == pytest.approx((factors / factors.sum()).tolist(), abs=0.01)
    visits = [(d.image, d.visit) for n in range(400) for d in order.batch_draws(n)]
    assert len(set(visits)) == 400


def test_spawned_workers_open_the_same_data(data: Dataset) -> None:
    """A data set is pickled as the path of its labels, and reads the same in a fresh process."""
    load = "pickle.load(sys.stdin.buffer)"  # the test's own bytes, as a spawned worker gets them
    code = f"import pickle, sys; print({load}.content_hash())"
    pickled = pickle.dumps(data)
    assert len(pickled) < 2000
    checkout = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", code], input=pickled, capture_output=True, cwd=checkout, check=True
    )
    assert answer.stdout.decode().strip() == data.content_hash()


def test_pinning_a_batch_changes_nothing_in_it(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page-locked memory needs a GPU; here the copy stands for it."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    batch = take(train_loader(data, TRANSFORMS.train(), 4, seed=3), 1)[0]
    pinned = batch.pin_memory()
    assert same(batch, pinned) and pinned.valid_BM is not batch.valid_BM
    assert pinned.original_hw == batch.original_hw
