"""Cross-entropy, plain and balanced: the arm that focal loss is compared with. Shapes: K classes,
`..` leading axes.

Both run the focal kernels at gamma 0, so that arms of a comparison differ in gamma and alpha and in
nothing else.
"""

from dataclasses import dataclass

from losses.focal import Focal, FocalLoss
from losses.schedules import Schedule


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Settings of unweighted cross-entropy, sigmoid or softmax.

    fused: compile the kernels; see `losses/kernels/compiled.py`.

    >>> import torch
    >>> CrossEntropy().at(0.5).sigmoid(torch.zeros(1, 1), torch.ones(1, 1))
    tensor([[0.6931]])
    """

    fused: bool = False

    def at(self, progress: float) -> FocalLoss:
        """The loss in force at `progress` in [0, 1]: the same throughout."""
        return Focal(alpha=None, gamma=0.0, fused=self.fused).at(progress)

    def values(self, progress: float) -> dict[str, float]:
        """Nothing varies."""
        return {}


@dataclass(frozen=True, slots=True)
class BalancedCrossEntropy:
    """Settings of cross-entropy whose positives weigh alpha and negatives 1 - alpha (Lin et al.
    2017, eq. 3).

    The default is the best of the paper's table 1a. As a softmax loss alpha scales everything
    alike.

    >>> import torch
    >>> loss = BalancedCrossEntropy(alpha=0.75).at(0.0)
    >>> loss.sigmoid(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([[0.5199, 0.1733]])
    """

    alpha: float | tuple[float, ...] | Schedule = 0.75
    fused: bool = False

    def __post_init__(self) -> None:
        self._focal()

    def _focal(self) -> Focal:
        return Focal(alpha=self.alpha, gamma=0.0, fused=self.fused)

    def at(self, progress: float) -> FocalLoss:
        """The loss in force at `progress` in [0, 1]."""
        return self._focal().at(progress)

    def values(self, progress: float) -> dict[str, float]:
        """alpha, where it is one number."""
        values = self._focal().values(progress)
        return {"alpha": values["alpha"]} if "alpha" in values else {}
