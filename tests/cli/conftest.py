"""A small data set, predictions for it, and a tiny saved model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

CONTEXT = "《红楼梦》的作者是曹雪芹,写于清代。"
ANSWERS = {"q1": "曹雪芹", "q2": "清代", "q3": None}
QUESTIONS = {"q1": "谁写了《红楼梦》?", "q2": "《红楼梦》写于哪个朝代?", "q3": "为什么?"}


@pytest.fixture
def palbert() -> Callable[..., Result]:
    """Run a command as a shell would: ``palbert("data", "stats", file)``."""
    from transformers_palbert.cli.main import app

    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give the terminal a width, whatever the one that the tests run in has."""

    def set_width(columns: int) -> None:
        monkeypatch.setattr("transformers_palbert.cli.output.Console", partial(Console, width=columns))

    return set_width


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write a value as JSON into the test's folder."""

    def write_json(name: str, value: Any) -> Path:
        file = tmp_path / name
        file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        return file

    return write_json


def squad(ids: str) -> dict[str, Any]:
    """The questions ``ids`` about ``CONTEXT`` in the format of SQuAD 2.0."""
    questions = [
        {
            "id": key,
            "question": QUESTIONS[key],
            "is_impossible": ANSWERS[key] is None,
            "answers": [{"text": text, "answer_start": CONTEXT.index(text)} for text in [ANSWERS[key]] if text],
        }
        for key in ids.split()
    ]
    return {"version": "v2.0", "data": [{"title": "红楼梦", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}


@pytest.fixture
def references(write: Callable[[str, Any], Path]) -> Path:
    """Three questions about one text, the last without an answer."""
    return write("references.json", squad("q1 q2 q3"))


@pytest.fixture
def answerable(write: Callable[[str, Any], Path]) -> Path:
    """The two questions that have an answer."""
    return write("answerable.json", squad("q1 q2"))


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT for question answering with a tokenizer that knows every character of ``CONTEXT``."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

    folder = tmp_path_factory.mktemp("model")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(CONTEXT) | set("".join(QUESTIONS.values())))]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    model = BertForQuestionAnswering(config)
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.weight[:24] = 0  # 24 of 32 rows: density 25 %
    model.save_pretrained(folder)
    BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}).save_pretrained(folder)
    return folder


def reseeded(model: Path, folder: Path, **settings: Any) -> Path:
    """A copy of a saved model with other random weights, whose tokenizer has these settings besides its own."""
    import torch
    from transformers import AutoTokenizer, BertForQuestionAnswering

    shutil.copytree(model, folder)
    other = BertForQuestionAnswering.from_pretrained(folder)
    torch.manual_seed(7)
    with torch.no_grad():
        other.qa_outputs.weight.normal_()
    other.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, **settings).save_pretrained(folder)
    return folder


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What transformers has logged as a warning or worse."""
    import logging

    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
