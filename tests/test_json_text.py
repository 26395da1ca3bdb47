from __future__ import annotations

import pytest

from transformers_palbert.json_text import parse_json


def test_it_is_json() -> None:
    assert parse_json('{"a": [1, 2.5, null, "北"]}') == {"a": [1, 2.5, None, "北"]}


@pytest.mark.parametrize(
    ("text", "reason"), [("[" * 100_000, "nested too deeply"), ("1" * 5000, "Exceeds the limit"), ("{", "Expecting")]
)
def test_whatever_is_wrong_is_a_value_error(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
