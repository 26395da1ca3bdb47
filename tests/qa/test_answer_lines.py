from __future__ import annotations

import itertools
import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa.answer_lines import (
    BadLine,
    QuestionLine,
    answer_blocks,
    answered_ids,
    parse_line,
    question_blocks,
)


def line(**fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def asked(number: int) -> bytes:
    return line(id=f"q{number}", question=f"第{number}?", context=f"文 {number}")


def echo(records: Any) -> list[list[dict[str, Any]]]:
    """The best answer is the question, the next the context."""
    return [
        [
            {"score": 0.5, "start": 0, "end": 1, "answer": record["question"]},
            {"score": 0.25, "start": 1, "end": 2, "answer": record["context"]},
        ]
        for record in records
    ]


def answered(lines: list[bytes], done: Counter | None = None, size: int = 3) -> tuple[list[dict], list[BadLine], int]:
    blocks = list(answer_blocks(question_blocks(lines, done or Counter(), size), echo))
    assert sum(block.size for block in blocks) == sum(map(len, lines))
    return (
        [json.loads(text) for block in blocks for text in block.answers],
        [bad for block in blocks for bad in block.bad],
        sum(block.skipped for block in blocks),
    )


def test_every_question_has_a_line_with_its_answers():
    found, bad, skipped = answered([asked(number) for number in range(7)])
    assert [row["id"] for row in found] == [f"q{number}" for number in range(7)]
    best = {"answer": "第6?", "score": 0.5, "start": 0, "end": 1}
    other = {"answer": "文 6", "score": 0.25, "start": 1, "end": 2}
    assert found[6] == {"id": "q6", **best, "candidates": [best, other]}
    assert (bad, skipped) == ([], 0)


def test_a_single_answer_has_no_candidates():
    blocks = question_blocks([asked(1)], Counter(), 1)
    (block,) = answer_blocks(blocks, lambda records: [answers[:1] for answers in echo(records)])
    assert block.answers == ['{"id": "q1", "answer": "第1?", "score": 0.5, "start": 0, "end": 1}']


def test_ids_are_kept_and_missing_ones_name_the_line():
    lines = [
        line(question="a", context="b"),
        b"\n",
        line(id=7, question="a", context="b"),
        line(question="a", context="b"),
    ]
    assert [row["id"] for row in answered(lines)[0]] == ["line-1", 7, "line-4"]


def test_a_byte_order_mark_is_passed_over():
    assert isinstance(parse_line(b"\xef\xbb\xbf" + asked(1), 1), QuestionLine)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{\n", "not valid JSON at column 2"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b"[1]\n", "no object with question and context, but list"),
        (b'{"id": "\xff"}\n', "not UTF-8: byte 0xff at offset 8"),
        (line(context="b"), "its question is missing"),
        (line(question="a"), "its context is missing"),
        (line(question="a", context=["b"]), "its context must be a string, not list"),
        (line(question=" ", context="b"), "its question is empty"),
        (line(question="a", context="\n"), "its context is empty"),
        (line(id=1.5, question="a", context="b"), "its id must be"),
        (line(id=True, question="a", context="b"), "its id must be"),
        (b'{"question": "\\ud800", "context": "b"}\n', "half of a surrogate pair"),
    ],
)
def test_bad_lines_are_set_aside_whole_and_the_others_answered(text, reason):
    found, bad, _ = answered([asked(1), text, asked(2)])
    assert [row["id"] for row in found] == ["q1", "q2"]
    assert [one.number for one in bad] == [2]
    assert reason in bad[0].error
    aside = json.loads(bad[0].as_json())
    assert aside["line"] == 2
    assert aside["text"].encode("utf-8", "surrogateescape") + b"\n" == text


def test_a_block_never_holds_more_than_its_size():
    lines = [asked(number) for number in range(10)] + [b"{\n"] * 10
    blocks = list(question_blocks(lines, Counter(), 4))
    assert [len(questions) for questions, _ in blocks] == [4, 4, 2, 0, 0]
    assert [len(block.bad) for _, block in blocks] == [0, 0, 4, 4, 2]


def test_of_two_questions_with_one_id_both_are_answered_also_when_resumed():
    lines = [asked(1), asked(1), asked(2)]
    assert [row["id"] for row in answered(lines)[0]] == ["q1", "q1", "q2"]
    found, _, skipped = answered(lines, Counter(["q1"]))
    assert ([row["id"] for row in found], skipped) == (["q1", "q2"], 1)


def test_wherever_a_run_is_cut_off_it_ends_as_if_it_had_not_been(tmp_path: Path):
    lines = [asked(1), asked(2), b"{\n", line(id=3, question="三?", context="c")]
    (first,) = answer_blocks(question_blocks(lines, Counter(), 5), echo)
    whole = "".join(f"{text}\n" for text in first.answers).encode()
    file = tmp_path / "answers.jsonl"
    for cut in sorted({*range(0, len(whole), 7), len(whole) - 1, len(whole)}):
        file.write_bytes(whole[:cut])
        done = answered_ids(file)
        assert done.total() == whole[:cut].count(b"\n")
        again = list(answer_blocks(question_blocks(lines, done, 5), echo))
        with file.open("ab") as output:
            output.writelines(f"{text}\n".encode() for block in again for text in block.answers)
        assert file.read_bytes() == whole
        assert [bad.number for block in again for bad in block.bad] == [3]


@pytest.mark.parametrize(
    "content",
    [b"a novel", b"a novel\n", b"{}\n", b"[]\n", b'{"id": 1}\n', b'{"id": "1", "answer": ""}\nnotes', b"\xff\n"],
)
def test_a_file_that_is_no_output_is_left_alone(tmp_path, content):
    file = tmp_path / "novel.txt"
    file.write_bytes(content)
    with pytest.raises(DatasetFormatError, match=r"novel.txt: line \d is no answer"):
        answered_ids(file)
    assert file.read_bytes() == content


def test_ids_that_no_encoding_writes_are_escaped():
    found, _, _ = answered([b'{"id": "\\udc00", "question": "a", "context": "b"}\n'])
    assert found[0]["id"] == "\udc00"


def test_memory_does_not_grow_with_the_input():
    lines = itertools.repeat(line(question="a?", context="x" * 10_000), 400)  # 4 MB
    tracemalloc.start()
    try:
        for _ in answer_blocks(question_blocks(lines, Counter(), 4), echo):
            pass
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
