"""Whether an exported model answers as the model does that it was made from: measured, not hoped for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ExportError, TokenizerError
from ..qa.answering import Reader, decode_answers, window_logits
from ..qa.features import encode_windows
from ..qa.metrics import compute_metric

__all__ = ["PARITY_FILE", "Parity", "measure_parity", "require_parity", "require_same_tokens"]

PARITY_FILE = "parity.json"

TOLERANCE = 1e-3
"""Largest difference of logits that float32 may make, as a share of the largest logit or of 1."""


@dataclass(frozen=True)
class Parity:
    """How two models answered the same questions.

    Attributes:
        questions: How many.
        windows: How many windows these were.
        same_answers: To how many questions the answers are equal, character by character.
        largest_difference: Of two logits of one token.
        largest_logit: The largest absolute logit of the model that was exported.
        metric: What the answers were scored with, or None where the questions have no answers.
        before: Scores of the model that was exported, by name, in the metric's own unit.
        after: Scores of what came of it.
    """

    questions: int
    windows: int
    same_answers: int
    largest_difference: float
    largest_logit: float
    metric: str | None
    before: dict[str, float]
    after: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_parity(
    model: Reader, exported: Reader, records: Sequence[Mapping[str, Any]], metric: str | None = None
) -> Parity:
    """Let both models answer ``records``, and compare logits, answers and scores.

    Args:
        model: The model that was exported.
        exported: What came of it; tokenizer and settings are those of ``model``.
        records: Questions with ``id``, ``question`` and ``context``, and ``answers`` where ``metric`` is given.
        metric: One of :data:`~transformers_palbert.qa.metrics.METRICS`.
    """
    windows, features = model.windows(records)
    logits = [window_logits(reader.model, windows, model.tokenizer, 8) for reader in (model, exported)]
    ours, theirs = (np.concatenate(pair) for pair in logits)
    inside = np.isfinite(ours)  # behind the end of a window there are none
    texts = [decode_answers(records, features, pair, model.settings).predictions for pair in logits]
    before, after = ({} if metric is None else _scores(metric, found, records) for found in texts)
    return Parity(
        questions=len(records),
        windows=len(windows),
        same_answers=sum(texts[0][key] == texts[1][key] for key in texts[0]),
        largest_difference=float(np.abs(ours[inside] - theirs[inside]).max(initial=0)),
        largest_logit=float(np.abs(ours[inside]).max(initial=0)),
        metric=metric,
        before=before,
        after=after,
    )


def _scores(metric: str, texts: dict[str, str], records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found = compute_metric(metric, texts, list(records))
    return {name: float(value) for name, value in found.items()}


def require_parity(parity: Parity) -> None:
    """Check that a float32 graph computes what its model does, up to rounding.

    Raises:
        ExportError: if a logit differs by more than :data:`TOLERANCE`.
    """
    allowed = TOLERANCE * max(1.0, parity.largest_logit)
    if not parity.largest_difference <= allowed:  # NaN is no parity either
        raise ExportError(
            f"The exported model computes something else than the model: logits differ by"
            f" {parity.largest_difference:.3g}, and rounding explains {allowed:.3g} at most;"
            f" {parity.same_answers} of {parity.questions} answers are equal. Nothing was written. The versions of"
            " torch, onnxscript or openvino may not fit together: install those that constraints.txt names."
        )


def require_same_tokens(tokenizer: Any, exported: Any, records: Sequence[Mapping[str, Any]]) -> None:
    """Check that the tokenizer of the runtime reads ``records`` as the model's own does.

    Raises:
        TokenizerError: if a text becomes other tokens.
    """
    longest = min(_LONGEST, tokenizer.model_max_length)
    windows = {"max_seq_length": longest, "doc_stride": longest // 8, "max_question_length": longest // 2}
    for record in records:
        texts = [record["question"]], [record["context"]]
        ours, theirs = (encode_windows(each, *texts, **windows).inputs["input_ids"] for each in (tokenizer, exported))
        if ours != theirs:
            raise TokenizerError(
                f"{type(tokenizer).__name__} cuts texts in code of its own, which its tokenizer.json does not hold:"
                f" without transformers, the question {record['question']!r:.100} would be read as other tokens. Such"
                " a model cannot be exported."
            )


_LONGEST = 64  # tokens of a window
