"""Questions with known answers, and a pipeline that gives known ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

TEXT = "《红楼梦》的作者是曹雪芹,写于清代。"
ROWS = {  # id: question, reference, what the pipeline answers with which score, best first
    "right": ("谁写了《红楼梦》?", "曹雪芹", [("曹雪芹", 0.9), ("作者", 0.05)]),
    "partial": ("《红楼梦》写于什么时候?", "清代", [("写于清代", 0.4), ("清代", 0.3)]),
    "missed": ("为什么写它?", "红楼梦", [("清代", 0.1)]),
}


def record(key: str, question: str, context: str, *answers: str) -> dict[str, Any]:
    """A question in the SQuAD schema."""
    starts = [context.find(answer) for answer in answers]
    texts = {"text": list(answers), "answer_start": starts}
    return {"id": key, "title": "", "context": context, "question": question, "answers": texts}


RECORDS = [record(key, question, TEXT, answer) for key, (question, answer, _) in ROWS.items()]


class FixedPipe:
    """Answers that are known beforehand: ``{question: [(text, score), …]}``; texts must be in the context."""

    device = "cpu"

    def __init__(self, model: Any, answers: dict[str, list[tuple[str, float]]]) -> None:
        self.model, self.answers, self.calls = model, answers, []

    def __call__(self, examples: list[dict[str, str]], *, top_k: int, **options: Any) -> Any:
        self.calls.append((len(examples), options))
        found = [self._answer(example, top_k) for example in examples]
        return found[0] if len(found) == 1 else found  # as the pipeline does

    def _answer(self, example: dict[str, str], top_k: int) -> Any:
        answers = []
        for text, score in self.answers[example["question"]][:top_k]:
            start = example["context"].index(text)
            answers.append({"score": score, "start": start, "end": start + len(text), "answer": text})
        return answers[0] if len(answers) == 1 else answers


@pytest.fixture
def model() -> BertForQuestionAnswering:
    """A random BERT with a matrix of which the upper half, and two more columns, are zero."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    model = BertForQuestionAnswering(config).eval()
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.weight[:16] = 0
        model.bert.encoder.layer[0].intermediate.dense.weight[:, :2] = 0
    return model


@pytest.fixture
def pipe(model: Any) -> FixedPipe:
    """Answers of :data:`ROWS`."""
    return FixedPipe(model, {question: answers for question, _, answers in ROWS.values()})
