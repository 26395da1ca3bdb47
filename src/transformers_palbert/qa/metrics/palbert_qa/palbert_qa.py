"""`evaluate` module: Accuracy, precision, recall and F1 of the PAL-BERT paper."""

from __future__ import annotations

from typing import Any

import evaluate

from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.metrics.module_info import metric_info


class PalBertQA(evaluate.Metric):
    """Accuracy, precision, recall and F1 of the PAL-BERT paper.

    The counting is in :mod:`transformers_palbert.qa.metrics.overlap_scoring`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            "Accuracy, recall and F1 of the PAL-BERT paper, and precision, by shared tokens: our reading of the paper.",
            "accuracy, precision, recall, f1: between 0 and 1; total: number of questions.",
        )

    def _compute(self, predictions: list[dict[str, Any]], references: list[dict[str, Any]]) -> dict[str, float]:
        return compute_metric("palbert_qa", predictions, references)
