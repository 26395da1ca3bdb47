"""Data sets with shorter contexts, for a training that makes them on its way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets

from ..qa.datasets import FEATURES
from ..qa.record_cache import cached_file, dataset_in_memory, load_cached, write_cached
from ..text.shortened import join_passages
from .building import ScoredDataset
from .fusion import Fusion
from .limits import Limit, choose
from .records import answer_spans, move_answers, passages_of_spans
from .settings import ReductionSettings

__all__ = ["curriculum", "shorten_dataset"]

logger = logging.getLogger(__name__)

_FORMAT = 2  # part of the cache's key: raise it whenever unchanged scores become other records


def shorten_dataset(
    scored: ScoredDataset,
    settings: ReductionSettings,
    limit: Limit,
    *,
    training: bool = False,
    keep_answer: bool = False,
) -> datasets.Dataset:
    """The same questions with shorter contexts; kept in the cache of `datasets`.

    Args:
        scored: The questions and the scores of their passages.
        settings: How the scores are fused.
        limit: How much is kept.
        training: Leave out answers that were cut away, and questions that have no others; how many is logged.
            Otherwise nothing is left out, and such answers have the offset -1.
        keep_answer: Keep the passages that hold the answers, whatever their scores.
    """

    def records() -> Iterator[dict[str, Any]]:
        made = _records(scored, settings, limit, keep_answer)
        return (row for row in map(_learnable, made) if row) if training else made

    # The scores' files are called after questions and passages, the fingerprint stands for ids and answers.
    parts = [scored.chunks.dataset._fingerprint, [[str(file) for file in files] for files in scored.files.values()]]
    chosen = [scored.tokens, settings.describe(), limit.describe(), training, keep_answer]
    result = _cached(cached_file("reduction", _FORMAT, *parts, *chosen), records)
    if lost := len(scored) - len(result):
        logger.warning("%d of %d questions are set aside: what was kept holds no answer to them.", lost, len(scored))
    return result


def _cached(file: Path | None, records: Callable[[], Iterator[dict[str, Any]]]) -> datasets.Dataset:
    """The data set in ``file``, written if need be; in memory without a file, or where it cannot be written."""
    if file is not None:
        if found := load_cached(file):
            return found[0]
        try:
            return write_cached(file, FEATURES, records(), dict)
        except OSError as error:
            logger.warning("%s cannot be written (%s): the data set stays in memory, and is not cached", file, error)
    return dataset_in_memory(FEATURES, records())


def curriculum(stages: Sequence[datasets.Dataset], seed: int) -> datasets.Dataset:
    """One data set that is learnt from in its order: the stages one after another, each in a random order of its own.

    Args:
        stages: The same questions with contexts of rising length: D_n … D_1.
        seed: Seed of the orders.
    """
    shuffled = [stage.shuffle(seed=seed + number) for number, stage in enumerate(stages)]
    return datasets.concatenate_datasets(shuffled)


def _records(
    scored: ScoredDataset, settings: ReductionSettings, limit: Limit, keep_answer: bool
) -> Iterator[dict[str, Any]]:
    fusion = Fusion(settings.fusion, settings.weights)
    for record, row, scores in scored:
        required = passages_of_spans(row, answer_spans(record["answers"])) if keep_answer else []
        kept = choose(fusion(scores), row.tokens, limit, neighbours=settings.neighbours, required=required)
        shorter = join_passages(row.context, row.spans, kept)
        yield {**record, "context": shorter.text, "answers": move_answers(record["answers"], shorter)}


def _learnable(record: dict[str, Any]) -> dict[str, Any] | None:
    """The record with the answers that have a place; None where it had answers and none has one."""
    answers = record["answers"]
    placed = [pair for pair in zip(answers["text"], answers["answer_start"], strict=True) if pair[1] >= 0]
    if answers["text"] and not placed:
        return None
    return {**record, "answers": {"text": [text for text, _ in placed], "answer_start": [at for _, at in placed]}}
