from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import TrainingArguments

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.arguments import DataArguments
from transformers_palbert.training.null_threshold import require_threshold_options, threshold_scores


def data(share: float | None = 0.5, **options: Any) -> DataArguments:
    return DataArguments(**{"version_2_with_negative": True, "null_threshold_fraction": share, **options})


def arguments(**options: Any) -> TrainingArguments:
    return TrainingArguments("out", use_cpu=True, **{"do_eval": True, **options})


def questions(articles: int = 4) -> Dataset:
    """Each article has a question that has an answer and one that has none."""
    answers = {"has": {"text": ["x"], "answer_start": [0]}, "no": {"text": [], "answer_start": []}}
    return Dataset.from_list(
        [
            {"id": f"{n}-{kind}", "title": f"T{n}", "context": f"x {n}", "question": "?", "answers": answers[kind]}
            for n in range(articles)
            for kind in answers
        ]
    )


def test_the_written_evaluation_is_scored_on_the_other_articles() -> None:
    ids = questions()["id"]
    Path("out").mkdir()
    nbest = {key: [{"text": ""}, {"text": "x"}] for key in ids}
    odds = {key: 1.0 if key.endswith("has") else 3.0 for key in ids}
    Path("out/eval_nbest_predictions.json").write_text(json.dumps(nbest))
    Path("out/eval_null_odds.json").write_text(json.dumps(odds))
    found = threshold_scores(data(), arguments(), questions())
    assert found["eval_chosen_null_threshold"] == 2.0
    assert (found["eval_held_out_f1"], found["eval_held_out_chosen_f1"]) == (50.0, 100.0)
    assert (found["eval_held_out_hasans_f1"], found["eval_held_out_noans_f1"]) == (0.0, 100.0)
    assert found["eval_held_out_chosen_total"] == 4
    assert threshold_scores(data(None), arguments(), questions()) == {}


@pytest.mark.parametrize(
    ("options", "args", "articles", "message"),
    [
        ({"share": 1.0}, {}, 4, "between 0 and 1"),
        ({"version_2_with_negative": False}, {}, 4, "always answers"),
        ({}, {"do_eval": False}, 4, "needs --do_eval"),
        ({}, {}, None, "needs --do_eval"),
        ({}, {}, 1, "1 articles cannot be split"),
    ],
)
def test_what_cannot_be_is_said_before_training(
    options: dict[str, Any], args: dict[str, Any], articles: int | None, message: str
) -> None:
    rows = None if articles is None else questions(articles)
    with pytest.raises(ConfigurationError, match=message):
        require_threshold_options(data(**options), arguments(**args), rows)
    require_threshold_options(data(None), arguments(), None)
