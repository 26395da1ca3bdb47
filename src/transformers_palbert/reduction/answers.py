"""Answers that were found in a shortened text, put back at their places in the whole one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..qa.evaluation_decoding import QAPredictions
from ..text.shortened import Shortened

__all__ = ["restore_places"]


def restore_places(answers: QAPredictions, texts: Mapping[str, Shortened]) -> QAPredictions:
    """The same answers with ``start`` and ``end`` in the whole contexts, of which they are exact slices.

    Candidates that join what was apart there are left out; the probabilities of the others are those among themselves.
    Where no candidate is left, the answer is ``""``.

    Args:
        answers: What was found in the shortened texts.
        texts: Id of a question -> the text that was read.
    """
    nbest = {key: _placed(entries, texts[key]) for key, entries in answers.nbest.items()}
    predictions = {key: _predicted(text, nbest[key]) for key, text in answers.predictions.items()}
    return replace(answers, predictions=predictions, nbest=nbest)


def _placed(entries: list[dict[str, Any]], text: Shortened) -> list[dict[str, Any]]:
    placed = []
    for entry in entries:
        place = text.to_original(entry["start"], entry["end"]) if entry["text"] else (0, 0)
        if place is not None:
            placed.append({**entry, "start": place[0], "end": place[1]})
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
