"""How a model answers: the lengths that its windows are cut to, and how its logits become answers.

The settings are saved with a model, as the plain dictionary ``question_answering`` of its configuration, so that
whoever scores the model later gets the figures that its training reported. They are read, checked and written here
alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..errors import ConfigurationError, NoEffectWarning

__all__ = ["CONFIG_FIELD", "AnsweringSettings", "read_settings", "settings_for", "write_settings"]

CONFIG_FIELD = "question_answering"
"""Field of a model's configuration that holds the settings."""

_LOWEST = {
    "max_seq_length": 1,
    "doc_stride": 0,
    "max_question_length": 1,
    "max_answer_length": 1,
    "n_best_size": 1,
}


@dataclass(frozen=True)
class AnsweringSettings:
    """The settings of a question-answering model; the defaults are those of ``examples/run_qa.py``.

    Args:
        max_seq_length: Tokens of a window: question, context and special tokens.
        doc_stride: Tokens that neighbouring windows of a long context share.
        max_question_length: Longer questions are cut to this many tokens.
        max_answer_length: Longest answer, in tokens.
        n_best_size: Starts and ends considered in each window, and candidates kept of each question.
        version_2_with_negative: Whether a question may have no answer.
        null_score_diff_threshold: How far the score of "no answer" must exceed the best answer's to win.

    Raises:
        ConfigurationError: if a value has a wrong type or is out of range.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_question_length: int = 64
    max_answer_length: int = 30
    n_best_size: int = 20
    version_2_with_negative: bool = False
    null_score_diff_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise _wrong(name, value, f"a whole number from {lowest}")
        if not isinstance(self.version_2_with_negative, bool):
            raise _wrong("version_2_with_negative", self.version_2_with_negative, "True or False")
        threshold = self.null_score_diff_threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
            raise _wrong("null_score_diff_threshold", threshold, "a finite number")

    @property
    def windows(self) -> dict[str, Any]:
        """Keyword arguments of :func:`~.features.encode_windows` and :func:`~.features.build_features`."""
        return {name: getattr(self, name) for name in ("max_seq_length", "doc_stride", "max_question_length")}

    @property
    def decoding(self) -> dict[str, Any]:
        """Keyword arguments of :func:`~.evaluation_decoding.postprocess_predictions`."""
        return {name: value for name, value in asdict(self).items() if name not in self.windows}


def read_settings(config: Any) -> AnsweringSettings | None:
    """The settings in a model's configuration, or None if it holds none; what it leaves out has its default.

    Raises:
        ConfigurationError: if they are not a dictionary, or a name is unknown or a value not allowed.
    """
    values = getattr(config, CONFIG_FIELD, None)
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise ConfigurationError(
            f"The model's configuration says {CONFIG_FIELD}={values!r}, which must be a dictionary of answering"
            f" settings. Correct or remove it in config.json."
        )
    try:
        return _replaced(AnsweringSettings(), values)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The model's configuration holds a wrong {CONFIG_FIELD!r}: {error} Correct or remove it in config.json."
        ) from error


def write_settings(config: Any, settings: AnsweringSettings) -> None:
    """Put the settings into a model's configuration, which is saved and loaded with the model."""
    setattr(config, CONFIG_FIELD, asdict(settings))


def settings_for(
    config: Any, *, longest: int, fallback: Mapping[str, Any], given: Mapping[str, Any]
) -> AnsweringSettings:
    """The settings to answer with: those of the model, with what is ``given`` in their place.

    Args:
        config: The model's configuration.
        longest: Most tokens of a window that the tokenizer allows.
        fallback: What replaces the defaults where the model says nothing.
        given: What replaces both, by name.

    Warns:
        NoEffectWarning: if a threshold is given for "no answer", which is not allowed.

    Raises:
        ConfigurationError: as :func:`read_settings`, or if what is given is not allowed.
    """
    saved = read_settings(config)
    if saved is None:
        default = AnsweringSettings()
        length = min(default.max_seq_length, longest)
        fitting = replace(default, max_seq_length=length, doc_stride=min(default.doc_stride, length // 2))
        saved = _replaced(fitting, fallback)
    settings = _replaced(saved, given)
    if "null_score_diff_threshold" in given and not settings.version_2_with_negative:
        warnings.warn(
            f"null_score_diff_threshold={settings.null_score_diff_threshold} has no effect: every question gets an"
            " answer, since version_2_with_negative is False. Allow that a question has none.",
            NoEffectWarning,
            stacklevel=2,
        )
    return settings


def _replaced(settings: AnsweringSettings, values: Mapping[str, Any]) -> AnsweringSettings:
    known = [field.name for field in fields(AnsweringSettings)]
    if unknown := [name for name in values if name not in known]:
        raise ConfigurationError(
            f"{', '.join(map(repr, unknown))} is no answering setting. The settings are {', '.join(known)}."
        )
    return replace(settings, **values)


def _wrong(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"The answering setting {name}={value!r} is not allowed; allowed is {allowed}.")
