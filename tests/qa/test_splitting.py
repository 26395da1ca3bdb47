from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.splitting import articles_of, split_by_article


def questions(*places: tuple[str, str]) -> list[dict[str, Any]]:
    empty = {"text": [], "answer_start": []}
    return [
        {"id": str(index), "title": title, "context": context, "question": "?", "answers": empty}
        for index, (title, context) in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("places", "articles"),
    [
        ([("A", "a"), ("B", "b"), ("A", "c")], [[0, 2], [1]]),
        ([("", "a"), ("", "b"), ("", "a")], [[0, 2], [1]]),  # without titles, contexts tell
        ([("A", "a"), ("B", "a"), ("C", "c")], [[0, 1], [2]]),  # one context under two titles
        ([("A", "a"), ("B", "b"), ("B", "a"), ("C", "")], [[0, 1, 2], [3]]),  # and what hangs on it
    ],
)
def test_articles(places: list[tuple[str, str]], articles: list[list[int]]) -> None:
    assert articles_of(questions(*places)) == articles


PLACE = st.tuples(st.sampled_from(["", "A", "B", "C", "D"]), st.sampled_from("abcdefgh"))


@given(st.lists(PLACE, min_size=12, max_size=40), st.sampled_from([(0.5, 0.5), (0.2, 0.3, 0.5)]), st.integers(0, 5))
def test_parts_share_nothing_and_lose_nothing(
    places: list[tuple[str, str]], fractions: tuple[float, ...], seed: int
) -> None:
    records = questions(*places)
    if len(articles_of(records)) < len(fractions):
        with pytest.raises(ConfigurationError, match="cannot be split"):
            split_by_article(records, fractions, seed=seed)
        return
    parts = split_by_article(records, fractions, seed=seed)
    assert all(parts)
    assert sorted(index for part in parts for index in part) == list(range(len(records)))
    for name in ("title", "context"):
        seen = [{records[index][name] for index in part} - {""} for part in parts]
        assert sum(map(len, seen)) == len(set.union(*seen))
    assert parts == split_by_article(records, fractions, seed=seed)


def test_fractions_are_about_kept() -> None:
    records = questions(*[(f"title {number % 40}", str(number)) for number in range(400)])
    sizes = [len(part) for part in split_by_article(records, (0.7, 0.2, 0.1), seed=1)]
    assert sizes == [280, 80, 40]
    assert split_by_article(records, (0.5, 0.5), seed=1) != split_by_article(records, (0.5, 0.5), seed=2)


@pytest.mark.parametrize("fractions", [(1.0,), (0.5, 0.6), (1.5, -0.5), (1.0, 0.0), ()])
def test_fractions_that_cannot_be(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ConfigurationError, match="add up to 1"):
        split_by_article(questions(("A", "a"), ("B", "b")), fractions)
