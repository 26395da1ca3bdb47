"""A place where the blocks of the documents run: small models under the names of large ones, and small files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    BertForQuestionAnswering,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import transformers_palbert as palbert
from tests.hub.conftest import hub  # noqa: F401  (a fixture)
from tests.references.small_tokenizers import wordpiece
from transformers_palbert.compaction import shrinking
from transformers_palbert.qa.features import build_features
from transformers_palbert.speed.latency import LatencyTable, applied_sizes

CONTEXT = "My name is Wolfgang and I live in Berlin, where unbelievables live."
SHAPE = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": 512}
ANYWHERE = (
    "my-model",
    "google-bert/bert-base-uncased",
    "model_cards/minilm-squad-fast",
)
"""Folders that hold the small model: transformers takes a folder of that name for the name on the Hub."""


def squad(ids: list[str]) -> dict[str, Any]:
    """Two kinds of questions about one text, in the form of SQuAD."""
    rows = [("Where do I live?", "Berlin"), ("What is my name?", "Wolfgang")]
    asked = [
        {"id": key, "question": question, "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}]}
        for key, (question, answer) in zip(ids, rows * len(ids), strict=False)
    ]
    return {"version": "1.1", "data": [{"title": "names", "paragraphs": [{"context": CONTEXT, "qas": asked}]}]}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that every page gets a copy of."""
    folder = tmp_path_factory.mktemp("documents")
    tokenizer = wordpiece(model_max_length=512)
    torch.manual_seed(0)
    small = BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), num_hidden_layers=2, **SHAPE))
    for name in ANYWHERE:
        small.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    chinese = palbert.PalBertConfig(vocab_size=len(tokenizer), embedding_size=8, num_hidden_layers=24, **SHAPE)
    large = folder / "voidful" / "albert_chinese_large"
    palbert.PalBertForQuestionAnswering(chinese).save_pretrained(large)
    config = json.loads((large / "config.json").read_text(encoding="utf-8"))
    (large / "config.json").write_text(json.dumps({**config, "model_type": "albert"}), encoding="utf-8")
    (large / "vocab.txt").write_text("\n".join(tokenizer.get_vocab()) + "\n", encoding="utf-8")
    for name, ids in {"train": [*"abcdefgh"], "dev": ["x", "y"], "cmrc2018_dev": ["DEV_0_QUERY_0"]}.items():
        (folder / f"{name}.json").write_text(json.dumps(squad(ids)), encoding="utf-8")
    (folder / "book.txt").write_text(" ".join([CONTEXT] * 9), encoding="utf-8")
    return folder


@pytest.fixture
def workplace(template: Path, tmp_path: Path) -> Path:
    """A copy of that folder, in which the test runs."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def given(workplace: Path) -> Callable[[], dict[str, Any]]:
    """What a reader's own script has: it makes these anew for every block."""

    def make() -> dict[str, Any]:
        tokenizer = AutoTokenizer.from_pretrained(workplace / "my-model")
        model = AutoModelForQuestionAnswering.from_pretrained(workplace / "my-model")
        questions = palbert.load_qa_dataset(workplace / "train.json", training=True)
        windows = build_features(questions, tokenizer, training=True)
        rows = [tokenizer(CONTEXT, padding="max_length", max_length=40) | {"labels": row % 2} for row in range(8)]
        collate = DataCollatorWithPadding(tokenizer, padding="max_length", max_length=64)
        return {
            "Trainer": Trainer,
            "model": model,
            "tokenizer": tokenizer,
            "args": TrainingArguments("outputs", max_steps=3, report_to="none", save_strategy="no", seed=0),
            "train_dataset": windows,
            "labelled_dataset": Dataset.from_list([dict(row) for row in rows]),
            "batches": [collate([windows[row] for row in (start, start + 1)]) for start in range(0, 8, 2)],
        }

    return make


@pytest.fixture
def _even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes one second for a feed-forward unit and eight for a head, however busy it is."""
    table = LatencyTable((0, 4), np.array([0.0, 32.0]), (0, 32), np.array([0.0, 32.0]), 4.0)

    def measured(models: list[nn.Module], *_: int) -> list[float]:
        return [table.model(applied_sizes(model)) for model in models]

    monkeypatch.setattr(shrinking, "cached_latency", lambda *_, **__: table)
    monkeypatch.setattr(shrinking, "fastest_seconds", measured)
