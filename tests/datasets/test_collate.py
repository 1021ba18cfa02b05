"""Batches hold the same pixels however those of the samples lie in memory."""

import pytest
import torch
from torch import Tensor

from datasets.sample import Sample, collate


def sample(image_CHW: Tensor) -> Sample:
    """A sample without objects."""
    return Sample(
        image_CHW=image_CHW,
        boxes_N4=torch.zeros(0, 4),
        labels_N=torch.zeros(0, dtype=torch.int64),
        ignore_N=torch.zeros(0, dtype=torch.bool),
        image_id="one",
        index=0,
        original_hw=(image_CHW.shape[1], image_CHW.shape[2]),
    )


@pytest.mark.parametrize("first", ["planes", "interleaved"])
@pytest.mark.parametrize("second", ["planes", "interleaved"])
def test_pixels_are_padded_with_zeros_below_and_right(first: str, second: str) -> None:
    random = torch.Generator().manual_seed(0)
    images = [
        torch.randint(1, 256, (3, height, width), generator=random, dtype=torch.uint8)
        for height, width in ((20, 33), (31, 12))
    ]
    laid = [
        image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if how == "interleaved" else image
        for image, how in zip(images, (first, second), strict=True)
    ]
    batch = collate([sample(image) for image in laid], multiple=32)
    expected = torch.zeros(2, 3, 32, 64, dtype=torch.uint8)
    expected[0, :, :20, :33], expected[1, :, :31, :12] = images
    assert torch.equal(batch.images_BCHW, expected)
    assert batch.content_B2.tolist() == [[20, 33], [31, 12]]
    layout = torch.channels_last if first == "interleaved" else torch.contiguous_format
    assert batch.images_BCHW.is_contiguous(memory_format=layout)
