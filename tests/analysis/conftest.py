"""Questions with known answers, and a reader that gives known ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from transformers_palbert.qa.evaluation_decoding import QAPredictions
from transformers_palbert.qa.settings import AnsweringSettings

TEXT = "《红楼梦》的作者是曹雪芹,写于清代。"
ROWS = {  # id: question, reference, what the reader answers with which score, best first
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


class FixedReader:
    """Answers that are known beforehand: ``{question: [(text, score), …]}``; texts must be in the context."""

    device = "cpu"
    settings = AnsweringSettings()

    def __init__(self, model: Any, answers: dict[str, list[tuple[str, float]]]) -> None:
        self.model, self.answers, self.calls = model, answers, []

    def answer(self, records: list[dict[str, Any]], *, batch_size: int) -> QAPredictions:
        self.calls.append((len(records), batch_size))
        nbest = {row["id"]: self._candidates(row) for row in records}
        return QAPredictions({key: entries[0]["text"] for key, entries in nbest.items()}, nbest, {})

    def _candidates(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for text, score in self.answers[row["question"]]:
            start = row["context"].index(text)
            found.append({"text": text, "probability": score, "start": start, "end": start + len(text)})
        return found


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
def reader(model: Any) -> FixedReader:
    """Answers of :data:`ROWS`."""
    return FixedReader(model, {question: answers for question, _, answers in ROWS.values()})
