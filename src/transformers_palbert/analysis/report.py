"""What the report page shows, as one plain dictionary."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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


Watch = Callable[[Iterable[Any], str], Iterable[Any]]
"""Passes on what it is given, with a name for it, as a progress bar does."""


@dataclass(frozen=True)
class _Asked:
    """What one model said to all questions.

    Attributes:
        summary: Its name, settings, facts and scores, as the page shows them.
        answers: The best candidates of every question.
        ranked: Exact match and F1 of each, in percent, ``(questions, ranks, 2)``.
    """

    summary: dict[str, Any]
    answers: list[list[dict[str, Any]]]
    ranked: npt.NDArray[np.float64]


def report_data(
    readers: Mapping[str, Reader],
    records: Sequence[dict[str, Any]],
    *,
    source: str,
    metric: str,
    batch_size: int = 16,
    top_k: int = 1,
    watch: Watch = lambda items, _: items,
) -> dict[str, Any]:
    """Ask every question, score the answers, and gather what :func:`~.page.render_page` shows.

    Args:
        readers: The model by its name on the page, or two of them; each answers as training's evaluation does, with its
            own settings. Breakdowns and pictures are of the first, and the second stands beside it.
        records: Questions in the SQuAD schema.
        source: Where the questions come from, as the page says it.
        metric: One of :data:`~transformers_palbert.qa.metrics.METRICS`.
        batch_size: Windows that pass through the model at once.
        top_k: How many candidates of each question are shown, the prediction first; no score depends on it.
        watch: Wraps what is counted, for a progress bar.

    Returns:
        Values that JSON knows. Offsets count characters (Unicode code points) of the context, each of which is there
        once; densities of blocks are bytes (0 to 255) in base64, row by row.

    Raises:
        ConfigurationError: if there is no question, no model, or more than two.
        DatasetFormatError: if the metric cannot score one, such as a question without an answer.
    """
    if not records:
        raise ConfigurationError(f"{source}: there is no question to report on.")
    if not 1 <= len(readers) <= 2:
        raise ConfigurationError(f"A report is about one model or two, not {len(readers)}; palbert compare takes more.")
    first, *rest = (_ask(name, reader, records, metric, batch_size, top_k, watch) for name, reader in readers.items())
    other = rest[0] if rest else None
    parts = breakdowns(records, [found[0]["score"] for found in first.answers], first.ranked[:, 0])
    contexts, context_of = _distinct([(record["title"], record["context"]) for record in records])
    return {
        **first.summary,
        "source": source,
        "metric": metric,
        "topK": top_k,
        "other": None if other is None else other.summary,
        "breakdowns": [_breakdown(part, other) for part in parts],
        "matrices": [_matrix(picture) for picture in density_pictures(next(iter(readers.values())).model)],
        "contexts": [{"title": title, "text": text} for title, text in contexts],
        "questions": [
            _question(record, context_of[row], [part.of[row] for part in parts], row, first, other)
            for row, record in enumerate(records)
        ],
    }


def _ask(
    name: str, reader: Reader, records: Sequence[dict[str, Any]], metric: str, batch_size: int, top_k: int, watch: Watch
) -> _Asked:
    """Let one model answer, and score it."""
    predictions, answers = _answers(reader, records, batch_size, top_k, watch)
    total = score_all(metric, predictions, records)
    ranked = _score_ranks(metric, answers, records, top_k)
    em, f1, em_of_best, f1_of_best = estimates(np.concatenate([ranked[:, 0], np.nanmax(ranked, axis=1)], axis=1))
    intervals = {"em": replace(em, value=total["em"]), "f1": replace(f1, value=total["f1"])}
    summary = {
        "model": name,
        "settings": asdict(reader.settings),
        "facts": model_facts(reader.model).to_dict(),
        "scores": {key: [value.value, *_rounded(value)[1:]] for key, value in intervals.items()},
        "best": {"em": round(em_of_best.value, 2), "f1": round(f1_of_best.value, 2)},
    }
    return _Asked(summary, answers, ranked)


def _answers(
    reader: Reader,
    records: Sequence[dict[str, Any]],
    batch_size: int,
    top_k: int,
    watch: Watch,
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
    record: dict[str, Any], context: int, groups: list[int], row: int, first: _Asked, other: _Asked | None
) -> dict[str, Any]:
    gold = dict.fromkeys(zip(record["answers"]["answer_start"], record["answers"]["text"], strict=True))
    return {
        "id": record["id"],
        "text": record["question"],
        "context": context,
        "groups": groups,
        "gold": [list(pair) for pair in gold],
        **_said(first, row),
        **({} if other is None else {"other": _said(other, row)}),
    }


def _said(asked: _Asked, row: int) -> dict[str, Any]:
    """The scores of a model's answer to one question, and its candidates."""
    scores = asked.ranked[row]
    return {
        "em": round(float(scores[0, 0]), 2),
        "f1": round(float(scores[0, 1]), 2),
        "answers": [  # score, first and last character, F1
            [float(f"{answer['score']:.3g}"), answer["start"], answer["end"], round(float(f1), 1)]
            for answer, (_, f1) in zip(
                asked.answers[row], scores, strict=False
            )  # there may be fewer answers than ranks
        ],
    }


def _distinct(values: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Distinct values in order of appearance, and the index of each value among them."""
    index: dict[Any, int] = {}
    of = [index.setdefault(value, len(index)) for value in values]
    return list(index), of


def _breakdown(part: Breakdown, other: _Asked | None) -> dict[str, Any]:
    """The groups with their scores; ``other`` is the second model's F1 in the same groups."""
    groups = [
        {"label": group.label, "count": group.count, "em": _rounded(group.em), "f1": _rounded(group.f1)}
        for group in part.groups
    ]
    if other is not None:
        for number, group in enumerate(groups):
            group["other"] = round(float(other.ranked[np.equal(part.of, number), 0, 1].mean()), 2)
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
