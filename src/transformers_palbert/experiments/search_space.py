"""What a search may try: options with their choices or ranges, as Optuna and Ray Tune draw from them.

A space maps an option to a list of choices, to ``{low, high, log}``, or to ``{grid: choices}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from transformers import PreTrainedConfig, TrainingArguments

from ..errors import ConfigurationError, require
from ..model.pruning_state import TARGETS
from ..spelling import did_you_mean
from ..training.config_overrides import parse_fields
from .settings import Settings

__all__ = ["SPACE", "Space", "dropout_fields", "optuna_space", "ray_space", "suggest", "train_options", "typed_space"]

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

BEYOND_TRAINING_ARGUMENTS = ("dropout", "layer_lr_decay", *TARGETS)
"""What may be searched beside the options of the Trainer."""

DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob"),
    *("dropout", "attention_dropout", "qa_dropout", "hidden_dropout", "activation_dropout"),
    *("embedding_dropout", "mlp_dropout"),
)
"""What architectures call their dropouts; each has some of these."""


# --- what is asked for ------------------------------------------------------------------------------------------------


def typed_space(space: Space, args: TrainingArguments) -> Space:
    """``space`` with ranges of the type that their options have: whole numbers where the Trainer takes no others.

    Raises:
        ConfigurationError: if an entry cannot be searched, is neither a list nor a range, or has a fraction where the
            option takes whole numbers.
    """
    known = (*BEYOND_TRAINING_ARGUMENTS, *(field.name for field in fields(TrainingArguments)))
    for name in space:
        if name not in known:
            raise ConfigurationError(
                f"The space names {name}, which cannot be searched.{did_you_mean(name, known)} What can:"
                f" {', '.join(BEYOND_TRAINING_ARGUMENTS)}, and the options of the Trainer, which --help lists last."
            )
    return {name: _typed(name, domain, _takes_whole_numbers(name, args)) for name, domain in space.items()}


def _takes_whole_numbers(name: str, args: TrainingArguments) -> bool:
    """Whether the Trainer would cut a fraction off: it casts a trial's value to the type of the value that it has."""
    value = getattr(args, name, None)
    if value is None and name not in BEYOND_TRAINING_ARGUMENTS:
        return int in get_args(get_type_hints(TrainingArguments)[name])
    return isinstance(value, int) and not isinstance(value, bool)


def _typed(name: str, domain: Any, whole: bool) -> Any:
    choices = domain.get("grid") if isinstance(domain, dict) else domain
    if isinstance(choices, list) and choices:
        for value in choices if whole else ():
            _require_whole(name, value)
        return domain
    if not (isinstance(domain, dict) and {"low", "high"} <= set(domain)):
        raise ConfigurationError(
            f"The space has {name}: {domain!r}; it must be a list of choices, or low and high, as in"
            f" {name}: {{low: 1, high: 4}}."
        )
    ends = {end: _number(name, domain[end]) for end in ("low", "high")}
    return {**domain, **{end: _require_whole(name, value) if whole else value for end, value in ends.items()}}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)  # YAML takes 1e-5 for a text
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The space has {name} from or to {value!r}, which is no number.") from error


def _require_whole(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise ConfigurationError(f"The space has {name}: {value!r}, but {name} takes whole numbers.")
    return int(number)


def dropout_fields(config: PreTrainedConfig) -> list[str]:
    """The fields of this architecture that are dropouts."""
    own = type(config)().to_dict()
    return [name for name in DROPOUTS if name in own]


def train_options(settings: Settings, config: PreTrainedConfig, overrides: str | None) -> Settings:
    """The settings of a trial as options of ``palbert train``, which knows dropouts as fields of the configuration.

    Args:
        settings: What was tried.
        config: Of the model that was trained.
        overrides: The ``--config_overrides`` of the search, which stay.
    """
    options = {name: value for name, value in settings.items() if name != "dropout"}
    dropout = settings.get("dropout")
    if dropout is None:
        return options
    given = parse_fields(overrides) if overrides else {}
    changed = given | dict.fromkeys(dropout_fields(config), dropout)
    return options | {"config_overrides": ",".join(f"{name}={_field_text(value)}" for name, value in changed.items())}


def _field_text(value: Any) -> str:
    """A value as ``--config_overrides`` reads it."""
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value)


# --- what is tried ----------------------------------------------------------------------------------------------------


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """The values of a trial; Optuna draws them on the first call and repeats them on the next, Ray's are drawn."""
    if isinstance(trial, Mapping):
        return {name: trial[name] for name in space}
    return {name: _suggest(trial, name, domain) for name, domain in space.items()}


def _suggest(trial: Any, name: str, domain: Any) -> Any:
    if isinstance(domain, list) or "grid" in domain:
        return trial.suggest_categorical(name, domain if isinstance(domain, list) else domain["grid"])
    draw = trial.suggest_int if isinstance(domain["low"], int) else trial.suggest_float
    return draw(name, domain["low"], domain["high"], log=domain.get("log", False))


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
        elif isinstance(domain["low"], int):  # Ray leaves out the upper end of these
            draw = tune.lograndint if domain.get("log") else tune.randint
            domains[name] = draw(domain["low"], domain["high"] + 1)
        else:
            draw = tune.loguniform if domain.get("log") else tune.uniform
            domains[name] = draw(domain["low"], domain["high"])
    return domains
