"""Each step from arguments to what a Trainer is made of, on its own; the scripts' tests put them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AlbertConfig, AutoModelForPreTraining, AutoModelForQuestionAnswering, BertConfig

from transformers_palbert import PalBertConfig, PalBertForPreTraining, PalBertForQuestionAnswering
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.model.removal import layer_sizes, read_layer_sizes
from transformers_palbert.qa.settings import AnsweringSettings
from transformers_palbert.training.arguments import DataArguments, ModelArguments
from transformers_palbert.training.setup import (
    answering_settings,
    load_config,
    load_model,
    load_questions,
    load_tokenizer,
    prepare_questions,
)

SHAPE = "hidden_size=16,embedding_size=8,num_hidden_layers=1,num_attention_heads=2,intermediate_size=32"
CONTEXT = "李明出生于北京，后来搬了家，住在上海，又去了广州。" * 5


def questions(count: int) -> Dataset:
    row = {"title": "", "context": CONTEXT, "question": "李明出生于哪里？"}
    answers = {"text": ["北京"], "answer_start": [CONTEXT.index("北京")]}
    return Dataset.from_list([{"id": str(number), **row, "answers": answers} for number in range(count)])


@pytest.fixture
def vocabulary() -> str:
    Path("vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(CONTEXT))]) + "\n"
    )
    return "vocab.txt"


def test_a_limit_takes_the_first_questions_of_its_own_part() -> None:
    data = DataArguments(max_train_samples=2, max_eval_samples=9)
    assert prepare_questions(questions(5), data, "train")["id"] == ["0", "1"]
    assert len(prepare_questions(questions(5), data, "validation")) == 5
    assert len(prepare_questions(questions(5), data, "test")) == 5


def test_cloze_questions_take_the_place_of_training_questions_alone() -> None:
    data = DataArguments(cloze_questions=6, max_train_samples=4)
    made = prepare_questions(questions(5), data, "train")
    assert len(made) == 4
    assert "李明出生于哪里？" not in made["question"]
    assert prepare_questions(questions(5), data, "validation")["question"] == ["李明出生于哪里？"] * 5


def test_questions_come_from_the_file_of_their_part() -> None:
    for part, count in (("train", 3), ("dev", 2)):
        questions(count).to_json(f"{part}.jsonl", force_ascii=False)
    data = DataArguments(train_file="train.jsonl", validation_file="dev.jsonl", max_train_samples=1)
    assert (len(load_questions(data, "train")), len(load_questions(data, "validation"))) == (1, 2)
    with pytest.raises(ConfigurationError, match="The test part needs --test_file or --dataset_name"):
        load_questions(data, "test")


def test_a_config_of_palbert_an_albert_or_another() -> None:
    AlbertConfig(hidden_size=16, num_attention_heads=2).save_pretrained("albert")
    BertConfig().save_pretrained("bert")
    assert isinstance(load_config(ModelArguments()), PalBertConfig)
    assert load_config(ModelArguments(config_name="albert")).model_type == "albert"
    changed: Any = load_config(ModelArguments(config_name="albert", layer_lr_decay=0.9, config_overrides=SHAPE))
    assert (changed.model_type, changed.layer_lr_decay, changed.intermediate_size) == ("palbert", 0.9, 32)
    with pytest.raises(ConfigurationError, match="need an ALBERT or PAL-BERT checkpoint; bert is a bert"):
        load_config(ModelArguments(config_name="bert", layer_lr_decay=0.9))


def test_a_model_for_its_task_with_the_tokenizers_words(vocabulary: str) -> None:
    options = ModelArguments(tokenizer_name=vocabulary, config_overrides=SHAPE)
    config = load_config(options)
    tokenizer = load_tokenizer(options, config)
    model: Any = load_model(options, config, tokenizer)
    assert isinstance(model, PalBertForQuestionAnswering)
    assert model.config.vocab_size == len(tokenizer) == 5 + len(set(CONTEXT))
    assert isinstance(load_model(options, config, tokenizer, AutoModelForPreTraining), PalBertForPreTraining)
    model.save_pretrained("saved")
    again: Any = load_model(ModelArguments(model_name_or_path="saved"), load_config(ModelArguments("saved")), tokenizer)
    assert (again.qa_outputs.weight == model.qa_outputs.weight).all()


def test_a_new_model_of_a_config_with_layers_of_different_sizes(vocabulary: str) -> None:
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    config.layer_sizes = {"encoder.layer.0": [1, 5], "encoder.layer.1": [2, 7]}
    config.save_pretrained("cut")
    options = ModelArguments(config_name="cut", tokenizer_name=vocabulary)
    config = load_config(options)
    model = load_model(options, config, load_tokenizer(options, config))
    assert layer_sizes(model) == read_layer_sizes(config)
    model.save_pretrained("saved")
    assert layer_sizes(AutoModelForQuestionAnswering.from_pretrained("saved")) == layer_sizes(model)


def test_answering_settings_are_those_of_the_data() -> None:
    found = answering_settings(DataArguments(max_answer_length=50, doc_stride=7, version_2_with_negative=True))
    assert found == AnsweringSettings(max_answer_length=50, doc_stride=7, version_2_with_negative=True)
