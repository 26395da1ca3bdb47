"""`evaluate` module: CMRC 2018, exact match and F1 over mixed segments."""

from __future__ import annotations

from typing import Any

import evaluate

from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.metrics.module_info import metric_info


class Cmrc2018(evaluate.Metric):
    """CMRC 2018, exact match and F1 over mixed segments.

    The counting is in :mod:`transformers_palbert.qa.metrics.cmrc_scoring`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            "Exact match and F1 as the official CMRC 2018 script, with NLTK 3.8.1, counts them.",
            "AVERAGE, F1, EM: percent; TOTAL, SKIP: numbers of questions.",
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        return compute_metric("cmrc2018", predictions, references)
