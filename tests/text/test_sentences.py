from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palbert.text import sentences as module
from transformers_palbert.text.sentences import sentence_starts


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("他来了。她走了！真的吗？是的", ["他来了。", "她走了！", "真的吗？", "是的"]),
        ("他说：“好。”然后走了。", ["他说：“好。”", "然后走了。"]),
        ("（见图。）下一句", ["（见图。）", "下一句"]),
        ("等等……然后", ["等等……", "然后"]),
        ("真的吗?我不信!!他说", ["真的吗?", "我不信!!", "他说"]),
        ("It works. It does! Does it? Yes", ["It works. ", "It does! ", "Does it? ", "Yes"]),
        ('She said "Never." Then left.', ['She said "Never." ', "Then left."]),
        ("Mr. Smith paid 3.14 dollars at example.com, e.g. today", None),
        ("J. R. Smith vs. Dr. No. 5 (Fig. 3), et al. Later", None),
        ("Version 2.0 of U.S. law", None),
        ("中文。 English follows. 又是中文", ["中文。 ", "English follows. ", "又是中文"]),
        ("没有标点", None),
        ("。", None),
        ("", None),
    ],
)
def test_sentences(text: str, sentences: list[str] | None) -> None:
    starts = sentence_starts(text)
    assert [text[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)] == (sentences or [text])


@given(st.text(alphabet=".!?。！ \"'”(（“A中a\n", max_size=12))
def test_looking_at_a_run_of_signs_once_finds_the_same(text: str) -> None:
    again = module._SENTENCE_END.pattern.replace("++", "+").replace("]*+", "]*")
    again = again.replace("(?<![.!?])", "").replace("(?<![!?])", "")
    expected = [match.span() for match in re.finditer(again, text)]
    assert [match.span() for match in module._SENTENCE_END.finditer(text)] == expected


@pytest.mark.parametrize("text", [".", "?!", ".'", ". (", "。"])
def test_a_page_of_signs_takes_no_time(text: str) -> None:
    assert sentence_starts(text * 100_000)[0] == 0  # in quadratic time, minutes
