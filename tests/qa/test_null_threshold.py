from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.qa.evaluation_decoding import QAPredictions
from transformers_palbert.qa.metrics.inputs import ScoredQuestion
from transformers_palbert.qa.metrics.squad_scoring import score_squad_v2
from transformers_palbert.qa.null_threshold import best_spans, choose_null_threshold, fit_null_threshold


def question(key: str, answer: str | None, prediction: str = "right") -> ScoredQuestion:
    return ScoredQuestion(key, () if answer is None else (answer,), prediction)


@pytest.mark.parametrize(
    ("questions", "odds", "threshold"),
    [
        # Answering pays up to odds of 1, and no longer at 4.
        ([question("a", "right"), question("b", None)], {"a": 1.0, "b": 4.0}, 2.5),
        ([question("a", "right"), question("b", "right")], {"a": 1.0, "b": 4.0}, 5.0),  # answer all
        ([question("a", None), question("b", None)], {"a": -1.0, "b": 4.0}, -2.0),  # answer none
        ([question("a", None), question("b", "wrong")], {"a": -1.0, "b": 4.0}, -2.0),
        # One error on the way to two right answers is worth it.
        ([question("a", None), question("b", "right"), question("c", "right")], {"a": 0.0, "b": 1.0, "c": 2.0}, 3.0),
        # Equal odds are on one side.
        ([question("a", "right"), question("b", None)], {"a": 1.0, "b": 1.0}, 0.0),
    ],
)
def test_thresholds_by_hand(questions: list[ScoredQuestion], odds: dict[str, float], threshold: float) -> None:
    assert choose_null_threshold(questions, odds) == threshold


CASE = st.tuples(st.sampled_from([None, "right", "right answer", "left"]), st.sampled_from(["right", "left", ""]))


@given(st.lists(st.tuples(CASE, st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0])), min_size=1, max_size=9))
def test_no_other_threshold_is_better(cases: list[tuple[tuple[str | None, str], float]]) -> None:
    questions = [question(str(index), answer, text) for index, ((answer, text), _) in enumerate(cases)]
    odds = {str(index): value for index, (_, value) in enumerate(cases)}
    reached = {at: score_squad_v2(questions, odds, at)["f1"] for at in (-9.0, -1.5, -0.5, 0.2, 1.0, 9.0)}
    chosen = score_squad_v2(questions, odds, choose_null_threshold(questions, odds))["f1"]
    assert chosen == pytest.approx(max(reached.values()))


def records(*answers: str | None, at: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": str(at + index), "answers": {"text": [text] if text else [], "answer_start": [0] if text else []}}
        for index, text in enumerate(answers)
    ]


def test_one_part_chooses_and_the_other_judges() -> None:
    development, test = records("x", None), records("x", None, "x", at=2)
    spans = dict.fromkeys("01234", "x")
    odds = {"0": 2.0, "1": 6.0, "2": 3.0, "3": 3.5, "4": 5.0}
    found = fit_null_threshold(spans, odds, development, test)
    assert found.threshold == 4.0
    assert (found.chosen_on, found.scored_on) == (2, 3)
    assert found.before["f1"] == pytest.approx(100 / 3)  # nothing is answered: odds above 0
    assert (found.before["HasAns_f1"], found.before["NoAns_f1"]) == (0.0, 100.0)
    assert found.after["f1"] == pytest.approx(100 / 3)  # question 2 is won, 3 is lost, 4 stays lost
    assert (found.after["HasAns_f1"], found.after["NoAns_f1"]) == (50.0, 0.0)
    assert not [name for name in found.after if name.startswith("best_")]
    assert found.to_dict()["threshold"] == 4.0


def test_parts_that_cannot_be() -> None:
    development, test = records("x"), records("x", at=1)
    spans, odds = dict.fromkeys("01", "x"), {"0": 0.0, "1": 0.0}
    with pytest.raises(ConfigurationError, match="such as '0'"):
        fit_null_threshold(spans, odds, development, development)
    with pytest.raises(ConfigurationError, match="needs questions"):
        fit_null_threshold(spans, odds, development, [])
    with pytest.raises(DatasetFormatError, match="no prediction"):
        fit_null_threshold({"0": "x"}, odds, development, test)
    with pytest.raises(DatasetFormatError, match="1 questions have no score of no answer, such as '1'"):
        fit_null_threshold(spans, {"0": 1.0}, development, test)


def test_the_best_spans_ignore_the_threshold() -> None:
    nbest = {"a": [{"text": ""}, {"text": "x"}], "b": [{"text": ""}], "c": [{"text": "y"}, {"text": "x"}]}
    assert best_spans(QAPredictions({}, nbest, {})) == {"a": "x", "b": "", "c": "y"}


def test_the_threshold_before_is_scored_too() -> None:
    found = fit_null_threshold(
        dict.fromkeys("01234", "x"),
        {"0": 2.0, "1": 6.0, "2": 3.0, "3": 3.5, "4": 5.0},
        records("x", None),
        records("x", None, "x", at=2),
        before=9.0,
    )
    assert found.before["f1"] == pytest.approx(200 / 3)
