from __future__ import annotations

import numpy as np
import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.reduction.limits import MaxTokens, Share, Threshold, choose

RELEVANCE = np.array([0.2, 1.0, 0.0, 0.6, 0.6])
TOKENS = (10, 20, 5, 10, 5)


def kept(limit, **options) -> list[int]:
    return np.flatnonzero(choose(RELEVANCE, TOKENS, limit, **options)).tolist()


@pytest.mark.parametrize(
    ("value", "passages"), [(0, [0, 1, 2, 3, 4]), (0.2, [0, 1, 3, 4]), (0.5, [1, 3, 4]), (0.61, [1]), (1, [1])]
)
def test_a_threshold_keeps_what_reaches_it(value, passages) -> None:
    assert kept(Threshold(value)) == passages


@pytest.mark.parametrize(
    ("value", "passages"), [(1, [1]), (20, [1]), (29, [1, 4]), (30, [1, 3]), (35, [1, 3, 4]), (50, [0, 1, 2, 3, 4])]
)
def test_as_many_tokens_as_fit_are_kept(value, passages) -> None:
    assert kept(MaxTokens(value)) == passages
    assert kept(Share(value / 50)) == passages


def test_neighbours_come_with_what_is_kept_as_far_as_they_fit() -> None:
    assert kept(Threshold(1), neighbours=1) == [0, 1, 2]
    assert kept(MaxTokens(36), neighbours=1) == [0, 1, 2]
    assert kept(MaxTokens(30), neighbours=1) == [1, 3]  # its own neighbours do not fit


def test_required_passages_take_their_room_first() -> None:
    assert kept(MaxTokens(30), required=[2]) == [1, 2, 4]
    assert kept(MaxTokens(1), required=[0, 2]) == [0, 2]
    assert kept(Threshold(1), required=[0]) == [0, 1]


def test_limits_out_of_range() -> None:
    for limit, value in ((Threshold, 1.1), (Threshold, -0.1), (MaxTokens, 0), (Share, 0), (Share, 1.5)):
        with pytest.raises(ConfigurationError):
            limit(value)


@pytest.mark.parametrize("limit", [Threshold, MaxTokens, Share])
@pytest.mark.parametrize("value", ["1", None, True, [1], float("nan")])
def test_limits_that_are_no_numbers(limit: type, value: object) -> None:
    with pytest.raises(ConfigurationError):
        limit(value)
