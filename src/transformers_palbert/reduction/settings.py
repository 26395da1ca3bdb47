"""From names and numbers to a reducer: what commands, scripts and the pipeline say about how to shorten contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import ConfigurationError
from .fusion import Fusion
from .limits import Limit, MaxTokens, Share, Threshold
from .passages import Cutting, token_starts
from .reducer import Reducer
from .scorers.base import Scorer
from .scorers.bm25 import Bm25Scorer
from .scorers.lead import LeadScorer
from .scorers.sbert import SbertScorer

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "SCORERS",
    "ReductionSettings",
    "as_reducer",
    "limit_of",
    "load_scorer",
    "parse_unit",
    "parse_weights",
    "split_names",
]

DEFAULT_MAX_TOKENS = 512
"""Tokens of a long text that are read where nothing else is said: two or three windows."""


@dataclass(frozen=True)
class ReductionSettings:
    """How passages are cut, scored and fused; everything but how much is kept.

    Args:
        scorers: Names of :data:`SCORERS`.
        fusion: One of :data:`~transformers_palbert.reduction.fusion.METHODS`.
        weights: Scorer -> weight; none: all count the same.
        passages: ``"sentence"``, or tokens of a block.
        longest: Sentences of more tokens are cut into blocks.
        neighbours: Passages on either side that are kept with one.
        sbert_model: Folder or Hub id of a sentence encoder.
        dpr_question_model: Of a DPR question encoder.
        dpr_passage_model: Of a DPR context encoder.
        ig_model: Of a fine-tuned question-answering model.
        ig_steps: Points on the path that gradients are taken at.
        ig_baseline: Where the path begins: ``"padding"`` or ``"zero"``.
        device: Where models compute; None for the fastest device.
        batch_size: Texts that pass through a model at once.

    Raises:
        ConfigurationError: if a scorer is unknown or lacks its model, a model is given for no scorer, or a value is not
            allowed.
    """

    scorers: tuple[str, ...] = ("bm25",)
    fusion: str = "min-max"
    weights: Mapping[str, float] = field(default_factory=dict)
    passages: str | int = "sentence"
    longest: int = 128
    neighbours: int = 0
    sbert_model: str | None = None
    dpr_question_model: str | None = None
    dpr_passage_model: str | None = None
    ig_model: str | None = None
    ig_steps: int = 20
    ig_baseline: str = "padding"
    device: str | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        if unknown := [name for name in self.scorers if name not in SCORERS]:
            raise ConfigurationError(f"There is no scorer {', '.join(unknown)}. Known are {', '.join(SCORERS)}.")
        if not self.scorers or len(set(self.scorers)) < len(self.scorers):
            raise ConfigurationError(f"The scorers {list(self.scorers)} must be different ones, and one at least.")
        for scorer, options in _MODELS.items():
            given = [option for option in options if getattr(self, option) is not None]
            if scorer in self.scorers and len(given) < len(options):
                raise ConfigurationError(f"The scorer {scorer} needs a model: give {' and '.join(options)}.")
            if given and scorer not in self.scorers:
                raise ConfigurationError(f"{given[0]} has no effect: {scorer} is not among the scorers.")
        if self.neighbours < 0:
            raise ConfigurationError(f"neighbours={self.neighbours} must be 0 or more.")
        Fusion(self.fusion, self.weights).require(self.scorers)
        self.cutting(None)

    def cutting(self, tokenizer: Any | None) -> Cutting:
        """How contexts are cut; tokens are counted by ``tokenizer``, or are words without one."""
        return Cutting(self.passages, self.longest, token_starts(tokenizer))

    def reducer(self, limit: Limit, tokenizer: Any | None = None) -> Reducer:
        """A reducer with these settings, its models loaded.

        Raises:
            MissingExtraError: if a scorer's library is not installed.
        """
        scorers = tuple(load_scorer(name, self) for name in self.scorers)
        fusion = Fusion(self.fusion, self.weights)
        return Reducer(scorers, limit, fusion, self.cutting(tokenizer), self.neighbours)

    def describe(self) -> dict[str, Any]:
        """The settings as JSON, without those that change no score: device and size of batches."""
        return {name: value for name, value in asdict(self).items() if name not in ("device", "batch_size")}


def _load_sbert(settings: ReductionSettings) -> Scorer:
    model = str(settings.sbert_model)
    return SbertScorer.load(model, device=settings.device, batch_size=settings.batch_size)


def _load_dpr(settings: ReductionSettings) -> Scorer:
    from .scorers.dpr import DprScorer

    models = str(settings.dpr_question_model), str(settings.dpr_passage_model)
    return DprScorer.load(*models, device=settings.device, batch_size=settings.batch_size)


def _load_integrated_gradients(settings: ReductionSettings) -> Scorer:
    from .scorers.integrated_gradients import IntegratedGradientsScorer

    return IntegratedGradientsScorer.load(
        str(settings.ig_model),
        device=settings.device,
        batch_size=settings.batch_size,
        steps=settings.ig_steps,
        baseline=settings.ig_baseline,
    )


SCORERS: dict[str, Callable[[ReductionSettings], Scorer]] = {
    "bm25": lambda _: Bm25Scorer(),
    "sbert": _load_sbert,
    "dpr": _load_dpr,
    "ig": _load_integrated_gradients,
    "lead": lambda _: LeadScorer(),
}
"""Name of a scorer -> what loads it."""

_MODELS = {
    "sbert": ("sbert_model",),
    "dpr": ("dpr_question_model", "dpr_passage_model"),
    "ig": ("ig_model",),
}


def load_scorer(name: str, settings: ReductionSettings) -> Scorer:
    """The scorer of that name, with its model.

    Raises:
        ConfigurationError: if there is no such model, or it is damaged; the message names its options.
        MissingExtraError: if its library is not installed.
    """
    if name not in _MODELS:
        return SCORERS[name](settings)
    from safetensors import SafetensorError  # the runtime without torch has it not, nor models for scorers

    try:
        return SCORERS[name](settings)
    except (OSError, SafetensorError) as error:
        models = " and ".join(f"{option}={getattr(settings, option)!r}" for option in _MODELS[name])
        raise ConfigurationError(f"The scorer {name} cannot load {models}: {error}") from error


def limit_of(
    *, threshold: float | None = None, max_tokens: int | None = None, share: float | None = None
) -> Limit | None:
    """The limit that is given; None if there is none.

    Raises:
        ConfigurationError: if there are several, or the value is not allowed.
    """
    kinds: dict[str, tuple[Any, Callable[[Any], Limit]]] = {
        "threshold": (threshold, Threshold),
        "max_tokens": (max_tokens, MaxTokens),
        "share": (share, Share),
    }
    given = [(name, value, kind) for name, (value, kind) in kinds.items() if value is not None]
    if len(given) > 1:
        raise ConfigurationError(f"{' and '.join(name for name, _, _ in given)} contradict each other; give one.")
    return given[0][2](given[0][1]) if given else None


def split_names(text: str) -> tuple[str, ...]:
    """Names with commas between them, as in ``bm25,sbert``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_weights(text: str) -> dict[str, float]:
    """Weights of scorers, as in ``bm25=1,sbert=2``.

    Raises:
        ConfigurationError: if the text is of another form.
    """
    pairs = [part.partition("=") for part in split_names(text)]
    try:
        return {name.strip(): float(value) for name, _, value in pairs}
    except ValueError as error:
        raise ConfigurationError(f"The weights {text!r} must be of the form bm25=1,sbert=2: {error}.") from error


def parse_unit(text: str) -> str | int:
    """What a passage is: ``sentence``, or a number of tokens."""
    return int(text) if text.isdecimal() else text


def as_reducer(value: Any, tokenizer: Any | None = None) -> Reducer:
    """Turn what a caller says into a reducer.

    Args:
        value: A :class:`~transformers_palbert.reduction.reducer.Reducer`; names of scorers, as in ``"bm25"``; or a
            mapping with the arguments of :class:`ReductionSettings` and one of ``threshold``, ``max_tokens`` and
            ``share`` (by default 512 tokens), as in ``{"scorers": "bm25,sbert", "sbert_model": …, "max_tokens": 256}``.
        tokenizer: Counts the tokens; without one they are words.

    Raises:
        ConfigurationError: if it is none of these, or an argument is unknown.
        MissingExtraError: if a scorer's library is not installed.
    """
    if isinstance(value, Reducer):
        return value
    given: Any = {"scorers": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"`reduce` must be a Reducer, names of scorers or a mapping, got {value!r}.")
    limits: dict[str, Any] = {name: given[name] for name in ("threshold", "max_tokens", "share") if name in given}
    rest: dict[str, Any] = {name: value for name, value in given.items() if name not in limits}
    if isinstance(rest.get("scorers"), str):
        rest["scorers"] = split_names(rest["scorers"])
    known = ReductionSettings.__dataclass_fields__
    if unknown := sorted(set(rest) - set(known)):
        raise ConfigurationError(f"`reduce` knows no {', '.join(unknown)}. Known are {', '.join(known)}.")
    return ReductionSettings(**rest).reducer(limit_of(**limits) or MaxTokens(DEFAULT_MAX_TOKENS), tokenizer)
