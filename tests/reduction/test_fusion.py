from __future__ import annotations

import numpy as np
import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.reduction.fusion import Fusion, fit_weights, min_max, ranks, z_scores

SCORES = {"a": np.array([1.0, 3.0, 2.0]), "b": np.array([0.0, -5.0, 5.0])}


def test_scales() -> None:
    np.testing.assert_allclose(min_max(SCORES["a"]), [0, 1, 0.5])
    np.testing.assert_allclose(z_scores(SCORES["a"]), np.array([-1, 1, 0]) / np.sqrt(2 / 3))
    np.testing.assert_allclose(min_max(np.full(3, 7.0)), [1, 1, 1])
    np.testing.assert_allclose(z_scores(np.full(3, 7.0)), [0, 0, 0])
    np.testing.assert_allclose(ranks(np.array([5.0, 7.0, 5.0, 1.0])), [2.5, 1, 2.5, 4])


def test_sums_with_and_without_weights() -> None:
    np.testing.assert_allclose(Fusion()(SCORES), min_max(np.array([0 + 0.5, 1 + 0, 0.5 + 1])))
    np.testing.assert_allclose(Fusion(weights={"a": 1.0})(SCORES), [0, 1, 0.5])
    np.testing.assert_allclose(Fusion(weights={"a": 3, "b": 1})(SCORES), min_max(np.array([0.5, 3, 2.5])))


def test_reciprocal_ranks() -> None:
    expected = min_max(np.array([1 / 63 + 1 / 62, 1 / 61 + 1 / 63, 1 / 62 + 1 / 61]))
    np.testing.assert_allclose(Fusion("rrf")(SCORES), expected)


def test_what_cannot_be_fused() -> None:
    with pytest.raises(ConfigurationError, match="not known"):
        Fusion("product")
    for weights in ({"a": float("nan")}, {"a": 0.0}):
        with pytest.raises(ConfigurationError, match="must be finite"):
            Fusion(weights=weights)
    with pytest.raises(ConfigurationError, match="weights for c, but the scorers are a, b"):
        Fusion(weights={"c": 1})(SCORES)


def questions(count: int, noise: float) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """One scorer that knows the answer up to noise, one that knows nothing."""
    rng = np.random.default_rng(0)
    labels = [np.arange(6) == rng.integers(6) for _ in range(count)]
    scores = [{"good": label + noise * rng.normal(size=6), "random": rng.normal(size=6)} for label in labels]
    return scores, labels


@pytest.mark.parametrize("method", ["min-max", "z"])
def test_fitted_weights_trust_the_scorer_that_knows(method: str) -> None:
    weights = fit_weights(*questions(100, 0.3), method)
    assert sum(map(abs, weights.values())) == pytest.approx(1)
    assert weights["good"] > 0.8


def test_fitted_weights_minimise_the_logistic_loss() -> None:
    torch = pytest.importorskip("torch")
    scores, labels = questions(60, 0.8)
    found = fit_weights(scores, labels)
    table = torch.tensor(np.concatenate([np.column_stack([min_max(row[k]) for k in row]) for row in scores]))
    target = torch.tensor(np.concatenate(labels).astype(float))
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(table @ weights[:2] + weights[2], target)
        loss = loss + 0.5e-3 * (weights[:2] ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = weights[:2].detach() / weights[:2].detach().abs().sum()
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_scores_that_tell_perfectly_give_finite_weights() -> None:
    weights = fit_weights(*questions(50, 0.0))
    assert all(np.isfinite(list(weights.values())))


def test_what_cannot_be_fitted() -> None:
    scores, labels = questions(3, 0.1)
    with pytest.raises(ConfigurationError, match="looks at ranks"):
        fit_weights(scores, labels, "rrf")
    with pytest.raises(ConfigurationError, match="both kinds are needed"):
        fit_weights(scores, [np.zeros(6, dtype=bool)] * 3)
    with pytest.raises(ConfigurationError, match="both kinds are needed"):
        fit_weights([], [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_told(value: float) -> None:
    scores = {"a": np.array([1.0, 2.0]), "b": np.array([0.0, value])}
    with pytest.raises(ConfigurationError, match="scorer b gave scores that are no finite numbers"):
        Fusion()(scores)
    assert Fusion(weights={"a": 1.0})(scores).tolist() == [0.0, 1.0]


def test_sums_of_z_scores() -> None:
    scores = {"a": np.array([0.0, 0, 10, 1]), "b": np.array([3.0, 2, 1, 0])}
    found = Fusion("z", {"a": 1, "b": 2})(scores)
    np.testing.assert_allclose(found, min_max(z_scores(scores["a"]) + 2 * z_scores(scores["b"])))
    assert not np.allclose(found, Fusion(weights={"a": 1, "b": 2})(scores))
