"""What the report page shows, as one plain dictionary."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..qa.answering import Reader, best_candidates
from ..qa.batches import question_blocks
from .bootstrap import estimates
from .breakdown import Breakdown, breakdowns
from .facts import MatrixPicture, density_pictures, model_facts
from .scores import score_all, score_each

__all__ = ["report_data"]

FULL = 0.999
"""Density from which a matrix is listed instead of drawn: the padding token's row of the embeddings is always zero."""


def report_data(
    reader: Reader,
    records: Sequence[dict[str, Any]],
    *,
    name: str,
    source: str,
    metric: str,
    batch_size: int = 16,
    top_k: int = 1,
    watch: Callable[[Iterable[Any], str], Iterable[Any]] = lambda items, _: items,
) -> dict[str, Any]:
    """Ask every question, score the answers, and gather what :func:`~.page.render_page` shows.

    Args:
        reader: The model, which answers as training's evaluation does, with its own settings.
        records: Questions in the SQuAD schema.
        name: What the model is called on the page.
        source: Where the questions come from, as the page says it.
        metric: One of :data:`~transformers_palbert.qa.metrics.METRICS`.
        batch_size: Windows that pass through the model at once.
        top_k: How many candidates of each question are shown, the prediction first; no score depends on it.
        watch: Wraps what is counted, for a progress bar.

    Returns:
        Values that JSON knows. Offsets count characters (Unicode code points) of the context, each of which is there
        once; densities of blocks are bytes (0 to 255) in base64, row by row.

    Raises:
        ConfigurationError: if there is no question.
        DatasetFormatError: if the metric cannot score one, such as a question without an answer.
    """
    if not records:
        raise ConfigurationError(f"{source}: there is no question to report on.")
    predictions, answers = _answers(reader, records, batch_size, top_k, watch)
    total = score_all(metric, predictions, records)
    ranked = _score_ranks(metric, answers, records, top_k)
    scores = ranked[:, 0]
    best = np.nanmax(ranked, axis=1)
    em, f1, em_of_best, f1_of_best = estimates(np.concatenate([scores, best], axis=1))
    intervals = {"em": replace(em, value=total["em"]), "f1": replace(f1, value=total["f1"])}
    parts = breakdowns(records, [found[0]["score"] for found in answers], scores)
    contexts, context_of = _distinct([(record["title"], record["context"]) for record in records])
    return {
        "model": name,
        "source": source,
        "metric": metric,
        "topK": top_k,
        "settings": asdict(reader.settings),
        "facts": model_facts(reader.model).to_dict(),
        "scores": {key: [value.value, *_rounded(value)[1:]] for key, value in intervals.items()},
        "best": {"em": round(em_of_best.value, 2), "f1": round(f1_of_best.value, 2)},
        "breakdowns": [_breakdown(part) for part in parts],
        "matrices": [_matrix(picture) for picture in density_pictures(reader.model)],
        "contexts": [{"title": title, "text": text} for title, text in contexts],
        "questions": [
            _question(record, context_of[row], [part.of[row] for part in parts], answers[row], ranked[row])
            for row, record in enumerate(records)
        ],
    }


def _answers(
    reader: Reader,
    records: Sequence[dict[str, Any]],
    batch_size: int,
    top_k: int,
    watch: Callable[[Iterable[Any], str], Iterable[Any]],
) -> tuple[dict[str, str], list[list[dict[str, Any]]]]:
    """The predictions by question id, and the best candidates of every question."""
    predictions: dict[str, str] = {}
    candidates = []
    for block in watch(question_blocks(records, batch_size), "answering"):
        found = reader.answer(block, batch_size=batch_size)
        predictions |= found.predictions
        candidates += [best_candidates(found, record["id"], top_k) for record in block]
    return predictions, candidates


def _score_ranks(
    metric: str, answers: Sequence[list[dict[str, Any]]], records: Sequence[dict[str, Any]], ranks: int
) -> npt.NDArray[np.float64]:
    """Exact match and F1 of every candidate, ``(questions, ranks, 2)``; NaN where a question has fewer."""
    scores = np.full((len(records), ranks, 2), np.nan)
    for rank in range(ranks):
        rows = [row for row, found in enumerate(answers) if len(found) > rank]
        texts = [answers[row][rank]["answer"] for row in rows]
        scores[rows, rank] = score_each(metric, texts, [records[row] for row in rows])
    return scores


def _question(
    record: dict[str, Any], context: int, groups: list[int], answers: list[dict[str, Any]], scores: Any
) -> dict[str, Any]:
    gold = dict.fromkeys(zip(record["answers"]["answer_start"], record["answers"]["text"], strict=True))
    return {
        "id": record["id"],
        "text": record["question"],
        "context": context,
        "groups": groups,
        "gold": [list(pair) for pair in gold],
        "em": round(float(scores[0, 0]), 2),
        "f1": round(float(scores[0, 1]), 2),
        "answers": [  # score, first and last character, F1
            [float(f"{answer['score']:.3g}"), answer["start"], answer["end"], round(float(f1), 1)]
            for answer, (_, f1) in zip(answers, scores, strict=False)  # there may be fewer answers than ranks
        ],
    }


def _distinct(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Distinct values in order of appearance, and the index of each value among them."""
    index: dict[Any, int] = {}
    of = [index.setdefault(value, len(index)) for value in values]
    return list(index), of


def _breakdown(part: Breakdown) -> dict[str, Any]:
    groups = [
        {"label": group.label, "count": group.count, "em": _rounded(group.em), "f1": _rounded(group.f1)}
        for group in part.groups
    ]
    return {"key": part.key, "title": part.title, "groups": groups}


def _rounded(estimate: Any) -> list[float]:
    """Value, low and high."""
    return [round(value, 2) for value in asdict(estimate).values()]


def _matrix(picture: MatrixPicture) -> dict[str, Any]:
    rows, columns = picture.blocks.shape
    peak = float(picture.blocks.max())
    levels = np.rint(255 * picture.blocks / peak).astype(np.uint8) if peak else np.zeros((rows, columns), np.uint8)
    return {
        "name": picture.name,
        "shape": list(picture.shape),
        "density": picture.density,
        "emptyRows": picture.empty_rows,
        "emptyColumns": picture.empty_columns,
        "grid": [rows, columns],
        "peak": peak,
        "blocks": "" if picture.density >= FULL else b64encode(levels.tobytes()).decode("ascii"),
    }
