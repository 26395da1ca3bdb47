from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from transformers_palbert import compute_metric, load_qa_dataset
from transformers_palbert.qa.invented_facts import RELATIONS, make_cloze, make_questions, write_squad


def name_in(record: dict[str, Any]) -> str:
    """The person a question asks about: whatever its template leaves."""
    for _, asked in RELATIONS.values():
        for template in asked:
            before, after = template.split("{n}")
            question = record["question"]
            if question.startswith(before) and question.endswith(after):
                return question[len(before) : len(question) - len(after)]
    raise AssertionError(record["question"])


def test_the_same_seed_gives_the_same_records() -> None:
    assert make_questions(20, "train-0") == make_questions(20, "train-0")
    assert make_questions(20, "train-0") != make_questions(20, "train-1")


def test_answers_are_exact_slices() -> None:
    records = make_questions(200, "train-0")
    for record in [*records, *make_cloze(records, "cloze")]:
        text, start = record["answers"]["text"][0], record["answers"]["answer_start"][0]
        assert record["context"][start : start + len(text)] == text


def test_test_people_are_unseen() -> None:
    train, test = make_questions(800, "train-0"), make_questions(200, "test-0")
    assert not {name_in(record) for record in train} & {name_in(record) for record in test}
    assert not {record["context"] for record in train} & {record["context"] for record in test}


def test_every_question_has_a_distractor_of_the_same_kind() -> None:
    records = make_questions(200, "test-0")
    for context in {record["context"] for record in records}:
        asked = [record for record in records if record["context"] == context]
        kinds = Counter(kind for record in asked for kind in RELATIONS if kind == relation_of(record))
        assert set(kinds.values()) == {2}, context


def relation_of(record: dict[str, Any]) -> str:
    name = name_in(record)
    return next(kind for kind, (_, asked) in RELATIONS.items() if record["question"] in
                [template.format(n=name) for template in asked])  # fmt: skip


def test_who_ignores_the_name_scores_low(tmp_path: Path) -> None:
    """The first answer of the right kind in the passage: the best that can be done without reading the name."""
    write_squad(make_questions(300, "test-0"), tmp_path / "test.json")
    test = load_qa_dataset(tmp_path / "test.json")
    firsts: dict[tuple[str, str], tuple[int, str]] = {}
    for record in test:
        key = (record["context"], relation_of(record))
        found = (record["answers"]["answer_start"][0], record["answers"]["text"][0])
        firsts[key] = min(firsts.get(key, found), found)
    blind = {record["id"]: firsts[record["context"], relation_of(record)][1] for record in test}
    assert compute_metric("cmrc2018", blind, test)["F1"] < 70
