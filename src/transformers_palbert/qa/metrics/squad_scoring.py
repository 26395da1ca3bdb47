"""Exact match and F1 as the official SQuAD 1.1 and 2.0 scripts count them, as pure functions.

Source: Rajpurkar et al. 2016 (arXiv 1606.05250) and 2018 (arXiv 1806.03822), ``evaluate-v1.1.py`` and
``evaluate-v2.0.py``. The two differ where an answer is empty after normalisation: version 1.1 gives F1 0 for two
empty sides, version 2.0 gives 1.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from ...errors import DatasetFormatError
from .inputs import ScoredQuestion

__all__ = [
    "best_threshold",
    "exact_match",
    "f1_of",
    "f1_v1",
    "f1_v2",
    "normalize_answer",
    "score_squad",
    "score_squad_v2",
    "token_f1",
]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower-case, drop ASCII punctuation, blank out English articles, and join the words by single blanks."""
    text = text.lower().translate(_DROP_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, prediction: str) -> int:
    """1 if both texts are equal after :func:`normalize_answer`, else 0."""
    return int(normalize_answer(answer) == normalize_answer(prediction))


def token_f1(answer: Sequence[str], prediction: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over two bags of tokens; 0 if they share none."""
    same = sum((Counter(answer) & Counter(prediction)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(answer)
    return 2 * precision * recall / (precision + recall)


def f1_v1(answer: str, prediction: str) -> float:
    """F1 of SQuAD 1.1, in [0, 1]: two empty sides score 0."""
    return token_f1(normalize_answer(answer).split(), normalize_answer(prediction).split())


def f1_v2(answer: str, prediction: str) -> float:
    """F1 of SQuAD 2.0, in [0, 1]: if either side is empty, 1 where both are and 0 otherwise."""
    gold, guess = normalize_answer(answer).split(), normalize_answer(prediction).split()
    return token_f1(gold, guess) if gold and guess else float(gold == guess)


def score_squad(questions: Sequence[ScoredQuestion]) -> dict[str, float]:
    """Score SQuAD 1.1.

    Returns:
        ``exact_match`` and ``f1`` in percent, averaged over all questions; a missing prediction scores 0. Of several
        reference answers the best counts, for each of the two figures separately.

    Raises:
        DatasetFormatError: if a question has no reference answer.
    """
    exact, f1 = 0, 0.0
    for question in questions:
        if not question.answers:
            raise DatasetFormatError(
                f"question {question.id!r} has no reference answer, and SQuAD 1.1 cannot score that. Use 'squad_v2'."
            )
        if question.prediction is not None:
            exact += max(exact_match(answer, question.prediction) for answer in question.answers)
            f1 += max(f1_v1(answer, question.prediction) for answer in question.answers)
    return {"exact_match": 100.0 * exact / len(questions), "f1": 100.0 * f1 / len(questions)}


def score_squad_v2(
    questions: Sequence[ScoredQuestion],
    no_answer_probabilities: Mapping[str, float] | None = None,
    no_answer_threshold: float = 1.0,
) -> dict[str, float]:
    """Score SQuAD 2.0.

    Args:
        questions: every one with a prediction; ``""`` means that the question has no answer.
        no_answer_probabilities: ``{id: probability that there is no answer}`` for every question. Any real score
            does: only comparisons are made.
        no_answer_threshold: a question whose probability is above it counts as predicted to have no answer.

    Returns:
        ``exact``, ``f1`` (percent) and ``total``, each also as ``HasAns_*`` and ``NoAns_*`` where there are such
        questions; with probabilities also ``best_exact``, ``best_exact_thresh``, ``best_f1``, ``best_f1_thresh``:
        the best figure that any threshold reaches, and that threshold.

    Raises:
        DatasetFormatError: if a prediction or a probability is missing. The official script fails there too.
    """
    predictions = _require_predictions(questions)
    probabilities = _require_probabilities(questions, no_answer_probabilities)
    answerable = {question.id: bool(question.answers) for question in questions}
    raw = {question.id: _raw_scores_v2(question.answers, predictions[question.id]) for question in questions}
    kept = {
        key: (float(not answerable[key]),) * 2 if probabilities.get(key, 0.0) > no_answer_threshold else scores
        for key, scores in raw.items()
    }
    result: dict[str, float] = _means(list(kept.values()))
    for prefix, wanted in (("HasAns", True), ("NoAns", False)):
        part = [kept[key] for key, has in answerable.items() if has is wanted]
        if part:
            result.update({f"{prefix}_{key}": value for key, value in _means(part).items()})
    if no_answer_probabilities is not None:
        for index, key in enumerate(("exact", "f1")):
            scores = {name: pair[index] for name, pair in raw.items()}
            best, threshold = best_threshold(predictions, scores, probabilities, answerable)
            result |= {f"best_{key}": best, f"best_{key}_thresh": threshold}
    return result


def best_threshold(
    predictions: Mapping[str, str],
    scores: Mapping[str, float],
    probabilities: Mapping[str, float],
    answerable: Mapping[str, bool],
) -> tuple[float, float]:
    """Find the no-answer threshold with the best score.

    Questions are taken in ascending order of their no-answer probability (equal ones in the mapping's order, as the
    official script does). Starting from "nothing has an answer", answering one more question adds its score if it is
    answerable, and costs a point if it is not and the prediction is not empty.

    Returns:
        The best score in percent, and the probability of the last question that is then answered (0 if none is).
    """
    current = best = float(sum(not has for has in answerable.values()))
    threshold = 0.0
    for key in sorted(probabilities, key=lambda name: probabilities[name]):
        if key not in scores:
            continue
        current += scores[key] if answerable[key] else (-1 if predictions[key] else 0)
        if current > best:
            best, threshold = current, probabilities[key]
    return 100.0 * best / len(scores), threshold


def f1_of(question: ScoredQuestion) -> float:
    """F1 of SQuAD 2.0, in [0, 1], of one question that has a prediction."""
    return _raw_scores_v2(question.answers, question.prediction or "")[1]


def _raw_scores_v2(answers: Sequence[str], prediction: str) -> tuple[float, float]:
    # Answers that are empty after normalisation do not count; with none left the right prediction is "".
    golds = [answer for answer in answers if normalize_answer(answer)] or [""]
    return (
        float(max(exact_match(gold, prediction) for gold in golds)),
        max(f1_v2(gold, prediction) for gold in golds),
    )


def _means(scores: Sequence[tuple[float, ...]]) -> dict[str, float]:
    total = len(scores)
    return {
        "exact": 100.0 * sum(pair[0] for pair in scores) / total,
        "f1": 100.0 * sum(pair[1] for pair in scores) / total,
        "total": total,
    }


def _require_predictions(questions: Sequence[ScoredQuestion]) -> dict[str, str]:
    predictions = {question.id: question.prediction for question in questions if question.prediction is not None}
    missing = [question.id for question in questions if question.prediction is None]
    if missing:
        raise DatasetFormatError(
            f"SQuAD 2.0 needs a prediction for every question; {len(missing)} have none, the first is {missing[0]!r}."
            " Predict '' for a question without an answer."
        )
    return predictions


def _require_probabilities(
    questions: Sequence[ScoredQuestion], probabilities: Mapping[str, float] | None
) -> dict[str, float]:
    if probabilities is None:
        return {}
    missing = [question.id for question in questions if question.id not in probabilities]
    if missing:
        raise DatasetFormatError(
            f"{len(missing)} questions have no no-answer probability, the first is {missing[0]!r}."
            " Give one for every question, or none at all."
        )
    return dict(probabilities)
