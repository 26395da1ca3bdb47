"""Graphs of question-answering models for ONNX Runtime and OpenVINO, in float32 or int8.

The exporters of transformers trace and convert a model, the runtimes' own tools make integers of its matrices. What is
added here: matrices that layers share are laid bare before, since ONNX Runtime quantizes what is a constant of the
file and passes over what is computed from one.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from ..errors import ConfigurationError, MissingExtraError, require
from ..storage.quantizer import SparseQuantizer
from .integer_tables import look_up_integers
from .shared_slices import Slice, share_slices

__all__ = ["Inputs", "convert", "fold_constants", "plain_copy", "require_exporters", "save"]

Inputs = Mapping[str, Tensor]
"""Model inputs by name, int64 ``(batch, tokens)``."""

_NEEDED = {
    ("onnx", False): ("onnx", "onnxscript", "onnxruntime"),
    ("onnx", True): ("onnx", "onnxscript", "onnxruntime"),
    ("openvino", False): ("openvino",),
    ("openvino", True): ("openvino", "nncf"),
}
"""Format, and whether in int8 -> the libraries that it takes, all of the extra that is called as the format is."""


def require_exporters(format: str, int8: bool) -> None:
    """Check that a model can be exported here.

    Raises:
        MissingExtraError: if a library is not installed.
        ConfigurationError: if there is no such format.
    """
    if (format, int8) not in _NEEDED:
        formats = sorted({name for name, _ in _NEEDED})
        raise ConfigurationError(f"There is no export format {format!r}; the formats are {', '.join(formats)}.")
    for name in _NEEDED[format, int8]:
        require(name, format)


def convert(
    model: PreTrainedModel,
    inputs: Inputs,
    *,
    format: str,
    int8: bool = False,
    calibration: Sequence[Inputs] = (),
) -> Any:
    """Convert ``model`` into a graph that takes batches of any size and length.

    Args:
        model: A finished question-answering model, as :func:`plain_copy` gives it.
        inputs: A batch of at least two windows, as the model takes it: in a graph traced with one window, the number
            of windows would be fixed.
        format: ``"onnx"`` or ``"openvino"``.
        int8: Whether matrices become integers of 8 bits, one scale for each row.
        calibration: With ``int8``, batches from which the ranges of activations are measured. Without any, ONNX
            Runtime measures them anew in every call, and OpenVINO quantizes the weights alone.

    Returns:
        What :func:`save` writes: an ``ExportedModel`` of transformers, or a bare graph where it is older than that.

    Raises:
        MissingExtraError: if a library is not installed, or too old.
        ConfigurationError: if there is no such format.
    """
    require_exporters(format, int8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of models that transformers 5.21 imports on the way
        from transformers.exporters import OnnxConfig, OnnxExporter, OpenVINOConfig, OpenVINOExporter

    axes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    settings: dict[str, Any] = {"dynamic": True, "dynamic_shapes": dict.fromkeys(inputs, axes)}
    if int8:
        settings["quantizer"] = (_onnx_quantizer if format == "onnx" else _openvino_quantizer)(calibration)
    exporter, config = (OnnxExporter, OnnxConfig) if format == "onnx" else (OpenVINOExporter, OpenVINOConfig)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the exporters' own libraries will no longer have some day
            return exporter().export(model, dict(inputs), config=config(**settings))
    except ImportError as error:
        raise MissingExtraError(
            f"transformers cannot export to {format} here: {error} Install what it asks for with:"
            f" pip install --upgrade 'transformers-palbert[{format}]'"
        ) from error


def save(exported: Any, config: PreTrainedConfig, folder: Path) -> None:
    """Write into ``folder`` what :func:`convert` gave, and the configuration of its model.

    Transformers 5.21 and 5.22 give the runtime's own graph, which then is saved under the names that later ones use.
    """
    if hasattr(exported, "save_pretrained"):
        exported.save_pretrained(folder)
        return
    config.save_pretrained(folder)
    if hasattr(exported, "model"):
        import onnx_ir

        onnx_ir.save(exported.model, folder / "model.onnx", external_data="model.onnx.data")
    else:
        import openvino

        openvino.save_model(exported, folder / "openvino_model.xml", compress_to_fp16=False)


def plain_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in float32 on the CPU that answers, and knows nothing of how it was stored."""
    copied = copy.deepcopy(model)
    quantizer = getattr(copied, "hf_quantizer", None)
    if isinstance(quantizer, SparseQuantizer):
        quantizer.remove_quantization_config(copied)
    if hasattr(copied.config, "quantization_config"):
        del copied.config.quantization_config
    return copied.float().cpu().eval()


def _onnx_quantizer(calibration: Sequence[Inputs]) -> Any:
    """ONNX Runtime's own quantizer, which is shown every matrix as a constant.

    Only products with constants become integers: those of activations with each other lose much and gain little.
    """
    from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer, OnnxRuntimeStaticConfig

    class FoldingQuantizer(OnnxRuntimeQuantizer):  # here, as its base loads with onnxruntime
        def quantize(self, model: Any, sample_inputs: Any, export_format: Any) -> Any:
            slices = fold_constants(model)
            whole = copy.copy(self)
            whole.config = dataclasses.replace(self.config, nodes_to_exclude=_empty_products(model))
            quantized = super(FoldingQuantizer, whole).quantize(model, sample_inputs, export_format)
            share_slices(quantized, slices)
            return quantized

    common: dict[str, Any] = {
        "op_types_to_quantize": ["MatMul", "Gather"],
        "per_channel": True,
        "extra_options": {"MatMulConstBOnly": True},
    }
    if not calibration:
        return FoldingQuantizer(OnnxRuntimeDynamicConfig(**common))
    return FoldingQuantizer(
        OnnxRuntimeStaticConfig(**common), calibration_dataset=[dict(batch) for batch in calibration]
    )


def _openvino_quantizer(calibration: Sequence[Inputs]) -> Any:
    """NNCF: weights alone, or with ``calibration`` weights and activations."""
    from transformers.exporters import NNCFOpenVINOQuantizer, NNCFQuantizationConfig, NNCFWeightCompressionConfig

    class LookingUpIntegers(NNCFOpenVINOQuantizer):  # here, as its base loads with nncf
        def quantize(self, model: Any, sample_inputs: Any, export_format: Any) -> Any:
            quantized = super().quantize(model, sample_inputs, export_format)
            look_up_integers(quantized)
            return quantized

    if not calibration:
        return LookingUpIntegers(NNCFWeightCompressionConfig())
    config = NNCFQuantizationConfig(subset_size=len(calibration))
    return LookingUpIntegers(config, calibration_dataset=[dict(batch) for batch in calibration])


def fold_constants(model: Any) -> dict[str, Slice]:
    """Compute in place what an ONNX graph transposes or gathers of its constants.

    The exporter folds what is used once. Weights that several applications share, and slices of them, are left to the
    runtime, and no quantizer finds them. Results of equal nodes are stored once.

    Args:
        model: An ``onnx_ir.Model``.

    Returns:
        Name of each constant that is a slice of a matrix, transposed or not -> of what.
    """
    import onnx_ir

    known: dict[tuple[Any, ...], Any] = {}
    slices: dict[str, Slice] = {}
    for node in list(model.graph):
        values = [_constant(value) for value in node.inputs]
        if node.op_type not in ("Transpose", "Gather") or any(value is None for value in values):
            continue
        if node.op_type == "Gather" and not np.issubdtype(values[0].dtype, np.floating):
            continue  # shapes and positions
        array, key = _folded(node, values)
        output = node.outputs[0]
        if key not in known:
            tensor = onnx_ir.tensor(np.ascontiguousarray(array), name=output.name)
            known[key] = onnx_ir.Value(
                name=output.name, shape=onnx_ir.Shape(tensor.numpy().shape), type=output.type, const_value=tensor
            )
            model.graph.register_initializer(known[key])
            if (cut := _slice_of(node, values, slices)) is not None:
                slices[output.name] = cut
        onnx_ir.convenience.replace_all_uses_with(output, known[key])
        model.graph.remove(node, safe=True)
    for name in [
        name for name, value in model.graph.initializers.items() if not value.uses() and not value.is_graph_output()
    ]:
        del model.graph.initializers[name]  # what lay between: nobody asks for it, and files would hold it
    return slices


def _slice_of(node: Any, values: Sequence[Any], slices: Mapping[str, Slice]) -> Slice | None:
    """What the result of a node is a slice of; None if it is none, or not of a matrix."""
    source = node.inputs[0].name
    if node.op_type == "Transpose":
        swaps = "perm" not in node.attributes or list(node.attributes["perm"].as_ints()) == [1, 0]
        return slices[source].transposed() if source in slices and swaps else None
    if values[0].ndim != 2 or values[1].ndim != 1 or source in slices:
        return None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    return Slice(source, values[0], axis % 2, values[1].astype(np.int64))


def _empty_products(model: Any) -> list[str]:
    """Names of the products with a matrix without rows or columns, as a layer has that lost all heads or units.

    Their results are zeros, and ONNX Runtime cannot quantize them.
    """
    names = []
    for number, node in enumerate(model.graph):
        if node.op_type == "MatMul" and (matrix := _constant(node.inputs[1])) is not None and not matrix.size:
            node.name = node.name or f"empty_product_{number}"
            names.append(node.name)
    return names


def _constant(value: Any) -> Any:
    """What a value holds in every run, as numpy; None if it is computed."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def _folded(node: Any, values: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The result of a node, and a key that nodes with the same result share."""
    if node.op_type == "Transpose":
        order = tuple(node.attributes["perm"].as_ints()) if "perm" in node.attributes else None
        return np.transpose(values[0], order), (node.inputs[0].name, order)
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    return np.take(values[0], values[1], axis=axis), (node.inputs[0].name, axis, values[1].tobytes())
