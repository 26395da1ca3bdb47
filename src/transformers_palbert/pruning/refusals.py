"""Models that cannot be pruned as they are, each refused by name before anything is changed."""

from __future__ import annotations

from torch import nn

from ..errors import PruningError
from ..storage.quantizer import SparseQuantizer

__all__ = ["require_prunable"]


def require_prunable(model: nn.Module) -> None:
    """Raise if masks on ``model`` would be lost, or could not be made.

    Raises:
        PruningError: if it has adapters of PEFT, is quantized, or has weights that are not in memory; the message says
            what to do.
    """
    _require_no_adapters(model)
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None and not isinstance(quantizer, SparseQuantizer):
        raise PruningError(
            f"{type(model).__name__} is quantized with {quantizer.quantization_config.quant_method}, and masks need"
            " weights that are floating-point numbers. Load it without quantization_config, prune, and save it with"
            " save_sparse=StorageConfig(values='int8') if it is to be small."
        )
    if away := [name for name, parameter in model.named_parameters() if parameter.is_meta]:
        raise PruningError(
            f"{len(away)} weights of {type(model).__name__}, the first of them {away[0]}, are not in memory: a"
            " device_map offloads them, or they were never loaded. Load the model without device_map, or on one device"
            " (device_map='cuda:0')."
        )


def _require_no_adapters(model: nn.Module) -> None:
    adapter = next((m for m in model.modules() if type(m).__module__.partition(".")[0] == "peft"), None)
    if adapter is not None:
        raise PruningError(
            f"The model has adapters of PEFT ({type(adapter).__name__}). What is saved would be the adapter alone, and"
            " the pruning of the base model would be lost. Prune first and give the adapter to the pruned model, or"
            " merge the adapter (model = model.merge_and_unload()) and prune what comes out."
        )
