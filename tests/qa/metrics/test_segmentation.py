"""The segments of the CMRC 2018 metric, and the words and figures that NLTK 3.8.1 gives, in `nltk_3_8_1.json`.

That file was made once, with NLTK 3.8.1: ``word_tokenize`` of runs that were put together at random from pieces that
its rules know, with Punkt's published abbreviations and collocations; and the official script's figures for 60
questions of the same kind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import scorers
from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.metrics.cmrc_scoring import longest_common_run
from transformers_palbert.qa.metrics.english_sentences import split_sentences
from transformers_palbert.qa.metrics.segmentation import mixed_segmentation, remove_punctuation, tokenize_run


@pytest.fixture(scope="module")
def nltk() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "nltk_3_8_1.json").read_text(encoding="utf-8"))


def test_words_are_those_of_nltk_3_8_1(nltk: dict[str, Any]) -> None:
    assert len(nltk["words"]) > 250
    assert [[run, list(tokenize_run(run))] for run, _ in nltk["words"]] == nltk["words"]


def test_figures_are_those_of_the_official_script_with_nltk_3_8_1(nltk: dict[str, Any]) -> None:
    references = [{"id": item["id"], "answers": {"text": item["answers"]}} for item in nltk["questions"]]
    found = compute_metric("cmrc2018", {item["id"]: item["prediction"] for item in nltk["questions"]}, references)
    assert {name: found[name] for name in nltk["scores"]} == nltk["scores"]  # to the last digit


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("it ended. it began", ["it ended.", "it began"]),
        ("dr. seuss, p. 3", ["dr. seuss, p. 3"]),
        ('he said "no." then left', ['he said "no."', "then left"]),
        ("2. graph", ["2. graph"]),  # a number before a small letter: a list, or a date
        ("in 1998. (see below)", ["in 1998.", "(see below)"]),
        ("a.\u3000b", ["a.\u3000b"]),  # an initial
        ("what?! no", ["what?!", "no"]),
        ("!! no", ["!", "!", "no"]),
    ],
)
def test_sentences_by_hand(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", []),
        (" 北京 ", ["北", "京"]),
        ("1998年－2000年", ["1998", "年", "2000", "年"]),
        ("1998-2000", ["19982000"]),
        ("T-34/85坦克", ["t3485", "坦", "克"]),
        ("Ω-Force", ["ωforce"]),
        ("北…京", ["北", "…", "京"]),  # the script's list holds two ellipses in a row, so a single one stays
        ("Dr. Seuss", ["dr.", "seuss"]),  # an abbreviation that Punkt knows: no end of a sentence
        ("Henry A. Walsh", ["henry", "a.", "walsh"]),  # an initial
        ("It ended. It began", ["it", "ended", ".", "it", "began"]),  # two sentences: both full stops are cut off
        ("see fig. nine", ["see", "fig", ".", "nine"]),  # an abbreviation that Punkt does not know
        ("U.S. Women's team", ["u.s.", "women", "'s", "team"]),
        ("I cannot", ["i", "can", "not"]),
        ("￥1,000元", ["￥1,000", "元"]),
        ("5.5%", ["5.5", "%"]),
        ("1851–53", ["1851–53"]),  # newer versions of NLTK split here
        ("龦", ["龦"]),  # U+9FA6, just outside what the script takes for Chinese, is a run like a Latin word
        ("龦龦", ["龦龦"]),
    ],
)
def test_segments_by_hand(text: str, segments: list[str]) -> None:
    assert mixed_segmentation(text) == segments


def test_remove_punctuation_keeps_what_the_script_does_not_list() -> None:
    assert remove_punctuation(" 《A-b》 c.，‘d’ (e) ") == "ab c.‘d (e)"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=15), st.lists(st.sampled_from("abc"), max_size=15))
def test_longest_common_run_agrees_with_the_table(first: list[str], second: list[str]) -> None:
    assert longest_common_run(first, second) == scorers.longest_common_substring(first, second)


def test_longest_common_run_compares_segments_and_not_characters() -> None:
    assert longest_common_run(["ab", "c"], ["a", "bc"]) == 0
    assert longest_common_run(["x", "ab", "c"], ["ab", "c", "x"]) == 2
