"""What the `evaluate` modules of this package have in common: their inputs."""

from __future__ import annotations

import datasets
import evaluate

__all__ = ["metric_info"]

_INPUTS = """
Args:
    predictions: list of {"id": str, "prediction_text": str}; squad_v2 also takes "no_answer_probability": float.
        One for each reference: only compute_metric takes predictions with gaps.
    references: list of {"id": str, "answers": {"text": [str, ...], "answer_start": [int, ...]}}.
"""


def metric_info(description: str, returns: str, *, no_answer_probability: bool = False) -> evaluate.MetricInfo:
    """Describe a metric in the form that `evaluate` asks of its modules."""
    text = datasets.Value("string")
    prediction = {"id": text, "prediction_text": text}
    if no_answer_probability:
        prediction["no_answer_probability"] = datasets.Value("float64")
    answers = {"text": [text], "answer_start": [datasets.Value("int32")]}
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description=f"{_INPUTS}Returns:\n    {returns}\n",
        features=datasets.Features({"predictions": prediction, "references": {"id": text, "answers": answers}}),
    )
