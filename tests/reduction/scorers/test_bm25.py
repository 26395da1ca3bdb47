from __future__ import annotations

import math
import sys

import pytest

from transformers_palbert.errors import ConfigurationError, MissingExtraError
from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.reduction.scorers.bm25 import Bm25Scorer, asked_for, terms_of

CONTEXT = "Jane Austen wrote Emma. Emma is a novel, and the novel is long. It rains."
CHINESE = "曹雪芹写了红楼梦。红楼梦是一部小说。今天晴。"


def naive(question: list[str], passages: list[list[str]], k1: float = 1.5, b: float = 0.75) -> list[float]:
    """The formula of the module, word by word."""
    mean = sum(map(len, passages)) / len(passages)
    scores = []
    for passage in passages:
        score = 0.0
        for word in question:
            holding = sum(word in other for other in passages)
            frequency = passage.count(word)
            rarity = math.log(1 + (len(passages) - holding + 0.5) / (holding + 0.5))
            score += rarity * frequency / (frequency + k1 * (1 - b + b * len(passage) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize(
    ("question", "context"),
    [
        ("Who wrote the novel Emma?", CONTEXT),
        ("谁写了小说《红楼梦》？", CHINESE),
    ],
)
def test_scores_are_those_of_the_formula(question: str, context: str) -> None:
    (row,) = Cutting().cut([question], [context])
    (scores,) = Bm25Scorer()([row]).scores
    expected = naive(asked_for(question), [terms_of(text) for text in row.texts])
    assert scores.tolist() == pytest.approx(expected, rel=1e-5)
    assert scores[2] == 0 < scores[0]


def test_questions_about_one_text_are_scored_as_alone() -> None:
    questions = ["Who wrote Emma?", "Does it rain?"]
    rows = Cutting().cut(questions, [CONTEXT] * 2)
    together = Bm25Scorer()(rows).scores
    for row, scores in zip(rows, together, strict=True):
        assert scores.tolist() == Bm25Scorer()([row]).scores[0].tolist()


@pytest.mark.parametrize(("question", "context"), [("???", CONTEXT), ("Who?", CONTEXT), ("Who?", "… !"), ("x", "x")])
def test_without_a_word_in_common_there_is_a_score_all_the_same(question: str, context: str) -> None:
    (row,) = Cutting().cut([question], [context])
    (scores,) = Bm25Scorer()([row]).scores
    assert scores.shape == (len(row),)
    assert (scores.sum() > 0) == (question == context)


def test_terms() -> None:
    assert terms_of("The T-shirt_2, d'Art!") == ["the", "t", "shirt", "~shir", "~hirt", "2", "d", "art"]
    assert terms_of("北京人 AI。") == ["北", "京", "人", "北京", "京人", "ai"]
    assert terms_of("") == terms_of("…！") == []


def test_what_looks_alike_is_one() -> None:
    assert terms_of("１９９８年ＡＩ") == terms_of("1998年AI")
    assert terms_of("Caf\u00e9 STRASSE") == terms_of("cafe\u0301 straße")


def test_a_latin_word_is_the_same_beside_chinese_characters() -> None:
    (row,) = Cutting().cut(["Who led the U.S. team?"], ["It rained. The U.S. (美国) team was led by Ann. It was cold."])
    (scores,) = Bm25Scorer()([row]).scores
    assert scores.argmax() == 1
    assert set(terms_of("U.S.")) < set(terms_of("U.S. (美国)"))


def test_common_words_count_where_there_are_no_others() -> None:
    assert asked_for("Who was the king?") == ["king", "~king"]
    assert asked_for("Who was it?") == ["who", "was", "it"]
    assert asked_for("谁是王？") == terms_of("谁是王")


def test_settings_are_described_and_checked() -> None:
    assert Bm25Scorer(k1=2).describe().items() >= {"scorer": "bm25", "k1": 2, "b": 0.75}.items()
    for options in ({"k1": -1}, {"b": 1.5}):
        with pytest.raises(ConfigurationError):
            Bm25Scorer(**options)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtraError, match=r"transformers-palbert\[reduction\]"):
        Bm25Scorer()
