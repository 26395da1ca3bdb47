"""Each score against its reference in float64, value by value and over steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.references.pruning import naive_rank, naive_sensitivity
from transformers_palbert.errors import PruningError
from transformers_palbert.pruning import PruningConfig
from transformers_palbert.pruning.scores import SCORES, FisherScore, MagnitudeScore, MovementScore, SensitivityScore


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(0))


def gradients(count: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [scale * torch.randn(5, 7, generator=generator) for _ in range(count)]


def close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=0)


class TestMagnitude:
    def test_is_the_absolute_weight(self, weight: Tensor) -> None:
        assert torch.equal(MagnitudeScore()(weight, {}), weight.abs())

    def test_has_nothing_to_remember_or_update(self, weight: Tensor) -> None:
        assert MagnitudeScore().initial(weight) == {}
        with pytest.raises(PruningError, match="learns nothing"):
            MagnitudeScore().update({}, weight, 1.0)


class TestMovement:
    def test_from_zero(self, weight: Tensor) -> None:
        score = MovementScore()
        assert torch.equal(score(weight, score.initial(weight)), torch.zeros(5, 7))

    def test_from_the_rank(self, weight: Tensor) -> None:
        weight[0, 0] = -weight[3, 3]  # equal in size: the first is lower
        score = MovementScore("rank")
        close(score(weight, score.initial(weight)), naive_rank(weight))

    def test_from_the_magnitude(self, weight: Tensor) -> None:
        score = MovementScore("magnitude")
        sizes = weight.double().abs()
        close(score(weight, score.initial(weight)), sizes / sizes.mean())

    @pytest.mark.parametrize("start", ["rank", "magnitude"])
    def test_of_weights_that_are_zero(self, start: str) -> None:
        score = MovementScore(start)
        assert score(torch.zeros(2, 3), score.initial(torch.zeros(2, 3))).isfinite().all()

    @pytest.mark.parametrize("start", ["zero", "rank", "magnitude"])
    def test_starts_in_float32_whatever_the_weights_are(self, start: str, weight: Tensor) -> None:
        for dtype in (torch.float64, torch.bfloat16):
            assert MovementScore(start).initial(weight.to(dtype))["scores"].dtype == torch.float32

    def test_a_sum(self, weight: Tensor) -> None:
        score = MovementScore("rank", "sum")
        assert not score.by_optimizer
        state, seen = score.initial(weight), gradients(20)
        for gradient in seen:
            score.update(state, gradient, 0.25)
        expected = naive_rank(weight) - 0.25 * torch.stack(seen).double().sum(0)
        torch.testing.assert_close(score(weight, state).double(), expected, rtol=1e-5, atol=1e-6)


class TestSensitivity:
    @pytest.mark.parametrize("uncertainty", [0.95, 0.0, None])
    @pytest.mark.parametrize("decay", [0.85, 0.0])
    def test_over_steps(self, decay: float, uncertainty: float | None, weight: Tensor) -> None:
        score = SensitivityScore(decay, uncertainty)
        state, seen = score.initial(weight), gradients(12)
        for step, gradient in enumerate(seen, start=1):
            score.update(state, gradient.clone(), 1.0)
            mean, spread = naive_sensitivity(seen[:step], decay, uncertainty)
            found = score(weight, state)
            assert found.dtype == torch.float32
            expected = mean if spread is None else mean * spread
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-12)

    def test_gradients_of_a_loss_that_is_small(self, weight: Tensor) -> None:
        """The product of two small numbers is still told from zero."""
        score = SensitivityScore()
        state = score.initial(weight)
        for gradient in gradients(3, scale=1e-12):
            score.update(state, gradient, 1.0)
        assert (score(weight, state) > 0).all()

    def test_remembers_the_uncertainty_only_where_it_counts(self, weight: Tensor) -> None:
        assert sorted(SensitivityScore().initial(weight)) == ["scores", "uncertainty"]
        assert sorted(SensitivityScore(uncertainty_decay=None).initial(weight)) == ["scores"]


class TestFisher:
    @pytest.mark.parametrize("decay", [0.95, 0.5, 0.0])
    def test_over_steps(self, decay: float, weight: Tensor) -> None:
        score = FisherScore(decay)
        state, seen = score.initial(weight), gradients(12)
        expected = torch.zeros_like(weight, dtype=torch.float64)
        for gradient in seen:
            score.update(state, gradient.clone(), 1.0)
            expected = decay * expected + (1 - decay) * gradient.double() ** 2 / 2
            found = score(weight, state)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-30)

    def test_of_a_quadratic_loss_it_orders_weights_by_what_their_removal_costs(self) -> None:
        """Where the model is right and the noise of the labels is one: there, Fisher information is the curvature."""
        torch.manual_seed(0)
        weight = torch.tensor([2.0, -1.0, 0.5, 0.25])
        score = FisherScore(0.999)
        state = score.initial(weight)
        for _ in range(4000):
            inputs, noise = torch.randn(4), torch.randn(())
            score.update(state, -noise * inputs * weight, 1.0)  # G ⊙ W of ½ · (y - w x)², y = w x + noise
        costs = weight.square() / 2  # the mean of ½ · (w_i x_i)²
        torch.testing.assert_close(score(weight, state) / (1 - 0.999**4000), costs, rtol=0.25, atol=0.0)


@pytest.mark.parametrize("method", ["movement", "sensitivity", "fisher", "hard_concrete"])
def test_a_layer_that_was_prepared_for_another_method(method: str, weight: Tensor) -> None:
    config = PruningConfig(0.5, method=method, granularity="head")
    with pytest.raises(PruningError, match="holds none: it was prepared for another method"):
        SCORES[method](config)(weight, {})


def test_settings_reach_the_score(weight: Tensor) -> None:
    rank = PruningConfig(0.5, method="movement", score_start="rank").score
    assert torch.equal(rank.initial(weight)["scores"], MovementScore("rank").initial(weight)["scores"])
    assert rank.by_optimizer
    assert not PruningConfig(0.5, method="movement", score_update="sum").score.by_optimizer
    fisher = PruningConfig(0.5, method="fisher", fisher_decay=0.5).score
    assert isinstance(fisher, FisherScore)
    assert fisher.decay == 0.5
    plain = PruningConfig(0.5, method="sensitivity", sensitivity_decay=0.5, uncertainty_decay=None).score
    assert isinstance(plain, SensitivityScore)
    assert (plain.decay, plain.uncertainty_decay) == (0.5, None)
