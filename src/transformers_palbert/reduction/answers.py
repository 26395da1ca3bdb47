"""Answers that were found in a shortened text, put back at their places in the whole one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..qa.evaluation_decoding import QAPredictions
from ..text.shortened import Shortened, visible

__all__ = ["restore_places"]


def restore_places(
    answers: QAPredictions, texts: Mapping[str, Shortened], *, null_score_diff_threshold: float = 0.0
) -> QAPredictions:
    """The same answers with ``start`` and ``end`` in the whole contexts, of which they are exact slices.

    Candidates that join what was apart there are left out; the probabilities of the others are those among themselves,
    and ``null_odds`` compare with the best of them. Where no candidate is left, the answer is ``""``.

    Args:
        answers: What was found in the shortened texts.
        texts: Id of a question -> the text that was read.
        null_score_diff_threshold: How far the null score must exceed that of an answer to win, as it was chosen by.
    """
    nbest = {key: _placed(entries, texts[key]) for key, entries in answers.nbest.items()}
    odds = {key: _odds(value, answers.nbest[key], nbest[key]) for key, value in answers.null_odds.items()}
    unanswered = {key for key, value in odds.items() if value > null_score_diff_threshold}
    predictions = {
        key: "" if key in unanswered else _predicted(text.strip(), nbest[key])
        for key, text in answers.predictions.items()
    }
    return replace(answers, predictions=predictions, nbest=nbest, null_odds=odds)


def _odds(odds: float, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> float:
    """Null score minus the score of the best answer that is left, from that minus the score of the best there was."""
    best, left = _best_score(before), _best_score(after)
    return odds if best is None or left is None else odds + best - left


def _best_score(entries: list[dict[str, Any]]) -> float | None:
    return next((entry["start_logit"] + entry["end_logit"] for entry in entries if entry["text"]), None)


def _placed(entries: list[dict[str, Any]], text: Shortened) -> list[dict[str, Any]]:
    placed = []
    for entry in entries:
        start, end = visible(text.text, entry["start"], entry["end"])
        place = text.to_original(start, end) if entry["text"] else (0, 0)
        if place is not None:
            placed.append({**entry, "text": entry["text"].strip(), "start": place[0], "end": place[1]})
    if not placed:
        return [{**entries[0], "text": "", "start": 0, "end": 0, "probability": 1.0}]
    total = sum(entry["probability"] for entry in placed)
    return [{**entry, "probability": entry["probability"] / total if total else 0.0} for entry in placed]


def _predicted(text: str, entries: list[dict[str, Any]]) -> str:
    """The predicted text where it is still a candidate, else the best one that is not "no answer"."""
    texts = [entry["text"] for entry in entries]
    if text in texts:
        return text
    return next((candidate for candidate in texts if candidate), "")
