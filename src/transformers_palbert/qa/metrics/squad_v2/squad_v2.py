"""`evaluate` module: SQuAD 2.0, exact match and F1 with unanswerable questions."""

from __future__ import annotations

from typing import Any

import evaluate

from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.qa.metrics.module_info import metric_info


class SquadV2(evaluate.Metric):
    """SQuAD 2.0, exact match and F1 with unanswerable questions.

    The counting is in :mod:`transformers_palbert.qa.metrics.squad_scoring`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return metric_info(
            "Exact match and F1 as the official SQuAD 2.0 script counts them.",
            "exact, f1 (percent), total, the same as HasAns_* and NoAns_*, best_exact, best_f1 and their thresholds.",
            no_answer_probability=True,
        )

    def _compute(
        self, predictions: list[dict[str, Any]], references: list[dict[str, Any]], no_answer_threshold: float = 1.0
    ) -> dict[str, float]:
        return compute_metric("squad_v2", predictions, references, no_answer_threshold=no_answer_threshold)
