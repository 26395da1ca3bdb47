"""Search for settings that give a high F1 *and* a small file: `Trainer.hyperparameter_search` with two objectives.

    palbert tune small_cmrc2018.yaml --trials 30 --output_dir outputs/tune

takes the options of `palbert train` and tries learning rate, ε, batch size, warm-up, dropout and sparsity (or what
--space names) with Optuna. Trials are kept in OUTPUT_DIR/study.db: called again with the same settings, it goes on
until there are --trials of them. The trials that no other beats in both, F1 and bytes of the packed file, are the
Pareto front: OUTPUT_DIR/trials.md, trials.csv and trials.png show them.

A space is a YAML mapping from option to a list of choices or to {low, high, log}:

    learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}
    per_device_train_batch_size: [8, 16]

With --backend ray, Ray Tune spreads the trials over the cores, GPUs and machines of a Ray cluster (`ray start`), and
`{grid: [8, 16]}` makes it try every value instead of drawing some.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from ..errors import ConfigurationError, require
from ..pruning import MovementPruningCallback, prepare_pruning
from ..sizes import weight_bytes
from ..training.arguments import DataArguments, ModelArguments, PruningArguments
from ..training.option_parser import parse_arguments
from ..training.setup import answering_settings, load_config, load_model, load_questions, load_tokenizer, make_features
from ..training.trainer import QuestionAnsweringTrainer
from .pareto import Trial, pareto_front, write_results
from .settings import load_settings, settings_key

__all__ = ["SPACE", "Space", "TuneArguments", "TuneCommandLine", "TuningTrainer", "main", "parse", "search"]

Space = Mapping[str, Any]

SPACE: Space = {
    "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "layer_lr_decay": {"low": 0.8, "high": 1.0},
    "per_device_train_batch_size": [8, 16, 32],
    "warmup_steps": {"low": 0.0, "high": 0.2},
    "dropout": {"low": 0.0, "high": 0.2},
    "target_sparsity": {"low": 0.3, "high": 0.9},
}
"""What is searched unless --space names something else."""

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
BEYOND_TRAINING_ARGUMENTS = ("dropout", "layer_lr_decay", "target_sparsity")


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

    def read_space(self) -> Space:
        """What is searched: the file's space, or :data:`SPACE`."""
        return load_settings(Path(self.space)) if self.space else SPACE


class TuneCommandLine(NamedTuple):
    """Everything that the command line says."""

    model: ModelArguments
    data: DataArguments
    pruning: PruningArguments
    tune: TuneArguments
    training: TrainingArguments


class TuningTrainer(QuestionAnsweringTrainer):
    """Starts every trial with a new model and a new pruning callback, and measures the file as well."""

    def __init__(self, *args: Any, pruning: PruningArguments, space: Space, **kwargs: Any) -> None:
        self.pruning, self.space = pruning, space
        super().__init__(*args, **kwargs)

    def call_model_init(self, trial: Any = None) -> PreTrainedModel:
        """A model with the trial's dropout and ε, made ready for the trial's sparsity."""
        values = {} if trial is None else suggest(trial, self.space)
        model = self.model_init(values)
        sparsity = values.get("target_sparsity", self.pruning.target_sparsity)
        if trial is not None and sparsity:
            self._prune(model, sparsity)
        return model

    def _prune(self, model: PreTrainedModel, sparsity: float) -> None:
        """A callback has one run; so each trial has its own, in front of the reporters that log what it adds."""
        callback: Any = replace(self.pruning, target_sparsity=sparsity).callback()  # there is one: a sparsity is given
        prepare_pruning(model, callback.config)
        others = [other for other in self.callback_handler.callbacks if not isinstance(other, MovementPruningCallback)]
        self.callback_handler.callbacks = [callback, *others]

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
    for name in DROPOUTS:
        setattr(config, name, values.get("dropout", getattr(config, name, None)))
    return load_model(options, config, tokenizer)


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """The values of a trial; Optuna draws them on the first call and repeats them on the next, Ray's are drawn."""
    if isinstance(trial, Mapping):
        return {name: trial[name] for name in space}
    return {name: _suggest(trial, name, domain) for name, domain in space.items()}


def _suggest(trial: Any, name: str, domain: Any) -> Any:
    if isinstance(domain, list) or "grid" in domain:
        return trial.suggest_categorical(name, domain if isinstance(domain, list) else domain["grid"])
    return trial.suggest_float(name, float(domain["low"]), float(domain["high"]), log=domain.get("log", False))


def optuna_space(trial: Any, space: Space) -> dict[str, Any]:
    """What the Trainer itself has to set for a trial."""
    values = suggest(trial, space)
    return {name: value for name, value in values.items() if name not in BEYOND_TRAINING_ARGUMENTS}


def ray_space(_: Any, space: Space) -> dict[str, Any]:
    """The space in Ray Tune's terms."""
    tune = require("ray.tune", "ray")
    domains: dict[str, Any] = {}
    for name, domain in space.items():
        if isinstance(domain, list):
            domains[name] = tune.choice(domain)
        elif "grid" in domain:
            domains[name] = tune.grid_search(domain["grid"])
        else:
            draw = tune.loguniform if domain.get("log") else tune.uniform
            domains[name] = draw(float(domain["low"]), float(domain["high"]))
    return domains


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
    types = (ModelArguments, DataArguments, PruningArguments, TuneArguments, TrainingArguments)
    return TuneCommandLine(*parse_arguments(types, argv, description=description, prog=prog))


def search(arguments: TuneCommandLine, space: Space) -> list[Trial]:
    """Try settings of ``space`` until there are as many trials as asked for; all of them.

    Raises:
        MissingExtraError: if Optuna, or Ray, is not installed.
    """
    tune, args = arguments.tune, arguments.training
    name = _study_name(arguments, space)
    args.set_save(strategy="no").set_evaluate(strategy="no")  # a trial is judged when it is over, and pruned
    args.warmup_steps = float(args.warmup_steps)  # the Trainer casts a trial's value to the type that stands here
    transformers_logging.set_verbosity_warning()
    set_seed(args.seed)
    Path(str(args.output_dir)).mkdir(parents=True, exist_ok=True)
    trainer = make_trainer(arguments, space)
    return search_with_ray(trainer, tune) if tune.backend == "ray" else search_with_optuna(trainer, tune, name)


def _study_name(arguments: TuneCommandLine, space: Space) -> str:
    """Equal for searches whose trials can be put together."""
    given = (asdict(each) for each in (arguments.model, arguments.data, arguments.pruning))
    settings: dict[str, Any] = {name: value for values in given for name, value in values.items()}
    return settings_key(settings | json.loads(arguments.training.to_json_string()) | {"space": space})


def make_trainer(arguments: TuneCommandLine, space: Space) -> TuningTrainer:
    """The Trainer that runs all trials, over the same windows."""
    options, data, args = arguments.model, arguments.data, arguments.training
    tokenizer = load_tokenizer(options, load_config(options))
    questions = {part: load_questions(data, part) for part in ("train", "validation")}
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
