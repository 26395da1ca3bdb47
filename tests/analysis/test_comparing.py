from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from tests.analysis.conftest import RECORDS, ROWS, FixedReader
from transformers_palbert.analysis.bootstrap import bootstrap_means, difference_of
from transformers_palbert.analysis.comparing import compare_models
from transformers_palbert.analysis.scores import score_each
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.metrics import compute_metric

pytestmark = pytest.mark.filterwarnings("ignore:.*questions are few:UserWarning")


@pytest.fixture
def worse(model) -> FixedReader:
    """Right for no question at all."""
    return FixedReader(model, {question: [("的", 0.5)] for question, _, _ in ROWS.values()})


def compare(readers, records=RECORDS, **options):
    return compare_models(readers, records, metric="cmrc2018", resamples=200, **options)


def test_scores_and_paired_differences(reader, worse):
    result = compare({"good": reader, "bad": worse}, seed=5)
    good, bad = result.models
    assert (good.name, bad.name) == ("good", "bad")
    assert (good.em.value, good.f1.value) == pytest.approx((100 / 3, 100 * (1 + 2 / 3) / 3))
    assert (bad.em.value, bad.f1.value) == (0, 0)
    assert (good.em_difference, good.f1_difference) == (None, None)
    scores = score_each("cmrc2018", [answers[0][0] for _, _, answers in ROWS.values()], RECORDS)
    drawn = -bootstrap_means(scores, resamples=200, seed=5)
    assert bad.f1_difference == difference_of(-good.f1.value, drawn[:, 1])
    assert bad.em_difference == difference_of(-good.em.value, drawn[:, 0])


def test_a_model_against_itself(reader, model):
    twin = FixedReader(model, reader.answers)
    _, second = compare({"one": reader, "two": twin}).models
    assert (second.f1_difference.value, second.f1_difference.low, second.f1_difference.p) == (0, 0, 1)


def test_one_by_one_and_then_in_batches(reader, worse):
    result = compare({"good": reader, "bad": worse})
    for asked in (reader.calls, worse.calls):
        one_by_one, batches = asked[:-1], asked[-1]
        assert one_by_one == [(1, 1)] * 6  # three to warm up
        assert batches == (3, 16)
    assert result.latency_questions == 3
    assert all(row.latency > 0 and row.questions_per_second > 0 for row in result.models)


def test_sizes(reader):
    (row,) = compare({"good": reader}).models
    assert row.facts.parameters == sum(p.numel() for p in reader.model.parameters())
    assert row.facts.nonzero < row.facts.parameters


def test_it_is_plain_data(reader, worse):
    plain = json.loads(json.dumps(compare({"good": reader, "bad": worse}).to_dict()))
    assert plain["models"][1]["f1_difference"]["value"] < 0
    assert plain["questions"] == 3


def test_few_questions_are_warned_about(reader):
    with pytest.warns(UserWarning, match="3 questions are few"):
        compare({"good": reader})
    many = [{**row, "id": f"{row['id']}-{number}"} for row in RECORDS for number in range(100)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(compare({"good": reader}, many).models[0].f1.low)


@pytest.mark.parametrize(("models", "records"), [(0, RECORDS), (1, [])])
def test_nothing_to_compare(reader, models, records):
    with pytest.raises(ConfigurationError, match="Nothing to compare"):
        compare({"good": reader} if models else {}, records)


def test_the_value_is_the_metric_s_own(reader):
    """To the last digit, whatever rounding the mean of single scores has."""
    rows = [{**row, "id": f"{row['id']}-{number}"} for row in RECORDS for number in range(7)]
    (found,) = compare({"good": reader}, rows).models
    answers = reader.answer(rows, batch_size=1).predictions
    official = compute_metric("cmrc2018", answers, rows)
    assert (found.em.value, found.f1.value) == (official["EM"], official["F1"])
    assert found.settings == reader.settings
