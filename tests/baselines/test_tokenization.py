"""Offsets, unknown words, saving, copying, and the machinery of transformers around the word tokenizer."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.references.word_readers import CHINESE, chinese_words, english_words
from transformers_palbert.baselines.tokenization import SPECIAL_TOKENS, WordTokenizer, build_word_tokenizer
from transformers_palbert.errors import TokenizerError
from transformers_palbert.qa.datasets import FEATURES, load_qa_dataset
from transformers_palbert.qa.features import build_features, encode_windows
from transformers_palbert.text.segmentation import JiebaSegmenter

TOKENIZER = chinese_words()
NO_ANSWERS: dict[str, list[str]] = {"text": [], "answer_start": []}
MIXED = st.text(st.sampled_from("李明出生于北京大学上海aBİßT恤3.5 ，。\n\u3000😀e\u0301"), max_size=40)


@given(MIXED)
@settings(max_examples=200, deadline=None)
def test_offsets_are_slices_of_the_original_text(text: str) -> None:
    encoding = TOKENIZER(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = encoding["offset_mapping"]
    for token, (start, end) in zip(encoding.tokens(), spans, strict=True):
        assert 0 <= start < end <= len(text)
        assert token == "[UNK]" or token == text[start:end].lower()
    assert spans == sorted(spans)
    covered = {index for start, end in spans for index in range(start, end)}
    assert all(text[index].isspace() or index in covered for index in range(len(text)))


@given(MIXED)
@settings(max_examples=100, deadline=None)
def test_no_token_crosses_the_border_of_a_word(text: str) -> None:
    borders = {0, len(text)} | {edge for span in JiebaSegmenter().spans(text) for edge in span}
    starts = [start for start, _ in JiebaSegmenter().spans(text)]
    if len(text.lower()) != len(text):
        return  # jieba then sees the text in lower case
    for start, end in TOKENIZER(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]:
        assert not any(start < edge < end for edge in borders)
        assert start >= min(starts)


def test_pairs_windows_and_stride() -> None:
    windows = encode_windows(
        TOKENIZER,
        ["王芳住在哪里？"],
        ["李明出生于北京，在北京大学学习。王芳住在上海。"],
        max_seq_length=15,
        doc_stride=2,
    )
    assert len(windows) > 1
    for ids, types in zip(windows.inputs["input_ids"], windows.inputs["token_type_ids"], strict=True):
        assert len(ids) <= 15
        separators = [place for place, word in enumerate(ids) if word == TOKENIZER.sep_token_id]
        assert types == [0] * (separators[0] + 1) + [1] * (len(ids) - separators[0] - 1)
    last, first = windows.context_offsets(0)[-2:].tolist(), windows.context_offsets(1)[:2].tolist()
    assert last == first


def test_labels_stand_at_the_answer() -> None:
    rows = [
        {"id": str(number), "question": question, "context": context, "answers": {"text": [text], "answer_start": [at]}}
        for number, (question, context, text, at) in enumerate(
            [("李明出生于哪里？", CHINESE[0], "北京", 5), ("在哪里学习？", CHINESE[0], "北京大学", 9)]
        )
    ]
    questions = load_qa_dataset(datasets.Dataset.from_list(rows), training=True)
    features = build_features(questions, TOKENIZER, training=True, max_seq_length=40, doc_stride=4)
    for row, feature in zip(rows, features, strict=True):
        chosen = feature["input_ids"][feature["start_positions"] : feature["end_positions"] + 1]
        assert TOKENIZER.decode(chosen) == row["answers"]["text"][0]


def test_vocabulary_and_unknown_words() -> None:
    tokenizer = build_word_tokenizer(["北京 北京 大学", "上海"], min_count=2)
    words = [tokenizer.convert_ids_to_tokens(index) for index in range(len(tokenizer))]
    assert words == [*SPECIAL_TOKENS, "北京", "上", "京", "北", "大", "学", "海"]
    assert tokenizer.tokenize("上海大学北京 龘") == ["上", "海", "大", "学", "北京", "[UNK]"]


def test_english() -> None:
    tokenizer = english_words()
    encoding = tokenizer("Where was Li BORN?", add_special_tokens=False, return_offsets_mapping=True)
    assert encoding.tokens() == ["where", "was", "li", "born", "?"]
    assert encoding["offset_mapping"] == [(0, 5), (6, 9), (10, 12), (13, 17), (17, 18)]
    assert tokenizer.decode(encoding["input_ids"]) == "where was li born ?"


def test_saved_and_loaded_with_its_user_dictionary(tmp_path: Path) -> None:
    made = chinese_words(user_dictionary=["李明出生于 100000"])
    assert made.tokenize("李明出生于北京") == ["李明出生于", "北京"]
    made.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, WordTokenizer)
    assert loaded.user_dictionary == ["李明出生于 100000"]
    for text in CHINESE:
        assert loaded(text)["input_ids"] == made(text)["input_ids"]
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_cut_like_the_original(duplicate: object) -> None:
    made = chinese_words(user_dictionary=["李明出生于 100000"])
    made("李明")  # after use, too
    assert duplicate(made).tokenize("李明出生于北京") == ["李明出生于", "北京"]  # type: ignore[operator]


def test_two_tokenizers_in_many_threads_do_not_mix() -> None:
    plain, special = chinese_words(), chinese_words(user_dictionary=["李明出生于 100000"])
    expected = [tokenizer.tokenize("李明出生于北京") for tokenizer in (plain, special)]
    assert expected[0] != expected[1]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: (plain, special)[number % 2].tokenize("李明出生于北京"), range(40)))
    assert found == expected * 20


def test_the_cache_of_features_tells_dictionaries_apart() -> None:
    rows = [{"id": "0", "title": "", "question": "谁？", "context": "李明出生于北京", "answers": NO_ANSWERS}]
    questions = load_qa_dataset(datasets.Dataset.from_list(rows, features=FEATURES))
    # the same vocabulary, so that nothing but the segmentation differs
    plain = chinese_words(user_dictionary=["李明出生于 100000"])
    other = copy.deepcopy(plain)
    other.init_kwargs["user_dictionary"] = []
    made = [build_features(questions, one, training=False, max_seq_length=40, doc_stride=4) for one in (plain, other)]
    assert len(made[0][0]["input_ids"]) < len(made[1][0]["input_ids"])
    assert made[0]._fingerprint != made[1]._fingerprint


def test_no_words_no_tokenizer() -> None:
    with pytest.raises(TokenizerError, match="no word"):
        build_word_tokenizer(["  \n"])


def test_a_long_word_is_unknown_and_does_not_hang() -> None:
    encoding = TOKENIZER("a" * 5000, add_special_tokens=False, return_offsets_mapping=True)
    assert encoding["offset_mapping"][0][0] == 0
    assert encoding["offset_mapping"][-1][1] == 5000
