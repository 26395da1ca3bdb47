from __future__ import annotations

import numpy as np
import pytest

from tests.reduction.helpers import CHINESE, ENGLISH, RECORDS, Places, dataset
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.reduction.fusion import Fusion
from transformers_palbert.reduction.limits import MaxTokens, Threshold
from transformers_palbert.reduction.reducer import Reducer
from transformers_palbert.reduction.scorers.bm25 import Bm25Scorer

QUESTIONS = [row["question"] for row in RECORDS[:4]]
CONTEXTS = [row["context"] for row in RECORDS[:4]]


def test_the_passages_that_share_words_with_the_question_are_kept() -> None:
    shorter = Reducer([Bm25Scorer()], Threshold(1)).shorten(QUESTIONS, CONTEXTS)
    assert [row.text.strip() for row in shorter] == [
        "Wolfgang lives in Berlin.",
        "Anna was born in Rome in 1950.",
        "王芳住在北京。",
        "李明二〇一八年出生于上海。",
    ]
    start = shorter[1].text.index("1950")
    assert ENGLISH[slice(*shorter[1].to_original(start, start + 4))] == "1950"


def test_neighbours_and_limits() -> None:
    reducer = Reducer([Places(lambda number: number == 2)], MaxTokens(13), neighbours=1)
    (row,) = reducer.shorten(QUESTIONS[:1], CONTEXTS[:1])  # its neighbours do not fit, the first passage does
    assert row.text == "Wolfgang lives in Berlin. Anna was born in Rome in 1950. "
    wide = Reducer([Places(lambda number: number == 2)], Threshold(1), neighbours=1)
    assert wide.shorten([""], [CHINESE])[0].text == "今天下雨。李明二〇一八年出生于上海。他喜欢猫。"


def test_several_scorers_are_fused() -> None:
    first, last = Places(), Places(lambda number: 2 * number, "last")
    even = Reducer([first, last], Threshold(1))
    (relevance,) = even.relevance(even.cutting.cut([""], [ENGLISH]))
    np.testing.assert_allclose(relevance, 1)  # they contradict each other
    heavy = Reducer([first, last], Threshold(1), Fusion(weights={"places": 1, "last": 2}))
    assert heavy.shorten([""], [ENGLISH])[0].text == "She likes cats."


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_in_a_data_set_out(streaming: bool) -> None:
    reducer = Reducer([Places(lambda number: number == 2)], Threshold(1))
    whole = dataset()
    source = whole.to_iterable_dataset() if streaming else whole
    rows = list(source.map(reducer, batched=True, batch_size=4))
    assert [row["id"] for row in rows] == whole["id"]
    assert rows[1]["context"].strip() == "Anna was born in Rome in 1950."
    assert rows[1]["answers"] == {"text": ["1950"], "answer_start": [25]}
    assert rows[0]["answers"] == {"text": ["Berlin", "in Berlin"], "answer_start": [-1, -1]}
    assert rows[4]["answers"] == {"text": [], "answer_start": []}


def test_answers_can_be_kept_for_training() -> None:
    reducer = Reducer([Places(lambda number: number == 2)], Threshold(1), keep_answer=True)
    rows = list(dataset().map(reducer, batched=True))
    for row in rows[:4]:
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start : start + len(text)] == text
    assert rows[0]["context"] == "Wolfgang lives in Berlin. Anna was born in Rome in 1950. "


def test_what_cannot_be() -> None:
    for scorers in ([], [Places(), Places()]):
        with pytest.raises(ConfigurationError, match="different names"):
            Reducer(scorers, Threshold(1))
    with pytest.raises(ConfigurationError, match="weights for bm25"):
        Reducer([Places()], Threshold(1), Fusion(weights={"bm25": 1}))


def test_no_question_and_a_question_too_many() -> None:
    reducer = Reducer([Places()], MaxTokens(5))
    assert reducer.shorten([], []) == []
    assert reducer.scorers[0].calls == 0
    with pytest.raises(ConfigurationError, match="2 questions cannot be asked of 1 contexts"):
        reducer.shorten(["Who?", "Where?"], [ENGLISH])
    with pytest.raises(ConfigurationError, match="1 questions cannot be asked of 12 contexts"):
        reducer.shorten(["Who?"], "one string, ")
