from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reduction.helpers import dataset
from transformers_palbert.qa import squad_files
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.squad_files import squad_file

FILE = Path("questions.json")


def write(rows) -> dict:
    with squad_file(FILE) as file:
        for row in rows:
            file.add(row)
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("longest", [1000, 2])
def test_what_is_written_is_read_again(monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    monkeypatch.setattr(squad_files, "LONGEST_ARTICLE", longest)
    rows = dataset(2)
    content = write(rows)
    assert load_qa_dataset(FILE).to_list() == rows.to_list()
    assert len(content["data"]) == (1 if longest == 1000 else 6)


def test_titles_and_contexts_group_questions() -> None:
    rows = dataset().to_list()[:4]
    rows[3]["title"] = "Other"
    content = write(rows)
    assert [article["title"] for article in content["data"]] == ["People", "Other"]
    assert [len(paragraph["qas"]) for paragraph in content["data"][0]["paragraphs"]] == [2, 1]


def test_questions_without_an_answer_are_marked() -> None:
    content = write(dataset())
    flags = [
        qa["is_impossible"]
        for article in content["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]
    assert flags == [False, False, False, False, True, False]
    assert content["version"] == "v2.0"


def test_an_unfinished_file_does_not_appear() -> None:
    def rows():
        yield dataset()[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(rows())
    assert list(Path().iterdir()) == []


def test_no_question_at_all() -> None:
    assert write([])["data"] == []
