"""What to prune, how far, how fast, and by which score."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import ConfigurationError
from ..model.pruning_state import TARGETS
from .granularity import Granularity, is_gated, parse_granularity
from .schedules import SCHEDULES, density_at, last_update
from .scores import SCORE_STARTS, SCORE_UPDATES, SCORES, Score

__all__ = ["SCOPES", "PruningConfig"]

SCOPES = ("global", "matrix")

APPLICATIONS = ("shared", "each")


@dataclass(frozen=True)
class PruningConfig:
    """Settings of one pruning run. Orthogonal axes: score × granularity × scope × schedule × targets.

    Exactly one of the three targets says how far the model is pruned.

    Args:
        target_sparsity: Share of the targeted weights that are zero at the end, in [0, 1). 0.7 keeps 30 %.
        target_flops: Share of the dense encoder's floating-point operations that may remain, in (0, 1), for examples of
            ``latency_length`` tokens; only for heads, feed-forward units and structures, which are cut out.
        target_speedup: How many times as fast as the dense model the pruned one is to be, above 1: the whole model, on
            the machine that trains it, in the precision of its weights. Times of layers of all sizes are measured when
            training begins (by the first process, for all of them), and a run that goes on keeps what was measured. For
            the same granularities as ``target_flops``.
        method: How weights are scored, a key of :data:`~transformers_palbert.pruning.scores.SCORES`:
            ``"sensitivity"`` (first order, for runs of any length), ``"magnitude"`` (zeroth order), ``"movement"``
            (first order, signed; the papers', for long runs), ``"fisher"`` (second order), or, for heads and
            feed-forward units, ``"hard_concrete"``: gates that are drawn at random in training, open or closed, and
            learn their odds under a constraint that holds the model to the budget; in the cool-down they rest.
        granularity: What is kept or removed as one: ``"element"``, ``"row"``, ``"column"``, ``"block:32x32"`` (of any
            size), ``"head"``, ``"ffn_unit"`` or ``"structure"``, which is both of the last; see
            :mod:`~transformers_palbert.pruning.granularity`. Heads and feed-forward units are cut out of the finished
            model, which is smaller and faster; the others become zeros that stay in the file's shapes: smaller on the
            disk, not faster. In a structure, all heads and units of the model compete by their score per cost, so that
            a layer may lose a whole block.
        applications: Of a layer that is applied at several depths, as in ALBERT: ``"shared"`` removes a unit at all
            depths, ``"each"`` lets every depth keep its own. The weights stay shared in the file, and each depth
            computes with what it kept, which is faster. Only for PAL-BERT, with ``granularity`` ``"head"``,
            ``"ffn_unit"`` or ``"structure"`` and a score that is learned: the size of a shared weight is the same at
            every depth.
        scope: ``"matrix"`` gives every matrix (every layer, for heads and feed-forward units) the same density;
            ``"global"`` compares scores across them. Where units compete by score per cost, it says nothing.
        schedule: Way from density 1 to the final density: ``"cubic"``, ``"linear"`` or ``"constant"``.
        warmup: Fraction of the optimizer steps before pruning starts, in [0, 1).
        cooldown: Fraction of the optimizer steps after the final density is reached, in [0, 1); fine-tuning at the
            final density. ``warmup + cooldown`` must be below 1.
        mask_every: Optimizer steps from one update of the masks to the next, at least 1; what is kept can recover in
            between.
        score_start: Where movement scores start: ``"zero"``, or the ``"rank"`` or ``"magnitude"`` of the weights. Only
            for ``method="movement"``, as are the next two.
        score_update: How movement scores accumulate: by the ``"optimizer"``, or plainly, as a ``"sum"``.
        score_learning_rate: The learning rate of the scores, at its peak; it follows the schedule of the model's, but
            with ``score_update="sum"`` it is the same in every step. It matters for movement scores that do not start
            at zero, where None means ``1 / optimizer steps of the run``: a score whose gradient always points the same
            way then crosses the range of the ranks within one run; and for ``method="hard_concrete"``, whose log-odds
            have ``40 / optimizer steps`` likewise.
        sensitivity_decay: β₁ of ``method="sensitivity"``, in [0, 1): how long a sensitivity is remembered.
        uncertainty_decay: β₂ of ``method="sensitivity"``, in [0, 1); None leaves the uncertainty out.
        fisher_decay: β of ``method="fisher"``, in [0, 1): how long a squared gradient is remembered.
        targets: Regular expressions, searched in module names; every Linear that one of them matches is pruned, task
            heads included. None takes the Linears inside the base model, without its embeddings and its pooler; task
            heads lie outside of it. A Linear whose weight is tied to an embedding is never pruned.
        exclude: Regular expressions, searched in module names; Linears that one of them matches stay dense. They come
            on top of what stays dense anyway.
        latency_batch_size: Examples of the batch that ``target_speedup`` counts for; None: 8.
        latency_length: Tokens of each example that ``target_speedup`` and ``target_flops`` count for; None: 384, or as
            many as the model takes.

    Raises:
        ConfigurationError: naming the field, its value and the allowed values.
    """

    target_sparsity: float | None = None
    method: str = "sensitivity"
    granularity: str = "element"
    applications: str = "shared"
    scope: str = "matrix"
    schedule: str = "cubic"
    warmup: float = 0.1
    cooldown: float = 0.3
    mask_every: int = 1
    score_start: str = "zero"
    score_update: str = "optimizer"
    score_learning_rate: float | None = None
    sensitivity_decay: float = 0.85
    uncertainty_decay: float | None = 0.95
    targets: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    target_flops: float | None = None
    target_speedup: float | None = None
    latency_batch_size: int | None = None
    latency_length: int | None = None
    fisher_decay: float = 0.95

    def __post_init__(self) -> None:
        for field in ("targets", "exclude"):
            value = getattr(self, field)
            if isinstance(value, str):
                value = (value,)
            object.__setattr__(self, field, None if value is None else tuple(value))
            _require_patterns(field, getattr(self, field) or ())
        _require_choice("method", self.method, SCORES)
        _require_choice("applications", self.applications, APPLICATIONS)
        parse_granularity(self.granularity, each_application=self.applications == "each")
        _require_choice("scope", self.scope, SCOPES)
        _require_choice("schedule", self.schedule, SCHEDULES)
        _require_choice("score_start", self.score_start, SCORE_STARTS)
        _require_choice("score_update", self.score_update, SCORE_UPDATES)
        self._require_target()
        for field in ("warmup", "cooldown", "sensitivity_decay", "uncertainty_decay", "fisher_decay"):
            if field != "uncertainty_decay" or self.uncertainty_decay is not None:
                _require_fraction(field, getattr(self, field))
        self._require_effect()
        _require_count("mask_every", self.mask_every)
        if self.warmup + self.cooldown >= 1:
            raise ConfigurationError(
                f"warmup={self.warmup} + cooldown={self.cooldown} is not below 1: both are fractions of the run, and"
                " no step is left to prune in. Lower one of them."
            )

    def _require_target(self) -> None:
        """There is exactly one target, and the units that it needs."""
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigurationError(
                f"{' and '.join(given) or 'No target'} given, and a run has exactly one: target_sparsity=0.7 (share of"
                " weights to remove), target_flops=0.5 (share of operations that may remain) or target_speedup=2.0."
            )
        if self.target_sparsity is not None:
            _require_fraction("target_sparsity", self.target_sparsity)
        if (share := self.target_flops) is not None and not (_is_number(share) and 0 < share < 1):
            raise ConfigurationError(
                f"target_flops={share!r} must be a number in (0, 1): the share of the dense encoder's operations that"
                " may remain, 0.5 for half of them."
            )
        if (times := self.target_speedup) is not None and not (_is_number(times) and 1 < times < math.inf):
            raise ConfigurationError(
                f"target_speedup={times!r} must be a number above 1: 2.0 makes a model take half of its time."
            )
        self._require_shape()
        if self.target_sparsity is None and not is_gated(self.units):
            raise ConfigurationError(
                f"{given[0]} needs units that are cut out of the model, granularity='structure', 'head' or 'ffn_unit';"
                f" with granularity={self.granularity!r} zeros stay in its matrices, and no step gets quicker."
            )
        if self.is_budgeted and self.scope != "matrix":
            raise ConfigurationError(
                f"scope={self.scope!r} changes nothing where all heads and units compete for a budget anyway, as with"
                f" granularity={self.granularity!r}, {self.target} and method={self.method!r}: leave it out."
            )

    def _require_shape(self) -> None:
        """The inputs that a target counts for are numbers, and something counts for them."""
        readers = {"latency_batch_size": ("target_speedup",), "latency_length": ("target_speedup", "target_flops")}
        for field, targets in readers.items():
            if (value := getattr(self, field)) is not None:
                _require_count(field, value)
                if all(getattr(self, target) is None for target in targets):
                    raise ConfigurationError(
                        f"{field}={value!r} is a setting of {' and '.join(targets)}, of which none is given: leave it"
                        " out, or change the target."
                    )

    def _require_effect(self) -> None:
        """Settings that the method does not read, and those that contradict each other, are errors."""
        belongs: dict[str, tuple[str, ...]] = {
            "score_start": ("movement",),
            "score_update": ("movement",),
            "score_learning_rate": ("movement", "hard_concrete"),
            "sensitivity_decay": ("sensitivity",),
            "uncertainty_decay": ("sensitivity",),
            "fisher_decay": ("fisher",),
        }
        defaults = {field.name: field.default for field in fields(self)}
        for name, methods in belongs.items():
            if self.method not in methods and (value := getattr(self, name)) != defaults[name]:
                raise ConfigurationError(
                    f"{name}={value!r} is a setting of method={' and '.join(map(repr, methods))} and changes nothing"
                    f" with method={self.method!r}: leave it out, or change the method."
                )
        if self.method == "hard_concrete" and not is_gated(self.units):
            raise ConfigurationError(
                f"method='hard_concrete' draws gates of heads and feed-forward units, and granularity="
                f"{self.granularity!r} has none: use granularity='structure', 'head' or 'ffn_unit'."
            )
        if self.applications == "each" and (self.method == "magnitude" or self.score_start != "zero"):
            raise ConfigurationError(
                f"applications='each' with method={self.method!r} and score_start={self.score_start!r} cannot tell the"
                " applications of a shared layer apart: its weights have the same size in all of them. Use"
                " method='sensitivity', or method='movement' from zero."
            )
        rate = self.score_learning_rate
        if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate < math.inf):
            raise ConfigurationError(f"score_learning_rate={rate!r} must be a number above 0.")
        if rate is not None and self.score_start == "zero" and self.method == "movement":
            raise ConfigurationError(
                f"score_learning_rate={rate!r} changes nothing with score_start='zero': only the order of the scores is"
                " used. Leave it out, or start elsewhere (score_start='rank')."
            )
        if rate is None and self.score_start != "zero" and self.score_update == "sum":
            raise ConfigurationError(
                f"score_start={self.score_start!r} with score_update='sum' adds gradients to sizes of weights, and no"
                " rate suits every loss: give score_learning_rate, or use score_update='optimizer'."
            )

    @property
    def score(self) -> Score:
        """The score that these settings describe."""
        return SCORES[self.method](self)

    @property
    def units(self) -> Granularity:
        """What finds the units that these settings keep or remove."""
        return parse_granularity(self.granularity, each_application=self.applications == "each")

    @property
    def target(self) -> str:
        """What was asked for, as ``name=value``."""
        name = next(name for name in TARGETS if getattr(self, name) is not None)
        return f"{name}={getattr(self, name)}"

    @property
    def counted(self) -> str:
        """What the target counts, in the plural."""
        names = {"target_sparsity": "the weights", "target_flops": "the operations", "target_speedup": "the seconds"}
        return names[self.target.partition("=")[0]]

    @property
    def is_budgeted(self) -> bool:
        """Whether units compete by score per cost, for all that a budget of weights, operations or seconds buys."""
        return self.granularity == "structure" or self.target_sparsity is None or self.method == "hard_concrete"

    @property
    def final_density(self) -> float:
        """Share that is kept at the end of what the target counts: targeted weights, operations, or seconds."""
        if self.target_speedup is not None:
            return 1.0 / self.target_speedup
        if self.target_flops is not None:
            return self.target_flops
        return round(1.0 - (self.target_sparsity or 0.0), 12)  # 0.3, not 0.30000000000000004

    def density_at(self, step: int, total_steps: int) -> float:
        """Share kept of what the target counts after ``step`` of ``total_steps`` optimizer steps.

        It follows :func:`~transformers_palbert.pruning.schedules.density_at`, and stays between two updates of the
        masks.
        """
        return density_at(
            last_update(step, total_steps, self.mask_every, cooldown=self.cooldown),
            total_steps,
            final_density=self.final_density,
            schedule=self.schedule,
            warmup=self.warmup,
            cooldown=self.cooldown,
        )

    def updates_at(self, step: int, total_steps: int) -> bool:
        """Whether the masks change after ``step`` of ``total_steps`` optimizer steps."""
        return last_update(step, total_steps, self.mask_every, cooldown=self.cooldown) == step

    def last_cut(self, total_steps: int) -> float:
        """Share that the last of ``total_steps`` steps removes of what the target counts, with none left to recover."""
        return self.density_at(total_steps - 1, total_steps) - self.final_density

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``config.json`` and ``trainer_state.json``."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_count(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{field}={value!r} must be a whole number of at least 1.")


def _require_choice(field: str, value: object, choices: Any) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ConfigurationError(f"{field}={value!r} is not allowed; choose one of {sorted(choices)}.")


def _require_patterns(field: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ConfigurationError(f"{field}: {pattern!r} is no regular expression: {error}.") from error


_FRACTION_HINTS = {
    "target_sparsity": " Give a fraction, 0.7 rather than 70.",
    "warmup": " It is a fraction of the run and no number of steps: 0.1 is the first tenth.",
    "cooldown": " It is a fraction of the run and no number of steps: 0.3 is the last three tenths.",
}
"""Field -> what the error about a number above 1 adds, since another unit was probably meant."""


def _require_fraction(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        too_large = isinstance(value, (int, float)) and value > 1
        hint = _FRACTION_HINTS.get(field, "") if too_large else ""
        raise ConfigurationError(f"{field}={value!r} must be a number in [0, 1).{hint}")
