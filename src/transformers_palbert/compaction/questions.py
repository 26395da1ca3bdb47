"""Questions as the batches that costs are estimated on."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DataCollatorWithPadding

from ..qa.features import build_features
from ..qa.settings import AnsweringSettings

__all__ = ["question_batches"]


def question_batches(
    questions: Any, tokenizer: Any, settings: AnsweringSettings, batch_size: int = 16
) -> list[dict[str, Tensor]]:
    """The windows of ``questions`` with the places of their answers, similar lengths together, shortest first.

    Args:
        questions: A data set in the SQuAD schema, with answers.
        tokenizer: The model's.
        settings: How windows are cut.
        batch_size: Windows in a batch.
    """
    features = build_features(questions, tokenizer, training=True, **settings.windows)
    names = {*tokenizer.model_input_names, "start_positions", "end_positions"} & set(features.column_names)
    rows = sorted(({name: row[name] for name in names} for row in features), key=lambda row: len(row["input_ids"]))
    collate = DataCollatorWithPadding(tokenizer)
    return [dict(collate(rows[at : at + batch_size])) for at in range(0, len(rows), batch_size)]
