"""A teacher's logits beside the training data, on disk: computed once, then the teacher need not run, nor be there.

    features = cache_teacher(features, teacher, collate, folder="teacher")
    model = with_teacher(model, None, temperature=2.0, weight=0.5)
    QuestionAnsweringTrainer(model, args, train_dataset=features, data_collator=TeacherLogitsCollator(collate))

The logits are columns of the data set, one for each kind: ``teacher_start_logits``, ``teacher_end_logits``, or
``teacher_logits``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from datasets.fingerprint import Hasher
from torch import Tensor
from transformers import PreTrainedModel

from ...errors import ConfigurationError
from ...model.digest import model_digest
from ...model.modes import evaluating
from .batches import inputs_of
from .logits import LOGITS

__all__ = ["COLUMNS", "PREFIX", "TeacherLogitsCollator", "cache_teacher"]

PREFIX = "teacher_"
COLUMNS = tuple(f"{PREFIX}{name}" for name in LOGITS)
"""The columns that :func:`cache_teacher` may add."""

_FORMAT = 1  # part of the cache key: raise it whenever the logits of unchanged data and weights change

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]


def cache_teacher(
    features: Dataset,
    teacher: PreTrainedModel,
    collate: Collate,
    *,
    folder: str | Path | None = None,
    batch_size: int = 32,
) -> Dataset:
    """Add the logits of ``teacher`` to the data that a student is to be trained on.

    The result is cached by ``datasets``, under a key made from the data, from every weight and setting of the teacher,
    and from the size of batches: whatever changes, the logits are computed anew. They are stored as float32, without
    those of padding that ``collate`` adds. Another width of padding changes the last bits of logits, so those of a
    teacher that runs within training are the same to about 1e-5, and the same bit for bit where the batches are the
    same ones. (Where tokens are padded on the left, padding shifts the positions that most encoders count from the
    left, so that their logits depend on the batch in any case.)

    Args:
        features: Training data, such as :func:`~transformers_palbert.qa.features.build_features` returns.
        teacher: The model to ask, on the device where it is to run; it is asked in evaluation mode.
        collate: What makes a batch of rows, such as ``DataCollatorWithPadding(tokenizer)``.
        folder: Where the file is written; None leaves it to ``datasets``, which keeps it in its own cache beside the
            data's, or in memory where the data is.
        batch_size: Rows that pass through the teacher at once.

    Returns:
        ``features`` with the columns ``teacher_…``.

    Raises:
        ConfigurationError: if the data has such columns, or the teacher returns no logits.
    """
    if present := sorted(set(COLUMNS) & set(features.column_names)):
        raise ConfigurationError(
            f"The data holds {', '.join(present)} already: give the features as build_features returned them."
        )
    made_by = [_FORMAT, features._fingerprint, model_digest(teacher), batch_size, _pads_left(collate)]
    key = Hasher.hash(json.dumps(made_by))
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    names = [name for name in features.column_names if name in inputs_of(teacher)]
    with evaluating(teacher):
        return features.map(
            lambda columns: _logits_of(columns, teacher, collate, names),
            batched=True,
            batch_size=batch_size,
            new_fingerprint=key,
            cache_file_name=None if folder is None else str(Path(folder, f"teacher-{key}.arrow")),
            desc="Asking the teacher",
        )


@torch.no_grad()
def _logits_of(
    columns: Mapping[str, Sequence[Any]], teacher: PreTrainedModel, collate: Collate, names: Sequence[str]
) -> dict[str, list[Any]]:
    """The columns of logits of one batch."""
    rows = [dict(zip(names, values, strict=True)) for values in zip(*(columns[name] for name in names), strict=True)]
    batch = {name: value.to(teacher.device) for name, value in collate(rows).items() if name in names}
    outputs = teacher(**batch, return_dict=True)
    found = {name: outputs[name].float().cpu() for name in LOGITS if outputs.get(name) is not None}
    if not found:
        raise ConfigurationError(f"{type(teacher).__name__} returns no logits; it returns {', '.join(outputs)}.")
    lengths, left = [len(ids) for ids in columns["input_ids"]], _pads_left(collate)
    return {
        f"{PREFIX}{name}": [
            _without_padding(row, length, left).tolist() if _per_token(name, value) else row.tolist()
            for row, length in zip(value, lengths, strict=True)
        ]
        for name, value in found.items()
    }


def _per_token(name: str, logits: Tensor) -> bool:
    """Whether the logits of a batch have an entry per token, and not one per text."""
    return name != "logits" or logits.dim() == 3


def _without_padding(row: Tensor, length: int, left: bool) -> Tensor:
    return row[len(row) - length :] if left else row[:length]


def _pads_left(collate: Any) -> bool:
    return getattr(getattr(collate, "tokenizer", None), "padding_side", "right") == "left"


class TeacherLogitsCollator:
    """A collator that lets another one make the batch, and adds the teacher's logits, padded like the tokens.

    Args:
        collate: What makes a batch of rows without such columns, such as ``DataCollatorWithPadding(tokenizer)``.

    Attributes:
        tokenizer: That of ``collate``, if it has one.
    """

    def __init__(self, collate: Collate) -> None:
        self.collate = collate
        self.tokenizer = getattr(collate, "tokenizer", None)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch; rows without logits, as in evaluation, make one without them."""
        columns = [name for name in COLUMNS if name in rows[0]]
        plain = [{name: value for name, value in row.items() if name not in COLUMNS} for row in rows]
        batch = dict(self.collate(plain))
        for name in columns:
            logits = [torch.as_tensor(row[name], dtype=torch.float32) for row in rows]
            batch[name] = self._padded(logits, batch["input_ids"].shape[1], name)
        return batch

    def _padded(self, logits: list[Tensor], width: int, name: str) -> Tensor:
        if name == f"{PREFIX}logits" and logits[0].dim() == 1:
            return torch.stack(logits)
        padded = logits[0].new_zeros(len(logits), width, *logits[0].shape[1:])
        for row, values in zip(padded, logits, strict=True):
            _without_padding(row, len(values), _pads_left(self.collate)).copy_(values)
        return padded
