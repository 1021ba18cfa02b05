"""Focal loss composed of differentiable operations. Shapes: K classes, `..` any leading axes.

Slower than the closed forms and with several times their memory, but differentiable any number of
times and in gamma and the weights too, and plain enough for `torch.compile` to trace through.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.kernels.sigmoid_formula import Weighing


def composed_sigmoid_focal(x_K: Tensor, t_K: Tensor, weighing: Weighing) -> Tensor:
    """Logits and targets [.., K] of one floating dtype to a loss [.., K].

    >>> composed_sigmoid_focal(torch.zeros(1), torch.ones(1), Weighing(0.5, 1.0, gamma=1.0))
    tensor([0.1733])
    """
    cross_entropy_K = -t_K * F.logsigmoid(x_K) - (1 - t_K) * F.logsigmoid(-x_K)
    wrong_K = x_K.sigmoid() * (1 - t_K) + (-x_K).sigmoid() * t_K  # 1 - p_t without cancellation
    tiny = torch.finfo(x_K.dtype).tiny
    focus_K = (weighing.gamma * wrong_K.clamp(min=tiny).log()).exp()
    weight_K = weighing.positive * t_K + weighing.negative * (1 - t_K)
    return weight_K * cross_entropy_K * focus_K


def composed_softmax_focal(
    x_K: Tensor, labels: Tensor, weight_K: Tensor | None, gamma: float | Tensor
) -> Tensor:
    """Logits [.., K] and labels [..] in 0..K-1 to a loss [..].

    >>> composed_softmax_focal(torch.zeros(1, 2), torch.tensor([0]), None, 1.0)
    tensor([0.3466])
    """
    own_K = torch.arange(x_K.shape[-1], device=x_K.device) == labels[..., None]
    log_p_K = x_K.log_softmax(-1)
    cross_entropy = -log_p_K.masked_fill(~own_K, 0).sum(-1)
    tiny = torch.finfo(x_K.dtype).tiny
    wrong = log_p_K.exp().masked_fill(own_K, 0).sum(-1)  # 1 - p_t without cancellation
    if isinstance(gamma, Tensor) and gamma.ndim == 1 and gamma.numel() > 1:
        gamma = gamma[labels]
    loss = cross_entropy * (gamma * wrong.clamp(min=tiny).log()).exp()
    return loss if weight_K is None else loss * weight_K[labels]
