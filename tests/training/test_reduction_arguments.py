from __future__ import annotations

from pathlib import Path

import pytest

from tests.reduction.helpers import dataset
from tests.references.small_tokenizers import byte_level
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.reduction.limits import MaxTokens, Share
from transformers_palbert.training.arguments import DataArguments
from transformers_palbert.training.question_answering import QuestionAnsweringArguments, parse, prepare
from transformers_palbert.training.setup import prepare_questions


def test_nothing_is_shortened_unless_asked_for() -> None:
    questions = dataset()
    assert prepare_questions(questions, DataArguments(), "train") is questions


def test_training_contexts_become_shorter_and_keep_their_answers() -> None:
    options = DataArguments(reduce="bm25", reduce_max_tokens=9, max_train_samples=5)
    rows = prepare_questions(dataset(), options, "train")
    assert rows["id"] == ["en-1", "en-2", "zh-1", "zh-2", "none"]
    for row, before in zip(rows, dataset(), strict=False):
        assert len(row["context"]) < len(before["context"])
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start : start + len(text)] == text
    assert prepare_questions(dataset(), options, "validation").to_list() == dataset().to_list()


def test_other_parts_lose_no_question_and_are_given_no_answer_away() -> None:
    options = DataArguments(reduce="bm25", reduce_max_tokens=1, reduce_parts="validation,test")
    rows = prepare_questions(dataset(), options, "validation")
    assert rows["id"] == dataset()["id"]
    assert rows[5]["answers"]["answer_start"] == [-1]
    assert prepare_questions(dataset(), options, "train").to_list() == dataset().to_list()


def test_tokens_are_those_of_the_tokenizer() -> None:
    options = DataArguments(reduce="bm25", reduce_max_tokens=16)
    words, pieces = (prepare_questions(dataset(), options, "train", counter) for counter in (None, byte_level()))
    assert words["context"] != pieces["context"]


def test_a_curriculum_has_every_question_once_per_stage() -> None:
    options = DataArguments(reduce="bm25", reduce_curriculum="4, 9,all", reduce_parts="train,validation")
    rows = prepare_questions(dataset(), options, "train", seed=3)
    lengths = [len(row["context"]) for row in rows]
    assert len(rows) == 5 + 5 + 6  # the question whose answer stands nowhere can be learnt from in no shorter text
    assert max(lengths[:5]) <= max(lengths[5:10]) < max(lengths[10:])
    assert prepare_questions(dataset(), options, "validation").to_list() == dataset().to_list()  # its last stage


def test_limits_and_weights() -> None:
    options = DataArguments(reduce="bm25,ig", reduce_ig_model="x", reduce_share=0.5, reduce_weights="bm25=1, ig=2.5")
    assert options.reduction_limit == Share(0.5)
    assert options.reduction_settings().weights == {"bm25": 1, "ig": 2.5}
    assert DataArguments(reduce="bm25", reduce_curriculum="8,all").curriculum_stages == [MaxTokens(8), None]
    assert DataArguments().curriculum_stages == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduce_max_tokens": 9}, "--reduce_max_tokens has no effect without --reduce"),
        ({"reduce_keep_answer": False}, "--reduce_keep_answer has no effect"),
        ({"reduce": "bm25"}, "needs one of"),
        ({"reduce": "bm25", "reduce_share": 0.5, "reduce_curriculum": "9"}, "needs one of"),
        ({"reduce": "bm25", "reduce_share": 0.5, "reduce_max_tokens": 9}, "contradict"),
        ({"reduce": "bm25", "reduce_curriculum": "9,long"}, "not 'long'"),
        ({"reduce": "bm25", "reduce_share": 0.5, "reduce_parts": "dev"}, "names dev"),
        ({"reduce": "sbert", "reduce_share": 0.5}, "needs a model"),
        ({"reduce": "bm25", "reduce_share": 0.5, "reduce_weights": "bm25"}, "must be of the form"),
        ({"reduce": "bm25", "reduce_curriculum": "9", "reduce_parts": "test"}, "reduce_curriculum has no effect"),
    ],
)
def test_what_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DataArguments(**options)  # type: ignore[arg-type]


SHAPE = "hidden_size=16,embedding_size=8,num_hidden_layers=1,num_attention_heads=2,intermediate_size=32"


def arguments(*options: str) -> QuestionAnsweringArguments:
    """A run that trains a tiny model from scratch on the small data set."""
    characters = sorted({character for row in dataset() for character in row["context"] + row["question"]})
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]) + "\n")
    dataset().to_json("train.jsonl", force_ascii=False)
    data = ("--train_file", "train.jsonl", "--tokenizer_name", "vocab.txt", "--config_overrides", SHAPE)
    run = ("--do_train", "--output_dir", "out", "--use_cpu", "true", "--per_device_train_batch_size", "2")
    return parse([*data, *run, "--report_to", "none", *options])


def test_the_trainer_keeps_the_order_of_a_curriculum() -> None:
    run = prepare(arguments("--reduce", "bm25", "--reduce_curriculum", "9,all"))
    assert len(run.questions["train"]) == 10  # one answer stands nowhere, and is set aside when the file is read
    seen = [row for batch in run.trainer.get_train_dataloader() for row in batch["attention_mask"].sum(dim=1).tolist()]
    assert seen == [sum(row) for row in run.features["train"]["attention_mask"]]
    assert max(seen[:5]) < max(seen[5:])


def test_a_curriculum_does_not_go_with_another_order() -> None:
    options = ("--reduce", "bm25", "--reduce_curriculum", "9,all", "--train_sampling_strategy", "group_by_length")
    with pytest.raises(ConfigurationError, match="cannot be used with it"):
        prepare(arguments(*options))


def test_without_a_curriculum_questions_are_shuffled() -> None:
    run = prepare(arguments("--reduce", "bm25", "--reduce_share", "0.5"))
    assert run.trainer.args.train_sampling_strategy == "random"
