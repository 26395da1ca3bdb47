from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.references.answers import naive_spans
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.window_decoding import decode_windows, normalized_over_documents, top_spans

TOKENS = 30


def windows(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Random logits, and where the context of each row is; one row has none, one has no ``[CLS]``."""
    random, rows = np.random.default_rng(seed), 9
    start, end = (random.normal(scale=2, size=(rows, TOKENS)).astype(np.float32) for _ in range(2))
    begin, length = random.integers(1, 10, rows), random.integers(1, 20, rows)
    cls = np.array([0, 0, 0, 0, -1, TOKENS - 1, 0, 0, 0])
    length[2] = 0
    return start, end, {"context_start": begin, "context_length": length, "cls_index": cls}


@pytest.mark.parametrize("top_k", [1, 2, 12, 500])
@pytest.mark.parametrize("max_answer_length", [1, 4, 15, 400])
def test_same_spans_as_the_naive_reference(top_k: int, max_answer_length: int) -> None:
    for seed in range(3):
        start, end, where = windows(seed)
        found = decode_windows(start, end, **where, top_k=top_k, max_answer_length=max_answer_length)
        assert found.start.shape == found.end.shape == found.probability.shape == (9, top_k)
        for row, (begin, length, cls) in enumerate(zip(*where.values(), strict=True)):
            context = range(begin, begin + length)
            expected, null = naive_spans(start[row], end[row], context, cls, max_answer_length)
            count = min(top_k, len(expected))
            spans = [*zip(found.start[row].tolist(), found.end[row].tolist(), strict=True)]
            assert spans[:count] == [span[:2] for span in expected[:count]]
            assert set(spans[count:]) <= {(-1, -1)}
            probabilities = [span[2] for span in expected[:count]] + [0.0] * (top_k - count)
            assert found.probability[row] == pytest.approx(probabilities, rel=1e-5, abs=1e-9)
            assert found.null[row] == pytest.approx(null, rel=1e-5, abs=1e-9)


def test_probabilities_over_documents_add_up_to_those_of_one_softmax() -> None:
    start, end, where = windows(0)
    document = np.array([0, 0, 0, 1, 2, 2, 2, 2, 3])
    found = decode_windows(start, end, **where, top_k=10_000, max_answer_length=TOKENS)
    whole = normalized_over_documents(found, document)
    np.testing.assert_array_equal(whole.start, found.start)
    for number in range(4):
        inside = []
        for row in np.flatnonzero(document == number):
            begin, length, cls = (column[row] for column in where.values())
            inside += [(row, token) for token in [*range(begin, begin + length), *([cls] if cls >= 0 else [])]]
        totals = [sum(np.exp(logits[place].astype(float)) for place in inside) for logits in (start, end)]
        for row in np.flatnonzero(document == number):
            for first, last, probability in zip(whole.start[row], whole.end[row], whole.probability[row], strict=True):
                expected = np.exp(start[row, first] + end[row, last]) / totals[0] / totals[1] if first >= 0 else 0
                assert probability == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(whole.probability[[3, 8]], found.probability[[3, 8]], rtol=1e-5)  # alone in theirs
    np.testing.assert_allclose(whole.null[[3, 8]], found.null[[3, 8]], rtol=1e-5)


def test_documents_of_nothing_have_no_probability() -> None:
    nothing = {"context_start": np.zeros(2, int), "context_length": np.zeros(2, int), "cls_index": np.full(2, -1)}
    zeros = np.zeros((2, 4), np.float32)
    found = decode_windows(zeros, zeros, **nothing, top_k=2, max_answer_length=2)
    whole = normalized_over_documents(found, np.array([0, 0]))
    assert not whole.probability.any()
    assert not whole.null.any()


def test_inputs_stay_as_they_are() -> None:
    start, end, where = windows(0)
    before = start.copy(), end.copy()
    decode_windows(start, end, **where, top_k=3, max_answer_length=5)
    np.testing.assert_array_equal((start, end), before)


def test_spans_keep_their_rank_where_probabilities_round_to_zero() -> None:
    start = np.array([[0.0, -200, 100, -300]], dtype=np.float32)
    end = np.array([[0.0, 100, -200, -300]], dtype=np.float32)
    found = decode_windows(
        start,
        end,
        context_start=np.array([1]),
        context_length=np.array([3]),
        cls_index=np.array([0]),
        top_k=9,
        max_answer_length=9,
    )
    assert found.start[0, :3].tolist() == [1, 2, 2]
    assert found.end[0, :3].tolist() == [1, 2, 3]
    assert np.isfinite(found.probability).all()


@pytest.mark.parametrize("top_k", [1, 3, 7])
def test_equal_scores_are_ordered_by_position_whatever_stands_beside_them(top_k: int) -> None:
    tied = np.zeros((1, 6), dtype=np.float32)
    beside = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    expected = [(first, last) for first in range(6) for last in range(first, min(first + 3, 6))][:top_k]
    for rows in (tied, np.concatenate([beside, tied]), np.pad(tied, ((0, 0), (0, 40)), constant_values=-np.inf)):
        first, last, _ = top_spans(rows, rows, top_k=top_k, max_answer_length=3)
        assert [*zip(first[-1].tolist(), last[-1].tolist(), strict=True)] == expected


def test_neither_context_nor_cls() -> None:
    nothing = {"context_start": np.array([0]), "context_length": np.array([0]), "cls_index": np.array([-1])}
    zeros = np.zeros((1, 3), dtype=np.float32)
    found = decode_windows(zeros, zeros, **nothing, top_k=2, max_answer_length=4)
    assert found.start.tolist() == [[-1, -1]]
    assert found.probability.tolist() == [[0, 0]]
    assert found.null.tolist() == [0]


def test_nan_is_an_error_only_where_it_counts() -> None:
    start, end, where = windows(0)
    start[0, where["context_start"][0] - 1 if where["context_start"][0] > 1 else -1] = np.nan  # no part of the context
    decode_windows(start, end, **where, top_k=1, max_answer_length=1)
    start[0, where["context_start"][0]] = np.nan
    with pytest.raises(ConfigurationError, match=r"hold NaN.*bfloat16 or float32"):
        decode_windows(start, end, **where, top_k=1, max_answer_length=1)


@pytest.mark.parametrize("change", [{"top_k": 0}, {"max_answer_length": 0}])
def test_sizes_below_one(change: dict[str, Any]) -> None:
    start, end, where = windows(0)
    with pytest.raises(ConfigurationError, match=rf"`{next(iter(change))}` must be at least 1, got 0"):
        decode_windows(start, end, **where, **({"top_k": 1, "max_answer_length": 1} | change))
