"""A Trainer that scores answers: logits become text, text becomes exact match and F1."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler, SequentialSampler
from transformers import PreTrainedModel, Trainer
from transformers.trainer_utils import PredictionOutput, speed_metrics

from ..errors import ConfigurationError
from ..qa.answering import decode_answers
from ..qa.batches import longest_first
from ..qa.evaluation_decoding import QAPredictions
from ..qa.metrics import compute_metric
from ..qa.settings import AnsweringSettings, read_settings, write_settings
from .checkpoints import ResumingMixin
from .distillation import DistillationCallback, with_teacher
from .distillation.cached_logits import COLUMNS
from .distillation.teaching import lesson_of
from .optimizer import parameter_groups
from .pushing import PushingMixin

__all__ = ["QuestionAnsweringTrainer"]

logger = logging.getLogger(__name__)


class QuestionAnsweringTrainer(ResumingMixin, PushingMixin, Trainer):
    """``Trainer`` whose ``evaluate`` and ``predict`` return the metrics of extracted answers.

    It writes a model card of what it measured, and pushes whole, see
    :class:`~transformers_palbert.training.pushing.PushingMixin`. It goes on from whole checkpoints, see
    :class:`~transformers_palbert.training.checkpoints.ResumingMixin`.

    Args:
        eval_examples: The questions behind ``eval_dataset`` (SQuAD schema); the features are their windows.
        metric: Name of the metric, see :func:`~transformers_palbert.qa.metrics.compute_metric`.
        decoding: How the windows were cut and how logits become answers. It is saved with the model, so that whoever
            scores it later gets the same figures. None takes what the model's configuration says, or else the
            defaults, which are then not saved, since nobody said how the windows were cut.
        teacher: A model whose logits are imitated while training, with the defaults of
            :func:`~transformers_palbert.training.distillation.with_teacher`; for others, pass
            ``model=with_teacher(model, teacher, …)``. Either way the parts of the loss are logged, and a run goes on
            as it was, see :class:`~transformers_palbert.training.distillation.DistillationCallback`.
        args, kwargs: As for ``Trainer``.
    """

    def __init__(
        self,
        *args: Any,
        eval_examples: Any = None,
        metric: str = "squad",
        decoding: AnsweringSettings | None = None,
        teacher: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> None:
        self.teacher = teacher  # first: the constructor below may make the model
        if not isinstance(decoding, AnsweringSettings | None):
            raise ConfigurationError(
                f"decoding={decoding!r} must be settings that are saved with the model, as in"
                " decoding=AnsweringSettings(max_seq_length=384, doc_stride=128)."
            )
        super().__init__(*args, **kwargs)
        self._distillation = self._take_distillation_callback()
        student: Any = self.model
        if teacher is not None and self.model_init is None:
            with_teacher(student, teacher)
        self.eval_examples, self.metric = eval_examples, metric
        self._given = decoding
        self._note_settings()

    def _take_distillation_callback(self) -> DistillationCallback:
        """The one that was given, or one of our own, before the reporters, so that these see what it logs."""
        callbacks = self.callback_handler.callbacks
        if (given := next((one for one in callbacks if isinstance(one, DistillationCallback)), None)) is not None:
            return given
        callbacks.insert(0, own := DistillationCallback())
        return own

    def call_model_init(self, trial: Any = None) -> Any:
        """As ``Trainer`` does; the model that is made learns from the teacher, if there is one."""
        model: Any = super().call_model_init(trial)
        return model if self.teacher is None else with_teacher(model, self.teacher)

    @property
    def decoding(self) -> AnsweringSettings:
        """The settings in use: those given, those of the model, or the defaults."""
        return self._given or read_settings(getattr(self.model, "config", None)) or AnsweringSettings()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As ``Trainer`` does, with the answering settings in the configuration, also that of a model made anew."""
        self._note_settings()
        super().save_model(output_dir, _internal_call)

    def _note_settings(self) -> None:
        """Write the settings that were given into the model's configuration."""
        config = getattr(self.model, "config", None)
        if self._given is None or config is None:
            return
        saved = read_settings(config)
        if saved not in (None, self._given):
            logger.warning("The model was saved with %s; it is now used with %s.", saved, self._given)
        write_settings(config, self._given)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As ``Trainer`` does; what a student with a teacher has beside its checkpoints is found where they are."""
        if isinstance(resume_from_checkpoint, str | Path):
            self._distillation.resume_from = resume_from_checkpoint
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        """As ``Trainer`` does; a student reads its teacher's cached logits, which its forward does not name."""
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            columns: Any = self._signature_columns  # which transformers declares as None
            columns += COLUMNS if lesson_of(self.model) is not None else ()

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """As ``Trainer`` does, with groups for layer-wise learning rates where the model asks for them."""
        model = model or self.model
        if self.optimizer is None and getattr(model.config, "layer_lr_decay", 1.0) != 1.0:
            kind, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, model)
            if own := sorted({"model", "optimizer_dict", "params"} & options.keys()):
                raise ConfigurationError(
                    f"{kind.__name__} makes its own groups of parameters ({', '.join(own)}), and layer_lr_decay="
                    f"{model.config.layer_lr_decay} needs others. Choose another --optim, or layer_lr_decay=1."
                )
            decaying = self.get_decay_parameter_names(model)
            rate = options.get("lr", self.args.learning_rate)
            self.optimizer = kind(parameter_groups(model, rate, self.args.weight_decay, decaying), **options)
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
        """Answer the evaluation questions, write ``{metric_key_prefix}_predictions.json`` and score them.

        ``eval_examples`` belong to ``eval_dataset``. With ``bf16`` or ``fp16``, the model is evaluated in that
        precision, and a few answers may differ from those that ``palbert compare`` and ``palbert report`` get in
        float32; without, all figures are equal.

        Raises:
            ConfigurationError: if windows or questions are missing, or the metric is unknown.
        """
        features: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        examples = self.eval_examples if eval_examples is None else eval_examples
        start = time.time()
        answers, output = self._answer(features, examples, ignore_keys, metric_key_prefix, self.get_eval_dataloader)
        self.save_answers(answers, metric_key_prefix)
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
        loader = self.get_test_dataloader
        answers, output = self._answer(test_dataset, test_examples, ignore_keys, metric_key_prefix, loader)
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
        self, features: Any, examples: Any, ignore_keys: list[str] | None, prefix: str, make_loader: Callable[..., Any]
    ) -> tuple[QAPredictions, Any]:
        """Run the model over ``features`` and decode its logits into answers to ``examples``."""
        if features is None or examples is None:
            raise ConfigurationError(
                f"The {prefix} answers need the windows and the questions they were cut from; give the Trainer"
                " eval_dataset=build_features(questions, tokenizer, training=False) and eval_examples=questions, or"
                " predict(windows, test_examples=questions)."
            )
        lengths = _lengths(features)
        order = None if lengths is None else longest_first(lengths)
        self._require_windows_of_settings(lengths or [])
        with self._all_windows():
            output = self.evaluation_loop(
                make_loader(features if order is None else features.select(order)),
                description=f"Answering ({prefix})",
                prediction_loss_only=False,
                ignore_keys=ignore_keys,
                metric_key_prefix=prefix,
            )
        logits: Any = output.predictions
        return decode_answers(examples, features, (logits[0], logits[1]), self.decoding, order), output

    @contextmanager
    def _all_windows(self) -> Iterator[None]:
        """Lets an evaluation read all windows and join their logits, whatever the arguments say of training's batches.

        Trainer applies ``dataloader_drop_last`` to evaluations as well.
        """
        args, names = self.args, ("dataloader_drop_last", "eval_do_concat_batches", "batch_eval_metrics")
        before = {name: getattr(args, name) for name in names}
        args.dataloader_drop_last, args.eval_do_concat_batches, args.batch_eval_metrics = False, True, False
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(args, name, value)

    def _require_windows_of_settings(self, lengths: list[int]) -> None:
        """Refuse windows that cannot have been cut as the settings say that are saved with the model."""
        if self._given is not None and max(lengths, default=0) > self._given.max_seq_length:
            raise ConfigurationError(
                f"A window holds {max(lengths)} tokens, but decoding says max_seq_length={self._given.max_seq_length},"
                " and the model would be saved with that. Cut the windows with"
                " build_features(…, **decoding.windows)."
            )

    def _score(self, answers: QAPredictions, examples: Any, prefix: str) -> dict[str, float]:
        options: dict[str, Any] = {}
        if self.metric == "squad_v2" and answers.null_odds:  # odds serve as well: the script only compares them
            threshold = self.decoding.null_score_diff_threshold
            options = {"no_answer_probabilities": answers.null_odds, "no_answer_threshold": threshold}
        scores = compute_metric(self.metric, answers.predictions, examples, **options)
        return {f"{prefix}_{name.lower()}": float(value) for name, value in scores.items()}


def _lengths(features: Any) -> list[int] | None:
    """Tokens of every window, padding included; None where they cannot be told without reading all of it."""
    if not isinstance(features, Dataset) or "input_ids" not in features.column_names:
        return None
    return [len(tokens) for tokens in features.with_format(None)["input_ids"]]
