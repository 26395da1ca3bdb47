from __future__ import annotations

import numpy as np
import pytest

from tests.reduction.helpers import CHINESE, ENGLISH, RECORDS
from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.reduction.records import (
    Tally,
    answer_spans,
    holds_answer,
    keeps_answer,
    move_answers,
    passages_of_spans,
)
from transformers_palbert.text.shortened import join_passages


def passages(context: str = ENGLISH):
    (row,) = Cutting().cut(["?"], [context])
    return row


def test_passages_of_answers() -> None:
    row = passages()
    assert row.texts[2] == "Anna was born in Rome in 1950."
    assert holds_answer(row, RECORDS[1]["answers"]).tolist() == [False, False, True, False]
    across = (ENGLISH.index("there"), ENGLISH.index("born"))
    assert passages_of_spans(row, [across]) == [1, 2]
    assert passages_of_spans(row, [(0, 0), (len(ENGLISH) - 1, len(ENGLISH))]) == [0, 3]


@pytest.mark.parametrize(("context", "answer"), [(ENGLISH, "1950"), (CHINESE, "二〇一八年")])
def test_answers_move_with_their_passages(context: str, answer: str) -> None:
    row = passages(context)
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    for kept in ([False, False, True, False], [True, False, True, False]):
        shorter = join_passages(context, row.spans, kept)
        (start,) = move_answers(answers, shorter)["answer_start"]
        assert shorter.text[start : start + len(answer)] == answer
        assert start == shorter.text.index(answer)
    shorter = join_passages(context, row.spans, [True, True, False, True])
    assert move_answers(answers, shorter) == {"text": [answer], "answer_start": [-1]}


def test_an_answer_across_passages_needs_all_of_them() -> None:
    row = passages()
    spans = [(ENGLISH.index("there"), ENGLISH.index("born"))]
    assert keeps_answer(row, np.array([False, True, True, False]), spans)
    assert not keeps_answer(row, np.array([False, True, False, True]), spans)


def test_answers_without_a_place_stay_so() -> None:
    lost = RECORDS[-1]
    shorter = join_passages(CHINESE, passages(CHINESE).spans, [True] * 4)
    assert answer_spans(lost["answers"]) == []
    assert move_answers(lost["answers"], shorter) == lost["answers"]


def test_counts() -> None:
    context = "Anna likes Rome. Rome is old. It rains."
    row = passages(context)
    tally = Tally()
    answers = {"text": ["Rome"], "answer_start": [11]}
    for kept in ([True, False, False], [False, True, False], [False, False, True]):
        shorter = join_passages(context, row.spans, kept)
        tally.add(row, np.array(kept), answers, shorter)
    tally.add(row, np.array([True] * 3), {"text": [], "answer_start": []})
    found = tally.to_dict()
    assert found == {
        "questions": 4,
        "answerable": 3,
        "answers_kept": 1,
        "answers_elsewhere": 1,
        "answers_cut": 2,
        "tokens_before": 44,
        "tokens_after": 22,
        "tokens_share": 0.5,
        "answers_share": pytest.approx(1 / 3),
    }
