from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.conftest import RECORDS, record
from transformers_palbert.analysis.scores import default_metric, score_all, score_each
from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.qa.metrics import METRICS, compute_metric

ANSWERS = ["曹雪芹", "写于清代", "清代"]
KEYS = {
    "cmrc2018": ("EM", "F1", 1),
    "palbert_qa": ("accuracy", "f1", 100),
    "squad": ("exact_match", "f1", 1),
    "squad_v2": ("exact", "f1", 1),
}


@pytest.mark.parametrize("metric", METRICS)
def test_means_are_the_metric(metric):
    exact, f1, factor = KEYS[metric]
    whole = compute_metric(metric, dict(zip([r["id"] for r in RECORDS], ANSWERS, strict=True)), RECORDS)
    means = score_each(metric, ANSWERS, RECORDS).mean(axis=0)
    assert means == pytest.approx([factor * whole[exact], factor * whole[f1]])
    assert whole[exact] > 0


@pytest.mark.parametrize("metric", METRICS)
def test_all_together_is_the_metric_to_the_last_digit(metric):
    exact, f1, factor = KEYS[metric]
    texts = dict(zip([r["id"] for r in RECORDS], ANSWERS, strict=True))
    whole = compute_metric(metric, texts, RECORDS)
    assert score_all(metric, texts, RECORDS) == {"em": factor * whole[exact], "f1": factor * whole[f1]}


def test_each_question_by_itself():
    scores = score_each("cmrc2018", ANSWERS, RECORDS)
    assert scores.tolist() == [[100, 100], [0, pytest.approx(100 * 2 / 3)], [0, 0]]


def test_nothing_to_score():
    assert score_each("squad", [], []).shape == (0, 2)


def test_answers_and_questions_must_match():
    with pytest.raises(ConfigurationError, match="1 predictions cannot be scored against 3 questions"):
        score_each("squad", ["a"], RECORDS)


def test_an_unknown_metric():
    with pytest.raises(ConfigurationError, match="bleu"):
        score_each("bleu", ANSWERS, RECORDS)


def test_a_metric_for_answers_alone():
    with pytest.raises(DatasetFormatError, match="squad_v2"):
        score_each("cmrc2018", [""], [record("q", "为什么?", "文")])


def test_default_metric():
    english = record("e", "Who was it?", "It was me.", "me")
    assert default_metric(RECORDS) == "cmrc2018"
    assert default_metric([english]) == "squad"
    assert default_metric([english, english, *RECORDS]) == "cmrc2018"
    assert default_metric([*RECORDS, record("q", "为什么?", "文")]) == "squad_v2"
    assert np.isfinite(score_each(default_metric([english]), ["me"], [english])).all()
