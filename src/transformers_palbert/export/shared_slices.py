"""One matrix of integers for all slices that applications of one layer cut out of one matrix.

ONNX Runtime quantizes what is a constant, and each slice is one of its own: a file of 24 applications would hold 24 of
them. Instead it holds the whole matrix once, in integers, and for each slice the numbers of its rows or columns; the
runtime cuts the slices when it loads the graph.

A column has one scale in all slices, the largest of theirs: where rows were cut away, a slice loses a little precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Slice", "share_slices"]

_LARGEST = 127

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Slice:
    """What a constant is a slice of.

    Attributes:
        source: Name of the whole matrix.
        matrix: Its values, float32 ``(inputs, outputs)``.
        axis: 0 if rows were kept, 1 if columns were.
        kept: Which of them, int64.
    """

    source: str
    matrix: Array
    axis: int
    kept: Array

    def transposed(self) -> Slice:
        """The same of the transposed matrix."""
        return Slice(f"{self.source}_transposed", self.matrix.T, 1 - self.axis, self.kept)


def share_slices(model: Any, slices: Mapping[str, Slice]) -> int:
    """Store the integers of slices of one matrix once, in place.

    Args:
        model: An ``onnx_ir.Model`` that ONNX Runtime quantized column by column, around zero.
        slices: Name of each constant before it was quantized -> what it is a slice of.

    Returns:
        How many slices now come from a shared matrix.
    """
    groups: dict[str, dict[str, Slice]] = {}
    for name, cut in slices.items():
        if _by_columns(model.graph.initializers, name):
            groups.setdefault(cut.source, {})[name] = cut
    shared = [group for group in groups.values() if len(group) > 1]
    for group in shared:
        _share(model, group)
    return sum(map(len, shared))


def _by_columns(constants: Mapping[str, Any], name: str) -> bool:
    """Whether a constant was quantized as a matrix, each column by itself and around zero."""
    if f"{name}_quantized" not in constants:
        return False
    integers, scale, zero = (constants[f"{name}_{part}"].const_value for part in ("quantized", "scale", "zero_point"))
    return list(scale.shape) == list(integers.shape)[1:] and not zero.numpy().any()


def _share(model: Any, group: Mapping[str, Slice]) -> None:
    import onnx_ir

    constants, graph = model.graph.initializers, model.graph
    first = next(iter(group.values()))
    scales = _largest_scales(
        first.matrix.shape[1], [(cut, constants[f"{name}_scale"].const_value.numpy()) for name, cut in group.items()]
    )
    integers = np.clip(np.rint(first.matrix / scales), -_LARGEST, _LARGEST).astype(np.int8)
    whole = _constant(graph, f"{first.source}_quantized", integers)
    for name, cut in group.items():
        old = constants[f"{name}_quantized"]
        kept = _constant(graph, f"{name}_kept", cut.kept)
        node = onnx_ir.Node("", "Gather", [whole, kept], {"axis": onnx_ir.AttrInt64("axis", cut.axis)})
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = f"{name}_cut", old.type, old.shape
        graph.insert_before(graph[0], node)
        onnx_ir.convenience.replace_all_uses_with(old, node.outputs[0])
        del constants[f"{name}_quantized"]
        own = scales[cut.kept] if cut.axis == 1 else scales
        constants[f"{name}_scale"].const_value = onnx_ir.tensor(own, name=f"{name}_scale")


def _largest_scales(columns: int, found: Sequence[tuple[Slice, Array]]) -> Array:
    """For each column of the whole matrix, the largest of its scales; 1 where no slice has it."""
    scales = np.zeros(columns, dtype=np.float32)
    for cut, own in found:
        places = cut.kept if cut.axis == 1 else np.arange(columns)
        scales[places] = np.maximum(scales[places], own)
    scales[scales == 0] = 1
    return scales


def _constant(graph: Any, name: str, values: Array) -> Any:
    import onnx_ir

    tensor = onnx_ir.tensor(np.ascontiguousarray(values), name=name)
    value = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(values.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value
