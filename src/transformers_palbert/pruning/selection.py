"""Which units of a prepared model are kept: found once per run, chosen anew at each update of the masks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PruningError
from ..speed.costs import StructureCosts
from .budget import Budget, by_first_process, structure_costs
from .config import PruningConfig
from .convert import PREPARED_BY, TOLD_APART, dense_copy, masked_layers, unit_sizes
from .gated_linear import GatedLinear
from .gates import write_gates
from .granularity import Units, matrices
from .masks import apportion, top_v, top_v_global

__all__ = ["Selection", "apply_density", "require_same_preparation", "run_costs"]


class Selection:
    """The units of a prepared model, and which of them stay.

    Args:
        model: A prepared model. What is found here holds until its masks are baked in.
        config: The settings it was prepared with.
        costs: What a structure costs, where units compete for a budget; None: they are counted, or measured, when they
            are first needed.

    Attributes:
        layers: The layers that carry masks or gates, by module name.
        sets: The sets of units.
    """

    def __init__(self, model: nn.Module, config: PruningConfig, costs: StructureCosts | None = None) -> None:
        self.model, self.config, self.costs = model, config, costs
        self.layers = masked_layers(model)
        self.sets = _sets(model, config)

    @cached_property
    def matrices(self) -> list[str]:
        """Names of the Linears that lose weights, those without a mask of their own included."""
        return matrices(self.sets)

    @cached_property
    def weights(self) -> int:
        """Number of the targeted weights, those of shared units once."""
        return round(sum(units.kept_weights(units.count) for units in self.sets))

    @cached_property
    def budget(self) -> Budget:
        """What the units cost."""
        if self.costs is None:
            self.costs = _costs(self.model, self.config)
        return Budget(self.model, self.sets, self.costs)

    def require_reachable(self) -> None:
        """Raise if units compete for a budget that buys none of them.

        Raises:
            PruningError: saying how far the model can go.
        """
        if self.config.is_budgeted:
            self.budget.require_reachable(self.config.final_density, self.config.target)

    @property
    def masks(self) -> list[Tensor]:
        """The present masks of the sets that gates keep, of their units' shapes."""
        return [self.layers[units.gate].mask for units in self.sets if units.gate is not None]

    @torch.no_grad()
    def scores(self) -> list[Tensor]:
        """Scores of the units of each set, float32, of their shape; higher means keep."""
        return [self._scores_of(units) for units in self.sets]

    def scores_by_matrix(self) -> dict[str, Tensor]:
        """The same by the matrix whose weights or inputs the units are."""
        return dict(zip(map(_name, self.sets), self.scores(), strict=True))

    def _scores_of(self, units: Units) -> Tensor:
        score = self.config.score
        if units.gate is None:
            weights = {part.matrix: self.layers[part.matrix] for part in units.slices}
            return units.scores({name: score(layer.weight, layer.score_state) for name, layer in weights.items()})
        gated = self.layers[units.gate]
        if score.learned:
            return score(gated.mask, gated.score_state)
        linears: Any = {part.matrix: self.model.get_submodule(part.matrix) for part in units.slices}
        return score(unit_sizes(units, linears), {})

    @torch.no_grad()
    def apply(self, density: float) -> int:
        """Give every layer the mask that keeps the best-scored share ``density``, exactly.

        Of ``N`` units, ``round(density · N)`` are kept; each set has that share to within one unit (scope ``matrix``),
        or the sets compete (scope ``global``). Units that compete for a budget cost ``density`` of the dense model
        together, to within one unit, and never more.

        Returns:
            The number of weights that are kept.

        Raises:
            PruningError: if all scores of a layer are equal, the first time that units are to be removed.
        """
        if density < 1:
            self.require_told_apart()
        masks = self._choose(density)
        for units, mask in zip(self.sets, masks, strict=True):
            for name, part in units.masks(mask).items() if units.gate is None else ((units.gate, mask),):
                self.layers[name].set_mask(part)
        if self.config.applications == "each":
            write_gates(self.model)
        return self._weights_of(masks) if self.config.is_budgeted else self.kept_at(density)

    def _choose(self, density: float) -> list[Tensor]:
        scores = self.scores()
        if self.config.is_budgeted:
            if not self.config.score.learned:  # means over weights, so that units of all sizes compare
                scores = [score * units.weights for score, units in zip(scores, self.sets, strict=True)]
            return self.budget.choose(scores, density, relative=self.config.score.relative)
        kept = apportion(density, [units.count for units in self.sets])
        if self.config.scope == "global":
            return top_v_global(scores, sum(kept))
        return [top_v(score, count) for score, count in zip(scores, kept, strict=True)]

    def kept_at(self, density: float) -> int:
        """Number of weights that :meth:`apply` keeps of units that do not compete for a budget."""
        kept = apportion(density, [units.count for units in self.sets])
        return round(sum(units.kept_weights(count) for units, count in zip(self.sets, kept, strict=True)))

    def kept(self) -> int:
        """Number of weights that the present masks keep."""
        if all(units.gate is not None for units in self.sets):
            return self._weights_of(self.masks)
        masks = [self.layers[part.matrix].mask for units in self.sets for part in units.slices]
        return sum(int(torch.count_nonzero(mask)) for mask in masks)

    def _weights_of(self, masks: Sequence[Tensor]) -> int:
        return round(
            sum(
                units.kept_weights(int(torch.count_nonzero(mask))) for units, mask in zip(self.sets, masks, strict=True)
            )
        )

    def has(self, density: float) -> bool:
        """Whether the present masks keep what :meth:`apply` would keep, though not always the same units."""
        if self.config.is_budgeted:
            return self.budget.allows(self.masks, density)
        return self.kept() == self.kept_at(density)

    def density_of(self, kept: int, density: float) -> float:
        """Share of the targeted weights that is kept; the nominal ``density`` where that is what it counts."""
        return kept / self.weights if self.config.is_budgeted else density

    def require_told_apart(self) -> None:
        """Raise if all scores of a layer are equal: the first weights by position would be kept.

        It looks once per model, when pruning begins: reading values back from a GPU in every step would cost time.

        Raises:
            PruningError: naming the layer, the possible causes and the cure.
        """
        if getattr(self.model, TOLD_APART, False):
            return
        found = self.scores_by_matrix()
        if self.config.score.stochastic:  # a gate that was drawn wholly open so far has learned nothing yet
            found = {"all gates": torch.cat([scores.flatten() for scores in found.values()])}
        for name, scores in found.items():
            if scores.numel() > 1 and bool(scores.min() == scores.max()):
                raise PruningError(
                    f"All {self.config.method} scores of {name} equal {scores.flatten()[0].item():g}: there is"
                    " nothing to tell its weights apart. No gradient reached them yet: give the run a warm-up"
                    " (warmup=0.1), make the optimizer after prepare_pruning, let a Pruner or the callback watch its"
                    " steps, and check that this layer takes part in the loss."
                )
        setattr(self.model, TOLD_APART, True)


def _sets(model: nn.Module, config: PruningConfig) -> list[Units]:
    layers = masked_layers(model)
    if not any(isinstance(layer, GatedLinear) for layer in layers.values()):
        return config.units.units(model, layers)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return [units for units in config.units.units(model, linears) if units.gate in layers]


def _name(units: Units) -> str:
    """The matrix whose weights or inputs the units are."""
    return units.gate or units.slices[0].matrix


def _costs(model: nn.Module, config: PruningConfig) -> StructureCosts:
    return structure_costs(model if config.target_speedup is None else dense_copy(model), config)


def run_costs(model: nn.Module, config: PruningConfig, stored: Any = None) -> StructureCosts | None:
    """The costs that a run goes by, the same in all of its processes; None where no units compete for a budget.

    Args:
        model: A prepared model, on its device.
        config: Its settings.
        stored: The costs that an interrupted run went by, as plain values; a run that goes on keeps what was measured.
    """
    if not config.is_budgeted:
        return None
    if stored is not None:
        return StructureCosts.from_dict(stored)
    return by_first_process(lambda: _costs(model, config))


_OF_PREPARATION = ("method", "granularity", "applications", "targets", "exclude", "score_start", "score_update")
"""Settings that decide which layers :func:`~.convert.prepare_pruning` changes, and what these remember."""


def require_same_preparation(model: nn.Module, config: PruningConfig) -> None:
    """Raise unless a prepared model was prepared for what ``config`` is to prune.

    Raises:
        PruningError: naming the settings that differ, and the cure.
    """
    prepared: PruningConfig = getattr(model, PREPARED_BY, config)
    pairs = {name: (getattr(prepared, name), getattr(config, name)) for name in _OF_PREPARATION}
    if differing := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
        there = ", ".join(f"{name}={pair[0]!r}" for name, pair in differing.items())
        here = ", ".join(f"{name}={pair[1]!r}" for name, pair in differing.items())
        raise PruningError(
            f"The model was prepared with {there}, and is to be pruned with {here}: give prepare_pruning(model, config)"
            " the config that prunes; bake_masks(model) undoes the other one."
        )
    needed = config.score.initial(torch.empty(0)).keys()
    if any(layer.score_state.keys() != needed for layer in masked_layers(model).values()):
        raise PruningError(
            f"The model was prepared with other settings of method={config.method!r}: give prepare_pruning(model,"
            " config) the config that prunes."
        )


def apply_density(model: nn.Module, config: PruningConfig, density: float, costs: StructureCosts | None = None) -> None:
    """Give every prunable layer the mask that keeps the best-scored share ``density``, exactly.

    Over all sets ``round(density · N)`` of ``N`` units are kept; each set has that share to within one unit (scope
    ``matrix``), or the sets compete (scope ``global``). Where units compete for a budget (``granularity="structure"``,
    or a target of operations or seconds), they cost that share of the dense model, to within one unit and never more.

    Args:
        model: A prepared model.
        config: Its settings.
        density: Share that is kept, in [0, 1].
        costs: What a structure costs, where that is known; None: it is counted or, which takes a while, measured.

    Raises:
        PruningError: if all scores of a layer are equal, the first time that weights are to be removed, or the target
            of the config cannot be reached.
    """
    Selection(model, config, costs).apply(density)
