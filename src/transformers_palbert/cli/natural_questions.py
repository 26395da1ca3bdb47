"""What ``palbert evaluate --metric natural_questions`` does: predictions or a model against annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .models import answer_all

__all__ = ["natural_scores"]


def natural_scores(
    references: Path, predictions: tuple[str, Any] | None, model: str, batch_size: int, device: str | None
) -> dict[str, float]:
    """Score predictions (name and content of a file of the official form), or else what ``model`` answers.

    Raises:
        DatasetFormatError: if a file is not of the form it should have, or their ids differ.
    """
    from ..qa.datasets import load_qa_dataset
    from ..qa.metrics.natural_questions import natural_answers, read_natural_answers, score_natural_questions
    from ..qa.natural_questions import read_natural_questions

    questions = list(read_natural_questions(references))
    annotations = {question.id: question.annotations for question in questions}
    if predictions is not None:
        return score_natural_questions(annotations, read_natural_answers(predictions[1], predictions[0]))
    records = load_qa_dataset(references).to_list()
    answers, _ = answer_all(model, records, impossible=True, batch_size=batch_size, device=device)
    return score_natural_questions(annotations, natural_answers(questions, answers))
