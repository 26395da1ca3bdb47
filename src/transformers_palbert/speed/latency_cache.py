"""Latency tables on the disk, so that a machine is measured once for each kind of model and input.

A table lies in ``$HF_HOME/transformers_palbert/latency``, or in the folder that the environment variable
``PALBERT_LATENCY_CACHE`` names, in a file that is called after the processor. It holds everything that the times depend
on: machine, threads, versions, precision, kernels, the shape of the model and of its input. Where one of them differs,
another file is looked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from ..machine import describe_machine, processor_name
from ..model.structure import encoder_layers, structure_of
from ..qa.kernels import fast_linear
from .latency import LatencyTable, applied_sizes, measure_latency

__all__ = ["CACHE_VARIABLE", "cached_latency", "latency_folder"]

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "PALBERT_LATENCY_CACHE"
"""The environment variable that names the folder of the tables."""

_METHOD = 1
"""Raised when measuring changes, so that older tables are measured anew."""


def latency_folder() -> Path:
    """Where tables are kept."""
    from huggingface_hub.constants import HF_HOME

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(HF_HOME) / "transformers_palbert" / "latency"


def cached_latency(model: nn.Module, *, batch_size: int, length: int, remeasure: bool = False) -> LatencyTable:
    """What :func:`~.latency.measure_latency` gives: from the disk, where it was measured before under these conditions.

    A file that is damaged is measured anew, and the log says so. What was measured while the machine did other things
    is returned, and the log warns of it, but it is not kept: the next call measures again. Where the folder cannot be
    written, nothing is kept.

    Args:
        model: A model of an architecture in the table, on the device and in the precision that count.
        batch_size: Examples in a batch.
        length: Tokens of each.
        remeasure: Measure even if there is a table, and replace it.
    """
    conditions = _conditions(model, batch_size, length)
    digest = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:16]
    machine = conditions["machine"]
    name = re.sub(r"[^a-z0-9]+", "-", (machine["gpu"] or machine["processor"]).lower()).strip("-")
    file = latency_folder() / f"{name}-{digest}.json"
    if not remeasure and (table := _read(file, conditions)) is not None:
        logger.info("Times of layers are those of %s, measured before.", file)
        return table
    logger.info("Measuring layers with %d × %d tokens.", batch_size, length)
    table = measure_latency(model, batch_size=batch_size, length=length)
    if not table.is_steady:
        logger.warning(
            "Two halves of the measurement of layers are %.0f %% apart: the machine does other things meanwhile, and"
            " what is made by these times may be faster or slower than asked for. They are not kept for the next time."
            " Measure again when the machine is idle.",
            100 * table.disagreement,
        )
        return table
    try:
        _write(file, {"conditions": conditions, "table": _to_dict(table)})
    except OSError as error:
        logger.warning("The measured times are not kept, since %s cannot be written: %s", file, error)
    return table


def _conditions(model: nn.Module, batch_size: int, length: int) -> dict[str, Any]:
    """Everything that the times depend on, as JSON holds it."""
    layer, config = encoder_layers(model)[0], model.config
    weight = layer.query.weight
    hardware = describe_machine()["hardware"]
    plain = isinstance(fast_linear(model, weight.device), nullcontext)
    return {
        "method": _METHOD,
        "machine": {
            "processor": processor_name(),
            "cores": hardware["cores"],
            "threads": hardware["torch_threads"],
            "gpu": hardware["gpu"] if weight.device.type == "cuda" else None,
        },
        "device": weight.device.type,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "dtype": str(weight.dtype).removeprefix("torch."),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "kernels": "torch" if plain else "onednn",
        "attention": config._attn_implementation,  # type: ignore[union-attr]
        "model": {
            "class": type(model).__name__,
            "model_type": structure_of(model).model_type,
            "activation": str(getattr(config, "hidden_act", None) or getattr(config, "activation", None)),
            "hidden_size": layer.query.in_features,
            "embedding_size": getattr(config, "embedding_size", None),
            "head_width": _head_width(model),
            "layers": [list(size) for size in applied_sizes(model)],
            **_output_size(model),
        },
        "batch_size": batch_size,
        "length": length,
    }


def _output_size(model: nn.Module) -> dict[str, int]:
    """How many tokens a language model predicts, which takes much of its time; nothing for other models."""
    output = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    return {} if output is None else {"vocabulary": len(output.weight)}


def _head_width(model: nn.Module) -> int:
    """Width of the heads; 0 in a model that has none."""
    widths = (
        layer.query.out_features // heads
        for layer in encoder_layers(model)
        if (heads := int(getattr(layer.attention, structure_of(model).heads)))
    )
    return next(widths, 0)


def _read(file: Path, conditions: dict[str, Any]) -> LatencyTable | None:
    """The table in ``file``; None if there is none, or it is damaged."""
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["conditions"] != conditions:
            raise ValueError("it was measured under other conditions than its name says")
        return _from_dict(content["table"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("The latency table %s is damaged and is measured anew: %s", file, error)
        return None


def _to_dict(table: LatencyTable) -> dict[str, Any]:
    return {
        "heads": list(table.heads),
        "head_seconds": table.head_seconds.tolist(),
        "units": list(table.units),
        "unit_seconds": table.unit_seconds.tolist(),
        "rest_seconds": table.rest_seconds,
    }


def _from_dict(values: dict[str, Any]) -> LatencyTable:
    """The table that :func:`_to_dict` wrote.

    Raises:
        ValueError, TypeError, KeyError: if it is none.
    """
    for of, seconds in (("heads", "head_seconds"), ("units", "unit_seconds")):
        counts, times = np.array(values[of]), np.array(values[seconds], dtype=np.float64)
        if not counts.size or counts.dtype.kind != "i" or counts[0] != 0 or (np.diff(counts) <= 0).any():
            raise ValueError(f"{of} are not ascending numbers from 0")
        if (
            times.shape != counts.shape
            or not np.isfinite(times).all()
            or (times < 0).any()
            or (np.diff(times) < 0).any()
        ):
            raise ValueError(f"{seconds} are not as many times that do not fall")
    rest = float(values["rest_seconds"])
    if not 0 <= rest < float("inf"):
        raise ValueError(f"rest_seconds={rest} is no time")
    of_heads, of_units = (np.array(values[name], dtype=np.float64) for name in ("head_seconds", "unit_seconds"))
    return LatencyTable(tuple(values["heads"]), of_heads, tuple(values["units"]), of_units, rest)


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write a file as a whole or not at all; several processes may write the same one at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(content, opened, indent=2, sort_keys=True)
            opened.write("\n")
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
