"""Sparse saving, switched on and off for a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import ConfigurationError, StorageError
from ..model.pruning_state import PRUNED_WEIGHT_KEY, SCORES_KEY
from ..model.removal import read_layer_sizes
from .config import LOSSLESS, StorageConfig
from .embeddings import tables_of
from .quantizer import SparseQuantizer, dense_quantizer
from .sparse_config import SparseConfig, is_packed_config
from .state import round_tensor

__all__ = ["dense_saving", "disable_sparse_saving", "enable_sparse_saving"]

_UNFINISHED = (f".{PRUNED_WEIGHT_KEY}", f".{SCORES_KEY}")
"""Ends of the keys by which a layer in the middle of pruning is known; gates per application have the second alone."""


def enable_sparse_saving(model: PreTrainedModel, config: StorageConfig = LOSSLESS) -> None:
    """Let every later ``save_pretrained``, ``push_to_hub`` and ``Trainer.save_model`` of ``model`` pack its weights.

    Where ``config`` is lossy, the weights are rounded here, in place, to what the file can hold: what is evaluated
    afterwards is what is saved. Saving itself changes no value; a tensor that was trained on since is stored as it is.
    ``model`` stays an ordinary model with dense weights, and its config stays as it is: only the file ``config.json``
    says what is packed. It also learns to read packed weights in ``load_state_dict``.

    A packed save over another model happens as a whole or not at all: a process that is killed leaves the old model or
    the new one.

    Raises:
        ConfigurationError: if the model is quantized in another way.
        StorageError: if a value cannot be stored, such as NaN as int8 or 1e5 as float16, or if masks are not baked in.
            Then nothing is changed.

    Example:
        >>> enable_sparse_saving(model, StorageConfig(values="float16"))
        >>> model.save_pretrained("small")
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None and not isinstance(quantizer, SparseQuantizer):
        raise ConfigurationError(
            f"The model is quantized with {quantizer.quantization_config.quant_method}, so it cannot be packed."
            " Call model.dequantize() before."
        )
    state = _distinct(model.state_dict())
    if layers := {name.rpartition(".")[0] for name in state if name.endswith(_UNFINISHED)}:
        raise StorageError(
            f"{len(layers)} layers of {type(model).__name__} are prepared for pruning, and their masks are not baked"
            " in: a packed file with scores and masks beside the weights could not be loaded. Call bake_masks(model)"
            " first; the callback and Pruner.finish() do it when the training ends."
        )
    tables = tables_of(model)
    rounded = {name: round_tensor(name, tensor, config, name in tables) for name, tensor in state.items()}
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(rounded[name])
    SparseQuantizer(SparseConfig.of(config), pre_quantized=True).attach(model)


def _distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors once, under the name that they are stored by: its encoding is that of them all."""
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in state.items():
        first.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype), name)
    return {name: state[name] for name in first.values()}


def disable_sparse_saving(model: PreTrainedModel) -> None:
    """Let ``model`` be saved dense again. Its weights stay as they are; harmless where nothing is to be undone.

    The file of a model with layers of different sizes is dense as well, and still says that this package reads it.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if read_layer_sizes(model.config) is not None:
        dense_quantizer().attach(model)
    elif isinstance(quantizer, SparseQuantizer):
        quantizer.remove_quantization_config(model)
    if is_packed_config(vars(model.config)):
        del model.config.quantization_config


@contextmanager
def dense_saving(model: PreTrainedModel) -> Iterator[None]:
    """Let ``model`` be saved dense inside the block, and afterwards as before."""
    quantizer = getattr(model, "hf_quantizer", None)
    disable_sparse_saving(model)
    try:
        yield
    finally:
        if isinstance(quantizer, SparseQuantizer):
            quantizer.attach(model)
