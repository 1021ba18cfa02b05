"""The losses wait for no device, and stand inside or outside of what torch.compile traces."""

import pytest
import torch
from torch import Tensor, nn

from losses import LOSSES
from losses.conventions import focal_loss_of_anchor_states, focal_loss_of_shifted_labels
from losses.focal import Focal, sigmoid_focal_loss, softmax_focal_loss

# A tensor on the meta device has no values: whatever reads one, as a wait for a GPU would, raises.
META = torch.device("meta")


def logits_on_meta(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(2, 30, 4, dtype=dtype, device=META, requires_grad=True)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ignored", [False, True])
def test_no_loss_reads_a_value_back(name: str, dtype: torch.dtype, ignored: bool) -> None:
    loss = LOSSES[name]().at(0.3)
    ignore = torch.zeros(2, 30, dtype=torch.bool, device=META) if ignored else None
    logits = logits_on_meta(dtype)
    found = loss.sigmoid(logits, torch.zeros(2, 30, 4, device=META), ignore)
    found.sum().backward()
    assert found.shape == (2, 30, 4) and found.dtype == torch.float32
    assert logits.grad is not None and logits.grad.dtype == dtype


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5, 0.5)])
def test_neither_does_the_softmax_form(weights) -> None:
    logits, labels = logits_on_meta(), torch.zeros(2, 30, dtype=torch.int64, device=META)
    loss = Focal(None, 0.5, weights).at(0.0).softmax(logits, labels, labels == 3)
    loss.sum().backward()
    assert logits.grad is not None and logits.grad.shape == logits.shape


def test_neither_do_labels_and_the_known_layouts() -> None:
    logits, labels = logits_on_meta(), torch.zeros(2, 30, dtype=torch.int64, device=META)
    sigmoid_focal_loss(logits, labels, gamma=torch.ones(4, device=META)).sum().backward()
    focal_loss_of_anchor_states(logits, torch.zeros_like(logits), labels).backward()
    focal_loss_of_shifted_labels(logits[0], labels[0], labels.sum()).sum().backward()


@pytest.mark.parametrize("form", ["sigmoid", "labels", "softmax"])
def test_a_whole_step_may_be_traced(form: str) -> None:
    torch.compiler.reset()
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 3
    ignore = labels == 2

    def step(x: Tensor) -> Tensor:
        if form == "softmax":
            return softmax_focal_loss(x, labels, gamma=0.5, ignore=ignore).sum()
        targets = labels if form == "labels" else torch.eye(3)[labels]
        return sigmoid_focal_loss(x, targets, alpha=0.25, gamma=0.5, ignore=ignore).sum()

    traced, plain = (logits.clone().requires_grad_() for _ in range(2))
    loss = torch.compile(step, backend="aot_eager", fullgraph=True)(traced)
    loss.backward()
    expected = step(plain)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(traced.grad, plain.grad)


def test_a_traced_model_feeds_an_untraced_loss() -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    inputs, targets = torch.randn(4, 5), torch.eye(3)[[0, 1, 2, 0]]
    gradients = []
    for network in (model, torch.compile(model, backend="aot_eager")):
        model.zero_grad()
        Focal(0.25, 0.5).at(0.0).sigmoid(network(inputs), targets).sum().backward()
        gradients.append(model.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])
    exported = torch.export.export(model, (inputs,)).module()
    torch.testing.assert_close(exported(inputs), model(inputs))
