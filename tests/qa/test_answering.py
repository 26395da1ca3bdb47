from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AlbertConfig, AlbertForQuestionAnswering, DataCollatorWithPadding

from tests.pruning.helpers import training_arguments
from tests.references.small_tokenizers import wordpiece
from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.qa.answering import (
    Reader,
    best_candidates,
    decode_answers,
    prepare_model,
)
from transformers_palbert.qa.batches import longest_first, question_blocks, window_batches
from transformers_palbert.qa.evaluation_decoding import QAPredictions
from transformers_palbert.qa.features import build_features
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

ENGLISH = "My name is Wolfgang and I live in Berlin, where unbelievables live. "
CHINESE = "我叫王芳，住在北京。二〇一八年出生于上海。"
SETTINGS = AnsweringSettings(max_seq_length=40, doc_stride=10, max_answer_length=6)
RECORDS: list[dict[str, Any]] = [
    {"id": str(number), "question": question, "context": context, "answers": {"text": ["a"], "answer_start": [0]}}
    for number, (question, context) in enumerate(
        [
            ("where does Wolfgang live?", ENGLISH * 3),
            ("谁住在北京？", CHINESE),
            ("who?", ENGLISH),
            ("  什么时候？", CHINESE * 5),
            ("what is the answer?", CHINESE + ENGLISH),
            ("a?", "a b"),
        ]
    )
]


def make_reader(settings: AnsweringSettings = SETTINGS) -> Reader:
    """A random ALBERT whose logits are far apart."""
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
    model = AlbertForQuestionAnswering(AlbertConfig(vocab_size=100, embedding_size=8, hidden_act="gelu_new", **shape))
    with torch.no_grad():
        model.qa_outputs.weight.normal_(std=2)
    return Reader(model, wordpiece(), settings)


@pytest.mark.parametrize("pad_to_max_length", [False, True])
@pytest.mark.parametrize(
    "settings", [SETTINGS, AnsweringSettings(40, 10, 64, 30, 4, version_2_with_negative=True)], ids=["v1", "v2"]
)
def test_the_same_answers_as_training_s_evaluation(
    tmp_path: Path, settings: AnsweringSettings, pad_to_max_length: bool
) -> None:
    reader = make_reader(settings)
    examples = Dataset.from_list(RECORDS)
    windows = {**settings.windows, "pad_to_max_length": pad_to_max_length}
    trainer = QuestionAnsweringTrainer(
        model=reader.model,
        args=training_arguments(tmp_path, per_device_eval_batch_size=3),
        data_collator=DataCollatorWithPadding(reader.tokenizer, pad_to_multiple_of=8),
        metric="squad",
        decoding=settings,
    )
    features = build_features(examples, reader.tokenizer, training=False, **windows)
    expected: Any = trainer.predict(features, test_examples=examples).predictions
    prepare_model(reader.model)
    assert len(set(expected.predictions.values())) > 3
    for batch_size in (1, 4, 100):
        found = reader.answer(RECORDS, batch_size=batch_size)
        assert found.predictions == expected.predictions
        assert found.null_odds == pytest.approx(expected.null_odds, abs=1e-4)


def test_blocks_change_nothing() -> None:
    reader = make_reader()
    prepare_model(reader.model)
    together = reader.answer(RECORDS, batch_size=4).predictions
    alone = [reader.answer([row], batch_size=1).predictions for row in RECORDS]
    assert together == {key: text for found in alone for key, text in found.items()}


def test_a_context_without_tokens_has_the_empty_answer() -> None:
    found = make_reader().answer([{"id": "q", "question": "who?", "context": " \n "}], batch_size=1)
    assert found.predictions == {"q": ""}


def test_two_questions_with_one_id() -> None:
    with pytest.raises(DatasetFormatError, match="'0' occurs more than once"):
        make_reader().answer([RECORDS[0], RECORDS[0]], batch_size=1)


def test_logits_return_to_the_order_of_the_windows() -> None:
    random = np.random.default_rng(0)
    features = [{"example_id": row["id"], "offset_mapping": [None, (0, 1), (1, 2), (2, 3)]} for row in RECORDS]
    start, end = random.normal(size=(2, len(RECORDS), 4)).astype(np.float32)
    order = random.permutation(len(RECORDS))
    expected = decode_answers(RECORDS, features, (start, end), SETTINGS)
    assert decode_answers(RECORDS, features, (start[order], end[order]), SETTINGS, order) == expected


def nbest(*entries: tuple[str, float, int, int]) -> list[dict[str, Any]]:
    return [dict(zip(("text", "probability", "start", "end"), entry, strict=True)) for entry in entries]


def test_candidates_begin_with_the_prediction_and_hold_a_span_once() -> None:
    entries = nbest(
        ("", 0.5, 0, 0), ("北京", 0.3, 2, 4), ("北京", 0.1, 2, 4), ("北京", 0.06, 9, 11), ("京", 0.04, 3, 4)
    )
    answers = QAPredictions({"q": "北京"}, {"q": entries}, {})  # as a threshold above zero decides
    found = best_candidates(answers, "q", 50)
    assert [(span["answer"], span["start"], span["score"]) for span in found] == [
        ("北京", 2, 0.3), ("", 0, 0.5), ("北京", 9, 0.06), ("京", 3, 0.04),
    ]  # fmt: skip
    assert best_candidates(answers, "q", 2) == found[:2]


def test_the_longest_windows_come_first_and_equals_keep_their_order() -> None:
    assert longest_first([3, 9, 3, 9, 5]).tolist() == [1, 3, 4, 0, 2]
    assert [batch.tolist() for batch in window_batches([3, 9, 3, 9, 5], 2)] == [[1, 3], [4, 0], [2]]


def test_blocks_hold_sixteen_batches() -> None:
    assert [len(block) for block in question_blocks(range(60), 2)] == [32, 28]
    with pytest.raises(ConfigurationError, match="`batch_size` must be at least 1"):
        question_blocks([], 0)
