"""Search for settings that give a high F1 *and* a small file: `Trainer.hyperparameter_search` with two objectives.

    palbert tune small_cmrc2018.yaml --trials 30 --output_dir outputs/tune

takes the options and recipes of `palbert train` and tries learning rate, ε, batch size, warm-up, dropout and sparsity
(or what --space names) with Optuna. Word-level readers (--model_type), teachers (--teacher_name_or_path) and
--max_metric_drop are refused; options that would have no effect here, such as --further_metrics, are named in a
warning. Trials are kept in OUTPUT_DIR/study.db: called again with the same settings, it goes on until there are
--trials of them. The trials that no other beats in both, F1 and bytes of the packed file, are the Pareto front:
OUTPUT_DIR/trials.md, trials.csv and trials.png show them.

A space is a YAML mapping from an option of the Trainer, layer_lr_decay, dropout or a target of pruning to a list of
choices or to {low, high, log}:

    learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}
    per_device_train_batch_size: [8, 16]

With --backend ray, Ray Tune spreads the trials over the cores, GPUs and machines of a Ray cluster (`ray start`), and
`{grid: [8, 16]}` makes it try every value instead of drawing some.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from transformers import (
    DataCollatorWithPadding,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from ..errors import ConfigurationError, NoEffectWarning, require
from ..model.pruning_state import TARGETS
from ..pruning import MovementPruningCallback, prepare_pruning
from ..sizes import weight_bytes
from ..training.arguments import DataArguments, DistillationArguments, ModelArguments, PruningArguments
from ..training.baseline_arguments import BaselineArguments
from ..training.option_parser import parse_arguments
from ..training.question_answering import learn_in_order
from ..training.run_arguments import RunArguments
from ..training.setup import answering_settings, load_config, load_model, load_questions, load_tokenizer, make_features
from ..training.trainer import QuestionAnsweringTrainer
from .pareto import Trial, pareto_front, write_results
from .search_space import SPACE, Space, dropout_fields, optuna_space, ray_space, suggest, train_options, typed_space
from .settings import Settings, load_settings, settings_key

__all__ = ["SPACE", "Space", "TuneArguments", "TuneCommandLine", "TuningTrainer", "main", "parse", "search"]

WITHOUT_EFFECT = (
    *("further_metrics", "memory_limit_gb", "push_logs", "predictions_csv", "null_threshold_fraction", "export_stock"),
    *("do_predict", "push_to_hub", "load_best_model_at_end"),
)
"""Options of ``palbert train`` that a search has no use for."""


@dataclass
class TuneArguments:
    """How many trials there are, over which settings, and what proposes them."""

    trials: int = field(
        default=20, metadata={"help": "Go on until this many trials have finished, those of earlier calls among them."}
    )
    space: str | None = field(
        default=None,
        metadata={
            "help": "YAML file with the settings to search and their ranges; by default learning rate and others."
        },
    )
    backend: str = field(
        default="optuna",
        metadata={"help": "What proposes and runs the trials: optuna on this machine, or ray on a cluster."},
    )

    def __post_init__(self) -> None:
        if self.backend not in ("optuna", "ray"):
            raise ConfigurationError(f"backend={self.backend!r} must be optuna or ray.")
        if self.trials < 1:
            raise ConfigurationError(f"trials={self.trials} must be at least 1.")

    def read_space(self) -> Space:
        """What is searched: the file's space, or :data:`SPACE`."""
        return load_settings(Path(self.space)) if self.space else SPACE


class TuneCommandLine(NamedTuple):
    """Everything that the command line says."""

    model: ModelArguments
    baseline: BaselineArguments
    data: DataArguments
    pruning: PruningArguments
    distillation: DistillationArguments
    tune: TuneArguments
    training: TrainingArguments
    run: RunArguments


class TuningTrainer(QuestionAnsweringTrainer):
    """Starts every trial with a new model and a new pruning callback, and measures the file as well."""

    def __init__(self, *args: Any, pruning: PruningArguments, space: Space, **kwargs: Any) -> None:
        self.pruning, self.space = pruning, space
        super().__init__(*args, **kwargs)

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """A model with the trial's dropout and ε, made ready for the trial's target."""
        values = {} if trial is None else suggest(trial, self.space)
        model = self.model_init(values)
        if trial is not None:
            self._prune(model, replace(self.pruning, **{name: values[name] for name in TARGETS if name in values}))
        return model

    def _prune(self, model: PreTrainedModel, pruning: PruningArguments) -> None:
        """A callback has one run; so each trial has its own, in front of the reporters that log what it adds."""
        callback: Any = pruning.callback()
        others = [other for other in self.callback_handler.callbacks if not isinstance(other, MovementPruningCallback)]
        self.callback_handler.callbacks = others if callback is None else [callback, *others]
        if callback is not None:
            prepare_pruning(model, callback.config)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = super().evaluate(*args, **kwargs)
        model: Any = self.model
        return metrics | {"eval_bytes": float(packed_bytes(model))}


def packed_bytes(model: PreTrainedModel) -> int:
    """Bytes of the weights as ``save_pretrained`` writes them: packed, where the model was pruned."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return weight_bytes(folder) or 0


def new_model(
    options: ModelArguments, tokenizer: PreTrainedTokenizerBase, values: Mapping[str, Any]
) -> PreTrainedModel:
    """The model to fine-tune, with the ε and the dropout in ``values``."""
    config = load_config(replace(options, layer_lr_decay=values.get("layer_lr_decay", options.layer_lr_decay)))
    if values.get("dropout") is not None:
        for name in dropout_fields(config):
            setattr(config, name, values["dropout"])
    return load_model(options, config, tokenizer)


def both_objectives(metrics: Mapping[str, float]) -> tuple[float, float]:
    """F1, to be maximised, and bytes, to be minimised."""
    return metrics["eval_f1"], metrics["eval_bytes"]


def only_f1(metrics: Mapping[str, float]) -> float:
    """The one objective that Ray Tune reports by."""
    return metrics["eval_f1"]


def search_with_optuna(trainer: TuningTrainer, tune: TuneArguments, name: str) -> list[Trial]:
    """Try until the study has ``tune.trials`` finished trials; all of them."""
    optuna = require("optuna", "tune")
    storage = f"sqlite:///{Path(str(trainer.args.output_dir)) / 'study.db'}"
    known: dict[str, Any] = {"study_name": name, "storage": storage}
    study = optuna.create_study(directions=["maximize", "minimize"], load_if_exists=True, **known)
    finished = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
    if finished < tune.trials:
        trainer.hyperparameter_search(
            backend="optuna",
            hp_space=partial(optuna_space, space=trainer.space),
            compute_objective=both_objectives,  # type: ignore[arg-type] # one number per direction
            direction=["maximize", "minimize"],
            n_trials=tune.trials - finished,
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=trainer.args.seed + finished),  # not the same draws again
            **known,
        )
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    return [Trial(trial.params, *trial.values) for trial in done]


def search_with_ray(trainer: TuningTrainer, tune: TuneArguments) -> list[Trial]:
    """Let Ray Tune spread the trials; all that finished."""
    require("ray.tune", "ray")
    best: Any = trainer.hyperparameter_search(
        backend="ray",
        hp_space=partial(ray_space, space=trainer.space),
        compute_objective=only_f1,
        direction="maximize",
        n_trials=tune.trials,
        storage_path=str(Path(str(trainer.args.output_dir)).resolve()),
        name="ray",
    )
    results = [(trial.config, trial.last_result) for trial in best.run_summary.trials]
    return [
        Trial({name: config[name] for name in trainer.space}, *both_objectives(result))
        for config, result in results
        if "eval_bytes" in result
    ]


def main(argv: Sequence[str]) -> list[Trial]:
    """``palbert tune``: search, write what was found, and return the Pareto front."""
    arguments = parse(argv, description=__doc__ or "", prog="palbert tune")
    trials = search(arguments, arguments.tune.read_space())
    write_results(trials, Path(str(arguments.training.output_dir)))
    return pareto_front(trials)


def parse(argv: Sequence[str], description: str = "", prog: str | None = None) -> TuneCommandLine:
    """The arguments of a command line; a recipe as first argument sets the defaults.

    Args:
        argv: The command line without the program's name.
        description: The text above the options in ``--help``.
        prog: The program's name in ``--help``; by default that of the script.

    Raises:
        ConfigurationError: if an argument is not allowed.
    """
    types = tuple(get_type_hints(TuneCommandLine).values())
    return TuneCommandLine(*parse_arguments(types, argv, description=description, prog=prog))


def search(arguments: TuneCommandLine, space: Space) -> list[Trial]:
    """Try settings of ``space`` until there are as many trials as asked for; all of them.

    Raises:
        ConfigurationError: if something in ``space`` cannot be searched, or goes with no other argument.
        MissingExtraError: if Optuna, or Ray, is not installed.

    Warns:
        NoEffectWarning: if arguments change nothing in a search.
    """
    tune, args = arguments.tune, arguments.training
    name = _study_name(arguments, space)
    args.set_save(strategy="no").set_evaluate(strategy="no")  # a trial is judged when it is over, and pruned
    args.warmup_steps = float(args.warmup_steps)  # the Trainer casts a trial's value to the type that stands here
    config = load_config(arguments.model)
    _require_searchable(arguments, space, config)
    space = typed_space(space, args)
    transformers_logging.set_verbosity_warning()
    set_seed(args.seed)
    Path(str(args.output_dir)).mkdir(parents=True, exist_ok=True)
    trainer = make_trainer(arguments, space)
    trials = search_with_ray(trainer, tune) if tune.backend == "ray" else search_with_optuna(trainer, tune, name)
    overrides = arguments.model.config_overrides
    return [replace(trial, options=train_options(trial.settings, config, overrides)) for trial in trials]


def _require_searchable(arguments: TuneCommandLine, space: Space, config: PreTrainedConfig) -> None:
    """Refuse what contradicts itself, or what trials could not follow, before the first of them."""
    for option, value in (
        ("--model_type", arguments.baseline.model_type),
        ("--teacher_name_or_path", arguments.distillation.teacher_name_or_path),
        ("--max_metric_drop", arguments.pruning.max_metric_drop),
    ):
        if value is not None:
            raise ConfigurationError(
                f"{option} {value} is not for a search: palbert tune has no word-level readers, no teachers, and no"
                " evaluations on the way. Leave it out, or use palbert train."
            )
    if "dropout" in space and not dropout_fields(config):
        raise ConfigurationError(
            f"The space has dropout, but the configuration of a {config.model_type} has no dropout that is known here."
            " Take it out of the space."
        )
    targets = [name for name in TARGETS if name in space or getattr(arguments.pruning, name) is not None]
    if len(targets) > 1:
        raise ConfigurationError(
            f"A run has one target of pruning, but space and arguments together have {' and '.join(targets)}. Give a"
            " --space with one of them, or without any where an option sets it."
        )
    if arguments.data.curriculum_stages and "train_sampling_strategy" in space:
        raise ConfigurationError(
            "The space has train_sampling_strategy, but --reduce_curriculum sets the order of the questions."
        )
    _warn_of_no_effect(arguments)


def _warn_of_no_effect(arguments: TuneCommandLine) -> None:
    given = [
        f"--{option.name}"
        for part in arguments
        for option in fields(part)
        if option.name in WITHOUT_EFFECT and getattr(part, option.name) != option.default
    ]
    if given:
        warnings.warn(f"{', '.join(given)}: without effect in a search.", NoEffectWarning, stacklevel=3)
    arguments.training.push_to_hub = False  # the Trainer would create a repository at once


def _study_name(arguments: TuneCommandLine, space: Space) -> str:
    """Equal for searches whose trials can be put together.

    What is searched counts by its choices, and not by the value that was given for it.
    """
    given = (asdict(each) for each in (arguments.model, arguments.data, arguments.pruning))
    settings: Settings = {name: value for values in given for name, value in values.items()}
    settings |= json.loads(arguments.training.to_json_string())
    return settings_key(settings | dict.fromkeys(space, "searched") | {"space": space})


def make_trainer(arguments: TuneCommandLine, space: Space) -> TuningTrainer:
    """The Trainer that runs all trials, over the same windows."""
    options, data, args = arguments.model, arguments.data, arguments.training
    tokenizer = load_tokenizer(options, load_config(options))
    if data.curriculum_stages:
        learn_in_order(args)
    questions = {part: load_questions(data, part, tokenizer, args.seed) for part in ("train", "validation")}
    train, validation = (
        make_features(questions[part], tokenizer, data, args, training=part == "train") for part in questions
    )
    return TuningTrainer(
        model_init=partial(new_model, options, tokenizer),
        args=args,
        train_dataset=train,
        eval_dataset=validation,
        eval_examples=questions["validation"],
        metric=data.metric_name,
        decoding=answering_settings(data),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8),
        pruning=arguments.pruning,
        space=space,
    )
