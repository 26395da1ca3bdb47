from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.references import masking as reference
from transformers_palbert.pretraining.masking import choose_masked, mask_budgets, ngram_lengths, replace_tokens


def random_rows(rng: np.random.Generator, batch: int, length: int, words: float, longest: int) -> dict[str, Any]:
    """Rows with two segments between special tokens and padding behind them, as a batch has them."""
    text = np.ones((batch, length), dtype=bool)
    text[:, 0] = False
    for row in text:
        first, last = np.sort(rng.choice(np.arange(2, length), 2, replace=False))
        row[[first, last]] = False
        row[last:] = False
    starts = (rng.random((batch, length)) < words) & text
    starts[:, 1:] |= text[:, 1:] & ~text[:, :-1]
    return {
        "starts": starts,
        "text": text,
        "budgets": mask_budgets(text.sum(axis=1), 0.3),
        "order": rng.random((batch, length)),
        "lengths": ngram_lengths(rng.random((batch, length)), longest),
    }


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
@pytest.mark.parametrize("words", [1.0, 0.6, 0.1])
def test_the_vectorised_choice_is_that_of_the_loops(words: float, longest: int) -> None:
    rng = np.random.default_rng(longest)
    for length in (6, 25, 60):
        rows = random_rows(rng, 8, length, words, longest)
        expected = reference.choose_masked(**rows)
        got = choose_masked(**rows, longest=longest)
        assert np.array_equal(got, expected)
        assert (got.sum(axis=1) <= rows["budgets"]).all()
        assert not (got & ~rows["text"]).any()


def test_words_of_one_token_spend_the_budget_exactly() -> None:
    rows = random_rows(np.random.default_rng(0), 16, 64, 1.0, 3)
    assert np.array_equal(choose_masked(**rows, longest=3).sum(axis=1), rows["budgets"])


def test_a_word_is_masked_as_a_whole_or_not_at_all() -> None:
    rows = random_rows(np.random.default_rng(1), 16, 64, 0.4, 1)
    masked = choose_masked(**rows, longest=1)
    assert masked.any()
    for row in range(16):
        for word in reference.words_of(rows["starts"][row].tolist(), rows["text"][row].tolist()):
            assert len(set(masked[row, word].tolist())) == 1


def test_every_place_is_masked_equally_often() -> None:
    """Words of one token, no n-grams: each with the probability budget / length."""
    rng = np.random.default_rng(2)
    batch, length = 4000, 20
    text = np.ones((batch, length), dtype=bool)
    order, ones = rng.random((batch, length)), np.ones((batch, length), dtype=int)
    masked = choose_masked(text, text, np.full(batch, 3), order, ones, 1)
    assert masked.mean(axis=0) == pytest.approx(np.full(length, 0.15), abs=0.025)  # more than 4 standard deviations


def test_lengths_of_ngrams_follow_their_distribution() -> None:
    drawn = ngram_lengths(np.random.default_rng(3).random(60_000), 3)
    assert np.bincount(drawn)[1:] / 60_000 == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.01)
    assert set(ngram_lengths(np.array([0.0, 0.999999]), 1)) == {1}
    assert ngram_lengths(np.array([0.0, 0.5454, 0.5455, 0.8181, 0.8182, 0.9999]), 3).tolist() == [1, 1, 2, 2, 3, 3]


def test_budgets_are_the_rate_and_at_least_one() -> None:
    assert mask_budgets(np.array([1, 3, 20, 509]), 0.15).tolist() == [1, 1, 3, 76]


def test_eight_tenths_are_masked_one_tenth_random_one_tenth_kept() -> None:
    rng = np.random.default_rng(4)
    tokens = rng.integers(10, 20, (200, 200))
    masked = rng.random((200, 200)) < 0.5
    vocabulary = np.arange(100, 200)
    hidden = replace_tokens(tokens, masked, rng.random((2, 200, 200), dtype=np.float32), 5, vocabulary)
    assert np.array_equal(hidden[~masked], tokens[~masked])
    inside = hidden[masked]
    shares = [(inside == 5).mean(), (inside >= 100).mean(), (inside == tokens[masked]).mean()]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    counts = np.bincount(inside[inside >= 100] - 100, minlength=100)
    assert counts.min() > 0
    assert counts.max() < 3 * counts.mean()


def test_the_largest_draw_is_a_token_too() -> None:
    draws = np.stack([np.full((1, 1), 0.85, np.float32), np.full((1, 1), np.nextafter(np.float32(1), np.float32(0)))])
    hidden = replace_tokens(np.array([[7]]), np.array([[True]]), draws, 5, np.arange(21_128))
    assert hidden.tolist() == [[21_127]]
