"""Normalisers: what each divides by, and that ranks together equal one big batch."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from losses import NORMALISERS
from losses.normalise import EMA, AllReduced, Batch, Fixed, Image, MovingAverage, normaliser_of


def total(
    normaliser: Callable[[Tensor], Tensor], loss_B: list[float], foreground_B: list[float]
) -> float:
    return (torch.tensor(loss_B) / normaliser(torch.tensor(foreground_B))).sum().item()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Image(), (8 / 4 + 3 / 1) / 2),  # torchvision: each image by its own, mean over images
        (Batch(), (8 + 3) / 4),  # mmdet: the batch by all positives
        (AllReduced(), (8 + 3) / 4),
        (EMA(100.0, 0.9), (8 + 3) / (0.9 * 100 + 0.1 * 4)),  # Detectron2
        (Fixed(), (8 + 3) / 2),  # darknet: mean over images
        (Fixed(64.0, "batch"), (8 + 3) / 64),
    ],
)
def test_each_peers_convention(settings, expected: float) -> None:
    assert total(normaliser_of(settings), [8.0, 3.0], [4.0, 0.0]) == pytest.approx(expected)


@pytest.mark.parametrize("name", NORMALISERS)
def test_no_object_anywhere_divides_by_no_zero(name: str) -> None:
    divisor_B = normaliser_of(NORMALISERS[name]())(torch.zeros(3))
    assert divisor_B.shape == (3,) and divisor_B.isfinite().all() and divisor_B.gt(0).all()


@pytest.mark.parametrize("name", NORMALISERS)
def test_divisors_carry_no_gradient(name: str) -> None:
    assert not normaliser_of(NORMALISERS[name]())(torch.ones(3, requires_grad=True)).requires_grad


def test_the_average_moves_in_training_only_and_survives_a_resume() -> None:
    module = MovingAverage(EMA(100.0, 0.9))
    module(torch.tensor([20.0, 30.0]))
    assert module.state_dict()["average"].item() == pytest.approx(95.0)
    module.eval()
    assert module(torch.tensor([0.0, 0.0])).tolist() == [pytest.approx(95.0)] * 2
    resumed = MovingAverage(EMA(100.0, 0.9))
    resumed.load_state_dict(module.state_dict())
    both = (copy.train()(torch.tensor([7.0]))[0].item() for copy in (module, resumed))
    assert len(set(both)) == 1


def _rank_gradient(rank: int, folder: str, settings, shared) -> None:
    """One rank's gradient of a one-parameter model on its own two images, averaged as DDP does."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
    )
    scale = torch.ones((), requires_grad=True)
    loss_B = scale * torch.tensor([[8.0, 3.0], [1.0, 5.0]])[rank]
    foreground_B = torch.tensor([[4.0, 0.0], [1.0, 7.0]])[rank]
    (loss_B / normaliser_of(settings)(foreground_B)).sum().backward()
    assert scale.grad is not None
    distributed.all_reduce(scale.grad)
    shared[rank] = scale.grad / 2
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("settings", "equal"),
    [
        (AllReduced(), True),
        (Image(), True),
        (EMA(), True),
        (Fixed(), True),
        (Fixed(64.0, "batch"), True),
        (Batch(), False),
    ],
)
def test_ranks_together_equal_one_process_with_the_whole_batch(
    settings, equal: bool, tmp_path: Path
) -> None:
    shared = torch.zeros(2).share_memory_()
    context = multiprocessing.get_context("fork")
    ranks = [
        context.Process(target=_rank_gradient, args=(rank, str(tmp_path), settings, shared))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    alone = normaliser_of(Batch() if isinstance(settings, AllReduced | Batch) else settings)
    whole = total(alone, [8.0, 3.0, 1.0, 5.0], [4.0, 0.0, 1.0, 7.0])
    assert (shared[0].item() == pytest.approx(whole)) is equal
    assert shared[0] == shared[1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EMA(start=0.0), "start: must be > 0, found 0"),
        (lambda: EMA(momentum=1.0), r"momentum: must be in \[0, 1\), found 1"),
        (lambda: Fixed(value=0.0), "value: must be > 0, found 0"),
    ],
)
def test_a_wrong_setting_says_which_field(build, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}".replace("(lambda", "")):
        build()
