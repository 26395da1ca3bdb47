"""Slices of one matrix, stored once as integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.references.exported_models import EXAMPLES, WIDE_KEPT, exported, source
from transformers_palbert.runtime import load

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

WINDOW = {"max_seq_len": 40, "doc_stride": 10}


def integers(file: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of the matrices of integers that a graph stores."""
    types = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    found = [tensor for tensor in onnx.load(file).graph.initializer if tensor.data_type in types]
    return {tensor.name: tuple(tensor.dims) for tensor in found if len(tensor.dims) == 2}


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_file_holds_each_shared_matrix_once(calibrated: bool) -> None:
    file = exported("applications", int8=True, calibrated=calibrated) / "model.onnx"
    stored = sum(int(np.prod(shape)) for shape in integers(file).values())
    matrices = sum(value.numel() for value in source("applications")[0].parameters() if value.dim() == 2)
    assert stored <= matrices
    graph = onnx.load(file).graph
    used = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= used
    assert (file.parent / "model.onnx.data").stat().st_size < 1.5 * matrices


def test_slices_of_columns_are_those_of_the_shared_matrix() -> None:
    """What a slice computes is what the float matrix does, as far as integers of its columns can."""
    model, _, _ = source("applications")
    file = exported("applications", int8=True) / "model.onnx"
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer}
    cuts = [node for node in onnx.load(file).graph.node if node.output[0].endswith("_cut")]
    assert len(cuts) >= 2 * 4  # of two applications that keep a part: three inputs of attention, and its output
    weights = [value.detach().numpy().T for value in model.parameters() if value.dim() == 2]
    for node in cuts:
        whole, kept, axis = values[node.input[0]], values[node.input[1]], node.attribute[0].i
        scale = values[node.output[0].removesuffix("_cut") + "_scale"]
        found = np.take(whole, kept, axis=axis) * scale
        expected = [np.take(weight, kept, axis=axis) for weight in weights if weight.shape == whole.shape]
        assert min(np.abs(found - one).max() for one in expected) <= 0.51 * scale.max()


def test_answers_stay_those_of_the_model() -> None:
    assert WIDE_KEPT  # applications that keep parts of one layer
    whole, small = (load(exported("applications", int8=int8)) for int8 in (False, True))

    def answers(ask: Any) -> list[Any]:
        return [one["answer"] for one in ask(EXAMPLES, **WINDOW)]

    same = sum(one == other for one, other in zip(answers(whole), answers(small), strict=True))
    assert same >= len(EXAMPLES) - 1
