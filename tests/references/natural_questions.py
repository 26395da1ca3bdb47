"""The official scoring of Natural Questions, written out slowly from its published description.

``golds`` maps ids to lists of what annotators gave, each ``{"long": (start, end) or None, "short": [(start, end)],
"yes_no": str}``; ``predictions`` maps the same ids to one such dictionary with ``"long_score"`` and ``"short_score"``
besides.
"""

from __future__ import annotations

from typing import Any

Stats = list[tuple[bool, bool, bool, float]]


def short_stats(golds: dict[str, list[dict[str, Any]]], predictions: dict[str, dict[str, Any]]) -> Stats:
    stats = []
    for key, given in golds.items():
        predicted = predictions[key]
        non_null = 0
        for annotation in given:
            if len(annotation["short"]) > 0 or annotation["yes_no"] != "none":
                non_null += 1
        has_gold = non_null >= 2
        has_predicted = len(predicted["short"]) > 0 or predicted["yes_no"] != "none"
        correct = False
        if has_gold and has_predicted:
            for annotation in given:
                if predicted["yes_no"] != "none":
                    if annotation["yes_no"] == predicted["yes_no"]:
                        correct = True
                else:
                    every_predicted = all(span in annotation["short"] for span in predicted["short"])
                    every_gold = all(span in predicted["short"] for span in annotation["short"])
                    if every_predicted and every_gold:
                        correct = True
        stats.append((has_gold, has_predicted, correct, predicted["short_score"]))
    return stats


def long_stats(golds: dict[str, list[dict[str, Any]]], predictions: dict[str, dict[str, Any]]) -> Stats:
    stats = []
    for key, given in golds.items():
        predicted = predictions[key]
        has_gold = len([annotation for annotation in given if annotation["long"] is not None]) >= 2
        has_predicted = predicted["long"] is not None
        correct = False
        if has_gold and has_predicted:
            for annotation in given:
                if annotation["long"] is not None and annotation["long"] == predicted["long"]:
                    correct = True
        stats.append((has_gold, has_predicted, correct, predicted["long_score"]))
    return stats


def divide(numerator: float, denominator: float) -> float:
    return 0.0 if denominator == 0 else numerator / denominator


def f1(stats: Stats) -> tuple[float, float, float]:
    """F1, precision and recall of all predictions, from 0 to 1."""
    correct = sum(right for _, _, right, _ in stats)
    precision = divide(correct, sum(predicted for _, predicted, _, _ in stats))
    recall = divide(correct, sum(gold for gold, _, _, _ in stats))
    return divide(2 * precision * recall, precision + recall), precision, recall


def best_f1(stats: Stats) -> tuple[float, float, float, float]:
    """The best F1 over all thresholds, its precision and recall, and the threshold."""
    gold_answers = sum(gold for gold, _, _, _ in stats)
    best = (0.0, 0.0, 0.0, 0.0)
    for threshold in sorted({score for _, _, _, score in stats}, reverse=True):
        kept = [entry for entry in stats if entry[3] >= threshold]
        correct = sum(right for _, _, right, _ in kept)
        precision = divide(correct, sum(predicted for _, predicted, _, _ in kept))
        recall = divide(correct, gold_answers)
        now = divide(2 * precision * recall, precision + recall)
        if now > best[0]:
            best = (now, precision, recall, threshold)
    return best
