"""Embeddings that stay integers in OpenVINO: rows are looked up first, and made floats afterwards.

NNCF writes a table of embeddings as integers, and makes floats of it before the lookup. OpenVINO computes what depends
on constants alone when it loads a model: it would hold the whole table in float32, four times as large as in the file.
"""

from __future__ import annotations

from typing import Any

from ..errors import require

__all__ = ["look_up_integers"]


def look_up_integers(model: Any) -> int:
    """Swap, in place, each lookup in a table of integers with what makes floats of it; the results are the same.

    ``Gather(Convert(table) · scale, rows)`` becomes ``Convert(Gather(table, rows)) · Gather(scale, rows)``.

    Args:
        model: An ``openvino.Model``.

    Returns:
        How many lookups were swapped.

    Raises:
        MissingExtraError: if openvino is not installed.
    """
    opset13 = require("openvino.opset13", "openvino")
    swapped = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Gather" or (found := _integers(node.input_value(0).get_node())) is None:
            continue
        (table, scale), (rows, axis) = found, (node.input_value(1), node.input_value(2))
        values = opset13.convert(opset13.gather(table, rows, axis), "f32")
        node.output(0).replace(opset13.multiply(values, opset13.gather(scale, rows, axis)).output(0))
        swapped += 1
    return swapped


def _integers(node: Any) -> tuple[Any, Any] | None:
    """Table and scales of a node that computes ``Convert(table) · scale``, one scale for each row; None for another."""
    if node.get_type_name() != "Multiply":
        return None
    convert, scale = node.input_value(0).get_node(), node.input_value(1)
    if (convert.get_type_name(), scale.get_node().get_type_name()) != ("Convert", "Constant"):
        return None
    table = convert.input_value(0)
    if table.get_node().get_type_name() != "Constant" or not table.get_element_type().is_integral():
        return None
    return (table, scale) if list(scale.get_shape()) == [table.get_shape()[0], 1] else None
