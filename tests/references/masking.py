"""What the vectorised masking must give, as loops over rows and words."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def choose_masked(starts: Any, text: Any, budgets: Any, order: Any, lengths: Any) -> Any:
    masked = np.zeros(starts.shape, dtype=bool)
    for row in range(len(starts)):
        words = words_of(starts[row].tolist(), text[row].tolist())
        left = int(budgets[row])
        for at in sorted(range(len(words)), key=lambda at: order[row, words[at][0]]):
            for count in range(int(lengths[row, words[at][0]]), 0, -1):
                gram = words[at : at + count]
                adjoining = len(gram) == count and all(a[-1] + 1 == b[0] for a, b in pairwise(gram))
                tokens = [token for word in gram for token in word]
                if adjoining and len(tokens) <= left:
                    if not masked[row, tokens].any():
                        masked[row, tokens] = True
                        left -= len(tokens)
                    break
    return masked


def words_of(starts: list[bool], text: list[bool]) -> list[list[int]]:
    """Tokens of every word; what is no text ends a word and belongs to none."""
    words: list[list[int]] = []
    for place, (start, inside) in enumerate(zip(starts, text, strict=True)):
        if not inside:
            continue
        if start:
            words.append([])
        words[-1].append(place)
    return words
