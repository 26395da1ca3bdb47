"""Granularity: which weights live and die together.

A *unit* is what is kept or removed as one. It may be a single weight, a row, a column or a block of one matrix, or span
matrices: an attention head is rows of query, key and value and columns of the output projection. How a weight is scored
and how many units are kept is decided elsewhere; here a set of units says how the scores of weights add up to scores of
units, and how a mask of units becomes masks of weights.

=================  ==================================================  =======================================
granularity        a unit                                              a set of units, compared with each other
=================  ==================================================  =======================================
``element``        one weight                                          a matrix
``row``            the weights into one output                         a matrix
``column``         the weights out of one input                        a matrix
``block:32x32``    32 × 32 neighbouring weights, of any such size      a matrix
``head``           an attention head: rows of query, key and value,    a layer
                   columns of the output projection
``ffn_unit``       a feed-forward unit: a row into it, a column out    a layer
``structure``      heads and feed-forward units, both as above         the whole model, by score per cost
=================  ==================================================  =======================================

Units of one matrix are kept by a mask of its weights. Units that span matrices meet in the inputs of one of them, and
are kept by gates there, which may differ between the applications of a shared layer. A structure may lose whole blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

from torch import Tensor, nn

from ..errors import ConfigurationError, PruningError
from ..model.structure import EncoderLayer, encoder_layers, layer_applications, structure_of

__all__ = [
    "GRANULARITIES",
    "Block",
    "Element",
    "Granularity",
    "Slice",
    "Spanning",
    "Together",
    "Units",
    "is_gated",
    "matrices",
    "parse_granularity",
]


@dataclass(frozen=True)
class Slice:
    """The share that one matrix has in a set of units.

    Attributes:
        matrix: Name of the module.
        to_units: Sums values ``[out, in]`` of weights over each unit; the units' shape.
        to_weights: Spreads values of units, of the units' shape, over their weights ``[out, in]``.
    """

    matrix: str
    to_units: Callable[[Tensor], Tensor]
    to_weights: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Units:
    """Units of equal size that are compared with each other.

    Attributes:
        shape: The shape that the scores and the mask of the units have; ``[applications, units of a layer]`` for those
            that are kept by gates.
        weights: Number of weights in one unit.
        slices: The matrices that the units lie in.
        gate: Name of the matrix whose inputs the units are, where gates keep them and have the scores; None where a
            mask of the weights does.
        applications: Applications of the layer that count as units of their own. A weight then counts by the share of
            them that use it.
    """

    shape: tuple[int, ...]
    weights: int
    slices: tuple[Slice, ...]
    gate: str | None = None
    applications: int = 1

    @property
    def count(self) -> int:
        """Number of units."""
        return prod(self.shape)

    def scores(self, by_matrix: Mapping[str, Tensor]) -> Tensor:
        """Scores of the units, of :attr:`shape`: the mean over the weights of each.

        Args:
            by_matrix: Name of a matrix -> scores ``[out, in]`` of its weights, float32.
        """
        first, *others = (part.to_units(by_matrix[part.matrix]) for part in self.slices)
        total = sum(others, start=first)
        return (total if self.weights == 1 else total / self.weights).expand(self.shape)

    def kept_weights(self, units: int) -> float:
        """Number of weights in ``units`` of the units."""
        return self.weights * units / self.applications

    def masks(self, mask: Tensor) -> dict[str, Tensor]:
        """Name of a matrix -> mask ``[out, in]`` of its weights, from the mask of the units (of one application)."""
        return {part.matrix: part.to_weights(mask) for part in self.slices}


class Granularity(Protocol):
    """Finds the units of a model."""

    def units(self, model: nn.Module, targets: Mapping[str, nn.Linear]) -> list[Units]:
        """Sets of units over the ``targets``, by module name; matrices that have no such units are left out.

        Raises:
            PruningError: if a matrix cannot be divided like this.
        """
        ...


def _same(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True)
class Element:
    """Every weight on its own (unstructured pruning)."""

    def units(self, model: nn.Module, targets: Mapping[str, nn.Linear]) -> list[Units]:
        return [Units(tuple(linear.weight.shape), 1, (Slice(name, _same, _same),)) for name, linear in targets.items()]


@dataclass(frozen=True)
class Block:
    """Blocks of ``rows × columns`` weights; None takes the whole side of the matrix.

    ``Block(1, None)`` is a row, ``Block(None, 1)`` a column.
    """

    rows: int | None
    columns: int | None

    def units(self, model: nn.Module, targets: Mapping[str, nn.Linear]) -> list[Units]:
        return [self._of(name, *linear.weight.shape) for name, linear in targets.items()]

    def _of(self, name: str, height: int, width: int) -> Units:
        rows, columns = self.rows or height, self.columns or width
        if height % rows or width % columns:
            raise PruningError(
                f"{name} has {height} × {width} weights, which blocks of {rows} × {columns} do not divide. Choose a"
                " size that divides both sides of every target, or leave this matrix out with exclude=[…]."
            )
        shape = height // rows, width // columns

        def to_units(values: Tensor) -> Tensor:
            return values.view(shape[0], rows, shape[1], columns).sum((1, 3))

        def to_weights(values: Tensor) -> Tensor:
            return values.view(shape[0], 1, shape[1], 1).expand(-1, rows, -1, columns).reshape(height, width)

        return Units(shape, rows * columns, (Slice(name, to_units, to_weights),))


def _row_groups(name: str, weight: Tensor, count: int) -> Slice:
    """``count`` groups of neighbouring rows."""
    height, width = weight.shape

    def to_units(values: Tensor) -> Tensor:
        return values.view(count, -1).sum(1)

    def to_weights(values: Tensor) -> Tensor:
        return values.repeat_interleave(height // count)[:, None].expand(height, width)

    return Slice(name, to_units, to_weights)


def _column_groups(name: str, weight: Tensor, count: int) -> Slice:
    """``count`` groups of neighbouring columns."""
    height, width = weight.shape

    def to_units(values: Tensor) -> Tensor:
        return values.view(height, count, -1).sum((0, 2))

    def to_weights(values: Tensor) -> Tensor:
        return values.repeat_interleave(width // count)[None].expand(height, width)

    return Slice(name, to_units, to_weights)


@dataclass(frozen=True)
class Spanning:
    """Units that span matrices of one layer: groups of rows of some, groups of columns of another.

    Args:
        rows: Names of the parts of an :class:`EncoderLayer` whose rows belong to the units.
        columns: The part whose columns do: its inputs are the units.
        count: The number of units of a layer.
        each_application: Whether a unit may be kept in some applications of a shared layer and removed in others.
    """

    rows: tuple[str, ...]
    columns: str
    count: Callable[[nn.Module, EncoderLayer], int]
    each_application: bool = False

    def units(self, model: nn.Module, targets: Mapping[str, nn.Linear]) -> list[Units]:
        names: dict[nn.Module, str] = {linear: name for name, linear in targets.items()}
        return [units for layer in encoder_layers(model) if (units := self._of(model, layer, names)) is not None]

    def _of(self, model: nn.Module, layer: EncoderLayer, names: Mapping[nn.Module, str]) -> Units | None:
        parts = {part: getattr(layer, part) for part in (*self.rows, self.columns)}
        missing = [part for part, linear in parts.items() if linear not in names]
        if len(missing) == len(parts):
            return None
        if missing:
            raise PruningError(
                f"The units of {layer.name} span {', '.join(parts)}, and {', '.join(missing)} is not among the targets."
                " Name all of them in targets=[…], or none."
            )
        count, applications = self.count(model, layer), self._applications(model, layer)
        if count == 0:  # the block lost all of its units before
            return None
        slices = [_row_groups(names[parts[part]], parts[part].weight, count) for part in self.rows]
        slices.append(_column_groups(names[parts[self.columns]], parts[self.columns].weight, count))
        size = sum(linear.weight.numel() for linear in parts.values()) // count
        return Units((applications, count), size, tuple(slices), names[parts[self.columns]], applications)

    def _applications(self, model: nn.Module, layer: EncoderLayer) -> int:
        if not self.each_application:
            return 1
        path = layer.name.removeprefix(f"{structure_of(model).base}.")
        return layer_applications(getattr(model, "config", None)).count(path)


@dataclass(frozen=True)
class Together:
    """Units of several kinds in one run, each kind in sets of its own."""

    kinds: tuple[Spanning, ...]

    def units(self, model: nn.Module, targets: Mapping[str, nn.Linear]) -> list[Units]:
        return [units for kind in self.kinds for units in kind.units(model, targets)]


def _heads(model: nn.Module, layer: EncoderLayer) -> int:
    """The module's own number, for layers may have different ones."""
    return int(getattr(layer.attention, structure_of(model).heads))


_HEAD = Spanning(("query", "key", "value"), "attention_output", _heads)
_FFN_UNIT = Spanning(("ffn_in",), "ffn_out", lambda _, layer: layer.ffn_in.out_features)

GRANULARITIES: dict[str, Granularity] = {
    "element": Element(),
    "row": Block(1, None),
    "column": Block(None, 1),
    "head": _HEAD,
    "ffn_unit": _FFN_UNIT,
    "structure": Together((_HEAD, _FFN_UNIT)),
}
"""Name -> granularity; ``block:ROWSxCOLUMNS`` beside them."""


def is_gated(granularity: Granularity) -> bool:
    """Whether gates keep the units of ``granularity``, so that they can be cut out of a model."""
    return isinstance(granularity, Spanning | Together)


def _for_each_application(granularity: Spanning | Together) -> Granularity:
    if isinstance(granularity, Together):
        return Together(tuple(replace(kind, each_application=True) for kind in granularity.kinds))
    return replace(granularity, each_application=True)


_BLOCK = re.compile(r"block:([1-9]\d*)x([1-9]\d*)")


def parse_granularity(name: object, *, each_application: bool = False) -> Granularity:
    """The granularity called ``name``.

    Args:
        name: A key of :data:`GRANULARITIES`, or blocks such as ``"block:32x32"``.
        each_application: Whether a unit may be kept in some applications of a shared layer and removed in others.

    Raises:
        ConfigurationError: if there is none, or it cannot differ between applications.
    """
    if isinstance(name, str):
        granularity = GRANULARITIES.get(name)
        if match := _BLOCK.fullmatch(name):
            granularity = Block(int(match[1]), int(match[2]))
        if isinstance(granularity, Spanning | Together) and each_application:
            return _for_each_application(granularity)
        if granularity is not None and each_application:
            gated = [repr(key) for key, value in GRANULARITIES.items() if is_gated(value)]
            raise ConfigurationError(
                f"applications='each' needs units that a gate can switch, granularity={' or '.join(gated)}; with"
                f" granularity={name!r} the weights themselves are masked, which all applications share."
            )
        if granularity is not None:
            return granularity
    raise ConfigurationError(
        f"granularity={name!r} is not allowed; choose one of {sorted(GRANULARITIES)}, or blocks such as 'block:32x32'."
    )


def matrices(sets: Sequence[Units]) -> list[str]:
    """Names of the matrices that have units, each once, in order."""
    return list(dict.fromkeys(part.matrix for units in sets for part in units.slices))
