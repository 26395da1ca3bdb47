"""One table of several models on the same questions: scores, confidence, sizes and speed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ConfigurationError
from ..qa.answering import Reader
from ..qa.batches import question_blocks
from ..qa.evaluation_decoding import QAPredictions
from ..qa.settings import AnsweringSettings
from .bootstrap import RESAMPLES, SMALL_SAMPLE, Difference, Estimate, bootstrap_means, difference_of, estimate_of
from .facts import ModelFacts, model_facts
from .scores import score_all, score_each
from .timing import timed_in_turns

__all__ = ["Comparison", "ModelResult", "compare_models"]

FloatArray = npt.NDArray[np.float64]

LATENCY_QUESTIONS = 100
"""Questions, evenly spread over the data, that are asked one by one."""

_WARM_UP = 3  # questions that each model answers before the clock runs

Watch = Callable[[Iterable[Any], str], Iterable[Any]]
"""Passes on what it is given, with a name for it, as a progress bar does."""


@dataclass(frozen=True)
class ModelResult:
    """One row of the table.

    Attributes:
        name: What the model is called in tables.
        em: Exact match in percent, with its interval.
        f1: F1 in percent, likewise.
        em_difference: To the first model, in points of percent; None for the first model itself.
        f1_difference: Likewise.
        settings: How it answered.
        facts: Parameters and bytes.
        latency: Median of the seconds from one question to its answer, one window at a time.
        questions_per_second: Over all questions, in batches.
    """

    name: str
    em: Estimate
    f1: Estimate
    em_difference: Difference | None
    f1_difference: Difference | None
    settings: AnsweringSettings
    facts: ModelFacts
    latency: float
    questions_per_second: float


@dataclass(frozen=True)
class Comparison:
    """The rows, and what they were measured with."""

    metric: str
    questions: int
    latency_questions: int
    batch_size: int
    resamples: int
    seed: int
    device: str
    threads: int
    models: list[ModelResult]

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return asdict(self)


def compare_models(
    readers: Mapping[str, Reader],
    records: Sequence[dict[str, Any]],
    *,
    metric: str,
    batch_size: int = 16,
    resamples: int = RESAMPLES,
    seed: int = 0,
    watch: Watch = lambda items, _: items,
) -> Comparison:
    """Let every model answer every question, and compare scores, sizes and speed.

    The models take turns block by block, so that whatever else the machine does hits all of them alike.

    Args:
        readers: The models by the name that the table shows; the first is compared with the others. Each answers with
            its own settings, and its scores are those that training's evaluation reports with them.
        records: Questions in the SQuAD schema.
        metric: One of :data:`~transformers_palbert.qa.metrics.METRICS`.
        batch_size: Windows that pass through a model at once.
        resamples: Draws of the bootstrap.
        seed: Seed of the random draws of the bootstrap.
        watch: Wraps what is counted, for a progress bar.

    Raises:
        ConfigurationError: if there is no model or no question.
    """
    if not readers or not records:
        raise ConfigurationError(f"Nothing to compare: {len(readers)} models and {len(records)} questions.")
    if len(records) < SMALL_SAMPLE:
        warnings.warn(
            f"{len(records)} questions are few: below {SMALL_SAMPLE} the intervals are wide and uncertain themselves."
            " Do not decide between models by them.",
            UserWarning,
            stacklevel=2,
        )
    models = list(readers.values())
    latency, sample = _latencies(models, records, watch)
    predictions, seconds = _answers(models, records, batch_size, watch)
    totals = [score_all(metric, texts, records) for texts in predictions]
    scores = np.stack([score_each(metric, list(texts.values()), records) for texts in predictions], axis=1)
    drawn = bootstrap_means(scores.reshape(len(records), -1), resamples=resamples, seed=seed)
    drawn = drawn.reshape(resamples, len(models), 2)
    rows = [
        ModelResult(
            name,
            **_estimates(totals, drawn, number),
            settings=reader.settings,
            facts=model_facts(reader.model),
            latency=latency[number],
            questions_per_second=len(records) / seconds[number],
        )
        for number, (name, reader) in enumerate(readers.items())
    ]
    return Comparison(
        metric,
        questions=len(records),
        latency_questions=sample,
        batch_size=batch_size,
        resamples=resamples,
        seed=seed,
        device=str(models[0].device),
        threads=torch.get_num_threads(),
        models=rows,
    )


def _estimates(totals: Sequence[dict[str, float]], drawn: FloatArray, number: int) -> dict[str, Any]:
    """Both scores of one model with their intervals, and their differences to the first model."""
    found: dict[str, Any] = {}
    for column, name in enumerate(("em", "f1")):
        value = totals[number][name]
        found[name] = estimate_of(value, drawn[:, number, column])
        difference = difference_of(value - totals[0][name], drawn[:, number, column] - drawn[:, 0, column])
        found[f"{name}_difference"] = difference if number else None
    return found


def _latencies(readers: Sequence[Reader], records: Sequence[dict[str, Any]], watch: Watch) -> tuple[list[float], int]:
    """Median seconds of every model for one question, and the number of questions asked."""
    sample = min(LATENCY_QUESTIONS, len(records))
    chosen = [[records[at]] for at in np.linspace(0, len(records) - 1, sample).astype(int)]
    asking = [partial(reader.answer, batch_size=1) for reader in readers]
    timed_in_turns(asking, chosen[:_WARM_UP])
    _, seconds = timed_in_turns(asking, watch(chosen, "one by one"))
    return [float(median) for median in np.median(seconds, axis=1)], sample


def _answers(
    readers: Sequence[Reader], records: Sequence[dict[str, Any]], batch_size: int, watch: Watch
) -> tuple[list[dict[str, str]], list[float]]:
    """Every model's answers by question id, and the seconds that it took for all questions."""
    asking = [partial(reader.answer, batch_size=batch_size) for reader in readers]
    results, seconds = timed_in_turns(asking, watch(question_blocks(records, batch_size), "in batches"))
    return [_joined(blocks) for blocks in results], [float(total) for total in seconds.sum(axis=1)]


def _joined(blocks: Sequence[QAPredictions]) -> dict[str, str]:
    return {key: text for block in blocks for key, text in block.predictions.items()}
