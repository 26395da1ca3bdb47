"""Integrated gradients: what each token of a passage adds to the score of the answer that a model predicts.

Sundararajan, Taly and Yan 2017, arXiv 1703.01365; by the library captum::

    IG_i(x) = Σ_d (x_id - x'_id) · ∫₀¹ ∂F(x' + α (x - x')) / ∂x_id dα,        IG(q, p) = mean of IG_i over p's tokens

``x`` are the word embeddings of a window of question and context, ``x'`` those that the path begins at. ``F`` is the
score of the span that the model predicts there: its start logit plus its end logit. The integral is a Gauss-Legendre
sum over ``steps`` points. Completeness, ``Σ_i IG_i = F(x) - F(x')``, says how exact that sum is: what is missing is
measured for every window.

A context costs ``steps`` passes through the model, forward and backward: this is for preparing training data, not for
answering.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from ...errors import ConfigurationError, require
from ...model.digest import model_digest
from ...qa.answering import padded_batch, prepare_model, span_logits, window_batches
from ...qa.features import IntArray, Windows, encode_windows
from ...qa.settings import settings_for
from ...qa.window_decoding import decode_windows, require_positive
from ..passages import Passages, visible_starts
from .base import FloatArray, Scored, describe_tokenizer

__all__ = ["BASELINES", "LARGEST_ERROR", "Attributions", "IntegratedGradientsScorer"]

BASELINES = ("padding", "zero")
"""Where the path begins: every token but the special ones is padding; or all word embeddings are zero."""

LARGEST_ERROR = 0.05
"""Share of ``F(x) - F(x')`` that may be missing in the mean of a batch before a warning says so."""

LONGEST_ANSWER = 30  # tokens

_FORMAT = 3  # part of the scores' description: raise it whenever the same settings give other attributions


@dataclass(frozen=True)
class Attributions:
    """What tokens of a context contribute to the score of the predicted answer.

    Attributes:
        starts: Character of the context that each token begins at, ``(tokens,)``; windows overlap, so some are twice.
        values: Its attribution, ``(tokens,)``.
        delta: What is missing of completeness, ``Σ IG - (F(x) - F(x'))``: the largest of the windows in absolute terms.
        error: ``|delta| / |F(x) - F(x')|``, likewise.
    """

    starts: IntArray
    values: FloatArray
    delta: float
    error: float


@dataclass(frozen=True)
class IntegratedGradientsScorer:
    """Mean attribution of every passage's tokens. A passage without any token gets the lowest score of its question.

    Args:
        model: A model fine-tuned for question answering, whose ``forward`` takes ``inputs_embeds``, in float32.
        tokenizer: Its fast tokenizer.
        steps: Points of the Gauss-Legendre sum.
        baseline: One of :data:`BASELINES`.
        windows: How contexts are cut into windows: the arguments of
            :func:`~transformers_palbert.qa.features.encode_windows`.
        batch_size: Rows that pass through the model at once; each window takes ``steps`` of them.

    Raises:
        ConfigurationError: if a value is not allowed, or the model takes no ``inputs_embeds``.
        MissingExtraError: if captum is not installed.
    """

    model: Any
    tokenizer: Any
    steps: int = 20
    baseline: str = "padding"
    windows: tuple[tuple[str, int], ...] = (("max_seq_length", 384), ("doc_stride", 128), ("max_question_length", 64))
    batch_size: int = 32

    name = "ig"

    def __post_init__(self) -> None:
        require("captum", "reduction")
        require_positive(steps=self.steps, batch_size=self.batch_size)
        if self.baseline not in BASELINES:
            raise ConfigurationError(f"baseline={self.baseline!r} is not known; known are {', '.join(BASELINES)}.")
        if "inputs_embeds" not in signature(type(self.model).forward).parameters:
            raise ConfigurationError(
                f"{type(self.model).__name__} takes no `inputs_embeds`, which integrated gradients are computed for."
                " Take an encoder such as BERT, RoBERTa or ALBERT."
            )
        prepare_model(self.model)

    @classmethod
    def load(cls, model: str, *, device: str | None = None, **options: Any) -> IntegratedGradientsScorer:
        """Load a model with its tokenizer and the lengths of its windows.

        Args:
            model: Folder or Hub id.
            device: Where it computes; by default the fastest device.
            options: Further arguments of the class.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        reader: Any = AutoModelForQuestionAnswering.from_pretrained(model, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(model)
        settings = settings_for(reader.config, longest=tokenizer.model_max_length, fallback={}, given={})
        return cls(reader.to(where), tokenizer, windows=tuple(settings.windows.items()), **options)

    def describe(self) -> dict[str, Any]:
        return {
            "scorer": self.name,
            "format": _FORMAT,
            "model": model_digest(self.model),
            "tokenizer": describe_tokenizer(self.tokenizer),
            "library": f"captum {version('captum')}",
            "steps": self.steps,
            "baseline": self.baseline,
            "windows": dict(self.windows),
        }

    def __call__(self, batch: Sequence[Passages]) -> Scored:
        """Score passages; see :class:`~transformers_palbert.reduction.scorers.base.Scorer`.

        Measured beside are ``completeness delta`` and ``completeness error`` of each question, see
        :class:`Attributions`.

        Warns:
            UserWarning: if more of the sums is missing than :data:`LARGEST_ERROR`.
        """
        found = self.attribute([row.question for row in batch], [row.context for row in batch])
        errors = np.array([row.error for row in found])
        if len(errors) and errors.mean() > LARGEST_ERROR:
            warnings.warn(
                f"Integrated gradients in {self.steps} steps miss {errors.mean():.1%} of what they should sum up to."
                " Take more steps.",
                stacklevel=2,
            )
        return Scored(
            [_means(row, attributions) for row, attributions in zip(batch, found, strict=True)],
            {"completeness delta": np.array([row.delta for row in found]), "completeness error": errors},
        )

    def attribute(self, questions: Sequence[str], contexts: Sequence[str]) -> list[Attributions]:
        """Attributions of the tokens of each context."""
        lengths: dict[str, Any] = dict(self.windows)
        windows = encode_windows(self.tokenizer, questions, contexts, **lengths)
        values: list[FloatArray] = [np.zeros(0)] * len(windows)
        deltas, errors = np.zeros(len(windows)), np.zeros(len(windows))
        tokens_of = [len(ids) for ids in windows.inputs["input_ids"]]
        for batch in window_batches(tokens_of, max(self.batch_size // self.steps, 1)):
            tokens, deltas[batch], errors[batch] = self._attribute(windows, batch)
            for window, row in zip(batch.tolist(), tokens, strict=True):
                start = int(windows.context_start[window])
                values[window] = row[start : start + int(windows.context_length[window])]
        return [
            _joined(windows, context, np.flatnonzero(windows.example == example), values, deltas, errors)
            for example, context in enumerate(contexts)
        ]

    def _attribute(self, windows: Windows, batch: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Attributions ``(batch, tokens)`` of a batch of windows, with delta and error of each."""
        device = self.model.device
        inputs = {name: tensor.to(device) for name, tensor in padded_batch(windows, batch, self.tokenizer).items()}
        ids = inputs.pop("input_ids")
        start, end = self._predicted(windows, batch, {"input_ids": ids, **inputs})
        embed = self.model.get_input_embeddings()
        with torch.no_grad():
            embedded = embed(ids)
            baseline = torch.zeros_like(embedded) if self.baseline == "zero" else embed(self._padded(ids))
        accepted = signature(type(self.model).forward).parameters
        names = [name for name in inputs if name in accepted]

        def score(vectors: Tensor, first: Tensor, last: Tensor, *rest: Tensor) -> Tensor:
            outputs = self.model(inputs_embeds=vectors, **dict(zip(names, rest, strict=True)))
            rows = torch.arange(len(vectors), device=device)
            return outputs["start_logits"][rows, first] + outputs["end_logits"][rows, last]

        arguments = start, end, *(inputs[name] for name in names)
        attributions, delta = (
            require("captum.attr", "reduction")
            .IntegratedGradients(score)
            .attribute(
                embedded,
                baseline,
                additional_forward_args=arguments,
                n_steps=self.steps,
                method="gausslegendre",
                internal_batch_size=max(self.batch_size, len(batch)),
                return_convergence_delta=True,
            )
        )
        tokens = attributions.sum(dim=2).double().cpu().numpy()
        missing = delta.double().cpu().numpy()
        whole = np.abs(tokens.sum(axis=1) - missing)  # |F(x) - F(x')|
        return tokens, missing, np.abs(missing) / np.maximum(whole, np.finfo(np.float32).eps)

    def _predicted(self, windows: Windows, batch: IntArray, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """First and last token of the span that the model predicts in each window; ``[CLS]`` where there is none."""
        with torch.no_grad():
            start, end = span_logits(self.model, inputs, self.model.device).cpu().numpy()
        found = decode_windows(
            start,
            end,
            context_start=windows.context_start[batch],
            context_length=windows.context_length[batch],
            cls_index=windows.cls_index[batch],
            top_k=1,
            max_answer_length=LONGEST_ANSWER,
        )
        spans = (torch.from_numpy(np.maximum(tokens[:, 0], 0)) for tokens in (found.start, found.end))
        first, last = (tokens.to(self.model.device) for tokens in spans)
        return first, last

    def _padded(self, ids: Tensor) -> Tensor:
        """The same tokens, all but the special ones turned into padding; an unknown word is a word of the text."""
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        kept = torch.isin(ids, torch.tensor(sorted(special), device=ids.device))
        return torch.where(kept, ids, self.tokenizer.pad_token_id or 0)


def _joined(
    windows: Windows,
    context: str,
    which: IntArray,
    values: list[FloatArray],
    deltas: FloatArray,
    errors: FloatArray,
) -> Attributions:
    """The windows of one context."""
    starts = [visible_starts(context, windows.context_offsets(window)) for window in which.tolist()]
    worst = which[np.abs(deltas[which]).argmax()]
    return Attributions(
        np.concatenate(starts),
        np.concatenate([values[window] for window in which.tolist()]),
        float(deltas[worst]),
        float(errors[which].max()),
    )


def _means(row: Passages, attributions: Attributions) -> FloatArray:
    """Mean attribution of the tokens that begin in each passage."""
    borders = np.array([start for start, _ in row.spans])
    passage = np.searchsorted(borders, attributions.starts, side="right") - 1
    counts = np.bincount(passage, minlength=len(row))
    sums = np.bincount(passage, weights=attributions.values, minlength=len(row))
    present = counts > 0
    means = sums / np.maximum(counts, 1)
    return np.where(present, means, means[present].min(initial=np.inf) if present.any() else 0.0)
