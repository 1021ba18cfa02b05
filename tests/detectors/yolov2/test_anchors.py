"""Anchors by IoU k-means: on hand-made clusters, and on all of VOC07+12 where its annotations
lie beside the checkout.
"""

import time
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from defusedxml.ElementTree import parse

from detectors.yolov2.anchors import average_iou, cluster
from detectors.yolov2.detector import ANCHORS

DEVKIT = Path(__file__).parents[3].parent / "shared/data/VOCdevkit"


def test_well_parted_clusters_are_found_in_order_of_area() -> None:
    random = np.random.default_rng(0)
    centres = np.array([[1.0, 1], [2, 8], [9, 3], [20, 20]])
    sizes = np.repeat(centres, 50, axis=0) * random.uniform(0.95, 1.05, (200, 2))
    found = cluster(sizes, 4)
    np.testing.assert_allclose(found.anchors, centres, rtol=0.05)
    assert found.average_iou == pytest.approx(average_iou(sizes, np.array(found.anchors)))


def test_the_same_boxes_and_seed_give_the_same_anchors() -> None:
    sizes = np.random.default_rng(1).uniform(1, 10, (500, 2))
    assert cluster(sizes, 5, seed=3) == cluster(sizes, 5, seed=3)


def test_as_many_anchors_as_sizes_fit_perfectly() -> None:
    sizes = np.array([[1.0, 2], [3, 4], [5, 1]])
    assert cluster(sizes, 3).average_iou == pytest.approx(1.0)


@pytest.mark.parametrize("anchors", [0, 4])
def test_impossible_counts_are_refused(anchors: int) -> None:
    with pytest.raises(ValueError, match="^anchors: must be 1 to 3"):
        cluster(np.array([[1.0, 2], [3, 4], [5, 1]]), anchors)


def test_empty_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="^sizes: "):
        cluster(np.array([[1.0, 0.0]]), 1)


def voc_sizes() -> np.ndarray:
    rows = []
    for year in ("VOC2007", "VOC2012"):
        for name in (DEVKIT / year / "ImageSets/Main/trainval.txt").read_text().split():
            root = parse(DEVKIT / year / f"Annotations/{name}.xml").getroot()
            sides = np.array([float(root.findtext(f"size/{side}")) for side in ("width", "height")])
            rows += [
                box_size(item) / sides
                for item in root.iter("object")
                if item.findtext("difficult") != "1"
            ]
    return np.array(rows) * 13


def box_size(item: Element) -> np.ndarray:
    x1, y1, x2, y2 = (
        float(item.findtext(f"bndbox/{c}") or 0) for c in ("xmin", "ymin", "xmax", "ymax")
    )
    return np.array([x2 - x1 + 1, y2 - y1 + 1])


@pytest.mark.slow
@pytest.mark.skipif(not DEVKIT.is_dir(), reason="no VOCdevkit in shared/data beside the checkout")
def test_voc_anchors_beat_the_published_ones() -> None:
    sizes = voc_sizes()
    start = time.perf_counter()
    found = cluster(sizes, 5)
    seconds = time.perf_counter() - start
    published = average_iou(sizes, np.array(ANCHORS["voc"]))
    print(
        f"{len(sizes)} boxes: {found.average_iou:.2%}, published {published:.2%}, {seconds:.1f} s"
    )
    assert found.average_iou >= max(published, 0.605)
    assert seconds < 20
