"""Chunks of documents, and the two segments of each for sentence-order prediction (ALBERT, arXiv 1909.11942, sec. 3.1).

A chunk is a run of whole sentences of one document that fills the input. It is cut in two between sentences; the halves
are given in their order or swapped, and the model tells which.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError

__all__ = ["SHORTEST_CHUNK", "SPECIAL_TOKENS", "plan_chunks", "split_chunks"]

IntArray = npt.NDArray[np.int64]

SHORTEST_CHUNK = 8
"""Tokens. What is left of a document and shorter than this is not used."""

SPECIAL_TOKENS = 3
"""``[CLS]`` first ``[SEP]`` second ``[SEP]``."""


def plan_chunks(
    sentences: IntArray, documents: IntArray, *, max_length: int, short_probability: float = 0.1, seed: int = 0
) -> IntArray:
    """Cut documents into chunks of as many whole sentences as fit.

    A chunk is cut within a sentence only where whole sentences would leave it less than half full.

    Args:
        sentences: Token that each sentence of the corpus starts at, ascending.
        documents: Token that each of the wanted documents starts at, and the end of the last, ascending.
        max_length: Tokens of the model's input: a chunk and three special tokens.
        short_probability: Share of chunks that are meant to be shorter, of a uniformly random length, as inputs are
            after pre-training (Devlin et al., arXiv 1810.04805, A.2; 10 % in ALBERT too).
        seed: Decides which, and how short.

    Returns:
        First token and end of every chunk, int64 ``[chunks, 2]``, in the order of the corpus.

    Raises:
        ConfigurationError: if ``max_length`` leaves no room for the shortest chunk.
    """
    room = max_length - SPECIAL_TOKENS
    if room < SHORTEST_CHUNK:
        raise ConfigurationError(
            f"max_length={max_length} is too short; it must be {SHORTEST_CHUNK + SPECIAL_TOKENS} at least."
        )
    starts, rng = sentences.tolist(), random.Random(seed)
    chunks: list[tuple[int, int]] = []
    for position, end in pairwise(documents.tolist()):
        while end - position >= SHORTEST_CHUNK:
            target = rng.randint(SHORTEST_CHUNK, room) if rng.random() < short_probability else room
            stop = min(position + target, end)
            if stop < end:
                border = starts[bisect_right(starts, stop) - 1]
                stop = border if border - position >= target // 2 else stop
            chunks.append((position, stop))
            position = stop
    return np.array(chunks, dtype=np.int64).reshape(-1, 2)


def split_chunks(chunks: IntArray, sentences: IntArray, draws: npt.NDArray[np.floating]) -> IntArray:
    """Choose where each chunk is cut in two.

    Args:
        chunks: First token and end, ``[chunks, 2]``, each at least 4 tokens long.
        sentences: Token that each sentence of the corpus starts at, ascending.
        draws: Uniform in [0, 1), ``[chunks]``.

    Returns:
        First token of the second segment, ``[chunks]``: a start of a sentence inside of the chunk, each as likely as
        the others; without one, a token of the middle half.
    """
    first, end = chunks.T
    low, high = np.searchsorted(sentences, first, side="right"), np.searchsorted(sentences, end, side="left")
    between = sentences[np.minimum(low + (draws * (high - low)).astype(np.int64), len(sentences) - 1)]
    middle = first + ((0.25 + 0.5 * draws) * (end - first)).astype(np.int64)
    return np.where(high > low, between, middle)
