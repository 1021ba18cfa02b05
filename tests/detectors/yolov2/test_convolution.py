"""Darknet's blocks: what reorg, batch norm and folding do, checked against loops and arithmetic."""

import pytest
import torch

from detectors.yolov2.convolution import ConvBlock, DarknetBatchNorm, darknet_layers, reorg


def reorg_by_index(image: list[float], channels: int, height: int, width: int) -> list[float]:
    """Darknet's index arithmetic, one value at a time, for stride 2."""
    inner = channels // 4
    out = [0.0] * len(image)
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                offset = k // inner
                column, row = i * 2 + offset % 2, j * 2 + offset // 2
                source = column + width * 2 * (row + height * 2 * (k % inner))
                out[i + width * (j + height * k)] = image[source]
    return out


@pytest.mark.parametrize("shape", [(2, 64, 26, 26), (1, 8, 4, 6), (3, 4, 2, 2)])
def test_reorg_moves_every_value_to_darknets_place(shape: tuple[int, ...]) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = [reorg_by_index(image.flatten().tolist(), *shape[1:]) for image in maps]
    result = reorg(maps)
    assert result.shape == (shape[0], shape[1] * 4, shape[2] // 2, shape[3] // 2)
    assert torch.equal(result.flatten(1), torch.tensor(expected))


def test_reorg_does_not_depend_on_memory_layout() -> None:
    maps = torch.randn(2, 8, 6, 4)
    assert torch.equal(reorg(maps), reorg(maps.contiguous(memory_format=torch.channels_last)))


def test_reorg_is_not_a_pixel_unshuffle() -> None:
    maps = torch.arange(64.0).view(1, 4, 4, 4)
    assert not torch.equal(reorg(maps), torch.nn.functional.pixel_unshuffle(maps, 2))


def test_reorg_refuses_odd_maps() -> None:
    with pytest.raises(ValueError, match="even height"):
        reorg(torch.zeros(1, 4, 3, 4))


def test_training_batch_norm_divides_by_the_unbiased_deviation() -> None:
    norm = DarknetBatchNorm(3, eps=1e-12)
    maps = torch.randn(2, 3, 2, 2)
    values = maps.transpose(0, 1).flatten(1)
    expected = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True)
    torch.testing.assert_close(norm(maps).transpose(0, 1).flatten(1).detach(), expected)


def test_folding_batch_norm_changes_nothing_at_inference() -> None:
    torch.manual_seed(0)
    block = ConvBlock(4, 6, 3)
    block(torch.randn(8, 4, 5, 5) * 3 + 1)
    block.eval()
    maps = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        before = block(maps)
        block.fuse()
        torch.testing.assert_close(
            block(maps), before, rtol=1e-4, atol=1e-5 * before.abs().max().item()
        )


def test_weights_start_with_darknets_spread() -> None:
    torch.manual_seed(0)
    weight = ConvBlock(64, 128, 3).convolution.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)


def test_layers_come_in_file_order_and_once() -> None:
    module = torch.nn.Sequential(ConvBlock(3, 8, 3), torch.nn.Conv2d(8, 5, 1))
    assert [type(layer).__name__ for layer in darknet_layers(module)] == ["ConvBlock", "Conv2d"]
