"""One model in a process of its own, that runs a batch whenever it is asked to."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering

from ..export.loaded import ExportedForQuestionAnswering
from ..qa.answering import accepted_inputs, prepare_model, span_logits
from .turns import serve_tasks

__all__ = ["Case", "Shape", "load_case", "serve"]

Shape = tuple[int, int]
"""Windows of a batch, and tokens of each."""


@dataclass(frozen=True)
class Case:
    """What runs a model, and how.

    Attributes:
        model: What the model is called.
        folder: Where it is; for ``onnx`` and ``openvino`` an exported model.
        runtime: ``"torch"``, ``"compiled"``, ``"onnx"`` or ``"openvino"``.
        precision: ``"float32"``, ``"bfloat16"`` or ``"int8"``.
        threads: How many threads it uses.
    """

    model: str
    folder: str
    runtime: str
    precision: str
    threads: int


def serve(connection: Connection, case: Case) -> None:
    """Load a model and answer, until None comes, every shape with the seconds that a batch of it takes.

    Args:
        connection: Gets None once the model is loaded, or what went wrong as text; then a float for each shape, or
            text; and in the end the most bytes of memory that the process held.
        case: What to load.
    """
    if serve_tasks(connection, lambda: load_case(case), _seconds) is not None:
        connection.send(_peak_memory())


def load_case(case: Case, *, dynamic: bool = False) -> Any:
    """The model of a case, ready to answer, in this process, whose threads it sets.

    Args:
        case: What to load.
        dynamic: Whether a compiled model is to take batches of any shape, rather than to be compiled for each.
    """
    torch.set_num_threads(case.threads)
    if case.runtime in ("onnx", "openvino"):
        bfloat16 = case.precision == "bfloat16"
        return ExportedForQuestionAnswering.from_pretrained(
            Path(case.folder), threads=case.threads, bfloat16=bfloat16
        ).eval()
    dtype = getattr(torch, case.precision)
    model = prepare_model(AutoModelForQuestionAnswering.from_pretrained(case.folder, dtype=dtype))
    if case.runtime == "compiled":
        model.compile(dynamic=dynamic)
    return model


def _seconds(model: Any, shape: Shape) -> float:
    """Seconds of one forward of a batch without padding."""
    ids = torch.ones(shape, dtype=torch.long)
    ids[:, 1:] = torch.arange(2, shape[1] + 1) % 50 + 2
    values = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    inputs = {name: tensor for name, tensor in values.items() if name in accepted_inputs(model)}
    start = time.perf_counter()
    with torch.inference_mode():
        span_logits(model, inputs, torch.device("cpu"))
    return time.perf_counter() - start


def _peak_memory() -> int | None:
    """The most bytes of memory that this process has held; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
