"""What a teacher reads of a batch, and how much rows and batches count: the same however they are cut.

``Trainer`` counts the labels of all micro-batches of an optimizer step, on all processes, and hands the number to the
model, which is to divide the sum of its losses by it. The classifiers of BERT, ALBERT and their kin take the number and
ignore it: their loss is the mean of their micro-batch, and what is accumulated is a sum of means. A student with a
teacher never sees the number; its whole loss is weighed here instead, and comes out the same as in one batch.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

__all__ = ["IGNORED", "inputs_of", "mean_over_rows", "scaled_to_step"]

IGNORED = -100
"""The label of what is not to be predicted, as everywhere in transformers."""


def inputs_of(model: PreTrainedModel) -> frozenset[str]:
    """Names of the inputs that the encoder of ``model`` reads: no labels, and what is the same for student and teacher.

    Token types are left out where the model knows one alone, as RoBERTa does: it could not look up another.
    """
    names = set(inspect.signature(model.base_model.forward).parameters)
    names &= set(inspect.signature(model.forward).parameters)
    if getattr(model.config, "type_vocab_size", None) == 1:
        names.discard("token_type_ids")
    return frozenset(names)


def mean_over_rows(values: Tensor, labels: Tensor | None) -> Tensor:
    """Mean of ``values`` over the rows of a batch, each of which counts as in the loss of the task.

    Args:
        values: One number per row, ``[batch]``.
        labels: The labels of the batch, ``[batch, …]``: a row counts as often as it has labels, so that of texts whose
            tokens are classified the one with more labelled tokens counts more, and one without any not at all. None,
            as in question answering: rows count equally.

    Returns:
        A scalar.
    """
    if labels is None:
        return values.mean()
    counts = (labels.reshape(len(values), -1) != IGNORED).sum(dim=1).to(values)
    return (values * counts).sum() / counts.sum().clamp(min=1)


def scaled_to_step(loss: Tensor, labels: Tensor | None, items: Any) -> Tensor:
    """``loss``, the mean of a batch, times the share of that batch in all labels of its optimizer step.

    Args:
        loss: A scalar.
        labels: Those of the batch, any shape.
        items: ``num_items_in_batch``, as Trainer hands it to a model: a number or a tensor. None: nobody counted, and
            the loss stays the mean.
    """
    if labels is None or items is None:
        return loss
    return loss * (labels != IGNORED).sum() / (items.to(loss.device) if isinstance(items, Tensor) else items)
