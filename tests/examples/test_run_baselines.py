"""The training script with the word-level baselines: their four recipes, on a small set of generated facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline

import transformers_palbert as palbert
from transformers_palbert.errors import ConfigurationError

NAMES = ("bilstm_glove", "bilstm_word2vec", "textcnn_glove", "textcnn_word2vec")
SMALL = "embedding_size=16,hidden_size=16,character_embedding_size=8,dropout=0.0"


def arguments(files: dict[str, str], output: str, **more: Any) -> list[str]:
    values = {
        "train_file": files["train"],
        "validation_file": files["dev"],
        "test_file": files["dev"],
        "config_overrides": SMALL,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 3,
        "output_dir": output,
        **more,
    }
    flags = [part for key, value in values.items() for part in (f"--{key}", str(value))]
    return [*flags, "--do_predict", "--use_cpu", "--disable_tqdm", "True"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_saves_and_answers(files: dict[str, str], run_qa: Any, name: str) -> None:
    metrics = run_qa([f"{name}_cmrc2018.yaml", *arguments(files, "out")])
    assert metrics["test_total"] == 12
    kinds = {"bilstm": palbert.BiLstmForQuestionAnswering, "textcnn": palbert.TextCnnForQuestionAnswering}
    assert type(AutoModelForQuestionAnswering.from_pretrained("out")) is kinds[name.split("_")[0]]
    assert isinstance(AutoTokenizer.from_pretrained("out"), palbert.WordTokenizer)
    context = "李明出生于北京，后来搬了家。"
    answer = pipeline("question-answering", model="out")(question="李明出生于哪里？", context=context)
    assert answer["answer"] == context[answer["start"] : answer["end"]]


def test_a_reader_learns_what_stands_where(files: dict[str, str], run_qa: Any) -> None:
    """The answers of people that training never showed: every fact is told in the same place."""
    recipe = "bilstm_word2vec_cmrc2018.yaml"
    metrics = run_qa([recipe, *arguments(files, "out", num_train_epochs=15, learning_rate=1e-2)])
    assert metrics["test_em"] == 100.0


def test_a_saved_reader_is_evaluated_like_any_checkpoint(files: dict[str, str], run_qa: Any) -> None:
    recipe = "textcnn_word2vec_cmrc2018.yaml"
    trained = run_qa([recipe, *arguments(files, "out")])
    again = run_qa(
        ["--model_name_or_path", "out", "--test_file", files["dev"], "--do_predict", "--output_dir", "again",
         "--metric", "cmrc2018", "--use_cpu", "--report_to", "none", "--max_seq_length", "800"]
    )  # fmt: skip
    assert again["test_f1"] == trained["test_f1"]
    assert Path("again/test_predictions.json").read_bytes() == Path("out/test_predictions.json").read_bytes()


def test_bad_combinations_are_explained(run_qa: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot go with --model_name_or_path"):
        run_qa(["--model_type", "bilstm", "--model_name_or_path", "x", "--do_train", "--output_dir", "out"])
    with pytest.raises(ConfigurationError, match="needs --do_train"):
        run_qa(["--model_type", "bilstm", "--do_eval", "--output_dir", "out", "--use_cpu"])
