from __future__ import annotations

import numpy as np
import pytest

from tests.references.bootstrap import naive_interval, naive_means, naive_p
from transformers_palbert.analysis import bootstrap
from transformers_palbert.analysis.bootstrap import LEVEL, bootstrap_means, difference_of, estimate_of, estimates
from transformers_palbert.errors import ConfigurationError

SCORES = np.random.default_rng(7).choice([0.0, 33.3, 66.7, 100.0], size=(23, 3))


def test_means_are_those_of_plain_loops():
    means = bootstrap_means(SCORES, resamples=50, seed=3)
    assert means.shape == (50, 3)
    for column in range(3):
        assert means[:, column] == pytest.approx(naive_means(SCORES[:, column].tolist(), 50, seed=3))


def test_chunks_change_nothing(monkeypatch):
    whole = bootstrap_means(SCORES, resamples=50, seed=3)
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * len(SCORES))  # 7 draws at once, the last chunk has 1
    assert bootstrap_means(SCORES, resamples=50, seed=3) == pytest.approx(whole)


def test_interval_and_p_value_are_those_of_plain_loops():
    difference = SCORES[:, 0] - SCORES[:, 1]
    means = bootstrap_means(difference[:, None], resamples=400, seed=1)[:, 0]
    found = difference_of(difference.mean(), means)
    naive = naive_means(difference.tolist(), 400, seed=1)
    assert (found.low, found.high) == pytest.approx(naive_interval(naive, LEVEL))
    assert found.p == pytest.approx(naive_p(difference.mean(), naive))
    assert found.low < found.value < found.high


def test_a_column_is_drawn_alike_whatever_stands_beside_it():
    alone, together = bootstrap_means(SCORES[:, :1], resamples=9), bootstrap_means(SCORES, resamples=9)
    assert alone[:, 0] == pytest.approx(together[:, 0])


def test_another_seed_draws_otherwise():
    assert not np.array_equal(
        bootstrap_means(SCORES, resamples=9, seed=0), bootstrap_means(SCORES, resamples=9, seed=1)
    )


def test_the_interval_has_the_width_of_the_normal_approximation():
    scores = np.random.default_rng(0).normal(50, 10, (2000, 1))
    (found,) = estimates(scores)
    half = 1.96 * scores.std() / np.sqrt(len(scores))
    assert found.value == scores.mean()
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.05)


def test_equal_models_differ_by_nothing():
    drawn = bootstrap_means(SCORES, resamples=100)
    found = difference_of(0.0, drawn[:, 0] - drawn[:, 0])
    assert (found.low, found.high, found.p) == (0, 0, 1)


def test_a_model_better_on_every_question_by_the_same_is_certain():
    drawn = bootstrap_means(np.stack([SCORES[:, 0], SCORES[:, 0] + 5], axis=1), resamples=99)
    found = difference_of(5.0, drawn[:, 1] - drawn[:, 0])
    assert (found.low, found.high) == pytest.approx((5, 5))
    assert found.p == 0.01  # one hundredth: the observed difference alone


def test_p_values_of_equal_models_are_uniform():
    """Two models with the same expectation: a p-value below 0.2 in about a fifth of all experiments."""
    rng = np.random.default_rng(0)
    below = 0
    for experiment in range(200):
        difference = rng.normal(0, 1, 100)
        means = bootstrap_means(difference[:, None], resamples=200, seed=experiment)[:, 0]
        below += difference_of(difference.mean(), means).p < 0.2
    assert 25 <= below <= 58  # 40 ± 3 standard deviations


def test_estimate_of_one_draw():
    assert estimate_of(2.0, np.array([3.0])).low == 3.0


@pytest.mark.parametrize("scores", [np.zeros((0, 2)), np.zeros(3)])
def test_scores_without_rows_or_columns(scores):
    with pytest.raises(ConfigurationError, match="cannot be drawn from"):
        bootstrap_means(scores)


def test_at_least_one_draw():
    with pytest.raises(ConfigurationError, match="resamples"):
        bootstrap_means(SCORES, resamples=0)
