"""What a model card says of the data of a run is so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reduction.helpers import dataset
from transformers_palbert.hub.card import PalBertCard
from transformers_palbert.training.arguments import DataArguments
from transformers_palbert.training.described_data import describe_data
from transformers_palbert.training.setup import prepare_questions

HUB = "hfl/cmrc2018"
BM25 = {"reduce": "bm25", "reduce_parts": "train,validation"}


def described(**options: Any) -> PalBertCard:
    data = DataArguments(**options)
    questions = {part: prepare_questions(dataset(), data, part) for part in ("train", "validation")}
    card = PalBertCard()
    describe_data(card, data, questions)
    return card


def test_whole_questions_of_the_hub_give_the_hub_its_result() -> None:
    card = described(dataset_name=HUB, dataset_config_name="default")
    assert (card.datasets, card.dataset_config, card.dataset_split) == ([HUB], "default", "validation")
    assert card.training_data == f"{HUB}, train, 6 questions"
    assert card.evaluation_data == f"{HUB}, validation, 6 questions"


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"reduce_max_tokens": 1080}, "to 1,080 tokens at most"),
        ({"reduce_share": 0.5}, "to 50% of their tokens"),
        ({"reduce_threshold": 0.25}, "to what has a relevance of 0.25 or more"),
    ],
)
def test_answers_in_shortened_contexts_are_no_result_of_the_data_set(options: dict[str, Any], limit: str) -> None:
    card = described(dataset_name=HUB, **BM25, **options)
    assert (card.datasets, card.dataset_split) == ([], None)
    assert card.evaluation_data == f"{HUB}, validation, 6 questions, contexts shortened by bm25 {limit}"
    assert described(dataset_name=HUB, reduce="bm25", **options).datasets == [HUB]  # training contexts alone


def test_a_curriculum_counts_a_question_once() -> None:
    card = described(dataset_name=HUB, **BM25, reduce_curriculum="9,20,all")
    stages = "to 9 tokens at most, then to 20 tokens at most, then left whole"
    assert card.training_data == f"{HUB}, train, 6 questions, contexts shortened by bm25 {stages}"
    assert card.evaluation_data == f"{HUB}, validation, 6 questions"  # its last stage
    assert card.datasets == [HUB]
    assert described(dataset_name=HUB, **BM25, reduce_curriculum="all,9").datasets == []


@pytest.mark.parametrize("other", [{"validation_file": "data/dev.json"}, {"max_eval_samples": 3}])
def test_other_questions_are_no_result_of_the_data_set(other: dict[str, Any]) -> None:
    card = described(dataset_name=HUB, **other)
    assert card.datasets == []
    assert card.evaluation_data in ("dev.json, 6 questions", f"{HUB}, validation, 3 questions")


def test_cloze_questions_are_not_those_of_the_file() -> None:
    card = described(train_file="data/train.json", cloze_questions=1200)
    assert card.training_data == "1,200 cloze questions made of train.json"
