"""Cloze questions: what a model without pretrained weights can learn looking things up from.

A passage of a context is the context, a fragment of it with a gap is the question, what stood in the gap is the answer;
after the recurring spans of Ram et al., "Few-Shot Question Answering by Pretraining Span Selection" (Splinter,
arXiv 2101.00438). Nothing but the contexts is needed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import datasets

from ..errors import ConfigurationError
from .datasets import FEATURES

__all__ = ["GAP", "make_cloze_questions"]

GAP = "[MASK]"
"""What stands in the question where the answer was."""

SHORTEST_CONTEXT = 80  # characters
PASSAGE = (60, 120)  # looking up is learnt sooner in short passages
ANSWER = (1, 6)
MARGIN = 8  # characters of the passage before the answer, and after the longest one
FRAGMENT = 10  # characters of the question on either side of the gap, at most;
LEAST = 4  # and on both sides together, at least


def make_cloze_questions(contexts: Iterable[str], count: int, seed: int = 42) -> datasets.Dataset:
    """Make ``count`` cloze questions, in the schema of :mod:`transformers_palbert.qa.datasets`.

    Passages have 60 to 120 characters, answers 1 to 6, questions up to 10 characters on either side of the gap. The
    same contexts (in any order, however often) and seed give the same questions.

    Raises:
        ConfigurationError: if ``count`` is not positive, or no context has more than 80 characters.
    """
    if count < 1:
        raise ConfigurationError(f"count={count} must be 1 or more: it is the number of cloze questions to make.")
    passages = sorted({context for context in contexts if len(context) > SHORTEST_CONTEXT})
    if not passages:
        raise ConfigurationError(f"No context has more than {SHORTEST_CONTEXT} characters to make cloze questions of.")
    rng = random.Random(seed)
    rows = [{"id": f"cloze-{number}", **_cloze(rng.choice(passages), rng)} for number in range(count)]
    return datasets.Dataset.from_list(rows, features=FEATURES)


def _cloze(context: str, rng: random.Random) -> dict[str, Any]:
    length = min(len(context), rng.randint(*PASSAGE))
    first = rng.randint(0, len(context) - length)
    passage = context[first : first + length]
    size = rng.randint(*ANSWER)
    start = rng.randint(MARGIN, length - size - MARGIN)
    before = rng.randint(0, FRAGMENT)
    after = rng.randint(LEAST if before < LEAST else 0, FRAGMENT)
    question = passage[start - min(before, start) : start] + GAP + passage[start + size : start + size + after]
    return {
        "title": "",
        "context": passage,
        "question": question,
        "answers": {"text": [passage[start : start + size]], "answer_start": [start]},
    }
