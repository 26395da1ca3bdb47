from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from tests.analysis.conftest import RECORDS, ROWS, FixedPipe
from transformers_palbert.analysis.answering import Answering
from transformers_palbert.analysis.bootstrap import bootstrap_means, difference_of
from transformers_palbert.analysis.comparing import compare_models
from transformers_palbert.analysis.scores import score_each
from transformers_palbert.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore:.*questions are few:UserWarning")


@pytest.fixture
def worse(model) -> FixedPipe:
    """Right for no question at all."""
    return FixedPipe(model, {question: [("的", 0.5)] for question, _, _ in ROWS.values()})


def compare(pipes, records=RECORDS, **options):
    return compare_models(pipes, records, metric="cmrc2018", answering=Answering(), resamples=200, **options)


def test_scores_and_paired_differences(pipe, worse):
    result = compare({"good": pipe, "bad": worse}, seed=5)
    good, bad = result.models
    assert (good.name, bad.name) == ("good", "bad")
    assert (good.em.value, good.f1.value) == pytest.approx((100 / 3, 100 * (1 + 2 / 3) / 3))
    assert (bad.em.value, bad.f1.value) == (0, 0)
    assert (good.em_difference, good.f1_difference) == (None, None)
    scores = score_each("cmrc2018", [answers[0][0] for _, _, answers in ROWS.values()], RECORDS)
    drawn = -bootstrap_means(scores, resamples=200, seed=5)
    assert bad.f1_difference == difference_of(-good.f1.value, drawn[:, 1])
    assert bad.em_difference == difference_of(-good.em.value, drawn[:, 0])


def test_a_model_against_itself(pipe, model):
    twin = FixedPipe(model, pipe.answers)
    _, second = compare({"one": pipe, "two": twin}).models
    assert (second.f1_difference.value, second.f1_difference.low, second.f1_difference.p) == (0, 0, 1)


def test_one_by_one_and_then_in_batches(pipe, worse):
    result = compare({"good": pipe, "bad": worse})
    for asked in (pipe.calls, worse.calls):
        one_by_one, batches = asked[:-1], asked[-1]
        assert {(count, options["batch_size"]) for count, options in one_by_one} == {(1, 1)}
        assert len(one_by_one) == 6  # three to warm up
        assert (batches[0], batches[1]["batch_size"]) == (3, 16)
    assert result.latency_questions == 3
    assert all(row.latency > 0 and row.questions_per_second > 0 for row in result.models)


def test_sizes(pipe):
    (row,) = compare({"good": pipe}).models
    assert row.facts.parameters == sum(p.numel() for p in pipe.model.parameters())
    assert row.facts.nonzero < row.facts.parameters


def test_it_is_plain_data(pipe, worse):
    plain = json.loads(json.dumps(compare({"good": pipe, "bad": worse}).to_dict()))
    assert plain["models"][1]["f1_difference"]["value"] < 0
    assert plain["questions"] == 3


def test_few_questions_are_warned_about(pipe):
    with pytest.warns(UserWarning, match="3 questions are few"):
        compare({"good": pipe})
    many = RECORDS * 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(compare({"good": pipe}, many).models[0].f1.low)


@pytest.mark.parametrize(("models", "records"), [(0, RECORDS), (1, [])])
def test_nothing_to_compare(pipe, models, records):
    with pytest.raises(ConfigurationError, match="Nothing to compare"):
        compare({"good": pipe} if models else {}, records)
