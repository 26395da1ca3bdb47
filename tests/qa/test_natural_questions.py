"""Small files in the two forms of the official release, made here: no file of the release was at hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa.datasets import load_qa_dataset, load_qa_dataset_with_report
from transformers_palbert.qa.natural_questions import (
    Annotation,
    TokenSpan,
    parse_natural_question,
    read_natural_questions,
)

PAGE = "<H1> Nile </H1> <P> The Nile flows north . </P> <P> No lake , no sea . </P>"
TOKENS = PAGE.split(" ")
URL = "https://en.wikipedia.org//w/index.php?title=The_Nile&amp;oldid=81"
NULL = {"start_token": -1, "end_token": -1, "candidate_index": -1}
CANDIDATES = [
    {"start_token": 3, "end_token": 10, "top_level": True},
    {"start_token": 4, "end_token": 6, "top_level": False},
    {"start_token": 10, "end_token": 18, "top_level": True},
]


def span(start: int, end: int) -> dict[str, int]:
    return {"start_token": start, "end_token": end}


def annotation(*shorts: tuple[int, int], long: tuple[int, int] | None = None, yes_no: str = "NONE") -> dict[str, Any]:
    long_answer = NULL if long is None else {**span(*long), "candidate_index": 0}
    return {"short_answers": [span(*s) for s in shorts], "long_answer": long_answer, "yes_no_answer": yes_no}


def record(*annotations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The simplified form."""
    simplified = {
        "example_id": 5655493461695504401,
        "question_text": "where does the nile flow",
        "document_text": PAGE,
        "document_url": URL,
        "long_answer_candidates": CANDIDATES,
        "annotations": list(annotations),
    }
    return simplified | fields


def original(*annotations: dict[str, Any]) -> dict[str, Any]:
    """The same record as it was before it was simplified."""
    tokens = [{"token": token, "start_byte": 0, "end_byte": 1, "html_token": token[0] == "<"} for token in TOKENS]
    simplified = record(*annotations)
    del simplified["document_text"]
    return simplified | {"document_tokens": tokens, "document_title": "The Nile", "document_html": "<H1>Nile</H1>…"}


def save(path: Path, *records: dict[str, Any]) -> Path:
    lines = "".join(f"{json.dumps(each)}\n" for each in records).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


@pytest.mark.parametrize("make", [record, original])
@pytest.mark.parametrize("name", ["dev.jsonl", "dev.jsonl.gz"])
def test_both_forms_plain_and_compressed(tmp_path: Path, make: Any, name: str) -> None:
    given = [annotation((7, 8), long=(3, 10)), annotation((5, 6), (7, 8)), *[annotation()] * 3]
    found, report = load_qa_dataset_with_report(save(tmp_path / name, make(*given)), training=True)
    assert found.to_list() == [
        {
            "id": "5655493461695504401",
            "title": "The Nile",
            "context": PAGE,
            "question": "where does the nile flow",
            "answers": {"text": ["north", "Nile", "north"], "answer_start": [35, 24, 35]},
        }
    ]
    assert (report.offsets_wrong, report.offsets_missing, report.answers_not_found, report.set_aside) == (0, 0, 0, ())


def test_blanks_in_tokens_become_underscores(tmp_path: Path) -> None:
    raw = original(annotation((1, 2)))
    raw["document_tokens"][1]["token"] = "White Nile"
    found = load_qa_dataset(save(tmp_path / "a.jsonl", raw))[0]
    assert found["answers"] == {"text": ["White_Nile"], "answer_start": [5]}


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        ([annotation((7, 8))], ["north"]),  # one annotator, in training: one is enough
        ([annotation()], []),
        ([annotation((7, 8)), *[annotation()] * 4], []),  # one of five is not
        ([annotation((7, 8)), annotation((5, 6)), *[annotation()] * 3], ["north", "Nile"]),
        ([annotation((7, 8)), annotation(yes_no="YES"), *[annotation()] * 3], ["north", "yes"]),
        ([annotation(long=(3, 10)), annotation(long=(3, 10))], []),  # a long answer alone is no span to extract
        ([], []),
    ],
)
def test_what_counts_as_answered(tmp_path: Path, given: list[Any], answers: list[str]) -> None:
    found, report = load_qa_dataset_with_report(save(tmp_path / "a.jsonl", record(*given)))
    assert found[0]["answers"]["text"] == answers
    assert report.unanswerable == (not answers)


def test_yes_and_no_are_no_text_of_the_page(tmp_path: Path) -> None:
    """The page holds "No" and "no", and neither answers the question."""
    file = save(
        tmp_path / "a.jsonl",
        record(annotation(yes_no="NO"), example_id=1),
        record(annotation((7, 8)), annotation(yes_no="NO"), example_id=2),
        record(annotation((7, 8)), example_id=3),
    )
    found, report = load_qa_dataset_with_report(file)
    assert found["answers"][0] == {"text": ["no"], "answer_start": [-1]}
    assert report.answers_not_found == 2
    training, report = load_qa_dataset_with_report(file, training=True)
    assert report.set_aside == ("1",)
    assert training["answers"][0] == {"text": ["north"], "answer_start": [35]}


def test_annotations_and_candidates(tmp_path: Path) -> None:
    given = [annotation((7, 8), long=(3, 10)), annotation(yes_no="yes")]
    (found,) = read_natural_questions(save(tmp_path / "a.jsonl", record(*given)))
    assert found.annotations == (
        Annotation(TokenSpan(3, 10), (TokenSpan(7, 8),)),
        Annotation(None, (), "yes"),
    )
    assert found.candidates == (TokenSpan(3, 10), TokenSpan(10, 18))
    assert found.long_answer(TokenSpan(11, 13)) == TokenSpan(10, 18)
    assert found.long_answer(TokenSpan(9, 11)) is None


def test_characters_become_whole_tokens() -> None:
    found = parse_natural_question(record(), "x")
    assert found.text[27:31] == "e fl"
    assert found.tokens(27, 31) == TokenSpan(5, 7)
    assert found.tokens(0, len(found.text)) == TokenSpan(0, len(TOKENS))


@given(st.lists(st.text("ab<é", max_size=3), min_size=1, max_size=9), st.data())
def test_spans_of_tokens_and_of_characters_agree(tokens: list[str], data: Any) -> None:
    """Also where the page has two blanks in a row, and so an empty token."""
    found = parse_natural_question(record(document_text=" ".join(tokens), long_answer_candidates=[]), "x")
    start = data.draw(st.integers(0, len(tokens) - 1))
    end = data.draw(st.integers(start + 1, len(tokens)))
    first, behind = found.characters(TokenSpan(start, end))
    assert found.text[first:behind] == " ".join(tokens[start:end])
    if tokens[start] and tokens[end - 1]:
        assert found.tokens(first, behind) == TokenSpan(start, end)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (record(annotation((7, 19))), r"annotations\[0\]\.short_answers\[0\]: tokens 7 to 19 are no span.*18 tokens"),
        (record(annotation((8, 8))), "tokens 8 to 8"),
        (record(annotation((-1, 3))), "tokens -1 to 3"),
        (record(annotation(long=(9, 3))), r"annotations\[0\]\.long_answer: tokens 9 to 3"),
        (record(annotation(yes_no="MAYBE")), r"annotations\[0\]\.yes_no_answer: .*'maybe'"),
        (record({"short_answers": []}), r"annotations\[0\]\.long_answer: missing"),
        (
            record({"short_answers": [{"start_token": "1", "end_token": 2}]}),
            "start_token: expected an integer, got str",
        ),
        (record(annotations=3), "annotations: expected a list, got int 3"),
        (record(example_id=None), "example_id: expected a string"),
        (record(long_answer_candidates=[3]), r"long_answer_candidates\[0\]: expected an object, got int 3"),
        ({**record(), "document_text": 3}, "document_text: expected a string, got int 3"),
        ({**original(), "document_tokens": [{"tok": "a"}]}, r"document_tokens\[0\]\.token: missing"),
    ],
)
def test_errors_name_file_line_and_field(tmp_path: Path, raw: dict[str, Any], message: str) -> None:
    file = save(tmp_path / "dev.jsonl.gz", record(example_id=1), raw)
    with pytest.raises(DatasetFormatError, match=rf"^dev\.jsonl\.gz: line 2.*{message}"):
        load_qa_dataset(file)


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    file = save(tmp_path / "dev.jsonl.gz", record(annotation((7, 8))))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DatasetFormatError, match=r"dev\.jsonl\.gz: damaged, or no gzip file"):
        load_qa_dataset(file)
    file.write_bytes(b"{}")
    with pytest.raises(DatasetFormatError, match=r"dev\.jsonl\.gz: damaged, or no gzip file"):
        load_qa_dataset(file)
