"""What the units of a prepared model cost, and which of them a share of the whole cost buys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn

from ..errors import ConfigurationError, PruningError
from ..model.removal import layer_path, layer_sizes
from ..model.structure import encoder_layers, layer_applications
from ..speed.costs import Curve, StructureCosts, flop_costs, second_costs, weight_costs
from ..speed.latency import longest_input
from ..speed.latency_cache import cached_latency
from .choice import SLACK, units_within
from .config import PruningConfig
from .granularity import Units

__all__ = ["Block", "Budget", "by_first_process", "counted_inputs", "fetched", "structure_costs"]

FloatArray = npt.NDArray[np.float64]
T = TypeVar("T")

BATCH_SIZE, LENGTH = 8, 384
"""The inputs that a target of operations or seconds counts for where none are given."""


def counted_inputs(model: nn.Module, config: PruningConfig) -> tuple[int, int]:
    """Examples of a batch, and tokens of each, that the target of ``config`` counts for.

    Raises:
        ConfigurationError: if the model takes no inputs as long as that.
    """
    longest = longest_input(model)
    length = config.latency_length or min(LENGTH, longest or LENGTH)
    if config.target_speedup is not None and longest is not None and length > longest:
        raise ConfigurationError(
            f"latency_length={length} is more than the {longest} tokens that {type(model).__name__} takes; time cannot"
            " be measured with it."
        )
    return config.latency_batch_size or BATCH_SIZE, length


def structure_costs(model: nn.Module, config: PruningConfig) -> StructureCosts:
    """The costs that the target of ``config`` counts; seconds are measured, once on each machine.

    Args:
        model: A model of an architecture in the table, without masks or gates, on its device.
        config: The settings of a run whose units compete for a budget.
    """
    batch_size, length = counted_inputs(model, config)
    if config.target_speedup is not None:
        return second_costs(cached_latency(model, batch_size=batch_size, length=length))
    return weight_costs(model) if config.target_flops is None else flop_costs(model, length)


def by_first_process(make: Callable[[], T]) -> T:
    """What ``make`` returns in the first process, for all processes of a distributed run: they go on as one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return make()
    made: list[Any] = [make() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(made, src=0)
    return made[0]


def fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Float64 copies of ``tensors`` on the CPU, which a device is asked for once."""
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).cpu().double()
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


@dataclass(frozen=True)
class Block:
    """Units that are kept or removed in one place: those of a layer, or of one application of a shared layer.

    Attributes:
        units: Which of the sets of units they belong to.
        application: Their row in the scores and the mask of that set.
        curve: Costs of the block in one layer, by the number of units.
        times: How often that counts.
        costs: ``[units + 1]``: with 0, 1, … units.
    """

    units: int
    application: int
    curve: Curve
    times: float
    costs: FloatArray


class Budget:
    """Blocks of units with their costs, and the rest of the model.

    Args:
        model: A prepared model, or one that is about to be.
        sets: The sets of its units, all of them kept by gates.
        costs: What a structure costs.

    Attributes:
        blocks: The units that compete.
        rest: The cost of everything else: what is outside of the layers, and what is not pruned in them.
        total: The cost of the dense model.
    """

    def __init__(self, model: nn.Module, sets: Sequence[Units], costs: StructureCosts) -> None:
        self.sets, self.rest, self.blocks = sets, costs.rest, list[Block]()
        places = {units.gate: place for place, units in enumerate(sets)}
        for gate, size, applied, curve in _parts(model, costs):
            if gate in places:
                times = applied if costs.per_application else 1
                self.blocks += _blocks(places[gate], sets[places[gate]], curve, times)
            elif costs.per_application:
                self.rest += applied * float(curve.at(size))
        self.total = self.rest + sum(float(block.costs[-1]) for block in self.blocks)

    def cost(self, masks: Sequence[Tensor]) -> float:
        """The cost of a model that keeps what ``masks``, one for each set, do not say to be zero."""
        counts = self._counts(masks)
        return self.rest + sum(float(block.costs[count]) for block, count in zip(self.blocks, counts, strict=True))

    def choose(self, scores: Sequence[Tensor], share: float, *, relative: bool = False) -> list[Tensor]:
        """Masks that keep what ``share`` of the total cost buys; see :func:`~.choice.units_within`.

        Args:
            scores: Of the units of each set, of their shape.
            share: In [0, 1].
            relative: Whether scores are compared as they are, because their scale says nothing; if not, they are
                compared per cost.

        Returns:
            bool, of the shapes of the scores, on the CPU. Of equal scores in a block, the first stay.
        """
        if share >= 1:
            return [torch.ones(score.shape, dtype=torch.bool) for score in scores]
        values = [score.numpy() for score in fetched(scores)]
        of_blocks = [values[block.units][block.application] for block in self.blocks]
        orders = [np.argsort(-score, kind="stable") for score in of_blocks]
        ranked = [score[order] for score, order in zip(of_blocks, orders, strict=True)]
        if relative:
            ranked = [score * _mean_cost(block) for score, block in zip(ranked, self.blocks, strict=True)]
        counts = units_within(ranked, [block.costs for block in self.blocks], share * self.total - self.rest)
        masks = [torch.zeros(score.shape, dtype=torch.bool) for score in scores]
        for block, order, count in zip(self.blocks, orders, counts, strict=True):
            masks[block.units][block.application, torch.from_numpy(order[:count].copy())] = True
        return masks

    def allows(self, masks: Sequence[Tensor], share: float) -> bool:
        """Whether ``masks`` cost at most ``share`` of the total, and would cost more with any single unit more."""
        counts = self._counts(masks)
        costs = [(block.costs, count) for block, count in zip(self.blocks, counts, strict=True)]
        left = share * self.total - self.rest - sum(float(of[count]) for of, count in costs)
        rounding = 2 * SLACK * self.total
        further = [float(of[count + 1] - of[count]) for of, count in costs if count + 1 < len(of)]
        return left >= -rounding and all(price > left - rounding for price in further)

    def _counts(self, masks: Sequence[Tensor]) -> list[int]:
        """Number of units that each block keeps."""
        counts = [torch.count_nonzero(mask, dim=1).tolist() for mask in masks]
        return [counts[block.units][block.application] for block in self.blocks]

    def require_reachable(self, share: float, asked: str) -> None:
        """Raise unless ``share`` of the total cost buys at least one unit.

        Args:
            share: In [0, 1].
            asked: What was asked for, for the message.

        Raises:
            PruningError: saying how far the model can go.
        """
        least = self.rest + sum(float(block.costs[0]) for block in self.blocks)
        cheapest = min(float(block.costs[1] - block.costs[0]) for block in self.blocks)
        if least + cheapest > share * self.total:
            raise PruningError(
                f"{asked} leaves {share:.3g} of what the dense model costs, and {least / self.total:.3g} of it is in"
                " parts that stay, without any of the units that are pruned. Ask for less, or prune more:"
                " granularity='structure', without targets and exclude."
            )


def _parts(model: nn.Module, costs: StructureCosts) -> Iterator[tuple[str, int, int, Curve]]:
    """Each block of each layer: its gated matrix, number of units and of applications, and the curve of its cost."""
    names = {module: name for name, module in model.named_modules()}
    applied, sizes = layer_applications(model.config), layer_sizes(model)
    for layer in encoder_layers(model):
        path = layer_path(model, layer)
        times = applied.count(path)
        yield names[layer.attention_output], sizes[path].heads, times, costs.heads
        yield names[layer.ffn_out], sizes[path].units, times, costs.units


def _blocks(place: int, units: Units, curve: Curve, times: int) -> Iterator[Block]:
    """The blocks of one set: one, or one for each application that has gates of its own."""
    applications, count = units.shape
    costs = curve.at(np.arange(count + 1)) * (times / applications)
    for application in range(applications):
        yield Block(place, application, curve, times / applications, costs)


def _mean_cost(block: Block) -> float:
    return float(block.costs[-1] - block.costs[0]) / max(1, len(block.costs) - 1)
