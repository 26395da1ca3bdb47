"""Contexts cut into passages without losing a character."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.references.small_tokenizers import byte_level, wordpiece
from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.reduction.passages import Cutting, TokenStarts, tokenizer_starts, word_starts

ENGLISH = "Mr. Smith lives in Berlin. He was born in 1950.\n\nHeadline without a stop\n\nHe paid 3.5 dollars."
CHINESE = "王芳住在北京。她二〇一八年去了上海！\n她说：“好。”然后走了。"


def texts(context: str, **options: object) -> list[str]:
    (row,) = Cutting(**options).cut(["?"], [context])  # type: ignore[arg-type]
    assert "".join(context[start:end] for start, end in row.spans) == context
    return row.texts


def test_sentences_and_paragraphs() -> None:
    assert texts(ENGLISH) == [
        "Mr. Smith lives in Berlin.",
        "He was born in 1950.",
        "Headline without a stop",
        "He paid 3.5 dollars.",
    ]
    assert texts(CHINESE) == ["王芳住在北京。", "她二〇一八年去了上海！", "她说：“好。”", "然后走了。"]


def test_a_line_break_alone_ends_no_sentence() -> None:
    assert texts("It is wrapped\nat forty characters. Done.") == ["It is wrapped\nat forty characters.", "Done."]


def test_words_are_runs_of_letters_signs_and_chinese_characters() -> None:
    text = "T恤 costs 3.5€"
    assert [text[start] for start in word_starts(text)] == list("T恤c3.5€")


def test_blocks_of_words() -> None:
    assert texts("a b c d e f g", unit=3) == ["a b c", "d e f", "g"]
    assert texts("甲乙丙丁戊", unit=2) == ["甲乙", "丙丁", "戊"]


def test_tokens_of_each_passage_are_counted() -> None:
    (row,) = Cutting().cut(["?"], ["One two. Three four five!"])
    assert row.tokens == (3, 4)


def test_blocks_of_a_tokenizer_never_cut_a_word() -> None:
    starts = tokenizer_starts(wordpiece())
    (row,) = Cutting(2, starts=starts).cut(["?"], ["my unbelievables name is"])  # un ##believ ##able ##s
    assert (row.texts, row.tokens) == (["my", "unbelievables", "name is"], (1, 4, 2))


def test_several_tokens_of_one_character() -> None:
    (row,) = Cutting(6, starts=tokenizer_starts(byte_level())).cut(["?"], ["北京 in"])
    assert row.texts == ["北京", "in"]
    assert row.tokens[0] == 6


def test_a_sentence_that_is_too_long_is_cut() -> None:
    assert texts("a b c d e. F g.", longest=3) == ["a b c", "d e.", "F g."]


def test_a_tokenizer_keeps_its_own_truncation() -> None:
    tokenizer = wordpiece()
    tokenizer("my name", truncation=True, max_length=3)
    before = tokenizer.backend_tokenizer.truncation
    tokenizer_starts(tokenizer)("my name is " * 10)
    assert tokenizer.backend_tokenizer.truncation == before


def test_equal_contexts_are_cut_once() -> None:
    seen = []

    def starts(text: str):
        seen.append(text)
        return word_starts(text)

    rows = Cutting(starts=starts).cut(["a", "b"], ["One. Two."] * 2)
    assert len(seen) == 1
    assert rows[0].spans == rows[1].spans


@given(st.text(alphabet="ab 3.!?\n。“”京,", max_size=60), st.sampled_from(["sentence", 1, 3]))
def test_nothing_is_lost_and_no_passage_is_too_long(context: str, unit: str | int) -> None:
    (row,) = Cutting(unit, longest=4).cut(["?"], [context])
    assert [start for start, _ in row.spans] == [0, *(end for _, end in row.spans[:-1])]
    assert row.spans[-1][1] == len(context)
    assert sum(row.tokens) == len(word_starts(context))
    assert max(row.tokens) <= (4 if unit == "sentence" else int(unit))
    if len(row) > 1:
        assert all(row.texts)


def test_a_token_that_begins_with_a_space_is_in_the_passage_of_its_word() -> None:
    """As DeBERTa's, and byte-level ones that do not trim offsets."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *(f"▁{word}" for word in ("It", "rains.", "Berlin", "is", "big."))]
    own = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    own.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, unk_token="<unk>")
    assert tokenizer("It rains. Berlin is big.", return_offsets_mapping=True)["offset_mapping"][2] == (9, 16)
    (row,) = Cutting(starts=tokenizer_starts(tokenizer)).cut(["?"], ["It rains. Berlin is big."])
    assert row.tokens == (2, 3)


def test_what_cannot_be() -> None:
    for options in ({"unit": 0}, {"unit": "page"}, {"longest": 0}):
        with pytest.raises(ConfigurationError):
            Cutting(**options)
    with pytest.raises(ConfigurationError, match="not a fast tokenizer"):
        tokenizer_starts(object())


def test_signs_that_belong_to_a_character_stay_with_it() -> None:
    text = "cafe\u0301s 👩🏽\u200d🚀 甲\ufe00"
    starts = word_starts(text).tolist()
    assert [text[start:end] for start, end in pairwise([*starts, len(text)])] == [
        "cafe\u0301s ",
        "👩🏽\u200d",
        "🚀 ",
        "甲\ufe00",
    ]


@pytest.mark.parametrize("starts", [word_starts, tokenizer_starts(byte_level())])
def test_an_endless_text_without_spaces_is_cut_all_the_same(starts: TokenStarts) -> None:
    (row,) = Cutting(longest=128, starts=starts).cut(["?"], ["a" * 10_000])
    assert "".join(row.texts) == row.context
    assert max(row.tokens) <= 128
    assert max(len(text) for text in row.texts) <= 64 * 128


def test_truncation_of_a_tokenizer_has_no_part_in_counting() -> None:
    tokenizer = wordpiece()
    encode: Any = lambda: tokenizer("my name is", truncation=True, max_length=4)["input_ids"]  # noqa: E731
    first = encode()
    assert tokenizer_starts(tokenizer)("my name is wolfgang and i live").tolist() == [0, 3, 8, 11, 20, 24, 26]
    assert encode() == first
    assert tokenizer.backend_tokenizer.truncation is not None
    tokenizer.add_tokens(["wolf", "gang"])
    assert tokenizer_starts(tokenizer)("wolfgang").tolist() == [0, 4]


@pytest.mark.parametrize(("question", "context"), [("ab\ud83d", "c"), ("c", "ab\ud83d")])
def test_half_of_a_surrogate_pair_is_named(question: str, context: str) -> None:
    kind = "question" if question != "c" else "context"
    message = (
        rf"^{kind} 'ab\\ud83d' holds '\\ud83d' at character 2, which is half of a surrogate pair and no character$"
    )
    for starts in (word_starts, tokenizer_starts(wordpiece())):
        with pytest.raises(DatasetFormatError, match=message):
            Cutting(starts=starts).cut(["?", question], ["one", context])
