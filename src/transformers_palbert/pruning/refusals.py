"""Models and settings that cannot be pruned with as they are: each is refused by name before anything is changed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import nn

from ..errors import ConfigurationError, PruningError, PruningWarning
from ..storage.quantizer import SparseQuantizer
from .budget import Budget, counted_inputs, structure_costs
from .config import PruningConfig
from .granularity import Units
from .masks import apportion

__all__ = ["require_config", "require_prunable", "require_survivors"]


def require_config(config: object) -> None:
    """Raise if ``config`` is not a :class:`PruningConfig`.

    Raises:
        ConfigurationError: with the call that was probably meant.
    """
    if not isinstance(config, PruningConfig):
        meant = f"PruningConfig(**{config!r})" if isinstance(config, dict) else "PruningConfig(target_sparsity=0.7)"
        raise ConfigurationError(f"config={config!r} must be a PruningConfig: config={meant}.")


def require_survivors(model: nn.Module, sets: Sequence[Units], config: PruningConfig) -> None:
    """Raise if ``config`` keeps no unit at all of ``sets``; warn if it keeps none of some of them.

    Where units compete, sets may vanish. What costs seconds is known later, when these have been measured.

    Raises:
        PruningError: naming what was asked for, and how far the model can go.
    """
    if config.is_budgeted:
        counted_inputs(model, config)
        if config.target_speedup is None:
            budget = Budget(model, sets, structure_costs(model, config))
            budget.require_reachable(config.final_density, config.target)
        return
    counts = [units.count for units in sets]
    kept = apportion(config.final_density, counts)
    if not any(kept):
        raise PruningError(
            f"target_sparsity={config.target_sparsity} keeps none of {sum(counts)} units of granularity="
            f"{config.granularity!r}, so that nothing would be left of the encoder. Lower it."
        )
    if config.scope == "matrix" and not all(kept):
        first = sets[kept.index(0)].slices[0].matrix
        warnings.warn(
            f"target_sparsity={config.target_sparsity} keeps nothing of {kept.count(0)} of {len(sets)} sets of units,"
            f" the first of them that of {first}: each has too few. Lower it, or compare them with scope='global'.",
            PruningWarning,
            stacklevel=3,
        )


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
