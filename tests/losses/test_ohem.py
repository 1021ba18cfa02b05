"""OHEM: exactly the hardest anchors of each pool, and never an ignored one."""

import pytest
import torch

from losses.cross_entropy import CrossEntropy
from losses.ohem import OHEMCrossEntropy


def pools() -> tuple[torch.Tensor, torch.Tensor]:
    """Two images of 40 anchors and 3 classes; the first has 4 positives, the second none."""
    logits_BAK = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0)) * 3
    targets_BAK = torch.zeros(2, 40, 3)
    targets_BAK[0, 3:7, 1] = 1
    return logits_BAK, targets_BAK


def test_the_k_hardest_of_each_image() -> None:
    logits, targets = pools()
    whole = CrossEntropy().at(0.0).sigmoid(logits, targets)
    mined = OHEMCrossEntropy(keep=5).at(0.0).sigmoid(logits, targets)
    for image in range(2):
        hardest = whole[image].sum(-1).topk(5).indices
        assert mined[image][hardest].equal(whole[image][hardest])
        assert mined[image].sum().item() == pytest.approx(whole[image][hardest].sum().item())


def test_all_positives_and_three_times_as_many_negatives() -> None:
    logits, targets = pools()
    mined = OHEMCrossEntropy(keep=None, negatives_per_positive=3.0).at(0.0).sigmoid(logits, targets)
    kept = mined.sum(-1) > 0
    positive = targets.any(-1)
    assert (kept & positive).sum(-1).tolist() == [4, 0]
    assert (kept & ~positive).sum(-1).tolist() == [12, 3]  # an image without objects counts as one


def test_one_to_three_within_a_budget() -> None:
    logits, targets = pools()
    targets[0, :20, 0] = 1
    mined = OHEMCrossEntropy(keep=8, negatives_per_positive=3.0).at(0.0).sigmoid(logits, targets)
    kept = mined.sum(-1) > 0
    positive = targets.any(-1)
    assert (kept & positive).sum(-1).tolist() == [2, 0]
    assert (kept & ~positive).sum(-1).tolist() == [6, 3]


@pytest.mark.parametrize("ratio", [None, 3.0])
@pytest.mark.parametrize("whole", [False, True])
def test_an_ignored_anchor_takes_no_place(ratio: float | None, whole: bool) -> None:
    logits, targets = pools()
    ignore = torch.zeros(2, 40, dtype=torch.bool)
    ignore[:, ::2] = True
    logits[ignore] = 50.0  # by far the hardest
    mask = ignore[..., None].expand(2, 40, 3) if whole else ignore
    mined = OHEMCrossEntropy(8, ratio).at(0.0).sigmoid(logits, targets, mask)
    assert mined[ignore].eq(0).all()
    kept = OHEMCrossEntropy(8, ratio).at(0.0).sigmoid(logits[:, 1::2], targets[:, 1::2])
    assert mined[:, 1::2].equal(kept)


def test_keeping_all_is_cross_entropy() -> None:
    logits, targets = pools()
    whole = CrossEntropy().at(0.0).sigmoid(logits, targets)
    assert OHEMCrossEntropy(keep=40).at(0.0).sigmoid(logits, targets).equal(whole)
    assert OHEMCrossEntropy(keep=10**6).at(0.0).sigmoid(logits, targets).equal(whole)


def test_gradient_reaches_the_kept_anchors_only() -> None:
    logits, targets = pools()
    logits.requires_grad_()
    loss = OHEMCrossEntropy(keep=5).at(0.0).sigmoid(logits, targets)
    loss.sum().backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(-1) > 0).equal(loss.sum(-1) > 0)


def test_softmax_form_mines_rows() -> None:
    logits, _ = pools()
    labels, ignore = torch.zeros(2, 40, dtype=torch.int64), torch.zeros(2, 40, dtype=torch.bool)
    ignore[1, :38] = True
    whole = CrossEntropy().at(0.0).softmax(logits, labels)
    mined = OHEMCrossEntropy(keep=3).at(0.0).softmax(logits, labels, ignore)
    assert (mined > 0).sum(-1).tolist() == [3, 2]
    assert mined[0].sum().item() == pytest.approx(whole[0].topk(3).values.sum().item())


def test_equal_losses_keep_the_first_anchors() -> None:
    mined = OHEMCrossEntropy(keep=2).at(0.0).sigmoid(torch.zeros(5, 1), torch.zeros(5, 1))
    assert (mined[:, 0] > 0).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OHEMCrossEntropy(keep=None), "keep: must be set"),
        (lambda: OHEMCrossEntropy(keep=0), "keep: must be >= 1, found 0"),
        (lambda: OHEMCrossEntropy(8, -1.0), "negatives_per_positive: must be > 0, found -1"),
        (
            lambda: OHEMCrossEntropy(8, 3.0).at(0.0).softmax(torch.zeros(2, 2), torch.zeros(2)),
            "negatives_per_positive: the softmax form has no negatives",
        ),
    ],
)
def test_what_cannot_be_mined_is_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
