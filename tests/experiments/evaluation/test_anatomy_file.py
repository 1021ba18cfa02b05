"""Counting answers in bins changes no curve that can be seen; the file gives back what it got."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.evaluation import EvaluationError
from experiments.evaluation.anatomy import (
    ANATOMY_FILE,
    BINS,
    KINDS,
    POINTS,
    Anatomy,
    LogitCounts,
    bin_of,
    gradient_share,
    loss_curve,
    read_anatomy,
    shares_of,
    write_anatomy,
)
from experiments.evaluation.text import anatomy_text

GAMMAS = (0.0, 0.5, 2.0, 5.0)


def counted(foreground: np.ndarray, background: np.ndarray) -> LogitCounts:
    """Signed logits of two levels: the first half of each is level 0."""
    counts = LogitCounts(("stride 8", "stride 16"))
    for kind, logits in zip(KINDS, (foreground, background), strict=True):
        for level, part in enumerate(np.array_split(logits, 2)):
            counts.add(kind, level, np.bincount(bin_of(part), minlength=BINS))
    return counts


def sample() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.normal(0.5, 2, 3000), draw.normal(4, 2, 200_000)


def probabilities(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def test_counts_give_the_curves_of_the_answers_themselves() -> None:
    logits = dict(zip(KINDS, sample(), strict=True))
    shares = shares_of(counted(*logits.values()), GAMMAS, (1.0, 1.0))
    for one in shares:
        for kind in KINDS:
            exact = loss_curve(probabilities(logits[kind]), one.gamma, points=POINTS)
            np.testing.assert_allclose(one.share_of_loss[kind], exact.share_of_loss, atol=2e-3)
            assert one.half_share[kind] == pytest.approx(exact.half_share, rel=0.01)
            assert one.share_of_loss[kind][0] == 0 and one.share_of_loss[kind][-1] == 1
            assert (np.diff(one.share_of_loss[kind]) >= 0).all()


def test_gradient_is_shared_by_kind_level_and_weight() -> None:
    foreground, background = sample()
    counts = counted(foreground, background)
    for gamma in GAMMAS:
        exact = gradient_share(probabilities(foreground), probabilities(background), gamma)
        plain, weighed = (shares_of(counts, [gamma], pair)[0] for pair in ((1, 1), (0.25, 0.75)))
        assert plain.of_gradient("foreground") == pytest.approx(exact.of_foreground, rel=1e-3)
        parts = [plain.of_gradient(kind, level) for kind in KINDS for level in (0, 1)]
        assert sum(parts) == pytest.approx(1)
        ratio = exact.foreground / (exact.foreground + 3 * exact.background)
        assert weighed.of_gradient("foreground") == pytest.approx(ratio, rel=1e-3)


def test_a_uniform_probability_gives_the_curve_of_the_integral() -> None:
    uniform = (np.arange(400_000) + 0.5) / 400_000
    logits = np.log(uniform / (1 - uniform))
    one = shares_of(counted(logits, logits), [0.0], (1.0, 1.0))[0]
    x = np.linspace(0, 1, POINTS)
    left = np.maximum(1 - x, 1e-300)
    # the x easiest have p in [1 - x, 1]; -log p integrates to x + (1 - x) log(1 - x)
    expected = x + left * np.log(left)
    np.testing.assert_allclose(one.share_of_loss["background"], expected, atol=3e-3)


def test_endless_logits_are_certain_answers() -> None:
    assert bin_of(np.array([-np.inf, -40.0, 0.0, 40.0, np.inf])).tolist() == [
        *(0, 0, BINS // 2, BINS - 1, BINS - 1)
    ]


def test_images_without_foreground_are_refused() -> None:
    with pytest.raises(EvaluationError, match="not one answer about foreground"):
        shares_of(counted(np.zeros(0), np.zeros(4)), GAMMAS, (1.0, 1.0))


def anatomy() -> Anatomy:
    counts = counted(*sample())
    return Anatomy(
        of="every class of every anchor",
        weights=(0.25, 0.75),
        levels=counts.levels,
        counts={"foreground": 3000, "background": 200_000},
        shares=shares_of(counts, GAMMAS, (0.25, 0.75)),
        checkpoint="iteration_00000010.pt",
        checkpoint_sha256="a" * 64,
        config_hash="b" * 64,
        seed=0,
        split="test",
        images=8,
    )


def test_the_file_is_small_and_gives_back_what_was_written(tmp_path: Path) -> None:
    path = write_anatomy(tmp_path, anatomy())
    assert read_anatomy(tmp_path) == anatomy()
    assert path.stat().st_size < 40_000
    assert read_anatomy(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 9}', '{"format": 1}', '{"format": 1, "shares": [{}]}']
)
def test_another_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / ANATOMY_FILE).write_text(text)
    with pytest.raises(EvaluationError, match="anatomy.json: not an anatomy"):
        read_anatomy(tmp_path)


def test_a_curve_cut_short_is_named(tmp_path: Path) -> None:
    path = write_anatomy(tmp_path, anatomy())
    values = json.loads(path.read_text())
    values["shares"][0]["share_of_loss"]["background"].pop()
    path.write_text(json.dumps(values))
    with pytest.raises(EvaluationError, match="a curve has not 101 points"):
        read_anatomy(tmp_path)


def test_the_table_tells_gamma_kind_and_level() -> None:
    text = anatomy_text(anatomy())
    assert "3,000 foreground, 200,000 background" in text
    lines = text.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("0", "2", "5"))] == [
        *("0", "0.5", "2", "5")
    ]
    assert sum(line.startswith("stride") for line in lines) == 2
