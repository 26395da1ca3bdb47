"""The answer of several models together: of what they found, the text with the highest sum of probabilities.

Each model gives its n-best list, as evaluation writes it into ``eval_nbest_predictions.json``: candidates with a
probability each, which add up to 1. A text that a list holds several times, at several places of the context, has the
sum of their probabilities. The empty text, "the context does not say", is a candidate like any other, and the models'
thresholds for it play no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DatasetFormatError

__all__ = ["is_nbest", "vote", "vote_for_each"]

_WHOLE = 1 + 1e-6  # a probability of 1, as it comes from a division of sums in float32

Candidates = Sequence[Mapping[str, Any]]
"""An n-best list: mappings with ``text`` and ``probability`` (0 to 1), and more, in any order."""


def vote(lists: Sequence[Candidates]) -> list[dict[str, Any]]:
    """Join n-best lists of one question, one list from each model.

    Returns:
        One candidate for each text, best first; of equal ones, that which comes first in the lists. ``probability`` is
        the sum divided by the number of lists, 0 to 1; all else is that of the text's most probable candidate.

    Raises:
        DatasetFormatError: if a candidate lacks its text or its probability.
    """
    best: dict[str, Mapping[str, Any]] = {}
    total: dict[str, float] = {}
    for candidate in (candidate for candidates in lists for candidate in candidates):
        text, probability = _checked(candidate)
        total[text] = total.get(text, 0.0) + probability
        if text not in best or probability > best[text]["probability"]:
            best[text] = candidate
    ranked = sorted(total, key=lambda text: -total[text])
    return [{**best[text], "probability": total[text] / len(lists)} for text in ranked]


def vote_for_each(members: Sequence[Mapping[str, Candidates]], names: Sequence[str] = ()) -> dict[str, str]:
    """The answer of several models to every question.

    Args:
        members: The n-best lists of each model, by question id.
        names: What messages call the models; by default their numbers.

    Raises:
        DatasetFormatError: if a model has no list for a question that another one has, or a list is empty or malformed.
    """
    ids = list(dict.fromkeys(key for member in members for key in member))
    for number, member in enumerate(members):
        if missing := [key for key in ids if not member.get(key)]:
            raise DatasetFormatError(
                f"{names[number] if names else f'member {number}'}: {len(missing)} of {len(ids)} questions have no"
                f" candidates, the first is {missing[0]!r}. All members of a vote must answer the same questions."
            )
    return {key: vote([member[key] for member in members])[0]["text"] for key in ids}


def is_nbest(predictions: Any) -> bool:
    """Whether predictions by question id are n-best lists rather than one text for each question."""
    return isinstance(predictions, Mapping) and any(isinstance(value, list) for value in predictions.values())


def _checked(candidate: Any) -> tuple[str, float]:
    match candidate:
        case {"text": str() as text, "probability": float() | int() as probability} if 0 <= probability <= _WHOLE:
            return text, float(probability)
    raise DatasetFormatError(
        f"A candidate of an n-best list must have a 'text' and a 'probability' from 0 to 1, got {candidate!r:.200}."
    )
