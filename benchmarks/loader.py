"""Claim: training batches come at least 1.3 times as fast as from Pillow and torchvision v2.

python -m benchmarks.loader --data ../shared/data

Both pipelines draw the same images in the same order and apply the same plan (crop, size, place,
mirror, colour), so they do the same work; the reference decodes with Pillow and calls the v2
functionals one after another, boxes as `tv_tensors`, and pads and stacks by torch. They run in
turns, in one process and with worker processes; a ratio is the median over rounds of the ratio
within a round. The JSON goes to benchmarks/results/loader_<instructions>_<date>.json. Run it on a
quiet machine.
"""

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from benchmarks import filing
from datasets import COCO, VOC
from datasets.colour import Colour, distort
from datasets.decoding import decode_bytes
from datasets.loading import train_loader
from datasets.placement import compose, render
from datasets.sample import Batch, Sample, collate
from datasets.sampling import BatchSampler, Draw, Order
from datasets.transforms import FILL, Jitter, Letterbox, ShortEdge, Transforms, mix, plan_of
from experiments.record.origin import PACKAGES

HERE = Path(__file__).parent
CLAIM = 1.3
PIPELINES = {
    "yolov2 416": (Transforms(Letterbox(416, 416), jitter=Jitter(), colour=Colour()), 8),
    "retinanet 800": (Transforms(ShortEdge(800, 1333)), 2),
}


def main() -> int:
    """Run all pairs, print them, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds BCCD and coco128")
    parser.add_argument("--images", type=int, default=48, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    rows: dict[str, dict[str, float]] = {}
    stages = {}
    for data_name, samples in open_data(arguments.data).items():
        for name, (transforms, batch) in PIPELINES.items():
            check_same(samples, transforms)
            stages[f"{data_name}, {name}"] = time_stages(samples, transforms, arguments.images)
            for workers in arguments.workers:
                turns = arguments.images // batch
                row = compare(samples, transforms, batch, workers, turns, arguments.rounds)
                title = f"{data_name}, {name}, {workers} workers"
                rows[title] = row
                print_row(title, row)
    print_stages(stages)
    path = filing.path_of("loader", arguments.out)
    status = filing.file_result(
        path,
        "loader",
        load=load,
        packages=PACKAGES,
        parts={"whole pipelines": rows, "stages, milliseconds an image": stages},
        claims={
            f"{title}: {CLAIM} times Pillow and torchvision v2": row["times_faster"] >= CLAIM
            for title, row in rows.items()
        },
    )
    print(path)
    return status


def open_data(root: Path) -> dict[str, Any]:
    """BCCD's and coco128's training images."""
    name = "annotations/instances_train2017.json"
    return {
        "BCCD": VOC(str(root / "BCCD"), "train", "val", "test").open("train"),
        "coco128": COCO(str(root / "coco128"), name, name, name).open("train"),
    }


class Reference(Dataset[Sample]):
    """Pillow and torchvision's v2 functionals, following the same plan."""

    def __init__(self, samples: Any, transforms: Transforms, seed: int) -> None:
        self.samples, self.transforms, self.seed = samples, transforms, seed

    def __getitem__(self, draw: Draw) -> Sample:
        """Read, decode and transform one image."""
        labels = self.samples.annotation(draw.image)
        with Image.open(labels.path) as file:
            image = tv_tensors.Image(F.pil_to_tensor(file.convert("RGB")))
        boxes = torch.from_numpy(labels.boxes_N4)
        sample = Sample(
            image,
            boxes,
            torch.from_numpy(labels.labels_N),
            torch.from_numpy(labels.ignore_N),
            labels.image_id,
            draw.image,
            (image.shape[1], image.shape[2]),
        )
        return reference(sample, self.transforms, mix(self.seed, draw.image, draw.visit))


def reference(sample: Sample, transforms: Transforms, seed: int) -> Sample:
    """The plan of `transforms` by torchvision's functionals."""
    import random

    chance = random.Random(seed)
    step = plan_of(transforms, sample, chance, None)
    x1, y1, x2, y2 = step.crop
    left, top, right, bottom = step.target
    height, width = step.canvas_hw
    size = (sample.image_CHW.shape[1], sample.image_CHW.shape[2])
    boxes = tv_tensors.BoundingBoxes(sample.boxes_N4, format="XYXY", canvas_size=size)
    pad = [left, top, width - right, height - bottom]
    image = sample.image_CHW
    for apply in (
        partial(F.crop, top=y1, left=x1, height=y2 - y1, width=x2 - x1),
        partial(F.resize, size=[bottom - top, right - left], antialias=True),
        partial(F.pad, padding=pad, fill=FILL),
    ):
        image, boxes = apply(image), apply(boxes)
    if step.mirrored_x:
        image, boxes = F.horizontal_flip(image), F.horizontal_flip(boxes)
    if transforms.colour:
        hue, saturation, exposure = transforms.colour.draw(chance)
        image = F.adjust_saturation(F.adjust_hue(image, hue), saturation)
        image = F.adjust_brightness(image, exposure)
    boxes = F.clamp_bounding_boxes(boxes)
    kept = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    return replace(
        sample,
        image_CHW=image,
        boxes_N4=boxes[kept],
        labels_N=sample.labels_N[kept],
        ignore_N=sample.ignore_N[kept],
        placement=compose(sample.placement, step.placement),
    )


def reference_collate(samples: list[Sample]) -> Batch:
    """Pad each image by torchvision's functional, then stack."""
    sizes = [(sample.image_CHW.shape[1], sample.image_CHW.shape[2]) for sample in samples]
    height, width = (-(-max(size[axis] for size in sizes) // 32) * 32 for axis in (0, 1))
    padded = [
        F.pad(sample.image_CHW, [0, 0, width - size[1], height - size[0]])
        for sample, size in zip(samples, sizes, strict=True)
    ]
    dots = [replace(sample, image_CHW=sample.image_CHW[:, :1, :1]) for sample in samples]
    return replace(collate(dots), images_BCHW=torch.stack(padded), content_B2=torch.tensor(sizes))


def check_same(samples: Any, transforms: Transforms) -> None:
    """Both pipelines give the same picture, but for colour, which has another definition of hue."""
    plain = replace(transforms, colour=None)
    for number in range(4):
        ours = plain.train()(samples[number], number)
        theirs = reference(samples[number], plain, number)
        apart = (ours.image_CHW.int() - theirs.image_CHW.int()).abs()
        if ours.placement != theirs.placement or int(apart.max()) > 3:
            raise SystemExit(f"the pipelines differ on image {number}: {int(apart.max())}")


def compare(
    samples: Any, transforms: Transforms, batch: int, workers: int, turns: int, rounds: int
) -> dict[str, Any]:
    """Images a second of both, in turns; the first batch of each turn isn't timed."""
    ours, theirs = [], []
    for number in range(rounds):
        start = number * turns
        ours.append(
            speed(
                train_loader(
                    samples, transforms.train(), batch, 0, workers, start_batch=start, multiple=32
                ),
                turns,
                batch,
            )
        )
        theirs.append(
            speed(
                DataLoader(
                    Reference(samples, transforms, 0),
                    batch_sampler=BatchSampler(  # type: ignore[arg-type]
                        Order(len(samples), batch, 0), itertools.count(start)
                    ),
                    num_workers=workers,
                    collate_fn=reference_collate,
                ),
                turns,
                batch,
            )
        )
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "images_per_second": statistics.median(ours),
        "reference_images_per_second": statistics.median(theirs),
        "times_faster": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def speed(batches: Any, turns: int, batch: int) -> float:
    """Images a second over `turns` batches."""
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    for _ in range(turns):
        next(iterator)
    return turns * batch / (time.perf_counter() - start)


def time_stages(samples: Any, transforms: Transforms, images: int) -> dict[str, float]:
    """Milliseconds an image of each stage, one after the other, in one process."""
    import random

    spent: dict[str, float] = dict.fromkeys(("read", "decode", "geometry", "colour", "boxes"), 0.0)

    def timed(stage: str, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = run()
        spent[stage] += time.perf_counter() - start
        return result

    done: list[Sample] = []
    pipeline = transforms.train()
    count = min(images, len(samples))
    for number in range(count):
        path = Path(samples.annotation(number).path)
        data = timed("read", path.read_bytes)
        image = timed("decode", partial(decode_bytes, data))
        sample = replace(samples[number], image_CHW=image)
        chance = random.Random(number)
        step = plan_of(transforms, sample, chance, None)
        image = timed("geometry", partial(render, image, step, FILL))
        if transforms.colour:
            timed("colour", partial(distort, image, *transforms.colour.draw(chance)))
        start = time.perf_counter()
        samples.annotation(number)
        spent["boxes"] += time.perf_counter() - start
        done.append(pipeline(sample, number))
    start = time.perf_counter()
    for place in range(0, count, 8):
        collate(done[place : place + 8], multiple=32)
    spent["collate"] = time.perf_counter() - start
    return {stage: 1000 * seconds / count for stage, seconds in spent.items()}


def print_row(title: str, row: dict[str, float]) -> None:
    """One comparison."""
    print(
        f"{title:36s} {row['images_per_second']:6.1f} images/s, reference "
        f"{row['reference_images_per_second']:6.1f}: {row['times_faster']:.2f} times "
        f"({row['lowest']:.2f} - {row['highest']:.2f})",
        flush=True,
    )


def print_stages(stages: dict[str, dict[str, float]]) -> None:
    """Milliseconds an image, a line a pipeline."""
    for name, spent in stages.items():
        line = ", ".join(f"{stage} {value:.2f}" for stage, value in spent.items())
        print(f"{name}: ms an image: {line}")


if __name__ == "__main__":
    sys.exit(main())
