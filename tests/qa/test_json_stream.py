from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.qa.json_stream import read_json_records
from transformers_palbert.qa.record_files import read_records

FILE = Path("a.json")
TEXTS = st.text(st.sampled_from('ab北"\\\n\u2028{}[],: 😀'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def pieces(text: str, size: int) -> Iterator[str]:
    return (text[at : at + size] for at in range(0, len(text), size))


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=5), TEXTS, VALUES, st.booleans(), st.sampled_from([None, 2]), st.integers(1, 40))
@example([12, 34.5e-6, "北"], "x", {}, True, None, 1)
def test_records_are_those_of_json_load(
    records: list[Any], key: str, other: Any, ascii_only: bool, indent: int | None, size: int
) -> None:
    contents: list[Any] = [records, {"data": records, f"x{key}": other}, {f"x{key}": other, "data": records}]
    for content in contents:
        text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
        found = list(read_json_records(FILE, pieces(text, size)))
        assert [value for _, value in found] == records
        name = "data" if isinstance(content, dict) else ""
        assert [place for place, _ in found] == [f"{name}[{number}]" for number in range(len(records))]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dictionaries(TEXTS.map("x{}".format), VALUES, max_size=3), min_size=2, max_size=4), st.integers(1, 9)
)
def test_objects_one_after_another(records: list[Any], size: int) -> None:
    text = "\n\n".join(map(json.dumps, records))
    expected = [(f"line {2 * number + 1}", record) for number, record in enumerate(records)]
    assert list(read_json_records(FILE, pieces(text, size))) == expected


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_error_names_line_and_column_wherever_the_pieces_end(size: int) -> None:
    text = '{"version": 1,\n"data": [{"a": 1},\n {"b": x}]}'
    with pytest.raises(DatasetFormatError, match=r"a.json: not valid JSON at line 3, column 8: Expecting value"):
        list(read_json_records(FILE, pieces(text, size)))


def test_unpaired_surrogates_and_large_numbers_are_kept() -> None:
    found = read_json_records(FILE, iter(['["\\ud800", 123456789012345678901234567890, NaN]']))
    assert [repr(value) for _, value in found] == ["'\\ud800'", "123456789012345678901234567890", "nan"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv"])
def test_memory_is_that_of_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr("transformers_palbert.qa.record_files._PIECE", 10_000)
    record = {"id": "1", "question": "q", "context": "c" * 10_000, "answers": "c"}
    lines = {".csv": [",".join(record), *[",".join(record.values())] * 500], ".jsonl": [json.dumps(record)] * 500}
    path = tmp_path / f"a{suffix}"
    path.write_text("\n".join(lines[suffix]) if suffix in lines else json.dumps({"data": [record] * 500}))
    tracemalloc.start()
    assert sum(1 for _ in read_records(path)) == 500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000 < path.stat().st_size / 10
