"""A Trainer that scores answers: logits become text, text becomes exact match and F1."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler, SequentialSampler
from transformers import Trainer
from transformers.trainer_utils import PredictionOutput, speed_metrics

from ..qa.evaluation_decoding import QAPredictions, postprocess_predictions
from ..qa.metrics import compute_metric
from .optimizer import parameter_groups
from .pushing import PushingMixin

__all__ = ["QuestionAnsweringTrainer"]

logger = logging.getLogger(__name__)


class QuestionAnsweringTrainer(PushingMixin, Trainer):
    """``Trainer`` whose ``evaluate`` and ``predict`` return the metrics of extracted answers.

    It writes a model card of what it measured, and pushes whole, see
    :class:`~transformers_palbert.training.pushing.PushingMixin`.

    Args:
        eval_examples: The questions behind ``eval_dataset`` (SQuAD schema); the features are their windows.
        metric: Name of the metric, see :func:`~transformers_palbert.qa.metrics.compute_metric`.
        decoding: Keyword arguments of :func:`~transformers_palbert.qa.evaluation_decoding.postprocess_predictions`.
        args, kwargs: As for ``Trainer``.
    """

    def __init__(
        self,
        *args: Any,
        eval_examples: Any = None,
        metric: str = "squad",
        decoding: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.eval_examples, self.metric, self.decoding = eval_examples, metric, decoding or {}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As ``Trainer`` does, with groups for layer-wise learning rates where the model asks for them."""
        model = model or self.model
        if self.optimizer is None and getattr(model.config, "layer_lr_decay", 1.0) != 1.0:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            decaying = self.get_decay_parameter_names(model)
            groups = parameter_groups(model, self.args.learning_rate, self.args.weight_decay, decaying)
            self.optimizer = kind(groups, **options)
        return super().create_optimizer(model)

    def _get_eval_sampler(self, eval_dataset: TorchDataset) -> Sampler | None:
        """In order, always: logits are matched with windows by their position.

        ``Trainer`` would shuffle them under ``train_sampling_strategy="group_by_length"``.
        """
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None  # type: ignore[arg-type]

    def evaluate(  # type: ignore[override] # one data set, not a dictionary of several
        self,
        eval_dataset: TorchDataset | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        eval_examples: Any = None,
    ) -> dict[str, float]:
        """Answer the evaluation questions and score them; ``eval_examples`` belong to ``eval_dataset``."""
        features: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        examples = self.eval_examples if eval_examples is None else eval_examples
        start = time.time()
        answers, output = self._answer(features, examples, ignore_keys, metric_key_prefix, "Evaluation")
        scores = self._score(answers, examples, metric_key_prefix)
        metrics = {**output.metrics, **scores}
        steps = -(-len(features) // max(1, self.args.eval_batch_size * self.args.world_size))
        metrics.update(speed_metrics(metric_key_prefix, start, num_samples=len(features), num_steps=steps))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict(
        self,
        test_dataset: TorchDataset,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
        test_examples: Any = None,
    ) -> PredictionOutput:
        """Answer ``test_examples``.

        ``predictions`` is a :class:`~transformers_palbert.qa.evaluation_decoding.QAPredictions`.
        """
        answers, output = self._answer(test_dataset, test_examples, ignore_keys, metric_key_prefix, "Prediction")
        self.save_answers(answers, metric_key_prefix)
        scores = {}
        if any(row["text"] for row in test_examples["answers"]):
            scores = self._score(answers, test_examples, metric_key_prefix)
        result: Any = answers  # the base class returns an array of logits here
        return PredictionOutput(predictions=result, label_ids=None, metrics={**output.metrics, **scores})

    def save_answers(self, answers: QAPredictions, prefix: str) -> None:
        """Write ``{prefix}_predictions.json`` and ``{prefix}_nbest_predictions.json`` into the output folder."""
        if not self.is_world_process_zero():
            return
        files: dict[str, Any] = {"predictions": answers.predictions, "nbest_predictions": answers.nbest}
        if answers.null_odds:
            files["null_odds"] = answers.null_odds
        for name, content in files.items():
            file = Path(str(self.args.output_dir)) / f"{prefix}_{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    def _answer(
        self, features: Any, examples: Any, ignore_keys: list[str] | None, prefix: str, description: str
    ) -> tuple[QAPredictions, Any]:
        """Run the model over ``features`` and decode its logits into answers to ``examples``."""
        if features is None or examples is None:
            raise ValueError(
                f"{description} needs the windows and the questions they were cut from; give the Trainer"
                " eval_dataset=build_features(questions, tokenizer, training=False) and eval_examples=questions."
            )
        order = _longest_first(features)
        batches = features if order is None else features.select(order)
        loader = self.get_eval_dataloader(batches) if prefix == "eval" else self.get_test_dataloader(batches)
        output = self.evaluation_loop(
            loader, description=description, prediction_loss_only=False, ignore_keys=ignore_keys,
            metric_key_prefix=prefix,
        )  # fmt: skip
        logits: Any = output.predictions
        start, end = logits[0], logits[1]
        if order is not None:
            back = np.argsort(order)
            start, end = start[back], end[back]
        return postprocess_predictions(examples, features, (start, end), **self.decoding), output

    def _score(self, answers: QAPredictions, examples: Any, prefix: str) -> dict[str, float]:
        options: dict[str, Any] = {}
        if self.metric == "squad_v2" and answers.null_odds:  # odds serve as well: the script only compares them
            threshold = self.decoding.get("null_score_diff_threshold", 0.0)
            options = {"no_answer_probabilities": answers.null_odds, "no_answer_threshold": threshold}
        scores = compute_metric(self.metric, answers.predictions, examples, **options)
        if prefix == "eval":
            self.save_answers(answers, prefix)
        return {f"{prefix}_{name.lower()}": float(value) for name, value in scores.items()}


def _longest_first(features: Any) -> np.ndarray | None:
    """An order of the windows in which each batch has nearly one length and little padding; None for a fixed one.

    The longest first, so that a batch that does not fit into memory fails at once.
    """
    if not isinstance(features, Dataset) or "input_ids" not in features.column_names:
        return None
    lengths = np.array([len(tokens) for tokens in features.with_format(None)["input_ids"]])
    return np.argsort(-lengths, kind="stable")
