"""What a structure costs: weights, FLOPs or measured seconds, all by one model of cost.

A model costs what its parts cost: the attention and the feed-forward block of each layer, by how many heads and units
they keep, and a rest that no removal changes. Blocks of the same size cost the same in every layer.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from ..errors import ConfigurationError
from ..model.removal import layer_sizes
from ..model.structure import encoder_layers
from .latency import LatencyTable, applied_sizes

__all__ = ["Curve", "StructureCosts", "flop_costs", "promised_speedup", "second_costs", "weight_costs"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The cost of a block by the number of its units: known at some numbers, straight lines in between.

    Attributes:
        counts: Numbers of units, ascending. What is outside of them costs what the nearest of them costs.
        costs: The cost at each, not falling.
    """

    counts: tuple[int, ...]
    costs: tuple[float, ...]

    def at(self, counts: npt.ArrayLike) -> FloatArray:
        """Costs at ``counts``, which need not be whole; float64, of their shape."""
        places = np.asarray(counts, dtype=np.float64)
        return np.asarray(np.interp(places, self.counts, self.costs), dtype=np.float64)

    def slope(self, count: float) -> float:
        """How much one unit more costs at ``count``; at a bend, one more unit downwards; 0 outside of what is known."""
        place = bisect_left(self.counts, count) - 1
        if not 0 <= place < len(self.counts) - 1:
            return 0.0
        rise, run = self.costs[place + 1] - self.costs[place], self.counts[place + 1] - self.counts[place]
        return rise / run


@dataclass(frozen=True)
class StructureCosts:
    """What a model costs by what its layers keep.

    Attributes:
        heads: Of the attention of one layer, by its number of heads.
        units: Of the feed-forward block of one layer, by its number of units.
        rest: Of whatever is outside of the layers.
        per_application: Whether a layer that is applied at several depths costs as many times: work does, the weights
            that are stored do not.
    """

    heads: Curve
    units: Curve
    rest: float = 0.0
    per_application: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values; floats survive JSON bit for bit."""
        return {
            "heads": [list(self.heads.counts), list(self.heads.costs)],
            "units": [list(self.units.counts), list(self.units.costs)],
            "rest": self.rest,
            "per_application": self.per_application,
        }

    @classmethod
    def from_dict(cls, values: Any) -> StructureCosts:
        """What :meth:`to_dict` wrote.

        Raises:
            ConfigurationError: if it is not that.
        """
        try:
            heads, units = (Curve(tuple(values[name][0]), tuple(values[name][1])) for name in ("heads", "units"))
            return cls(heads, units, float(values["rest"]), bool(values["per_application"]))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ConfigurationError(
                f"{values!r} are no costs of a structure. They stand in the state of a pruning run and are not meant to"
                " be changed by hand: take a checkpoint that is as the run wrote it."
            ) from error


def weight_costs(model: nn.Module) -> StructureCosts:
    """Weights of the heads and units themselves, each stored once however often its layer is applied."""
    head, unit = _weights_of_units(model)
    return StructureCosts(*_straight(model, head, unit), per_application=False)


def flop_costs(model: nn.Module, length: int) -> StructureCosts:
    """Floating-point operations of the layers for one example of ``length`` tokens; a multiply-add counts as two.

    A head of ``w`` dimensions with ``n`` weights costs ``2 · length · n + 4 · length² · w``: its projections, and its
    attention scores and what they weigh. A feed-forward unit with ``n`` weights costs ``2 · length · n``. Biases,
    norms, activations and softmax are left out, and so is all outside of the layers.
    """
    head, unit = _weights_of_units(model)
    layer, size = _largest_layer(model)
    width = layer.query.out_features // max(1, size)
    return StructureCosts(*_straight(model, 2.0 * length * head + 4.0 * length**2 * width, 2.0 * length * unit))


def promised_speedup(whole: nn.Module, small: nn.Module, length: int) -> float:
    """How many times as many operations the layers of ``whole`` take as those of ``small``, which lost some of them.

    What a machine makes of it is measured: norms, embeddings and the head take time too, and small matrices take more
    time for each operation than large ones.

    Args:
        whole: A model of an architecture in the table.
        small: The same after removal; every application of a shared layer counts by what it keeps.
        length: Tokens of an example.
    """
    costs = flop_costs(whole, length)
    before, after = (
        sum(float(costs.heads.at(heads) + costs.units.at(units)) for heads, units in applied_sizes(model))
        for model in (whole, small)
    )
    return before / after if after else float("inf")


def second_costs(table: LatencyTable) -> StructureCosts:
    """Seconds of a forward pass of the whole model, as ``table`` says them."""
    heads = Curve(tuple(table.heads), tuple(float(seconds) for seconds in table.head_seconds))
    units = Curve(tuple(table.units), tuple(float(seconds) for seconds in table.unit_seconds))
    return StructureCosts(heads, units, float(table.rest_seconds))


def _weights_of_units(model: nn.Module) -> tuple[int, int]:
    """Number of weights of one head, and of one feed-forward unit."""
    layer, heads = _largest_layer(model)
    of_heads = (layer.query, layer.key, layer.value, layer.attention_output)
    units = (layer.ffn_in.in_features, layer.ffn_out.out_features)
    return sum(linear.weight.numel() for linear in of_heads) // max(1, heads), sum(units)


def _largest_layer(model: nn.Module) -> tuple[Any, int]:
    """The layer with the most heads, and how many these are."""
    sizes = list(layer_sizes(model).values())
    most = max(range(len(sizes)), key=lambda place: sizes[place].heads)
    return encoder_layers(model)[most], sizes[most].heads


def _straight(model: nn.Module, head: float, unit: float) -> tuple[Curve, Curve]:
    """Curves of blocks whose heads and units cost ``head`` and ``unit`` each."""
    sizes = layer_sizes(model).values()
    most = max(size.heads for size in sizes), max(size.units for size in sizes)
    return Curve((0, most[0]), (0.0, head * most[0])), Curve((0, most[1]), (0.0, unit * most[1]))
