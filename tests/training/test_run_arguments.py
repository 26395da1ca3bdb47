from __future__ import annotations

import pytest
from datasets import Dataset
from transformers import TrainingArguments

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.training.option_parser import parse_arguments
from transformers_palbert.training.run_arguments import RunArguments, further_scores, require_scorable


def test_further_metrics_are_named_and_known() -> None:
    assert RunArguments().metrics == []
    assert RunArguments("palbert_qa, squad").metrics == ["palbert_qa", "squad"]
    with pytest.raises(ConfigurationError, match="further_metrics='bleu,squad' names bleu; known are cmrc2018"):
        RunArguments("bleu,squad")


def test_logs_are_pushed_on_request() -> None:
    assert not RunArguments().push_logs
    assert parse_arguments((TrainingArguments, RunArguments), ["--output_dir", "out", "--push_logs"])[1].push_logs


@pytest.mark.parametrize("limit", [0, -8])
def test_a_limit_is_positive(limit: float) -> None:
    with pytest.raises(ConfigurationError, match=f"memory_limit_gb={limit} must be above 0"):
        RunArguments(memory_limit_gb=limit)


def test_scores_have_the_name_of_their_metric() -> None:
    answers = {"a": "李明", "b": "北京"}
    questions = [{"id": name, "answers": {"text": [text], "answer_start": [0]}} for name, text in
                 (("a", "李明"), ("b", "上海北京"))]  # fmt: skip
    found = further_scores(["palbert_qa", "cmrc2018"], answers, questions, "eval")
    paper, official = (compute_metric(name, answers, questions) for name in ("palbert_qa", "cmrc2018"))
    assert found["eval_palbert_qa_accuracy"] == paper["accuracy"]
    assert found["eval_palbert_qa_recall"] == paper["recall"]
    assert found["eval_cmrc2018_em"] == official["EM"]


@pytest.mark.parametrize(
    ("metric", "further", "cure"),
    [
        ("squad", [], "by squad: question 'b' .* Give --version_2_with_negative, without another --metric"),
        ("cmrc2018", ["squad"], "Give --version_2|Leave squad out"),
        ("squad_v2", ["palbert_qa", "squad"], "by squad: .* Leave squad out of --further_metrics"),
        ("squad_v2", ["palbert_qa"], None),
    ],
)
def test_a_question_that_a_metric_cannot_score_is_found_at_once(metric: str, further: list[str], cure: str) -> None:
    has, none = {"text": ["x"], "answer_start": [0]}, {"text": [], "answer_start": []}
    rows = Dataset.from_list([{"id": "a", "answers": has}, {"id": "b", "answers": none}])
    for part in ("validation", "test"):
        require_scorable(part, rows.select([0]), metric, further)
        if cure is None:
            require_scorable(part, rows, metric, further)
            continue
        with pytest.raises(ConfigurationError, match=f"^The {part} questions cannot be scored .*{cure}"):
            require_scorable(part, rows, metric, further)
    require_scorable("test", rows.select([1]), metric, further)  # is not scored
