"""`evaluate` module: SQuAD 1.1, exact match and F1."""

from __future__ import annotations

from typing import Any

import evaluate

from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.metrics.module_info import metric_info


class Squad(evaluate.Metric):
    """SQuAD 1.1, exact match and F1.

    The counting is in :mod:`transformers_palbert.qa.metrics.squad_scoring`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            "Exact match and F1 as the official SQuAD 1.1 script counts them.",
            "exact_match, f1: percent.",
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        return compute_metric("squad", predictions, references)
