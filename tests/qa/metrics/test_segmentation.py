from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references import scorers
from transformers_palbert.qa.metrics.cmrc_scoring import longest_common_run
from transformers_palbert.qa.metrics.segmentation import mixed_segmentation, remove_punctuation


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
