from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.statistics import (
    QUESTION_TYPES,
    LengthSummary,
    dataset_statistics,
    question_type,
)


def record(question: str, context: str, texts: list[str], title: str = "") -> dict:
    return {
        "id": question,
        "title": title,
        "context": context,
        "question": question,
        "answers": {"text": texts, "answer_start": [context.find(text) for text in texts]},
    }


RECORDS = [
    record("谁写的？", "甲写了书。", ["甲"], "书"),
    record("什么时候写的？", "甲写了书。", [], "书"),
    record("Who?", "Bob and Eve", ["Bob", "Eve", "Bob"], "People"),
]


def test_figures_by_hand() -> None:
    found = dataset_statistics(RECORDS).to_dict()
    types = found.pop("question_types")
    assert found == {
        "samples": 3,
        "negatives": 1,
        "articles": 2,
        "articles_with_negatives": 1,
        "contexts": 2,
        "question_length": {"mean": 5.0, "median": 4.0, "max": 7},
        "context_length": {"mean": 8.0, "median": 8.0, "max": 11},
        "answer_length": {"mean": 2.5, "median": 3.0, "max": 3},
        "answers_per_question": {"mean": 2.0, "median": 2.0, "max": 3},
    }
    assert types == dict.fromkeys(QUESTION_TYPES, 0) | {"who": 2, "when": 1}


def test_articles_are_contexts_where_there_are_no_titles() -> None:
    assert dataset_statistics([record("q", context, []) for context in ("a", "b", "a")]).articles == 2


def test_an_article_with_negatives_counts_once() -> None:
    found = dataset_statistics([
        record("1", "a", [], "one"), record("2", "a", [], "one"), record("3", "b", ["b"], "two"), record("4", "c", []),
    ])  # fmt: skip
    assert (found.negatives, found.articles, found.articles_with_negatives) == (3, 2, 1)
    untitled = dataset_statistics([record("1", "a", []), record("2", "a", ["a"]), record("3", "b", ["b"])])
    assert (untitled.articles, untitled.articles_with_negatives) == (2, 1)


def test_a_loaded_dataset_gives_the_same_figures_and_json(tmp_path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in RECORDS), encoding="utf-8")
    found = dataset_statistics(load_qa_dataset(path))
    assert found == dataset_statistics(RECORDS)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_nothing_gives_zeros() -> None:
    found = dataset_statistics([])
    assert (found.samples, found.articles, found.answer_length) == (0, 0, LengthSummary(0.0, 0.0, 0))


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who wrote it?", "who"),
        ("Whose prophecy is it?", "who"),
        ("When did it end?", "when"),
        ("In what year did it end?", "when"),
        ("Where is it?", "where"),
        ("What city is it in?", "where"),
        ("What is it?", "what"),
        ("Which war was it?", "which"),
        ("Why did it end?", "why"),
        ("How did it end?", "how"),
        ("Students take how many classes?", "how_many"),
        ("What percentage is it?", "how_many"),
        ("Is it over?", "other"),
        ("Name the whole show.", "other"),  # no question word: "who" and "how" are only parts of words
        ("", "other"),
        ("谁建造了大教堂？", "who"),
        ("哪一位歌手負責主唱?", "who"),
        ("九三砲戰於何年爆發?", "when"),
        ("他在哪一年发行了专辑？", "when"),
        ("起義於西元幾年發生?", "when"),
        ("总部位于哪里？", "where"),
        ("王国在哪？", "where"),
        ("中国在哪些方面领先？", "which"),
        ("哪一個城市是首府?", "where"),
        ("共有多少个国家？", "how_many"),
        ("全國第幾大?", "how_many"),
        ("为什么停止使用？", "why"),
        ("它停用了，为什么？", "why"),
        ("人们为何反对？", "why"),
        ("墓地被称为什么？", "what"),
        ("主要意義為何?", "what"),
        ("成虫是如何产卵的？", "how"),
        ("体色是什么颜色？", "what"),
        ("原文是何種語言?", "what"),
        ("由哪家公司发售？", "which"),
        ("他的职业是？", "other"),
    ],
)
def test_question_type(question: str, kind: str) -> None:
    assert question_type(question) == kind


@given(st.text())
def test_every_question_has_a_type(question: str) -> None:
    assert question_type(question) in QUESTION_TYPES
