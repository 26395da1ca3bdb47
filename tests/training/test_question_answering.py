"""What `palbert train` finds out before it trains."""

from __future__ import annotations

import pytest

from tests.reduction.helpers import dataset
from tests.training.test_reduction_arguments import arguments
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.question_answering import prepare


def test_a_metric_that_cannot_score_the_data_is_refused_before_the_training() -> None:
    """The data set has a question without an answer."""
    dataset().to_json("dev.jsonl", force_ascii=False)
    options = ("--validation_file", "dev.jsonl", "--do_eval")
    with pytest.raises(ConfigurationError, match=r"question 'none' has no reference answer.*--version_2_with_negative"):
        prepare(arguments(*options))
    with pytest.raises(ConfigurationError, match="Leave cmrc2018 out of --further_metrics"):
        prepare(arguments(*options, "--version_2_with_negative", "--further_metrics", "palbert_qa,cmrc2018"))
