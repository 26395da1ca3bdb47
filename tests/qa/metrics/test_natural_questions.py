from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.qa.test_natural_questions import annotation, record
from tests.references import natural_questions as reference
from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa.evaluation_decoding import QAPredictions
from transformers_palbert.qa.metrics.natural_questions import (
    NaturalAnswer,
    Outcome,
    best_threshold_figures,
    natural_answers,
    read_natural_answers,
    score_natural_questions,
    short_outcome,
)
from transformers_palbert.qa.natural_questions import Annotation, TokenSpan, parse_natural_question

NOTHING = Annotation(None, ())
A, B, C = TokenSpan(1, 2), TokenSpan(4, 6), TokenSpan(7, 9)


def short(*spans: TokenSpan, yes_no: str = "none") -> Annotation:
    return Annotation(None, spans, yes_no)


@pytest.mark.parametrize(
    ("annotations", "answer", "expected"),
    [
        ([short(A), short(B), NOTHING, NOTHING, NOTHING], NaturalAnswer((A,)), (True, True, True)),
        ([short(A), short(B), NOTHING, NOTHING, NOTHING], NaturalAnswer((C,)), (True, True, False)),
        ([short(A), short(B), NOTHING, NOTHING, NOTHING], NaturalAnswer(), (True, False, False)),
        # One annotator of five is too few: even what he says is then wrong.
        ([short(A), *[NOTHING] * 4], NaturalAnswer((A,)), (False, True, False)),
        ([short(A)], NaturalAnswer((A,)), (True, True, True)),  # the one annotator of a training file
        # The whole set of one annotator, in any order, and not a part of it.
        ([short(A, B), short(C), NOTHING], NaturalAnswer((B, A)), (True, True, True)),
        ([short(A, B), short(C), NOTHING], NaturalAnswer((A,)), (True, True, False)),
        ([short(A), short(B), NOTHING], NaturalAnswer((A, B)), (True, True, False)),
        # Yes and no are answers, and count with spans.
        ([short(yes_no="yes"), short(A), NOTHING], NaturalAnswer(yes_no="yes"), (True, True, True)),
        ([short(yes_no="yes"), short(A), NOTHING], NaturalAnswer(yes_no="no"), (True, True, False)),
        ([short(yes_no="yes"), short(A), NOTHING], NaturalAnswer((A,)), (True, True, True)),
        ([NOTHING] * 5, NaturalAnswer(), (False, False, False)),
    ],
)
def test_short_answers(annotations: list[Annotation], answer: NaturalAnswer, expected: tuple[bool, ...]) -> None:
    found = short_outcome(annotations, answer)
    assert (found.has_answer, found.predicted, found.right) == expected


def test_figures_by_hand() -> None:
    """Four questions, three with an answer; three predictions, two right: precision 2/3, recall 2/3.

    With a threshold of 3, the two best predictions are left, one of them right: F1 2·(1/2)(1/3)/(5/6) = 0.4. With one
    of 2: 2/3. With 1, the lowest of all, nothing changes: the question there has no prediction.
    """
    annotations = {
        "a": [short(A), short(A), NOTHING, NOTHING, NOTHING],
        "b": [NOTHING] * 5,
        "c": [short(yes_no="yes"), short(yes_no="no"), NOTHING, NOTHING, NOTHING],
        "d": [short(B), short(C), NOTHING, NOTHING, NOTHING],
    }
    answers = {
        "a": NaturalAnswer((A,), 4.0),
        "b": NaturalAnswer((A,), 3.0),
        "c": NaturalAnswer((), 2.0, "no"),
        "d": NaturalAnswer((), 1.0),
    }
    two_thirds = pytest.approx(200 / 3)
    assert score_natural_questions(annotations, answers) == {
        "short_f1": two_thirds,
        "short_precision": two_thirds,
        "short_recall": two_thirds,
        "short_best_f1": two_thirds,
        "short_best_precision": two_thirds,
        "short_best_recall": two_thirds,
        "short_best_threshold": 2.0,
        "total": 4,
    }


def test_the_best_threshold_by_hand() -> None:
    """At 5, 1 of 1 is right, recall 1/2, F1 2/3; at 4, 1 of 3 is, F1 2/5; at 1, 2 of 4 are, recall 1, F1 2/3."""
    outcomes = [
        Outcome(True, True, True, 5.0),
        Outcome(False, True, False, 4.0),
        Outcome(False, True, False, 4.0),
        Outcome(True, True, True, 1.0),
    ]
    found = best_threshold_figures(outcomes)
    assert found == {"f1": pytest.approx(200 / 3), "precision": 100.0, "recall": 50.0, "threshold": 5.0}


def test_scores_that_are_equal_are_on_one_side_of_a_threshold() -> None:
    outcomes = [Outcome(True, True, True, 1.0), Outcome(True, True, False, 1.0)]
    assert best_threshold_figures(outcomes)["f1"] == 50.0
    assert best_threshold_figures(outcomes[::-1])["f1"] == 50.0


def test_nothing_is_right() -> None:
    found = best_threshold_figures([Outcome(True, True, False, -3.0)])
    assert found == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "threshold": 0.0}


def test_long_answers_by_hand() -> None:
    long = Annotation(A, ())
    annotations = {"a": [long, long], "b": [long, Annotation(B, ())], "c": [long, NOTHING]}
    answers = {
        "a": NaturalAnswer(long=A, long_score=2.0),
        "b": NaturalAnswer(long=C, long_score=1.0),
        "c": NaturalAnswer(long=A, long_score=0.5),
    }
    found = score_natural_questions(annotations, answers)
    assert found["long_precision"] == pytest.approx(100 / 3)
    assert found["long_recall"] == 50.0
    assert (found["long_best_f1"], found["long_best_threshold"]) == (pytest.approx(200 / 3), 2.0)


SPANS = st.sampled_from([(1, 2), (4, 6), (7, 9)])
GOLD = st.fixed_dictionaries(
    {
        "long": st.none() | SPANS,
        "short": st.lists(SPANS, max_size=2, unique=True),
        "yes_no": st.sampled_from(["none", "none", "yes", "no"]),
    }
)
SCORE = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
PREDICTED = st.builds(lambda gold, a, b: gold | {"short_score": a, "long_score": b}, GOLD, SCORE, SCORE)


@given(st.lists(st.tuples(st.lists(GOLD, min_size=2, max_size=5), PREDICTED), min_size=1, max_size=8))
def test_figures_are_those_of_the_reference(cases: list[tuple[list[dict[str, Any]], dict[str, Any]]]) -> None:
    golds = {str(index): gold for index, (gold, _) in enumerate(cases)}
    predictions = {str(index): predicted for index, (_, predicted) in enumerate(cases)}
    found = score_natural_questions(
        {key: [_annotation(each) for each in gold] for key, gold in golds.items()},
        {
            key: NaturalAnswer(
                _annotation(each).short, each["short_score"], each["yes_no"], _annotation(each).long, each["long_score"]
            )
            for key, each in predictions.items()
        },
    )
    for kind, stats in (
        ("short", reference.short_stats(golds, predictions)),
        ("long", reference.long_stats(golds, predictions)),
    ):
        if f"{kind}_f1" not in found:
            assert not any(predicted for _, predicted, _, _ in stats)
            continue
        names = ("f1", "precision", "recall")
        assert [found[f"{kind}_{name}"] for name in names] == pytest.approx([100 * x for x in reference.f1(stats)])
        *best, threshold = reference.best_f1(stats)
        assert [found[f"{kind}_best_{name}"] for name in names] == pytest.approx([100 * x for x in best])
        assert found[f"{kind}_best_threshold"] == threshold


def _annotation(raw: dict[str, Any]) -> Annotation:
    long = None if raw["long"] is None else TokenSpan(*raw["long"])
    return Annotation(long, tuple(TokenSpan(*span) for span in raw["short"]), raw["yes_no"])


@pytest.mark.parametrize(
    ("annotations", "answers", "message"),
    [
        ({}, {}, "no question to score"),
        ({"a": []}, {}, "1 questions have no prediction, such as 'a'"),
        ({"a": []}, {"a": NaturalAnswer(), "b": NaturalAnswer()}, "1 predictions have no question, such as 'b'"),
    ],
)
def test_ids_that_differ(annotations: dict[str, Any], answers: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetFormatError, match=message):
        score_natural_questions(annotations, answers)


# --- predictions ---------------------------------------------------------------------------------------------------


def entry(text: str, start: int, logit: float) -> dict[str, Any]:
    return {"text": text, "start": start, "end": start + len(text), "start_logit": logit, "end_logit": 1.0}


def test_answers_of_a_model() -> None:
    raw = [record(annotation((7, 8), long=(3, 10)), example_id=key) for key in ("1", "2", "3")]
    questions = [parse_natural_question(each, "x") for each in raw]
    null = {"text": "", "start": 0, "end": 0, "start_logit": 9.0, "end_logit": 9.0}
    nbest = {"1": [null, entry("orth", 36, 2.0)], "2": [entry("</P> <P>", 43, 4.0)], "3": [null]}
    answers = QAPredictions({}, nbest, {"1": 15.0})
    found = natural_answers(questions, answers)
    assert found["1"] == NaturalAnswer((TokenSpan(7, 8),), -15.0, "none", TokenSpan(3, 10), -15.0)
    assert found["2"] == NaturalAnswer((TokenSpan(9, 11),), 5.0, "none", None, 5.0)
    assert (found["3"].short, found["3"].short_score) == ((), float("-inf"))


def test_predictions_of_the_official_form() -> None:
    content = {
        "predictions": [
            {
                "example_id": 7,
                "short_answers": [{"start_token": 1, "end_token": 2, "start_byte": -1, "end_byte": -1}],
                "short_answers_score": 1.5,
                "long_answer": {"start_token": 0, "end_token": 9},
                "long_answer_score": 2,
                "yes_no_answer": "NONE",
            },
            {"example_id": "8", "short_answers": [], "long_answer": {"start_token": -1, "end_token": -1}},
        ]
    }
    assert read_natural_answers(content, "p.json") == {
        "7": NaturalAnswer((TokenSpan(1, 2),), 1.5, "none", TokenSpan(0, 9), 2.0),
        "8": NaturalAnswer(),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "p.json: expected an object"),
        ({}, "p.json.predictions: missing"),
        ({"predictions": [{}]}, r"predictions\[0\]\.example_id: missing"),
        ({"predictions": [{"example_id": 1}, {"example_id": "1"}]}, r"predictions\[1\]\.example_id: '1' occurs twice"),
        ({"predictions": [{"example_id": 1, "yes_no_answer": "so"}]}, "yes_no_answer: expected one of none, yes, no"),
        (
            {"predictions": [{"example_id": 1, "short_answers": [{"start_byte": 1}]}]},
            r"short_answers\[0\]: expected whole",
        ),
        ({"predictions": [{"example_id": 1, "long_answer": {"start_token": 3, "end_token": 3}}]}, "tokens 3 to 3"),
        ({"predictions": [{"example_id": 1, "long_answer_score": "x"}]}, "long_answer_score: expected a number"),
        (
            {"predictions": [{"example_id": 1, "long_answer": {"start_token": -1, "end_token": -1, "start_byte": 5}}]},
            r"long_answer: has byte offsets alone",
        ),
        (
            {
                "predictions": [
                    {
                        "example_id": 1,
                        "short_answers": [{"start_token": 1, "end_token": 2}],
                        "yes_no_answer": "YES",
                    }
                ]
            },
            "predicts 'yes' and spans",
        ),
    ],
)
def test_predictions_that_cannot_be_read(content: Any, message: str) -> None:
    with pytest.raises(DatasetFormatError, match=message):
        read_natural_answers(content, "p.json")
