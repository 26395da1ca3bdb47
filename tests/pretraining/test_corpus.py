from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.pretraining import corpus
from transformers_palbert.pretraining.corpus import read_contexts, read_documents
from transformers_palbert.text import lines

TEXT = "\ufeff第一段。\n 第二段。 \n\n\n\r\nSecond document.\r\n \nThird\n"
DOCUMENTS = [["第一段。", "第二段。"], ["Second document."], ["Third"]]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "a.txt": lambda data: data,
    "a.txt.xz": lzma.compress,
    "a.txt.gz": gzip.compress,
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_paragraphs_and_documents(name: str) -> None:
    Path(name).write_bytes(COMPRESSIONS[name](TEXT.encode()))
    assert list(read_documents(Path(name))) == DOCUMENTS


def test_without_blank_lines_documents_end_somewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else all of the file would be in memory at once."""
    monkeypatch.setattr(corpus, "LONGEST_DOCUMENT", 8)
    Path("a.txt").write_text("first\nsecond\nthird\nfourth\n\nfifth\n")
    assert list(read_documents(Path("a.txt"))) == [["first", "second"], ["third", "fourth"], ["fifth"]]
    assert caplog.text.count("Put a blank line between documents") == 1


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_line_without_end_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    Path(name).write_bytes(COMPRESSIONS[name](b"a\n" + b"x" * 1001))
    with pytest.raises(DatasetFormatError, match="a line of more than 1,000 characters"):
        list(read_documents(Path(name)))


def test_an_empty_file_has_no_documents() -> None:
    Path("a.txt").write_text("\n \n")
    assert list(read_documents(Path("a.txt"))) == []


@pytest.mark.parametrize("name", ["a.txt.xz", "a.txt.gz"])
def test_a_truncated_file_is_not_taken_for_a_short_one(name: str) -> None:
    Path(name).write_bytes(COMPRESSIONS[name](TEXT.encode() * 50)[:-12])
    with pytest.raises(DatasetFormatError, match=f"{name} cannot be read"):
        list(read_documents(Path(name)))


def test_what_is_no_text_is_explained() -> None:
    Path("a.txt.xz").write_bytes(b"no xz")
    Path("gbk.txt").write_bytes("中文".encode("gbk"))
    for name, message in (("a.txt.xz", "cannot be read"), ("gbk.txt", "not UTF-8"), ("none.txt", "No such file")):
        with pytest.raises(DatasetFormatError, match=message):
            list(read_documents(Path(name)))


def test_contexts_come_once_and_without_questions_and_answers() -> None:
    rows = [
        {"id": str(n), "question": "谁？", "context": context, "answers": ["甲"]}
        for n, context in enumerate(["甲来了。\n\n乙走了。", "甲来了。\n\n乙走了。", "甲在。"])
    ]
    Path("train.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    assert list(read_contexts(Path("train.jsonl"))) == [["甲来了。", "乙走了。"], ["甲在。"]]
