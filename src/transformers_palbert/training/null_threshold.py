"""Figures of an evaluation with a null threshold that other articles chose: ``--null_threshold_fraction``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainingArguments

from ..errors import ConfigurationError
from ..json_text import parse_json
from ..qa.evaluation_decoding import QAPredictions
from ..qa.null_threshold import best_spans, fit_null_threshold
from ..qa.splitting import split_by_article
from .arguments import DataArguments

__all__ = ["require_threshold_options", "threshold_scores"]


def require_threshold_options(data: DataArguments, args: TrainingArguments, questions: Dataset | None) -> None:
    """Check the option before anything is computed.

    Raises:
        ConfigurationError: if the share is out of range, there are no scores of "no answer" to compare, or the
            questions are of too few articles.
    """
    share = data.null_threshold_fraction
    if share is None:
        return
    if not 0 < share < 1:
        raise ConfigurationError(f"--null_threshold_fraction {share} must be between 0 and 1, as in 0.5.")
    if questions is None or not (data.version_2_with_negative and args.do_eval):
        raise ConfigurationError(
            "--null_threshold_fraction needs --do_eval and --version_2_with_negative: a model that always answers has"
            " no threshold."
        )
    _parts(questions, share)


def threshold_scores(data: DataArguments, args: TrainingArguments, questions: Dataset) -> dict[str, float]:
    """Score the evaluation that was just written, on the articles that did not choose the threshold.

    Returns:
        ``eval_chosen_null_threshold``, and the figures of SQuAD 2.0 of the other articles with the threshold that was
        set as ``eval_held_out_*``, with the one that was chosen as ``eval_held_out_chosen_*``; nothing where
        ``--null_threshold_fraction`` is not given.
    """
    if data.null_threshold_fraction is None:
        return {}
    development, test = _parts(questions, data.null_threshold_fraction)
    spans = best_spans(QAPredictions({}, _written(args, "nbest_predictions"), {}))
    odds, before = _written(args, "null_odds"), data.null_score_diff_threshold
    fitted = fit_null_threshold(spans, odds, development, test, before=before)
    scores = {"eval_chosen_null_threshold": fitted.threshold}
    for prefix, figures in (("held_out", fitted.before), ("held_out_chosen", fitted.after)):
        scores |= {f"eval_{prefix}_{name.lower()}": float(value) for name, value in figures.items()}
    return scores


def _parts(questions: Dataset, share: float) -> list[list[dict[str, Any]]]:
    """The questions that choose the threshold, and those that it is judged by."""
    records = questions.to_list()
    return [[records[index] for index in part] for part in split_by_article(records, (share, 1 - share))]


def _written(args: TrainingArguments, name: str) -> dict[str, Any]:
    file = Path(str(args.output_dir), f"eval_{name}.json")
    content: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
    return content
