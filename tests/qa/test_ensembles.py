from __future__ import annotations

from typing import Any

import pytest

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa.ensembles import is_nbest, vote, vote_for_each


def candidate(text: str, probability: float, **fields: Any) -> dict[str, Any]:
    return {"text": text, "probability": probability, **fields}


A = [candidate("曹雪芹", 0.5, start=1), candidate("清代", 0.4), candidate("", 0.1)]
B = [candidate("清代", 0.45, start=9), candidate("曹雪芹", 0.2), candidate("曹雪芹", 0.15, start=7), candidate("", 0.2)]
C = [candidate("", 0.8), candidate("清代", 0.2)]


def test_the_highest_sum_wins_though_no_list_but_one_has_it_first() -> None:
    assert [entry["text"] for entry in vote([A, B])] == ["清代", "曹雪芹", ""]
    assert [entry["probability"] for entry in vote([A, B])] == pytest.approx([0.425, 0.425, 0.15])
    assert [entry["text"] for entry in vote([A, B, C])] == ["", "清代", "曹雪芹"]


def test_sums_are_a_distribution_and_the_rest_is_that_of_the_most_probable() -> None:
    elected = vote([A, B, C])
    assert sum(entry["probability"] for entry in elected) == pytest.approx(1)
    assert {entry["text"]: entry.get("start") for entry in elected} == {"": None, "清代": 9, "曹雪芹": 1}
    assert A[0]["probability"] == 0.5  # what is given stays as it is


def test_one_list_gives_equal_texts_their_sum() -> None:
    assert [(entry["text"], entry["probability"]) for entry in vote([B])] == [
        ("清代", 0.45),
        ("曹雪芹", pytest.approx(0.35)),
        ("", 0.2),
    ]


def test_every_question_gets_the_answer_of_its_vote() -> None:
    assert vote_for_each([{"1": A, "2": C}, {"2": A, "1": C}]) == {"1": "", "2": ""}
    assert vote_for_each([{"1": A}]) == {"1": "曹雪芹"}


def test_members_must_answer_the_same_questions() -> None:
    with pytest.raises(DatasetFormatError, match=r"b.json: 1 of 2 questions have no candidates, the first is '2'"):
        vote_for_each([{"1": A, "2": A}, {"1": A}], ["a.json", "b.json"])
    with pytest.raises(DatasetFormatError, match="member 0: 1 of 1 questions"):
        vote_for_each([{"1": []}])


@pytest.mark.parametrize("wrong", [{"text": "x"}, {"text": 1, "probability": 0.5}, candidate("x", 7.5), "x", None])
def test_malformed_candidates_are_refused(wrong: Any) -> None:
    with pytest.raises(DatasetFormatError, match="must have a 'text' and a 'probability' from 0 to 1, got"):
        vote([[wrong]])


def test_what_counts_as_nbest_lists() -> None:
    assert is_nbest({"1": A})
    assert not is_nbest({"1": "曹雪芹"})
    assert not is_nbest([{"id": "1", "prediction_text": "x"}])
