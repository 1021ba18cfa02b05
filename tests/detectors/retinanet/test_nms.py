"""Selection of detections."""

import pytest
import torch

from detectors.retinanet.nms import Selection, candidates, suppress


def test_candidates_are_the_best_pairs_above_the_threshold() -> None:
    logits = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)) * 3
    scores, anchors, labels = candidates(logits, Selection(score=0.3, per_level=50), "sigmoid")
    expected = logits.sigmoid().flatten().sort(descending=True).values[:50]
    assert torch.equal(scores, expected)
    assert torch.equal(logits[anchors, labels].sigmoid(), scores)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.5, 0.9])
def test_the_short_cut_in_logits_keeps_exactly_what_the_scores_would(threshold: float) -> None:
    logits = torch.linspace(-8, 8, 100_001)[:, None]
    scores, _, _ = candidates(logits, Selection(score=threshold, per_level=10**6), "sigmoid")
    assert len(scores) == int((logits.sigmoid() > threshold).sum())


def test_softmax_never_reports_background() -> None:
    logits = torch.tensor([[0.0, 0.0, 9.0], [0.0, 5.0, 0.0]])  # background last
    scores, anchors, labels = candidates(logits, Selection(), "softmax")
    assert (anchors.tolist(), labels.tolist()) == ([1], [1])
    assert scores.item() == pytest.approx(logits[1].softmax(0)[1].item())


def test_suppression_is_within_a_class_and_sorted() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]])
    scores, labels = torch.tensor([0.5, 0.9, 0.7, 0.6]), torch.tensor([0, 0, 1, 0])
    found = suppress(boxes, scores, labels, Selection())
    assert found.scores_D.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found.labels_D.tolist() == [0, 1, 0]
    assert len(suppress(boxes, scores, labels, Selection(most=1)).scores_D) == 1


def test_nothing_above_the_threshold_is_an_empty_list() -> None:
    scores, anchors, labels = candidates(torch.full((10, 3), -9.0), Selection(), "sigmoid")
    assert len(scores) == 0
    assert suppress(torch.zeros(0, 4), scores, labels, Selection()).boxes_D4.shape == (0, 4)
