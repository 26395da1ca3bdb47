"""Small files in the forms of MRQA 2019 and of DPR, made here: no file of either was at hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa.datasets import load_qa_dataset, load_qa_dataset_with_report

CONTEXT = "[PAR] The Nile flows North. [PAR] It flows to the sea."
HEADER = {"header": {"dataset": "Rivers", "split": "dev"}}


def detected(text: str, *spans: tuple[int, int]) -> dict[str, Any]:
    return {"text": text, "char_spans": [list(span) for span in spans], "token_spans": [[0, 0]]}


def qa(key: str = "q1", answers: tuple[str, ...] = (), *found: dict[str, Any]) -> dict[str, Any]:
    return {"qid": key, "id": "other", "question": "where?", "answers": list(answers), "detected_answers": list(found)}


def mrqa(path: Path, *qas: dict[str, Any], header: bool = True) -> Path:
    lines = [HEADER] * header + [{"id": "", "context": CONTEXT, "qas": list(qas)}]
    path.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    return path


@pytest.mark.parametrize("header", [True, False])
def test_mrqa(tmp_path: Path, header: bool) -> None:
    file = mrqa(tmp_path / "dev.jsonl.gz", qa("q1", ("North",), detected("North", (21, 25))), qa("q2"), header=header)
    found, report = load_qa_dataset_with_report(file)
    assert found["id"] == ["q1", "q2"]
    assert found[0] == {
        "id": "q1",
        "title": "",
        "context": CONTEXT,
        "question": "where?",
        "answers": {"text": ["North"], "answer_start": [21]},
    }
    assert (report.questions, report.unanswerable, report.offsets_wrong) == (2, 1, 0)


@pytest.mark.parametrize(
    ("entry", "answers"),
    [
        # Detected but for case and an article: the context's own characters count, and the text that people wrote too.
        (qa("q", ("the north",), detected("the north", (21, 25))), [("North", 21)]),
        (qa("q", ("north", "north!"), detected("north", (21, 25))), [("North", 21), ("north!", -1)]),
        # A wrong span is repaired.
        (qa("q", (), detected("sea", (0, 2))), [("sea", CONTEXT.index("sea"))]),
        (qa("q", ("flows",), detected("flows", (15, 19), (38, 42))), [("flows", 15)]),
        (qa("q", ("sea", "lake")), [("sea", CONTEXT.index("sea")), ("lake", -1)]),
        (qa("q", ("sea",), {"text": "sea", "char_spans": []}), [("sea", CONTEXT.index("sea"))]),
    ],
)
def test_mrqa_answers(tmp_path: Path, entry: dict[str, Any], answers: list[tuple[str, int]]) -> None:
    found = load_qa_dataset(mrqa(tmp_path / "dev.jsonl.gz", entry))[0]["answers"]
    assert list(zip(found["text"], found["answer_start"], strict=True)) == answers


def test_mrqa_questions_without_a_place_are_set_aside_from_training_only(tmp_path: Path) -> None:
    file = mrqa(tmp_path / "a.jsonl.gz", qa("q1", ("lake",)), qa("q2", ("sea",)))
    assert load_qa_dataset(file)["id"] == ["q1", "q2"]
    found, report = load_qa_dataset_with_report(file, training=True)
    assert found["id"] == ["q2"]
    assert report.set_aside == ("q1",)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            qa("q", (), detected("x", (3, 99))),
            rf"detected_answers\[0\]\.char_spans\[0\]: characters 3 to 99.*{len(CONTEXT)}",
        ),
        (qa("q", (), detected("x", (9, 8))), "characters 9 to 8"),
        (
            qa("q", (), {"text": "x", "char_spans": [[1]]}),
            r"expected first and last character of the answer, got \[1\]",
        ),
        (qa("q", (), {"text": "x"}), "char_spans: missing"),
        ({"question": "?", "answers": []}, "qid: missing"),
        ({"qid": "q", "answers": []}, "question: missing"),
        ({"qid": "q", "question": "?", "answers": [3]}, r"answers\[0\]: expected a string, got int 3"),
    ],
)
def test_mrqa_errors_name_file_line_and_field(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetFormatError, match=rf"^dev\.jsonl\.gz: line 2\.qas\[0\].*{message}"):
        load_qa_dataset(mrqa(tmp_path / "dev.jsonl.gz", entry))


def test_a_header_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(HEADER))
    with pytest.raises(DatasetFormatError, match="holds no question"):
        load_qa_dataset(file)


# --- DPR -----------------------------------------------------------------------------------------------------------


def passage(text: str, title: str = "Nile") -> dict[str, Any]:
    return {"title": title, "text": text, "score": 1000, "title_score": 1, "passage_id": "1"}


def dpr(path: Path, *records: dict[str, Any]) -> Path:
    content = json.dumps([{"dataset": "nq", "negative_ctxs": [], "hard_negative_ctxs": [], **each} for each in records])
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


@pytest.mark.parametrize("name", ["train.json", "train.json.gz"])
def test_dpr(tmp_path: Path, name: str) -> None:
    rivers = {
        "question": "where does it flow",
        "answers": ["south", "north"],
        "positive_ctxs": [passage("It flows North."), passage("The Nile flows north.", "The Nile")],
    }
    found, report = load_qa_dataset_with_report(dpr(tmp_path / name, rivers), training=True)
    assert found[0]["context"] == "The Nile flows north."  # the first passage that holds an answer
    assert found[0]["title"] == "The Nile"
    assert found[0]["answers"] == {"text": ["north"], "answer_start": [15]}
    assert (report.offsets_missing, report.offsets_found, report.answers_not_found) == (2, 1, 1)
    kept = load_qa_dataset(tmp_path / name)[0]
    assert kept["answers"] == {"text": ["south", "north"], "answer_start": [-1, 15]}


def test_dpr_questions_without_a_passage_are_set_aside_from_training_only(tmp_path: Path) -> None:
    file = dpr(
        tmp_path / "a.json",
        {"question": "q1", "answers": ["a"], "positive_ctxs": []},
        {"question": "q2", "answers": ["b"], "positive_ctxs": [passage("c")]},
        {"question": "q3", "answers": ["c"], "positive_ctxs": [passage("c")]},
    )
    found = load_qa_dataset(file)
    assert found["context"] == ["", "c", "c"]
    assert found["answers"][0] == {"text": ["a"], "answer_start": [-1]}
    training, report = load_qa_dataset_with_report(file, training=True)
    assert training["question"] == ["q3"]
    assert len(report.set_aside) == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"question": "q", "answers": "a", "positive_ctxs": []}, "answers: expected a list, got str"),
        ({"question": "q", "answers": [1], "positive_ctxs": []}, r"answers\[0\]: expected a string, got int 1"),
        ({"question": "q", "answers": [], "positive_ctxs": [{}]}, r"positive_ctxs\[0\]\.text: missing"),
        ({"question": "q", "answers": [], "positive_ctxs": [3]}, r"positive_ctxs\[0\].*expected an object, got int 3"),
        ({"answers": [], "positive_ctxs": []}, "question: missing"),
    ],
)
def test_dpr_errors_name_file_record_and_field(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetFormatError, match=rf"^train\.json: \[0\].*{message}"):
        load_qa_dataset(dpr(tmp_path / "train.json", entry))


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_compressed_tables(tmp_path: Path, ending: str) -> None:
    mark = "," if ending == "csv" else "\t"
    lines = [["question", "context", "answer"], ["where?", '"a\r\nb"', "b"]]
    file = tmp_path / f"a.{ending}.gz"
    file.write_bytes(gzip.compress("\n".join(mark.join(line) for line in lines).encode()))
    assert load_qa_dataset(file)[0]["context"] == "a\r\nb"
    broken = tmp_path / f"b.{ending}.gz"
    broken.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DatasetFormatError, match="damaged, or no gzip file"):
        load_qa_dataset(broken)


def test_a_folder_of_compressed_files(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    mrqa(folder / "dev.jsonl.gz", qa("q1", ("sea",)))
    mrqa(folder / "train.jsonl.gz", qa("q2", ("sea",)))
    assert load_qa_dataset(folder, split="validation")["id"] == ["q1"]


def test_flat_records_with_fields_of_these_forms_stay_flat(tmp_path: Path) -> None:
    flat = {"question": "q", "context": "c b", "answer": "b", "positive_ctxs": [], "qas": [], "header": 1}
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(flat))
    assert load_qa_dataset(file)["context"] == ["c b"]
