"""A data set cut into parts that share no article, no title and no context."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError

__all__ = ["articles_of", "split_by_article"]


def split_by_article(
    records: Iterable[Mapping[str, Any]], fractions: Sequence[float], *, seed: int = 0
) -> list[list[int]]:
    """Indices of the questions of each part, ascending.

    Articles are shuffled, and each goes, whole, to the part that has the smallest share of what it should have. So the
    parts have about, not exactly, their fractions of the questions.

    Args:
        records: Questions in the SQuAD schema; the title tells the article, and the context where there is no title.
        fractions: One for each part, each above 0; together 1.
        seed: Of the order of the articles.

    Raises:
        ConfigurationError: if the fractions are not allowed, or there are fewer articles than parts.
    """
    if len(fractions) < 2 or any(not fraction > 0 for fraction in fractions) or not math.isclose(sum(fractions), 1):
        raise ConfigurationError(
            f"fractions={list(fractions)} must be two or more numbers above 0 that add up to 1, as in 0.5,0.5."
        )
    articles = articles_of(records)
    if len(articles) < len(fractions):
        raise ConfigurationError(
            f"{len(articles)} articles cannot be split into {len(fractions)} parts that share none of them."
        )
    random.Random(seed).shuffle(articles)
    parts: list[list[int]] = [[] for _ in fractions]
    for number, article in enumerate(articles):
        left = len(articles) - number
        empty = [part for part, held in enumerate(parts) if not held]
        open_parts = empty if left <= len(empty) else range(len(parts))  # no part may stay empty
        least = min(open_parts, key=lambda part: len(parts[part]) / fractions[part])
        parts[least].extend(article)
    return [sorted(part) for part in parts]


def articles_of(records: Iterable[Mapping[str, Any]]) -> list[list[int]]:
    """Indices of the questions of each article, in the order of their first questions.

    Questions with one title belong together, and so do questions with one context, whatever their titles are.
    """
    heads: list[int] = []  # of each question, an earlier one of its article, or itself
    first: dict[tuple[str, str], int] = {}

    def head(index: int) -> int:
        while heads[index] != index:
            heads[index] = heads[heads[index]]
            index = heads[index]
        return index

    for index, record in enumerate(records):
        heads.append(index)
        for name in ("title", "context"):
            if text := record.get(name):
                known, own = head(first.setdefault((name, text), index)), head(index)
                heads[max(known, own)] = min(known, own)
    groups: dict[int, list[int]] = {}
    for index in range(len(heads)):
        groups.setdefault(head(index), []).append(index)
    return list(groups.values())
