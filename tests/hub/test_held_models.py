"""The models whose weights lie in ``model_cards/`` are those that were measured, and answer from a clone."""

from __future__ import annotations

import hashlib
import json
from types import ModuleType

import pytest
from transformers import AutoModelForQuestionAnswering, pipeline

from tests.references.scripts import load_script

render: ModuleType = load_script("model_cards/render.py")
LARGEST = 16_000_000
"""Bytes that the weights of one may take, so that a clone stays small."""

CHAPEL = "The chapel was built in 1481, and Michelangelo painted its ceiling in 1512."


@pytest.fixture(params=render.HELD, ids=lambda held: held.name)
def held(request: pytest.FixtureRequest):
    return request.param


def test_every_folder_with_weights_is_listed():
    folders = {file.parent.name for file in render.FOLDER.glob("*/config.json")}
    assert folders == {held.name for held in render.HELD}


def test_the_weights_are_those_that_were_measured(held):
    file = render.FOLDER / held.name / "model.safetensors"
    rows = json.loads((render.RESULTS / "end_to_end.json").read_text(encoding="utf-8"))["runs"]
    (row,) = (row for row in rows if (row["model"], row["stored"]) == (held.model, render.STORED))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
    assert file.stat().st_size == row["file_bytes"] <= LARGEST


@pytest.mark.parametrize(
    ("question", "answer"), [("When was the chapel built?", "1481"), ("Who painted the ceiling?", "Michelangelo")]
)
def test_it_answers(held, question, answer):
    ask = pipeline("question-answering", model=str(render.FOLDER / held.name), device="cpu")
    assert ask(question=question, context=CHAPEL)["answer"] == answer


def test_its_heads_and_units_are_gone(held):
    model = AutoModelForQuestionAnswering.from_pretrained(render.FOLDER / held.name)
    assert len({layer.attention.self.num_attention_heads for layer in model.bert.encoder.layer}) > 1
