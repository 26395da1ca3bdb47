"""Which tokens are hidden from the model, and what stands in their place: whole words and n-grams of them.

Pure functions of uniform draws: what an example looks like is decided by its draws alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["choose_masked", "mask_budgets", "ngram_lengths", "replace_tokens"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]


def mask_budgets(lengths: Ints, rate: float) -> Ints:
    """Tokens to mask in texts of ``lengths`` tokens: ``rate`` of them, rounded, and at least one."""
    return np.maximum(1, np.rint(lengths * rate)).astype(np.int64)


def ngram_lengths(draws: Floats, longest: int) -> Ints:
    """Lengths ``n`` of n-grams, ``p(n) = (1/n) / Σ_k (1/k)`` for n, k = 1 … longest (ALBERT, eq. in sec. 4.1).

    Args:
        draws: Uniform in [0, 1), any shape.
        longest: N, at least 1; 3 in ALBERT.
    """
    weights = 1.0 / np.arange(1, longest + 1)
    return np.searchsorted(np.cumsum(weights / weights.sum())[:-1], draws, side="right") + 1


def choose_masked(starts: Bools, text: Bools, budgets: Ints, order: Floats, lengths: Ints, longest: int) -> Bools:
    """Choose n-grams of words, in random order, until the budget of each row is spent.

    The words are visited by ascending ``order``. At each, the n-gram that starts there is masked, with ``n`` lowered
    until it stays in its segment and in the budget, unless nothing is left of it or it meets a masked word. All rows
    take one step at once; the result is that of the loop over rows and words.

    Args:
        starts: Where words start, ``[batch, length]``; the first token of a segment starts one.
        text: Which tokens may be masked: not the special ones, nor padding, ``[batch, length]``.
        budgets: Tokens to mask in each row, at most, ``[batch]``.
        order: Draws that order the words, each at the token that starts its word, ``[batch, length]``.
        lengths: ``n`` of the n-gram, likewise, in ``[1, longest]``.
        longest: Upper bound of ``lengths``.

    Returns:
        The masked tokens, ``[batch, length]``.
    """
    batch, length = starts.shape
    begins = starts | ~text  # what is no text stands between the words, each token a word that cannot be masked
    begins[:, 0] = True
    index = np.cumsum(begins, axis=1) - 1  # word of each token
    count = int(index[:, -1].max()) + 1
    rows, columns = np.nonzero(begins)
    words = index[rows, columns]
    first = np.full((batch, count + longest), length)  # first token of each word, and ends behind the last
    first[rows, words] = columns
    maskable = np.zeros((batch, count + longest), dtype=bool)
    maskable[rows, words] = text[rows, columns]
    reach = _reach(maskable, count, longest)
    rank = np.full((batch, count), np.inf)
    rank[rows, words] = np.where(text[rows, columns], order[rows, columns], np.inf)
    wanted = np.zeros((batch, count), dtype=np.int64)
    wanted[rows, words] = lengths[rows, columns]
    covered = _cover(first, np.minimum(wanted, reach), np.argsort(rank, axis=1, kind="stable"), budgets, longest)
    return np.take_along_axis(covered, index, axis=1)


def _reach(maskable: Bools, count: int, longest: int) -> Ints:
    """How many words that can be masked stand in a row from each word on, at most ``longest``; ``[batch, count]``."""
    run = np.cumprod([maskable[:, n : n + count] for n in range(longest)], axis=0)
    return run.sum(axis=0)


def _cover(first: Ints, grams: Ints, visits: Ints, budgets: Ints, longest: int) -> Bools:
    """Words that are masked, ``[batch, words]``; see :func:`choose_masked`."""
    batch, count = grams.shape
    steps = np.arange(longest)
    covered = np.zeros((batch, count + longest), dtype=bool)
    left = budgets.copy()
    active = np.arange(batch)
    for visit in range(count):
        active = active[left[active] > 0]
        if not len(active):
            break
        word = visits[active, visit]
        span = word[:, None] + steps  # the words of the n-gram
        sizes = first[active[:, None], span + 1] - first[active, word][:, None]  # tokens of 1, 2, … words
        fits = (steps < grams[active, word][:, None]) & (sizes <= left[active, None])
        taken = fits & ~(fits & covered[active[:, None], span]).any(axis=1, keepdims=True)
        covered[active[:, None], span] |= taken
        left[active] -= (sizes * taken).max(axis=1)
    return covered[:, :count]


def replace_tokens(tokens: Ints, masked: Bools, draws: Floats, mask_id: int, vocabulary: Ints) -> Ints:
    """Hide the masked tokens: 80 % become ``mask_id``, 10 % a random token, 10 % stay (arXiv 1810.04805, sec. 3.1).

    Args:
        tokens: Token ids, ``[batch, length]``.
        masked: Which to hide, ``[batch, length]``.
        draws: Uniform in [0, 1), ``[2, batch, length]``: what happens to a token, and which token replaces it.
        mask_id: Id of ``[MASK]``.
        vocabulary: Ids that a random token is drawn from, ``[tokens]``.
    """
    kind, which = draws
    random_tokens = vocabulary[(which * len(vocabulary)).astype(np.int64)]
    hidden = np.where(kind < 0.8, mask_id, np.where(kind < 0.9, random_tokens, tokens))
    return np.where(masked, hidden, tokens)
