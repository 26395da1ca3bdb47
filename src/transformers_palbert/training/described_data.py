"""What a model card says of the questions of a run: where they come from, how many there are, what was made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset

from ..hub.card import PalBertCard
from ..hub.examples import example_in
from ..reduction.limits import Limit
from .arguments import DataArguments

__all__ = ["describe_data"]

_LIMITS = {
    "max_tokens": "to {:,} tokens at most",
    "share": "to {:.0%} of their tokens",
    "threshold": "to what has a relevance of {:g} or more",
}


def describe_data(card: PalBertCard, data: DataArguments, questions: Mapping[str, Dataset]) -> None:
    """Tell the model card what the Trainer cannot know: where the questions come from.

    The Hub shows a result as that of a data set, so it is named only where its questions were asked as they are.

    Args:
        card: The card, whose fields are set.
        data: What the questions were made of, and how.
        questions: Part (train, validation, test) -> its questions, prepared.
    """
    card.example = example_in(" ".join(next(iter(questions.values()))[:5]["question"]))
    if "train" in questions:
        card.training_data = _described(data, "train", data.train_file, questions["train"])
    if "validation" in questions:
        card.evaluation_data = _described(data, "validation", data.validation_file, questions["validation"])
    changed = data.validation_file or data.max_eval_samples is not None or _shortened(data, "validation")
    if data.dataset_name and not changed:
        card.datasets, card.dataset_config = [data.dataset_name], data.dataset_config_name
        card.dataset_split = "validation"


def _described(data: DataArguments, part: str, file: str | None, questions: Dataset) -> str:
    source = Path(file).name if file else f"{data.dataset_name}, {part}"
    count = f"{len(set(questions['id'])):,}"  # a curriculum has each of them several times
    cloze = part == "train" and data.cloze_questions is not None
    text = f"{count} cloze questions made of {source}" if cloze else f"{source}, {count} questions"
    stages = _shortened(data, part)
    return f"{text}, contexts shortened by {data.reduce} {', then '.join(map(_limit, stages))}" if stages else text


def _shortened(data: DataArguments, part: str) -> list[Limit | None]:
    """How much is kept of the contexts of a part, stage by stage, None for everything; empty where it is all of it."""
    if part not in data.reduced_parts:
        return []
    stages = data.curriculum_stages or [data.reduction_limit]
    stages = stages if part == "train" else stages[-1:]
    return stages if any(stages) else []


def _limit(limit: Limit | None) -> str:
    if limit is None:
        return "left whole"
    ((name, value),) = limit.describe().items()
    return _LIMITS[name].format(value)
