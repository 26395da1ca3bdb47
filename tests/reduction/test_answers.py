from __future__ import annotations

import pytest

from transformers_palbert.qa.evaluation_decoding import QAPredictions
from transformers_palbert.reduction.answers import restore_places
from transformers_palbert.text.shortened import join_passages, whole_text

CONTEXT = "甲在家。乙在外。丙在上海。"
READ = join_passages(CONTEXT, [(0, 4), (4, 8), (8, 13)], [True, False, True])  # 甲在家。丙在上海。


def answers(predicted: str, *spans: tuple[int, int, float]) -> QAPredictions:
    nbest = [
        {"text": READ.text[start:end], "start": start, "end": end, "probability": probability, "start_logit": 0.0}
        for start, end, probability in spans
    ]
    return QAPredictions({"q": predicted}, {"q": nbest}, {})


def test_places_are_those_of_the_whole_context() -> None:
    found = restore_places(answers("丙", (4, 5, 0.6), (2, 3, 0.4)), {"q": READ})
    assert found.predictions == {"q": "丙"}
    places = [(entry["start"], entry["end"]) for entry in found.nbest["q"]]
    assert [CONTEXT[start:end] for start, end in places] == ["丙", "家"]
    assert places[0] == (8, 9)


def test_what_joins_passages_that_were_apart_is_no_answer() -> None:
    found = restore_places(answers("家。丙", (2, 5, 0.5), (4, 5, 0.3), (2, 3, 0.2)), {"q": READ})
    assert found.predictions == {"q": "丙"}
    assert [entry["probability"] for entry in found.nbest["q"]] == pytest.approx([0.6, 0.4])


def test_no_answer_stays_no_answer() -> None:
    found = restore_places(answers("", (0, 0, 0.7), (4, 5, 0.3)), {"q": READ})
    assert found.predictions == {"q": ""}
    assert (found.nbest["q"][0]["start"], found.nbest["q"][0]["end"]) == (0, 0)
    nothing_left = restore_places(answers("家。丙", (2, 5, 1.0)), {"q": READ})
    assert nothing_left.predictions == {"q": ""}
    assert nothing_left.nbest["q"][0]["text"] == ""


@pytest.mark.parametrize(("threshold", "answer"), [(0.0, ""), (13.9, ""), (14.1, "丙")])
def test_what_is_left_is_compared_with_no_answer_again(threshold: float, answer: str) -> None:
    nbest = answers("家。丙", (2, 5, 0.9), (0, 0, 0.09), (4, 5, 0.01)).nbest["q"]
    for entry, logit in zip(nbest, (5.0, 4.0, -3.0), strict=True):
        entry |= {"start_logit": logit, "end_logit": logit}
    before = QAPredictions({"q": "家。丙"}, {"q": nbest}, {"q": -2.0})
    found = restore_places(before, {"q": READ}, null_score_diff_threshold=threshold)
    assert found.predictions == {"q": answer}
    assert found.null_odds == {"q": pytest.approx(8 - -6)}


def test_a_space_before_a_word_is_no_part_of_an_answer() -> None:
    context = "It rains. Nothing. Berlin is big."
    read = join_passages(context, [(0, 10), (10, 19), (19, 33)], [True, False, True])
    entry = {"text": " Berlin", "start": 9, "end": 16, "probability": 1.0, "start_logit": 0.0, "end_logit": 0.0}
    found = restore_places(QAPredictions({"q": " Berlin"}, {"q": [entry]}, {}), {"q": read})
    assert found.predictions == {"q": "Berlin"}
    (placed,) = found.nbest["q"]
    assert context[placed["start"] : placed["end"]] == placed["text"] == "Berlin"


def test_a_whole_text_changes_nothing() -> None:
    before = QAPredictions(
        {"q": "乙"}, {"q": [{"text": "乙", "start": 4, "end": 5, "probability": 1.0, "start_logit": 0.0}]}, {}
    )
    assert restore_places(before, {"q": whole_text(CONTEXT)}) == before
