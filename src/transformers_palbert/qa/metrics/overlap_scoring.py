"""Accuracy, precision, recall and F1, of which the PAL-BERT paper reports three, for Chinese and English.

Source: Zheng et al. 2024 (doi 10.32604/cmes.2023.046692).

What the paper defines: three figures, between 0 and 1. Accuracy is the share of correct predictions, recall is true
positives by actual positives, and F1 is given by a formula that is misprinted (an arithmetic mean divided by a
geometric one, which is never below 1). It reports no precision, and does not say what a true positive of an extracted
answer is.

What is our reading: the usual counting of extractive answers, by the tokens that answer and reference share. For a
question with prediction ``p`` and reference ``g``, both as bags of tokens, with ``c`` the size of their intersection:

    accuracy = 1 if the token sequences are equal, else 0
    precision = c / |p|        recall = c / |g|        F1 = 2 c / (|p| + |g|)

so that F1 is the harmonic mean of precision and recall, as everywhere else. Tokens are single Chinese (or Japanese
kana, or Korean) characters and, in all other scripts, words between blanks, after lower-casing and after removing all
punctuation, full-width signs included, and the English articles *a, an, the*.

* Several references: accuracy is 1 if any is matched; precision, recall and F1 come from the reference with the highest
  F1 (the first of them if several tie).
* A question without an answer, or whose side is empty after this treatment: all four are 1 if both sides are empty, and
  0 otherwise.
* A missing prediction: all four are 0.

The result is the mean over questions, so F1 is a mean of F1 values and not the harmonic mean of the two means. The
scale is the paper's, 0 to 1; the package's other metrics count in percent. Figures of this metric are comparable with
each other, and not with the paper's, which must count in another way: by the formulas above no F1 is below its
accuracy, and in every row of the paper's Table 9 it is.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from .inputs import ScoredQuestion

__all__ = ["overlap", "score_palbert_qa", "tokenize"]

# Scripts without blanks between words: kana, ideographs with extensions and compatibility forms, Hangul syllables.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])")
_ARTICLES = frozenset({"a", "an", "the"})


def score_palbert_qa(questions: Sequence[ScoredQuestion]) -> dict[str, float]:
    """Score as the module's text defines: ``accuracy``, ``precision``, ``recall``, ``f1`` in [0, 1], and ``total``."""
    sums = Counter[str]()
    for question in questions:
        if question.prediction is None:
            continue
        guess = tokenize(question.prediction)
        golds = [tokenize(answer) for answer in question.answers] or [[]]
        precision, recall, f1 = max((overlap(gold, guess) for gold in golds), key=lambda scores: scores[2])
        sums.update(accuracy=guess in golds, precision=precision, recall=recall, f1=f1)  # type: ignore[call-overload]
    total = len(questions)
    return {key: sums[key] / total for key in ("accuracy", "precision", "recall", "f1")} | {"total": total}


def overlap(answer: Sequence[str], prediction: Sequence[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 of two bags of tokens, each in [0, 1]; (1, 1, 1) if both are empty."""
    if not answer or not prediction:
        return (float(not answer and not prediction),) * 3
    common = sum((Counter(answer) & Counter(prediction)).values())
    return common / len(prediction), common / len(answer), 2 * common / (len(answer) + len(prediction))


def tokenize(text: str) -> list[str]:
    """Cut ``text`` into the tokens that the module's text describes."""
    kept = "".join(character for character in text.lower() if not _is_punctuation(character))
    return [token for token in _UNSPACED.sub(r" \1 ", kept).split() if token not in _ARTICLES]


def _is_punctuation(character: str) -> bool:
    # The ASCII signs that Unicode calls symbols ($ + < = > ^ ` | ~) go as well, as in SQuAD.
    return character in string.punctuation or unicodedata.category(character).startswith("P")
