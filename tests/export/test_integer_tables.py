"""Lookups in tables of integers, before floats are made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason="the extra `openvino` is not installed")

from openvino import opset13  # noqa: E402

from transformers_palbert.export.integer_tables import look_up_integers  # noqa: E402

TABLE = np.arange(-10, 10, dtype=np.int8).reshape(5, 4)
ROWS = np.array([[4, 0, 0], [2, 1, 3]], dtype=np.int64)


def lookup(scale: np.ndarray, table: np.ndarray = TABLE) -> Any:
    """A graph that looks rows up in a table, which is made floats before."""
    rows = opset13.parameter([-1, -1], np.int64, name="rows")
    floats = opset13.multiply(opset13.convert(opset13.constant(table), "f32"), opset13.constant(scale))
    found = opset13.gather(floats, rows, opset13.constant(np.int64(0)))
    return openvino.Model([opset13.relu(found)], [rows])


def constants_before(model: Any) -> set[str]:
    """Types of what is looked up."""
    gathers = [node for node in model.get_ordered_ops() if node.get_type_name() == "Gather"]
    return {str(node.input_value(0).get_node().get_type_name()) for node in gathers}


def results(model: Any) -> np.ndarray:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled({"rows": ROWS})[0])


def test_rows_are_looked_up_as_integers_with_the_same_results() -> None:
    scale = np.linspace(0.1, 2, 5, dtype=np.float32).reshape(5, 1)
    model, swapped = lookup(scale), lookup(scale)
    assert look_up_integers(swapped) == 1
    assert constants_before(model) == {"Multiply"}
    assert constants_before(swapped) == {"Constant"}
    np.testing.assert_array_equal(results(swapped), results(model))
    np.testing.assert_array_equal(results(model), np.maximum((TABLE * scale)[ROWS], 0))
    assert look_up_integers(swapped) == 0


@pytest.mark.parametrize(
    ("scale", "table"),
    [
        (np.ones((1, 4), dtype=np.float32), TABLE),  # a scale for each column is not looked up by row
        (np.ones((5, 1), dtype=np.float32), TABLE.astype(np.float16)),
    ],
)
def test_other_lookups_stay(scale: np.ndarray, table: np.ndarray) -> None:
    model = lookup(scale, table)
    assert look_up_integers(model) == 0
    assert constants_before(model) == {"Multiply"}
