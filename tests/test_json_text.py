from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from transformers_palbert.errors import StorageError
from transformers_palbert.json_text import parse_json, read_json


def test_it_is_json() -> None:
    assert parse_json('{"a": [1, 2.5, null, "北"]}') == {"a": [1, 2.5, None, "北"]}


@pytest.mark.parametrize(
    ("text", "reason"), [("[" * 100_000, "nested too deeply"), ("1" * 5000, "Exceeds the limit"), ("{", "Expecting")]
)
def test_whatever_is_wrong_is_a_value_error(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_a_name_that_stands_twice_is_found_at_once_among_very_many(tmp_path: Path) -> None:
    file = tmp_path / "index.json"
    many = ",".join(f'"n{number}": 0' for number in range(50_000))
    file.write_text(f'{{{many}, "again": 1, "again": 2}}')
    before = time.process_time()
    with pytest.raises(StorageError, match=f"{re.escape(str(file))} is damaged: it names again twice"):
        read_json(file)
    assert time.process_time() - before < 5  # counting every name anew takes a minute
