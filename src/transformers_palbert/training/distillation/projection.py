"""The learned projection between hidden states of different width: trained with the student, and no part of it.

It is a module of the student, so that any Trainer's optimizer finds it, and DDP averages its gradients. It is left out
of the student's state dict, and so of every checkpoint, packed file and push. A run that is to be gone on with keeps it
in a file of its own beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ...errors import ConfigurationError
from .losses import widened

__all__ = ["PROJECTION", "PROJECTION_FILE", "Projection", "load_projection", "save_projection"]

PROJECTION = "distillation_projection"
"""The student's attribute that holds it."""

PROJECTION_FILE = "distillation.safetensors"
"""Its file in a checkpoint of a run."""


class Projection(nn.Module):
    """``h Wᵀ``: hidden states of the student, ``[batch, length, student]``, as wide as the teacher's.

    ``W``, ``[teacher, student]``, starts semi-orthogonal, the same in every run, and without touching the random
    numbers of the training. One projection serves all pairs of layers.

    Source: Jiao et al. 2020, "TinyBERT" (arXiv 1909.10351), equation 8.
    """

    def __init__(self, student: int, teacher: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        weight = torch.empty(teacher, student, dtype=dtype, device="cpu")
        nn.init.orthogonal_(weight, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight)
        self.register_state_dict_post_hook(_leave_out)
        self.register_load_state_dict_post_hook(_expect_nothing)

    def forward(self, states: Tensor) -> Tensor:
        states = widened(states)
        return functional.linear(states, self.weight.to(states.dtype))

    def effective_parameters(self) -> dict[str, Tensor]:
        """Nothing of it counts as part of the model, see :mod:`transformers_palbert.sizes`."""
        return {}


def _leave_out(_module: nn.Module, state: dict[str, Any], prefix: str, _metadata: object) -> None:
    state.pop(f"{prefix}weight", None)


def _expect_nothing(_module: nn.Module, incompatible: Any) -> None:
    """A checkpoint of the student without it lacks nothing."""
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if PROJECTION not in key.split(".")]


def save_projection(projection: Projection, checkpoint: Path, step: int) -> None:
    """Write it into the folder ``checkpoint`` of a run, with the optimizer step after which it is what it is."""
    tensors = {"weight": projection.weight.detach().cpu().contiguous()}
    save_file(tensors, checkpoint / PROJECTION_FILE, metadata={"global_step": str(step)})


def load_projection(projection: Projection, checkpoint: Path, step: int) -> None:
    """Give it the weights that :func:`save_projection` wrote after optimizer step ``step``.

    Raises:
        ConfigurationError: if the checkpoint holds none, or that of another step or shape.
    """
    tensors, metadata = _read(checkpoint / PROJECTION_FILE)
    if metadata.get("global_step") != str(step):
        raise ConfigurationError(
            f"{checkpoint / PROJECTION_FILE} was written after step {metadata.get('global_step')}, and the run goes on"
            f" after step {step}. Give the folder of the checkpoint that the run goes on from:"
            " DistillationCallback(resume_from=folder)."
        )
    weight = tensors.get("weight")
    if weight is None or weight.shape != projection.weight.shape:
        raise ConfigurationError(
            f"{checkpoint / PROJECTION_FILE} is the projection between other widths than this student and teacher have,"
            f" {tuple(projection.weight.shape)}. Go on with the teacher of the run that wrote it, or begin a new run"
            " from its weights, from_pretrained(checkpoint)."
        )
    with torch.no_grad():
        projection.weight.copy_(weight)


def _read(file: Path) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    try:
        with safe_open(file, framework="pt") as reader:
            return {name: reader.get_tensor(name) for name in reader.keys()}, reader.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"{file} cannot be read ({error}). It holds the projection between the hidden states of student and"
            " teacher, and DistillationCallback writes it beside every checkpoint: the Trainer that writes checkpoints"
            " needs that callback as well, and if the run was cut off while it wrote this one, go on from the one"
            " before. A checkpoint outside of output_dir is named by DistillationCallback(resume_from=folder)."
        ) from error
