from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.pretraining.segments import SHORTEST_CHUNK, plan_chunks, split_chunks


def corpus(seed: int = 0, documents: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Starts of sentences of 1 to 30 tokens, some of 100, and borders of documents."""
    rng = np.random.default_rng(seed)
    sentences, borders, position = [], [0], 0
    for _ in range(documents):
        for _ in range(rng.integers(1, 25)):
            sentences.append(position)
            position += 100 if rng.random() < 0.05 else int(rng.integers(1, 31))
        borders.append(position)
    return np.array(sentences), np.array(borders)


def test_chunks_lie_one_behind_the_other_and_leave_out_only_short_ends() -> None:
    sentences, documents = corpus()
    chunks = plan_chunks(sentences, documents, max_length=64)
    sizes = chunks[:, 1] - chunks[:, 0]
    assert sizes.min() >= SHORTEST_CHUNK
    assert sizes.max() <= 61
    for first, last in pairwise(documents.tolist()):
        inside = chunks[(chunks[:, 0] >= first) & (chunks[:, 0] < last)].tolist()
        expected = first
        for start, end in inside:
            assert start == expected
            expected = end
        assert 0 <= last - expected < SHORTEST_CHUNK


def test_chunks_end_between_sentences_unless_a_sentence_is_long() -> None:
    sentences, documents = corpus()
    borders = {*sentences.tolist(), *documents.tolist()}
    chunks = plan_chunks(sentences, documents, max_length=64, short_probability=0.0)
    for start, end in chunks.tolist():
        if end not in borders:
            previous = int(sentences[sentences <= end].max())
            assert previous - start < 61 // 2
            assert end - start == 61


def test_chunks_are_as_full_as_whole_sentences_allow() -> None:
    sentences = np.arange(0, 100, 10)
    chunks = plan_chunks(sentences, np.array([0, 100]), max_length=38, short_probability=0.0)
    assert chunks.tolist() == [[0, 30], [30, 60], [60, 90], [90, 100]]


def test_some_chunks_are_meant_to_be_shorter() -> None:
    sentences, documents = np.arange(0, 200_000, 2), np.array([0, 200_000])
    sizes = np.diff(plan_chunks(sentences, documents, max_length=103, seed=1), axis=1)
    assert (sizes < 99).mean() == pytest.approx(0.1, abs=0.03)
    assert sizes[sizes < 99].std() > 20
    assert (np.diff(plan_chunks(sentences, documents, max_length=103, short_probability=0.0), axis=1) == 100).all()


def test_the_seed_decides() -> None:
    first, again, other = (plan_chunks(*corpus(), max_length=64, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_nothing_gives_no_chunks() -> None:
    assert plan_chunks(np.array([0]), np.array([0, 5]), max_length=64).shape == (0, 2)
    assert plan_chunks(np.array([0]), np.array([5]), max_length=64).shape == (0, 2)


def test_too_short_an_input_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_length=10 is too short; it must be 11"):
        plan_chunks(np.array([0]), np.array([0, 50]), max_length=10)


def test_segments_part_between_sentences_each_border_as_often() -> None:
    sentences = np.array([0, 5, 9, 20, 30])
    chunks = np.tile([[0, 20]], (9000, 1))
    splits = split_chunks(chunks, sentences, np.random.default_rng(0).random(9000, dtype=np.float32))
    values, counts = np.unique(splits, return_counts=True)
    assert values.tolist() == [5, 9]
    assert counts[0] / 9000 == pytest.approx(0.5, abs=0.025)


def test_one_long_sentence_parts_in_its_middle_half() -> None:
    chunks = np.tile([[40, 140]], (500, 1))
    splits = split_chunks(chunks, np.array([0, 40, 140]), np.linspace(0, 1, 500, endpoint=False))
    assert splits.min() == 65
    assert splits.max() == 114


def test_both_segments_have_tokens() -> None:
    sentences, documents = corpus(3)
    chunks = plan_chunks(sentences, documents, max_length=32, seed=3)
    for draw in (0.0, 0.5, 0.999999):
        splits = split_chunks(chunks, sentences, np.full(len(chunks), draw, np.float32))
        assert (splits > chunks[:, 0]).all()
        assert (splits < chunks[:, 1]).all()
