"""From questions to windows, from windows to logits, from logits to answers: the one way that figures are made.

Training's evaluation, ``palbert compare``, ``palbert report`` and ``palbert answer`` decode with
:func:`decode_answers`, and so report the same figures for the same model, questions and settings. The pipeline runs
its windows through the same functions and decodes them as the old task of transformers did
(:mod:`transformers_palbert.qa.window_decoding`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch

from ..errors import ConfigurationError
from .batches import padded_arrays, window_batches
from .evaluation_decoding import FloatArray, QAPredictions, postprocess_predictions
from .features import IntArray, Windows, encode_windows, offset_mapping
from .kernels import fast_linear, fuse_activations
from .settings import AnsweringSettings

__all__ = [
    "Reader",
    "accepted_inputs",
    "best_candidates",
    "decode_answers",
    "padded_batch",
    "prepare_model",
    "span_logits",
    "window_logits",
]


@dataclass(frozen=True)
class Reader:
    """A model that answers questions, with its tokenizer and its settings.

    Attributes:
        model: Any question-answering model, as :func:`prepare_model` leaves it.
        tokenizer: Its fast tokenizer.
        settings: How windows are cut and logits decoded.
    """

    model: Any
    tokenizer: Any
    settings: AnsweringSettings

    @property
    def device(self) -> torch.device:
        """The device that holds the model."""
        return torch.device(self.model.device)

    def answer(self, records: Sequence[Mapping[str, Any]], *, batch_size: int) -> QAPredictions:
        """Answer questions, exactly as training's evaluation does.

        Args:
            records: Questions with ``id``, ``question`` and ``context``; the ids differ.
            batch_size: Windows that pass through the model at once.

        Raises:
            ConfigurationError: if a window cannot hold what the settings ask for, or the model gives no logits.
            DatasetFormatError: if two questions have the same id.
        """
        windows, features = self.windows(records)
        logits = window_logits(self.model, windows, self.tokenizer, batch_size)
        return decode_answers(records, features, logits, self.settings)

    def windows(self, records: Sequence[Mapping[str, Any]]) -> tuple[Windows, list[dict[str, Any]]]:
        """The windows of ``records``, and what :func:`decode_answers` must know of each; see :meth:`answer`."""
        questions, contexts = ([record[name] for record in records] for name in ("question", "context"))
        windows = encode_windows(self.tokenizer, questions, contexts, **self.settings.windows)
        features = [
            {"example_id": records[example]["id"], "offset_mapping": offset_mapping(windows, number)}
            for number, example in enumerate(windows.example.tolist())
        ]
        return windows, features


def decode_answers(
    examples: Any, features: Any, logits: tuple[Any, Any], settings: AnsweringSettings, order: IntArray | None = None
) -> QAPredictions:
    """Answers from logits: the evaluation decoding, the same for all who report figures.

    Args:
        examples: The questions, see :func:`~.evaluation_decoding.postprocess_predictions`.
        features: Their windows, likewise.
        logits: Start and end logits of the windows.
        settings: How to decode.
        order: The windows in the order that they went through the model; None where that is the features' own.
    """
    if order is not None:
        back = np.argsort(order)
        logits = logits[0][back], logits[1][back]
    return postprocess_predictions(examples, features, logits, **settings.decoding)


def best_candidates(answers: QAPredictions, question_id: str, top_k: int) -> list[dict[str, Any]]:
    """The prediction and, behind it, the next best candidates of a question, for a reader's eyes.

    Args:
        answers: Of an evaluation; they do not depend on ``top_k``.
        question_id: Which question.
        top_k: How many at most. There are fewer where the n-best list holds fewer different spans.

    Returns:
        Dictionaries with ``score`` (the probability among the n-best list, 0 to 1), ``start``, ``end`` and ``answer``.
    """
    spans: dict[tuple[int, int], dict[str, Any]] = {}
    for entry in answers.nbest[question_id]:  # windows overlap, and so hold some spans twice
        span = {"score": entry["probability"], "start": entry["start"], "end": entry["end"], "answer": entry["text"]}
        spans.setdefault((entry["start"], entry["end"]), span)
    found = list(spans.values())
    predicted = next(number for number, span in enumerate(found) if span["answer"] == answers.predictions[question_id])
    return [found.pop(predicted), *found][:top_k]  # a threshold may have chosen another than the most probable


def prepare_model(model: Any) -> Any:
    """Make a model ready to answer: without dropout, with fused activations; returns it."""
    model.eval()  # a model fresh from training would roll dice with every answer
    fuse_activations(model)
    return model


def window_logits(model: Any, windows: Windows, tokenizer: Any, batch_size: int) -> tuple[FloatArray, FloatArray]:
    """Start and end logits of every window, each ``(windows, tokens)``, float32, ``-inf`` behind a window's batch."""
    lengths = np.array([len(ids) for ids in windows.inputs["input_ids"]], dtype=np.int64)
    logits = np.full((2, len(lengths), int(lengths.max(initial=1))), -np.inf, dtype=np.float32)
    device = torch.device(model.device)
    for batch in window_batches(lengths, batch_size):
        inputs = {name: tensor.to(device) for name, tensor in padded_batch(windows, batch, tokenizer).items()}
        with torch.inference_mode():
            found = span_logits(model, inputs, device).cpu().numpy()
        logits[:, batch, : found.shape[2]] = found
    return logits[0], logits[1]


def span_logits(model: Any, inputs: Mapping[str, torch.Tensor], device: torch.device) -> torch.Tensor:
    """Start and end logits of one batch, ``(2, batch, tokens)``, float32, on the model's device.

    Raises:
        ConfigurationError: if the model returns none.
    """
    accepted = accepted_inputs(model)
    arguments: dict[str, Any] = dict(inputs)
    if "input_ids" in accepted:
        arguments = {name: tensor for name, tensor in inputs.items() if name in accepted}
    if "use_cache" in accepted:
        arguments["use_cache"] = False
    with fast_linear(model, device):
        outputs = model(**arguments)
    if isinstance(outputs, tuple):
        start, end = outputs[:2]
    elif "start_logits" in outputs and "end_logits" in outputs:
        start, end = outputs["start_logits"], outputs["end_logits"]
    else:
        raise ConfigurationError(
            f"{type(model).__name__} returns {', '.join(outputs)}, but no `start_logits` and `end_logits`."
            " Load the model with `AutoModelForQuestionAnswering`."
        )
    return torch.stack((start, end)).float()


def padded_batch(windows: Windows, batch: IntArray, tokenizer: Any, length: int = 0) -> dict[str, torch.Tensor]:
    """Model inputs of a batch, see :func:`~.batches.padded_arrays`."""
    arrays = padded_arrays(windows, batch, tokenizer, length)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def accepted_inputs(model: Any) -> frozenset[str]:
    """Names that the model's forward spells out; empty for a wrapper that passes on whatever it gets."""
    return _named_parameters(type(model).forward)


@lru_cache(maxsize=64)
def _named_parameters(forward: Callable[..., Any]) -> frozenset[str]:
    parameters = signature(forward).parameters.values()
    return frozenset(p.name for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY))
