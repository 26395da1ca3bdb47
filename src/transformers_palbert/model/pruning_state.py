"""What a model knows of its own pruning: the entry ``pruning`` of its config, and the keys of a checkpoint on the way.

Written by the pruning callback, read by whoever packs, describes or prunes a model further. It knows what a state looks
like, and not what a method or a schedule means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ConfigurationError

__all__ = [
    "MASK_KEY",
    "PRUNED_WEIGHT_KEY",
    "SCORES_KEY",
    "STATUSES",
    "TARGETS",
    "TOLERANCE",
    "TRAINING_KEYS",
    "UNCERTAINTY_KEY",
    "PruningState",
    "is_training_key",
]

MASK_KEY = "mask"
"""Suffix of the checkpoint key that holds a mask."""

PRUNED_WEIGHT_KEY = "pruned_weight"
"""Suffix of the checkpoint key that holds what the mask hides, ``W ⊙ (1 - M)``."""

SCORES_KEY = "scores"
"""Suffix of the checkpoint key that holds the tensor whose gradient is ``∂L/∂(W ⊙ M) ⊙ W``."""

UNCERTAINTY_KEY = "uncertainty"
"""Suffix of the checkpoint key that holds the uncertainty of a sensitivity."""

TRAINING_KEYS = frozenset({MASK_KEY, PRUNED_WEIGHT_KEY, SCORES_KEY, UNCERTAINTY_KEY})
"""Suffixes of the checkpoint keys that only a run which goes on needs: whoever counts the model leaves them out."""

STATUSES = ("training", "final")
"""A checkpoint from the middle of a pruning run, or one whose masks are baked in."""

TARGETS = ("target_sparsity", "target_flops", "target_speedup")
"""Settings that say how far a model is pruned, of which a run has exactly one."""

TOLERANCE = 0.01
"""Share of the weights by which a density may be off: whole groups of weights are kept or removed."""

CUT_OUT = ("head", "ffn_unit", "structure")
"""Granularities whose units are cut out of a finished model; those of the others become zeros."""

_STRINGS = ("method", "granularity", "applications", "scope")
_SHARES = ("target_sparsity", "density")


def is_training_key(name: str) -> bool:
    """Whether the checkpoint key ``name`` belongs to a run that goes on, and not to the model."""
    return name.rpartition(".")[2] in TRAINING_KEYS


@dataclass(frozen=True)
class PruningState:
    """How far a model is pruned, where, and by which settings.

    Attributes:
        targets: Names of the pruned modules.
        density: Share of their weights that is kept, in [0, 1].
        status: One of :data:`STATUSES`.
        settings: Everything else, as plain values: the fields of the run's
            :class:`~transformers_palbert.PruningConfig`.
    """

    targets: tuple[str, ...] = ()
    density: float = 1.0
    status: str = "final"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Any) -> PruningState:
        """The state that a config's ``pruning`` holds.

        Raises:
            ConfigurationError: naming the entry, its value and the allowed values.
        """
        if not isinstance(values, Mapping):
            raise _wrong("pruning", values, "a mapping or None")
        for name in _STRINGS:
            if not isinstance(values.get(name, ""), str):
                raise _wrong(f"pruning[{name!r}]", values[name], "a string")
        for name in _SHARES:
            share = values.get(name)
            if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
                raise _wrong(f"pruning[{name!r}]", share, "a number in [0, 1] or None")
        status = values.get("status", "final")
        if status not in STATUSES:
            raise _wrong("pruning['status']", status, "one of " + ", ".join(map(repr, STATUSES)))
        targets = values.get("targets") or ()
        if not isinstance(targets, list | tuple) or not all(isinstance(target, str) for target in targets):
            raise _wrong("pruning['targets']", targets, "a list of module names")
        settings = {name: value for name, value in values.items() if name not in ("targets", "density", "status")}
        density = values.get("density")
        return cls(tuple(targets), 1.0 if density is None else float(density), status, settings)

    @classmethod
    def of(cls, model_or_config: Any) -> PruningState | None:
        """The state of a model, a config object, or the dictionary of a ``config.json``; None if it was never pruned.

        Raises:
            ConfigurationError: as :meth:`from_dict`.
        """
        config = getattr(model_or_config, "config", model_or_config)
        values = config.get("pruning") if isinstance(config, Mapping) else getattr(config, "pruning", None)
        return cls.from_dict(values) if values else None

    def after_training_on(self, weights: Mapping[str, Any]) -> PruningState | None:
        """This state of a finished model as its ``weights`` show it, which may have been trained on without masks.

        Args:
            weights: Tensors by their names in the model's state dict.

        Returns:
            The same state, or one with the density that there is now; None if the weights are dense again. Heads and
            feed-forward units that were cut out do not grow back.
        """
        pruned = [weights[f"{name}.weight"] for name in self.targets if f"{name}.weight" in weights]
        if not sum(weight.numel() for weight in pruned) or self.settings.get("granularity") in CUT_OUT:
            return self
        density = sum(int(weight.count_nonzero()) for weight in pruned) / sum(weight.numel() for weight in pruned)
        if density >= 1 - TOLERANCE and self.density < 1 - TOLERANCE:
            return None
        return self if density <= self.density + TOLERANCE else replace(self, density=density)

    def write(self, model: Any) -> None:
        """Put this state into the config of ``model``, if it has one."""
        if (config := getattr(model, "config", None)) is not None:
            config.pruning = self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``config.json``."""
        own = {"targets": list(self.targets), "density": self.density, "status": self.status}
        return {**self.settings, **own}

    @property
    def is_finished(self) -> bool:
        """True once the masks are baked into the weights."""
        return self.status == "final"


def _wrong(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{name}={value!r} is not allowed; allowed: {allowed}.")
