"""Arguments of the training script, as dataclasses for :mod:`.option_parser`; ``--help`` is made from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import ConfigurationError, NoEffectWarning
from ..model.configuration_palbert import QA_LAYER_POOLINGS
from ..pruning import MovementPruningCallback, PruningConfig
from ..pruning.config import APPLICATIONS, SCOPES
from ..pruning.schedules import SCHEDULES
from ..pruning.scores import SCORE_STARTS, SCORE_UPDATES, SCORES
from ..qa.metrics import METRICS
from ..storage.config import StorageConfig
from .distillation.layer_maps import parse_layer_map
from .distillation.losses import ATTENTION_LOSSES
from .reduction_arguments import ReductionArguments

__all__ = ["DataArguments", "DistillationArguments", "ModelArguments", "PruningArguments"]


def _option(default: Any, help: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"help": help, **metadata})


@dataclass
class ModelArguments:
    """Which model is trained, and how its layers are used."""

    model_name_or_path: str | None = _option(None, "Folder or Hub id of the checkpoint to fine-tune.")
    config_name: str | None = _option(
        None, "Folder, file or Hub id of a config: without --model_name_or_path, train this architecture from scratch."
    )
    config_overrides: str | None = _option(
        None,
        "Fields of the configuration to set, as in hidden_dropout_prob=0.2,layer_norm_eps=1e-6: any of a new model, and"
        " of a pretrained one those that change no shape of its weights.",
    )
    tokenizer_name: str | None = _option(
        None, "Folder or Hub id of the tokenizer, or a vocab.txt; by default that of the model."
    )
    cache_dir: str | None = _option(None, "Where downloads from the Hub are kept.")
    model_revision: str = _option("main", "Branch, tag or commit of the model on the Hub.")
    token: str | None = _option(None, "Token for private repositories on the Hub; by default that of `hf auth login`.")
    attn_implementation: str | None = _option(None, "Attention kernel: eager or sdpa; by default the fastest at hand.")
    hidden_act: str | None = _option(
        None, "Activation of the feed-forward layers, such as gelu, relu or mish; by default that of the checkpoint."
    )
    qa_layers: str | None = _option(
        None,
        "Layer applications that feed the answer head, as in 5,8,11 (0 is the first, -1 the last); default the last.",
    )
    qa_layer_pooling: str | None = _option(None, "How those layers are combined.", choices=QA_LAYER_POOLINGS)
    layer_lr_decay: float | None = _option(
        None,
        "Layer-wise learning rate decay ε (paper, Eq. 6-7): each layer learns ε times as fast as the one above; above"
        " 1, the lower learn faster. Under Adam it weighs the applications of the shared layer against each other, and"
        " does not slow that layer as a whole.",
    )
    lookup_initialization: bool = _option(
        False, "Without --model_name_or_path: start ALBERT from weights that learn to look things up sooner."
    )

    def __post_init__(self) -> None:
        if self.lookup_initialization and self.model_name_or_path:
            raise ConfigurationError(
                f"--lookup_initialization would overwrite what {self.model_name_or_path} has learnt: it goes with a new"
                " model, without --model_name_or_path."
            )

    @property
    def hub_options(self) -> dict[str, Any]:
        """The options that tell ``from_pretrained`` where on the Hub, or in the cache, a model is."""
        return {"cache_dir": self.cache_dir, "revision": self.model_revision, "token": self.token}

    @property
    def palbert_fields(self) -> dict[str, Any]:
        """The options that only PAL-BERT has and that were given, as config fields."""
        layers = None if self.qa_layers is None else _layer_numbers(self.qa_layers)
        given = {
            "hidden_act": self.hidden_act,
            "qa_layers": layers,
            "qa_layer_pooling": self.qa_layer_pooling,
            "layer_lr_decay": self.layer_lr_decay,
        }
        return {name: value for name, value in given.items() if value is not None}


def _layer_numbers(text: str) -> list[int]:
    """``5,8,11`` as numbers."""
    try:
        return [int(layer) for layer in text.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"qa_layers={text!r} cannot be read. Write numbers of layers with commas between them: 5,8,11."
        ) from None


@dataclass
class DataArguments(ReductionArguments):
    """Which data is read, and how it is shortened, cut into windows and scored."""

    dataset_name: str | None = _option(None, "Hub id of the data set, such as hfl/cmrc2018 or rajpurkar/squad_v2.")
    dataset_config_name: str | None = _option(None, "Configuration of the data set on the Hub.")
    train_file: str | None = _option(
        None,
        "File of the training questions: SQuAD, CMRC 2018, DRCD, Natural Questions, MRQA, DPR or flat"
        " JSON/JSONL/CSV/Parquet.",
    )
    validation_file: str | None = _option(None, "File of the questions for --do_eval, in any of these formats.")
    test_file: str | None = _option(None, "File of the questions for --do_predict, in any of these formats.")
    metric: str | None = _option(
        None, "Metric of --do_eval; by default squad, or squad_v2 with --version_2_with_negative.", choices=METRICS
    )
    preprocessing_num_workers: int | None = _option(
        None, "How many processes cut contexts into windows; by default this one alone."
    )
    max_seq_length: int = _option(384, "Most tokens of a window: question, context and special tokens.")
    doc_stride: int = _option(128, "Tokens that neighbouring windows of a long context share.")
    max_question_length: int = _option(64, "Longer questions are cut to this many tokens.")
    pad_to_max_length: bool = _option(
        False, "Pad every window to --max_seq_length instead of each batch to its longest."
    )
    cloze_questions: int | None = _option(
        None, "Train on this many cloze questions made of the training contexts, instead of the training questions."
    )
    max_train_samples: int | None = _option(None, "Use only this many training questions.")
    max_eval_samples: int | None = _option(None, "Use only this many evaluation questions.")
    max_predict_samples: int | None = _option(None, "Use only this many questions to predict.")
    version_2_with_negative: bool = _option(False, "Some questions have no answer (SQuAD 2.0).")
    null_score_diff_threshold: float = _option(
        0.0, "Answer nothing if the null score beats the best span by more than this (with --version_2_with_negative)."
    )
    null_threshold_fraction: float | None = _option(
        None,
        "With --version_2_with_negative: choose that threshold on this share of the evaluation articles, as in 0.5, and"
        " report the figures of the other articles with it and without.",
    )
    n_best_size: int = _option(20, "Starts and ends considered in each window, and candidates kept of each question.")
    max_answer_length: int = _option(30, "Longest answer, in tokens.")
    predictions_csv: str | None = _option(
        None, "Write the answers of --do_predict, or else of --do_eval, to this file as well: ID,Answer."
    )
    escape_formulas: bool = _option(
        False, "In that file, write an apostrophe before what a spreadsheet program would take for a formula."
    )

    @property
    def metric_name(self) -> str:
        """The metric asked for, or the one that suits the data."""
        return self.metric or ("squad_v2" if self.version_2_with_negative else "squad")


@dataclass
class DistillationArguments:
    """A larger or dense model that the model learns from, beside the answers of the data (knowledge distillation)."""

    teacher_name_or_path: str | None = _option(
        None,
        "Folder or Hub id of a question-answering model with the same tokenizer. The model that is trained, its"
        " student, learns to score starts and ends of answers as this one does, which says more of each question than"
        " its one answer. Pruned models lose less with one.",
    )
    distillation_weight: float = _option(
        0.5,
        "Share of the teacher's scores in the loss, from 0 to 1; the rest is the loss on the answers of the data. At 1"
        " the data's own answers play no part; 0 is allowed where layers are compared.",
    )
    distillation_temperature: float = _option(
        2.0,
        "Divides the scores of student and teacher before they are compared: above 1, the student learns more of the"
        " positions that the teacher holds for unlikely; 1 leaves the scores as they are.",
    )
    distill_hidden_states: float = _option(
        0.0,
        "Weight of a further loss: the mean squared error between the hidden states of student and teacher, layer by"
        " layer, padding left out. Where their widths differ, a projection between them is learnt as well, and thrown"
        " away in the end. 0 leaves it out.",
    )
    distill_attention: float = _option(
        0.0,
        "Weight of a further loss: how far the student's attention probabilities are from the teacher's, layer by"
        " layer. It takes memory that grows with the square of --max_seq_length. 0 leaves it out.",
    )
    distill_attention_loss: str = _option(
        "mse",
        "How attention is compared: mse (mean squared error) or kl (Kullback-Leibler divergence).",
        choices=ATTENTION_LOSSES,
    )
    distillation_layer_map: str | None = _option(
        None,
        "Which layers are compared, student:teacher, as in 2:4,4:8,6:12 (1 is the first, -1 the last, 0 the"
        " embeddings); applications of a shared layer count. By default all of the student's, spread evenly over the"
        " teacher's.",
    )
    teacher_cache: str | None = _option(
        None,
        "Folder that keeps the teacher's scores of the training data. They are computed once, before the training, and"
        " again whenever data or teacher change; during the training the teacher neither runs nor takes memory. Only"
        " its scores can be kept: not with --distill_hidden_states or --distill_attention.",
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The options of :func:`~transformers_palbert.training.distillation.with_teacher`, as it names them."""
        layers = None if self.distillation_layer_map is None else parse_layer_map(self.distillation_layer_map)
        return {
            "temperature": self.distillation_temperature,
            "weight": self.distillation_weight,
            "hidden_states": self.distill_hidden_states,
            "attention": self.distill_attention,
            "attention_loss": self.distill_attention_loss,
            "layer_map": layers,
        }


@dataclass
class PruningArguments:
    """How the model is pruned while it is fine-tuned; nothing is, without exactly one of the three targets."""

    target_sparsity: float | None = _option(None, "Share of the encoder's weights to remove, as in 0.7.")
    target_flops: float | None = _option(
        None,
        "Share of the encoder's floating-point operations that may remain, as in 0.5: heads and feed-forward units are"
        " cut out until that is reached (with --pruning_granularity structure, head or ffn_unit).",
    )
    target_speedup: float | None = _option(
        None,
        "How many times as fast as now the model is to be on this machine, as in 2.0: layers of all sizes are timed"
        " when training begins, and heads and feed-forward units are cut out until the sum of the times is small enough"
        " (with --pruning_granularity structure, head or ffn_unit).",
    )
    latency_batch_size: int | None = _option(
        None,
        "Examples in the batch that --target_speedup counts for; by default 8. A service that answers one by one: 1.",
    )
    latency_length: int | None = _option(
        None,
        "Tokens of each example that --target_speedup and --target_flops count for; by default 384, or as many as the"
        " model takes. The longer, the more of the work is attention.",
    )
    pruning_method: str = _option(
        "sensitivity",
        "Score of a weight, head or unit: sensitivity (first order, for any run), magnitude (zeroth order), movement"
        " (first order, signed; the paper's, for very long runs), fisher (second order), or hard_concrete (gates of"
        " heads and units that open and close at random while the model trains, and learn how often).",
        choices=tuple(sorted(SCORES)),
    )
    pruning_granularity: str = _option(
        "element",
        "What is removed as one: element, row, column, block:32x32 (any size), head, ffn_unit, or structure (heads and"
        " feed-forward units together; a layer may lose all of them). Only the last three make a model faster.",
    )
    pruning_applications: str = _option(
        "shared",
        "Where ALBERT applies one layer at several depths: shared removes a head or feed-forward unit at all of them;"
        " each lets every depth keep its own (PAL-BERT with --pruning_granularity structure, head or ffn_unit).",
        choices=APPLICATIONS,
    )
    pruning_scope: str = _option(
        "matrix",
        "matrix: every matrix keeps the same share of its weights; global: matrices compete for what is kept.",
        choices=SCOPES,
    )
    pruning_schedule: str = _option(
        "cubic",
        "How the density falls to its final value: fast at first (cubic), evenly, or at once.",
        choices=tuple(sorted(SCHEDULES)),
    )
    pruning_warmup: float = _option(0.1, "Fraction of the run that passes before pruning starts, in [0, 1).")
    pruning_cooldown: float = _option(
        0.3, "Fraction of the run that is left when the final density is reached, in [0, 1)."
    )
    pruning_mask_every: int = _option(1, "Optimizer steps from one update of the masks to the next.")
    pruning_score_start: str = _option(
        "zero",
        "Where movement scores start: at zero, or at rank or magnitude of the weights.",
        choices=tuple(SCORE_STARTS),
    )
    pruning_score_update: str = _option(
        "optimizer",
        "How movement scores accumulate: by the optimizer, or as a sum.",
        choices=tuple(SCORE_UPDATES),
    )
    pruning_score_learning_rate: float | None = _option(
        None,
        "Learning rate of movement scores that do not start at zero, by default 1 / steps of the run; and of the odds"
        " of hard_concrete's gates, by default 40 / steps.",
    )
    pruning_sensitivity_decay: float = _option(
        0.85, "Decay of sensitivity's moving mean, in [0, 1): the closer to 1, the longer it remembers a batch."
    )
    pruning_uncertainty_decay: float | None = _option(
        0.95,
        "Decay of the moving mean of sensitivity's uncertainty (how much it varies between batches), by which the score"
        " is multiplied; null, in a recipe, leaves that factor out.",
    )
    pruning_fisher_decay: float = _option(
        0.95, "Decay of fisher's moving mean, in [0, 1): the closer to 1, the longer it remembers a batch."
    )
    pruning_targets: str | None = _option(
        None, "Comma-separated regular expressions of module names to prune; by default every Linear of the encoder."
    )
    pruning_exclude: str | None = _option(
        None, "Comma-separated regular expressions of module names to leave dense, beside those that are so anyway."
    )
    change_on_resume: bool = _option(
        False, "Go on with a checkpoint that was written with other pruning settings, instead of refusing it."
    )
    max_metric_drop: float | None = _option(
        None, "Stop at the last density whose evaluation lost no more than this of --pruning_metric, and restore it."
    )
    stop_on_collapse: bool = _option(
        False, "Stop as well, and restore that state, when the training loss shows that pruning destroys the model."
    )
    pruning_metric: str = _option("f1", "Metric that --max_metric_drop watches.")
    pruning_dense_metric: float | None = _option(
        None, "The dense model's value of that metric; by default the best evaluation before pruning starts gives it."
    )

    save_sparse: bool = _option(True, "Save and push the pruned model packed, so that its file is small as well.")
    sparse_values: str = _option(
        "auto",
        "How the values of the packed model are stored: auto (lossless), float32, float16, bfloat16 or int8; fp16 and"
        " bf16 do as well. They are rounded before the evaluation, so that it scores what is saved.",
    )
    sparse_embeddings: str = _option(
        "auto", "How the values of its embeddings are stored; by default as --sparse_values says."
    )
    sparse_entropy: bool = _option(
        False, "Compress the packed tensors further: the file gets smaller, and writing it takes longer."
    )
    export_stock: str | None = _option(
        None, "Save the final model to this folder as well, dense, so that it loads without this package."
    )

    @property
    def prunes(self) -> bool:
        """Whether a target is given."""
        return any(target is not None for target in (self.target_sparsity, self.target_flops, self.target_speedup))

    @property
    def storage(self) -> StorageConfig | None:
        """How the pruned model is stored; None for dense."""
        given = StorageConfig(self.sparse_values, self.sparse_embeddings, self.sparse_entropy)
        if given != StorageConfig() and (not self.prunes or not self.save_sparse):
            raise ConfigurationError(
                "--sparse_values, --sparse_embeddings and --sparse_entropy need --target_sparsity (or another target)"
                " and --save_sparse. To pack a model that is not pruned: palbert compress DIR OUT."
            )
        return given if self.save_sparse else None

    def callback(self) -> MovementPruningCallback | None:
        """The callback that these arguments ask for, if any.

        Raises:
            ConfigurationError: if a value is not allowed, or has no effect.

        Warns:
            NoEffectWarning: if something is said of the pruning, and there is no target.
        """
        storage = self.storage
        if not self.prunes:
            self._warn_of_no_target()
            return None
        config = PruningConfig(
            target_sparsity=self.target_sparsity,
            method=self.pruning_method,
            granularity=self.pruning_granularity,
            applications=self.pruning_applications,
            scope=self.pruning_scope,
            schedule=self.pruning_schedule,
            warmup=self.pruning_warmup,
            cooldown=self.pruning_cooldown,
            mask_every=self.pruning_mask_every,
            score_start=self.pruning_score_start,
            score_update=self.pruning_score_update,
            score_learning_rate=self.pruning_score_learning_rate,
            sensitivity_decay=self.pruning_sensitivity_decay,
            uncertainty_decay=self.pruning_uncertainty_decay,
            fisher_decay=self.pruning_fisher_decay,
            targets=None if self.pruning_targets is None else tuple(self.pruning_targets.split(",")),
            exclude=None if self.pruning_exclude is None else tuple(self.pruning_exclude.split(",")),
            target_flops=self.target_flops,
            target_speedup=self.target_speedup,
            latency_batch_size=self.latency_batch_size,
            latency_length=self.latency_length,
        )
        return MovementPruningCallback(
            config=config,
            max_metric_drop=self.max_metric_drop,
            metric=self.pruning_metric,
            dense_metric=self.pruning_dense_metric,
            stop_on_collapse=self.stop_on_collapse,
            save_sparse=storage or False,
            change_on_resume=self.change_on_resume,
        )

    def _warn_of_no_target(self) -> None:
        """Name the options that say how to prune; those of storage are refused, and a stock model is saved anyway."""
        given = [option.name for option in fields(self) if getattr(self, option.name) != option.default]
        idle = [f"--{name}" for name in given if not name.startswith(("save_", "sparse_", "export_"))]
        if idle:
            warnings.warn(
                f"{', '.join(idle)}: without effect, since nothing is pruned. Give --target_sparsity, --target_flops or"
                " --target_speedup as well.",
                NoEffectWarning,
                stacklevel=3,
            )
