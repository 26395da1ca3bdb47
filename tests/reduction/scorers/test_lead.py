from __future__ import annotations

from tests.reduction.helpers import CHINESE, ENGLISH
from transformers_palbert.reduction.limits import MaxTokens
from transformers_palbert.reduction.settings import ReductionSettings


def test_what_is_kept_is_the_beginning_of_the_text() -> None:
    reducer = ReductionSettings(scorers=("lead",)).reducer(MaxTokens(11))
    assert [row.text for row in reducer.shorten(["?", "？"], [ENGLISH, CHINESE])] == [
        "Wolfgang lives in Berlin. It rains there. ",
        "王芳住在北京。",
    ]
