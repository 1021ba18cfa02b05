"""Cross-entropy arms: torch's own numbers, and the same kernels as focal loss at gamma 0."""

import pytest
import torch
import torch.nn.functional as F

from losses.cross_entropy import BalancedCrossEntropy, CrossEntropy
from losses.focal import Focal
from losses.schedules import Linear


def test_both_forms_are_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 9, 5, generator=generator) * 3
    targets = (torch.rand(2, 9, 5, generator=generator) < 0.3).float()
    labels = torch.randint(5, (2, 9), generator=generator)
    loss = CrossEntropy().at(0.5)
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(loss.sigmoid(logits, targets), plain)
    torch.testing.assert_close(
        loss.softmax(logits, labels), F.cross_entropy(logits.mT, labels, reduction="none")
    )


def test_soft_targets_are_torchs_too() -> None:
    logits, targets = torch.linspace(-9, 9, 19)[:, None], torch.linspace(0, 1, 19)[:, None]
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(CrossEntropy().at(0.0).sigmoid(logits, targets), plain)


def test_balanced_is_focal_at_gamma_zero() -> None:
    logits, targets = torch.linspace(-9, 9, 19)[:, None], (torch.arange(19) % 2)[:, None].float()
    balanced = BalancedCrossEntropy(alpha=0.6).at(0.0)
    assert balanced == Focal(alpha=0.6, gamma=0.0).at(0.0)
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    weight = torch.where(targets == 1, 0.6, 0.4)
    torch.testing.assert_close(balanced.sigmoid(logits, targets), plain * weight)


def test_values_are_what_varies() -> None:
    assert CrossEntropy().values(0.3) == {}
    assert BalancedCrossEntropy(alpha=Linear(0.75, 0.25, (0.0, 1.0))).values(0.5) == {"alpha": 0.5}
    assert BalancedCrossEntropy(alpha=(0.1, 0.9)).values(0.5) == {}


def test_alpha_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^alpha: must be in \[0, 1\], found 2"):
        BalancedCrossEntropy(alpha=2.0)
