"""What is said of a file that is not UTF-8, and that saying so takes no memory."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa import record_files
from transformers_palbert.qa.record_files import read_records

ROW = "a 北 ü,b,c\n".encode()
STARTS = [b"", codecs.BOM_UTF8]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def message_of(path: Path) -> str:
    with pytest.raises(DatasetFormatError) as raised:
        list(read_records(path))
    return str(raised.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.json.gz"])
@pytest.mark.parametrize("start", STARTS, ids=["", "mark"])
@pytest.mark.parametrize("rows", [0, 1, 3000])
@pytest.mark.parametrize("end", [b"\xb1\xb1\n\n", b"\xe5\n", b"\xe5\x8c"], ids=["wrong", "cut", "cut at the end"])
def test_the_place_of_the_byte_is_that_in_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: bytes, rows: int, end: bytes
) -> None:
    monkeypatch.setattr(record_files, "_PIECE", 1000)
    row = ROW if ".csv" in name else b"\n" + " \u3000".encode() * 3 if ".jsonl" in name else b" \n\t"
    content = start + row * rows + end
    with pytest.raises(UnicodeDecodeError) as decoding:
        content.decode()
    at = decoding.value.start
    line = content.count(b"\n", 0, at) + 1
    assert f"not UTF-8 (byte 0x{content[at]:02x} at offset {at}, line {line}); save it" in message_of(
        written(tmp_path / name, content)
    )


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_by_its_mark(tmp_path: Path, name: str, encoding: str) -> None:
    path = written(tmp_path / name, "\ufeff[]".encode(encoding))
    assert message_of(path) == f"{path}: the file is UTF-16; save it as UTF-8"


@pytest.mark.parametrize("name", ["a.json.gz", "a.csv.gz"])
def test_a_small_file_that_unpacks_to_much_takes_no_memory_to_refuse(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, b"\n\xff" + b" " * 50_000_000)
    tracemalloc.start()
    message = message_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert re.search(r"byte 0xff at offset 1, line 2", message)
    assert peak < 10_000_000


@pytest.mark.parametrize("longest", [30, 27])
def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    monkeypatch.setattr(record_files, "_PIECE", 7)
    monkeypatch.setattr(record_files, "LONGEST_RECORD", longest)
    lines = ['{"a": 1}', json.dumps({"b": "x" * 20}), "", '{"c": "\u2028"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    if longest == 30:
        found = [record for _, record in read_records(tmp_path / "a.jsonl")]
        assert found == [{"a": 1}, {"b": "x" * 20}, {"c": "\u2028"}]
    else:
        with pytest.raises(DatasetFormatError, match="a line has more than 27 characters"):
            list(read_records(tmp_path / "a.jsonl"))
