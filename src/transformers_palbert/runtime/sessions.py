"""Exported graphs, loaded and called: arrays of tokens in, logits out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigurationError, StorageError, require
from ..qa.evaluation_decoding import FloatArray
from ..qa.features import IntArray
from .description import MODEL_FILES, Description

__all__ = ["Session", "open_session", "padded_length"]

_OUTPUTS = ("start_logits", "end_logits")

Session = Callable[[Mapping[str, IntArray]], FloatArray]
"""Model inputs by name, int64 ``(batch, tokens)`` -> start and end logits, float32 ``(2, batch, tokens)``."""


def open_session(
    folder: Path, description: Description, threads: int | None = None, *, bfloat16: bool = False
) -> Session:
    """Load an exported graph; several threads may call it at once.

    Args:
        folder: Where it is.
        description: What it is.
        threads: How many threads one call uses; by default the runtime's own choice, which is all cores.
        bfloat16: Whether OpenVINO computes in bfloat16: faster where the processor has it, and less exact. What an
            int8 model computes beside its integers, OpenVINO computes so by itself on such a processor.

    Raises:
        MissingExtraError: if the runtime of its format is not installed.
        StorageError: if it is damaged, or takes or gives something else than a question-answering model does.
        ConfigurationError: if ``threads`` is below 1, or ONNX Runtime is asked for bfloat16.
    """
    if bfloat16 and description.format != "openvino":
        raise ConfigurationError("ONNX Runtime computes in the precision of its file: export for OpenVINO instead.")
    if threads is not None and threads < 1:
        raise ConfigurationError(f"`threads` must be at least 1, got {threads}.")
    file = folder / MODEL_FILES[description.format][0]
    module = _runtime(description.format)
    try:
        session: _OnnxSession | _OpenVinoSession = (
            _OnnxSession(module, file, threads)
            if description.format == "onnx"
            else _OpenVinoSession(module, file, threads, bfloat16, description)
        )
    except Exception as error:  # each runtime has many classes of its own, most of them plain RuntimeErrors
        raise StorageError(f"{file} cannot be loaded: {error} Export the model again.") from error
    unknown, absent = session.inputs - set(description.model_inputs), set(_OUTPUTS) - session.outputs
    if unknown or absent:
        what = f"asks for {sorted(unknown)[0]!r}" if unknown else f"does not give {sorted(absent)[0]!r}"
        raise StorageError(f"{file} is no exported question-answering model: it {what}. Export the model again.")
    return session


def _runtime(name: str) -> Any:
    return require("onnxruntime", "onnx") if name == "onnx" else require("openvino", "openvino")


class _OnnxSession:
    """A graph on onnxruntime."""

    def __init__(self, onnxruntime: Any, file: Path, threads: int | None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # errors alone: a warning about an unused initializer helps no user
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = {value.name for value in self._session.get_inputs()}
        self.outputs = {value.name for value in self._session.get_outputs()}

    def __call__(self, inputs: Mapping[str, IntArray]) -> FloatArray:
        return np.stack(self._session.run(list(_OUTPUTS), {name: inputs[name] for name in self.inputs}))


_STEP = 32
_LONGEST = 10**6  # a longer limit is none at all


class _OpenVinoSession:
    """A graph on OpenVINO.

    OpenVINO compiles its kernels anew for every number of tokens and keeps them: a length that it has not met before
    costs an int8 model about as much time as the batch itself, and some megabytes for good. So windows are padded to a
    multiple of 32 tokens, where it is known how many the model reads; the mask hides what is padded.
    """

    def __init__(
        self, openvino: Any, file: Path, threads: int | None, bfloat16: bool, description: Description
    ) -> None:
        settings = {"PERFORMANCE_HINT": "LATENCY"}
        # Where the processor can, OpenVINO computes in bfloat16 by itself what is not in int8. A float32 model would
        # give other answers than asked for; an int8 model has been rounded further than that already.
        if bfloat16 or description.precision == "float32":
            settings["INFERENCE_PRECISION_HINT"] = "bf16" if bfloat16 else "f32"
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        self._compiled = openvino.Core().compile_model(str(file), "CPU", settings)
        self.inputs = {port.get_any_name() for port in self._compiled.inputs}
        self.outputs = {port.get_any_name() for port in self._compiled.outputs}
        self._requests = threading.local()  # a request holds the arrays of one call
        masked = "attention_mask" in self.inputs
        self._longest = description.model_max_length if masked else 0
        self._padding = {
            "input_ids": description.pad_token_id or 0,
            "token_type_ids": description.pad_token_type_id,
            "attention_mask": 0,
        }

    def __call__(self, inputs: Mapping[str, IntArray]) -> FloatArray:
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        tokens = inputs["input_ids"].shape[1]
        more = padded_length(tokens, self._longest) - tokens
        found = self._requests.own.infer(
            {
                name: np.pad(inputs[name], ((0, 0), (0, more)), constant_values=self._padding[name])
                for name in self.inputs
            }
        )
        return np.stack([found[name][:, :tokens] for name in _OUTPUTS])


def padded_length(tokens: int, longest: int) -> int:
    """The next multiple of 32 that a model of ``longest`` tokens reads; ``tokens`` where there is none or no limit."""
    if longest > _LONGEST:
        return tokens
    return max(tokens, min(-(-tokens // _STEP) * _STEP, longest))
