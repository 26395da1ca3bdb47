from __future__ import annotations

import pytest

from transformers_palbert.text.surrogates import lone_surrogate


@pytest.mark.parametrize("text", ["", "plain", "汉字", "😀", "\ufffd"])
def test_text_that_files_can_store(text: str) -> None:
    assert lone_surrogate(text) is None


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_the_first_half_is_named_with_its_place(code: int) -> None:
    half = chr(code)
    found = f"{half!r} at character 2, which is half of a surrogate pair and no character"
    assert lone_surrogate(f"ab{half}\ud83d") == found
