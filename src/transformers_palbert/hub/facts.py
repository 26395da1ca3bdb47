"""Facts for a model card, read off a model, its arguments and its logs. Nothing here asks the network."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerState, TrainingArguments

from ..machine import processor_name
from ..model.pruning_state import PruningState, is_training_key
from ..model.structure import known_structure
from ..qa.settings import CONFIG_FIELD
from ..sizes import MatrixReport, pruning_report, weight_bytes
from ..sizes import encoder_matrices as matrices_of_encoder
from ..storage.files import CONFIG_FILE, read_json
from .card import CardSizes, Evaluation

__all__ = [
    "base_model",
    "dense_evaluation",
    "encoder_matrices",
    "fingerprint",
    "hardware",
    "hyperparameters",
    "is_plainly_stored",
    "model_sizes",
    "pruning_settings",
    "scores",
    "training_seconds",
    "versions",
]

LIBRARIES = ("transformers-palbert", "transformers", "torch", "accelerate", "datasets", "tokenizers")
OWN_MODEL_TYPES = ("palbert", "bilstm", "textcnn")
"""Architectures of this package, which stock transformers does not know."""
PREFIX = "eval_"

_NO_SCORE = re.compile(r"runtime|per_second|density_|pruning_progress|preparation_time|(^|_)(total|skip)$")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")


def scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of an evaluation that say how good the model is, without prefix: no times, counts or densities."""
    return {
        name.removeprefix(PREFIX): float(value)
        for name, value in metrics.items()
        if name.startswith(PREFIX) and isinstance(value, int | float) and not _NO_SCORE.search(name)
    }


def dense_evaluation(log_history: Iterable[Mapping[str, Any]]) -> Evaluation | None:
    """The last evaluation before pruning began, from the logs of a run with a pruning callback."""
    dense = [entry for entry in log_history if entry.get("eval_density_encoder") == 1]
    if not dense:
        return None
    return Evaluation(f"before pruning, step {dense[-1]['step']}", scores(dense[-1]))


def fingerprint(model: nn.Module) -> str:
    """A checksum of the weights that the model computes with: equal for equal weights, pruned in training or baked."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        if is_training_key(name):
            continue
        values = tensor.detach().cpu().contiguous() + 0  # + 0, so that -0.0 counts as 0.0
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_sizes(model: nn.Module, folder: Path | None = None) -> CardSizes:
    """Counts and bytes of ``model``; bytes of its file if ``folder`` holds it."""
    report = pruning_report(model)
    return CardSizes(
        encoder=report.encoder.numel,
        encoder_density=report.encoder.density,
        parameters=report.total.numel,
        parameters_nonzero=report.total.nonzero,
        dense_bytes=report.total.bytes,
        file_bytes=None if folder is None else weight_bytes(folder),
    )


def encoder_matrices(model: nn.Module) -> list[MatrixReport]:
    """The weight matrices of the encoder's layers."""
    return matrices_of_encoder(pruning_report(model).matrices, known_structure(model))


def is_plainly_stored(folder: Path) -> bool | None:
    """Whether the model in ``folder`` loads without this package; None if there is no config."""
    file = folder / CONFIG_FILE
    if not file.is_file():
        return None
    config = read_json(file)
    return config.get("model_type") not in OWN_MODEL_TYPES and "quantization_config" not in config


def base_model(model: nn.Module) -> str | None:
    """Hub id of the checkpoint that ``model`` was loaded from; None for a local one or a model from scratch."""
    name = str(getattr(getattr(model, "config", None), "name_or_path", "") or "")
    return name if _HUB_ID.fullmatch(name) and not os.path.exists(name) else None


def pruning_settings(model: nn.Module) -> dict[str, Any]:
    """What the pruning callback wrote into the model's config, without the list of targets.

    Nothing if the weights are denser than that says: the model was pruned once, and trained on without masks.
    """
    if (state := PruningState.of(model)) is None:
        return {}
    now = state.after_training_on(model.state_dict())
    if now is None or now.density > state.density:
        return {}
    return {n: value for n, value in state.to_dict().items() if n not in ("targets", "exclude") and value is not None}


def hyperparameters(args: TrainingArguments, state: TrainerState, config: Any = None) -> dict[str, Any]:
    """The settings that make a run what it was, the optimizer steps it really took, and how its answers were made."""
    return {
        "learning_rate": args.learning_rate,
        "train_batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "per_device_train_batch_size": args.per_device_train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "num_train_epochs": args.num_train_epochs if args.max_steps <= 0 else None,
        "optimizer_steps": state.global_step or None,
        "lr_scheduler_type": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "warmup_steps": args.warmup_steps,
        "weight_decay": args.weight_decay,
        "optimizer": str(getattr(args.optim, "value", args.optim)),
        "precision": "fp16" if args.fp16 else "bf16" if args.bf16 else "fp32",
        "layer_lr_decay": getattr(config, "layer_lr_decay", None),
        "qa_layers": getattr(config, "qa_layers", None),
        "hidden_act": getattr(config, "hidden_act", None),
        "seed": args.seed,
        **(getattr(config, CONFIG_FIELD, None) or {}),
    }


def training_seconds(log_history: Iterable[Mapping[str, Any]]) -> float | None:
    """Time of the last training in the logs."""
    times = [entry["train_runtime"] for entry in log_history if "train_runtime" in entry]
    return times[-1] if times else None


def hardware(args: TrainingArguments) -> str:
    """The device and how many of them."""
    if args.device.type == "cuda":
        return f"{args.world_size} × {torch.cuda.get_device_name(args.device)}"
    processor = str(args.device)
    if args.device.type == "cpu":
        processor = f"{processor_name()}, threads: {torch.get_num_threads()}"
    return f"{args.world_size} × {processor}" if args.world_size > 1 else processor


def versions() -> dict[str, str]:
    """Versions of the libraries that took part."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
