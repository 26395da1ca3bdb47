"""Which Linears are pruned and what stays dense, by the structure of a model and not by what its modules are called."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from torch import Tensor, nn

from ..errors import NoEffectWarning, PruningError
from ..model.pruning_state import is_training_key
from ..model.structure import Part, base_models, part_in
from .config import PruningConfig
from .gated_linear import GatedLinear
from .granularity import matrices
from .masked_linear import MaskedLinear

__all__ = ["PruningPlan", "announce", "prunable_layers", "pruning_plan"]

READS_WEIGHTS_ITSELF = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
"""Modules of torch that compute with the weights of their Linears without calling them: a mask would have no effect."""


def prunable_layers(model: nn.Module, config: PruningConfig) -> dict[str, nn.Linear]:
    """The Linears that ``config`` selects, by module name, in the model's order; before and after they are prepared.

    Raises:
        PruningError: if no Linear is selected, if one is that cannot be masked, or if nothing says which Linears of
            the model are task heads.
    """
    linears = {name: module for name, module in model.named_modules() if _has_weights(module)}
    chosen = _chosen(model, config, linears)
    found = {name: linears[name] for name in chosen if not _matches(name, config.exclude or ())}
    unfit = _unfit(model, found)
    if config.targets is not None and unfit:
        name, reason = next(iter(unfit.items()))
        raise PruningError(f"{name} cannot be pruned: {reason}. Leave it out with exclude=[{re.escape(name)!r}].")
    fit = {name: linear for name, linear in found.items() if name not in unfit}
    if not fit:
        raise PruningError(_why_none(model, config, list(linears), unfit))
    return fit


def _has_weights(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a Linear, and not one of a block that lost all of its heads or units."""
    return isinstance(module, nn.Linear) and min(module.in_features, module.out_features) > 0


def _chosen(model: nn.Module, config: PruningConfig, linears: Iterable[str]) -> list[str]:
    """Names that ``targets`` matches, or else those of the encoder."""
    if config.targets is not None:
        return [name for name in linears if _matches(name, config.targets)]
    bases = base_models(model)
    if not bases:
        raise PruningError(
            f"{type(model).__name__} holds no model of transformers, so nothing says which of its Linears are task"
            f" heads. Its Linears are {_some(linears)}. Name those to prune, for example targets=['encoder']; to prune"
            " all of them, targets=['']."
        )
    return [name for name in linears if part_in(name, bases) == "encoder"]


def _unfit(model: nn.Module, linears: Mapping[str, nn.Linear]) -> dict[str, str]:
    """Name -> why a mask in its place would change what the model computes, or would not change it at all."""
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    owners = [name for name, module in model.named_modules() if isinstance(module, READS_WEIGHTS_ITSELF)]
    reasons = {}
    for name, linear in linears.items():
        owner = next((owner for owner in owners if name.startswith(f"{owner}." if owner else "")), None)
        if linear.weight in tables:
            reasons[name] = "its weight is tied to an embedding, which no mask reaches"
        elif not linear.weight.is_floating_point():
            reasons[name] = f"it is quantized, a {type(linear).__name__} of {linear.weight.dtype}"
        elif type(linear).forward not in (nn.Linear.forward, MaskedLinear.forward, GatedLinear.forward):
            reasons[name] = f"it is a {type(linear).__name__}, which computes in its own way"
        elif owner is not None:
            kind = type(model.get_submodule(owner)).__name__
            reasons[name] = f"it is part of a torch {kind}, which uses its weight without calling it"
    return reasons


def _why_none(model: nn.Module, config: PruningConfig, linears: list[str], unfit: Mapping[str, str]) -> str:
    kind = type(model).__name__
    if unfit:
        name, reason = next(iter(unfit.items()))
        return f"None of the {len(unfit)} selected Linears of {kind} can be pruned; the first is {name}: {reason}."
    if config.targets is None and (others := _other_matrices(model, ())):
        return (
            f"The encoder of {kind} has no Linear that could be pruned. It computes with {_some(others)}, and only"
            " nn.Linear can be masked."
        )
    return (
        f"No Linear of {kind} is selected by targets={config.targets} without exclude={config.exclude}. Its Linears are"
        f' {_some(linears)}. Choose some with targets=[...], for example targets=["attention", "ffn"].'
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return f"{', '.join(names[:8]) or 'none'}{', …' if len(names) > 8 else ''}"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _other_matrices(model: nn.Module, targets: Iterable[str]) -> dict[str, Tensor]:
    """The matrices of the encoder that are not the weights of ``targets``, by parameter name."""
    bases, pruned = base_models(model), {f"{name}.weight" for name in targets}
    return {
        name: parameter
        for name, parameter in _parameters(model).items()
        if parameter.dim() > 1 and parameter.numel() and name not in pruned and _part(model, name, bases) == "encoder"
    }


def _parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if not is_training_key(name)}


def _part(model: nn.Module, name: str, bases: Mapping[str, nn.Module]) -> Part:
    """As :func:`part_in`; the table of an embedding is one wherever it is."""
    owner = model.get_submodule(name.rpartition(".")[0])
    return "embeddings" if isinstance(owner, nn.Embedding) else part_in(name, bases)


@dataclass(frozen=True)
class PruningPlan:
    """What a pruning run touches and what it leaves alone; as a string, one line for a log.

    Attributes:
        targets: Names of the modules whose weights are pruned.
        weights: Number of their weights.
        parameters: Number of the model's parameters, tied ones once.
        dense: Part of the model (embeddings, encoder, pooler, head) -> number of parameters in those of its matrices
            that stay dense; parts that have none are left out.
        left_out: Names of the matrices of the encoder that stay dense although ``exclude`` does not name them.
    """

    targets: tuple[str, ...]
    weights: int
    parameters: int
    dense: Mapping[Part, int]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        dense = ", ".join(f"{part} ({size / self.parameters:.0%})" for part, size in self.dense.items()) or "nothing"
        share = self.weights / self.parameters
        return f"{len(self.targets)} matrices, {share:.0%} of the parameters; dense: {dense}"


def pruning_plan(model: nn.Module, config: PruningConfig) -> PruningPlan:
    """What ``config`` prunes in ``model`` and what stays dense; nothing is changed.

    Raises:
        PruningError: as :func:`prunable_layers`.

    Example:
        >>> print(pruning_plan(model, PruningConfig(0.7)))
        72 matrices, 78% of the parameters; dense: embeddings (22%), head (0%)
    """
    layers = prunable_layers(model, config)
    targets = matrices(config.units.units(model, layers))
    parameters, bases = _parameters(model), base_models(model)
    dense: Counter[Part] = Counter()
    for name, parameter in parameters.items():
        if parameter.dim() > 1 and name.removesuffix(".weight") not in targets:
            dense[_part(model, name, bases)] += parameter.numel()
    left_out = [name for name in _other_matrices(model, layers) if not _matches(name, config.exclude or ())]
    weights = sum(layers[name].weight.numel() for name in targets)
    total = sum(parameter.numel() for parameter in parameters.values())
    return PruningPlan(tuple(targets), weights, total, dense, tuple(left_out))


def announce(plan: PruningPlan, config: PruningConfig) -> str:
    """The line for the log; warns where nobody asked for only a part of the encoder, and only a part is pruned."""
    if config.targets is None and plan.left_out:
        warnings.warn(
            f"Only a part of the encoder is pruned: {_some(plan.left_out)} stay dense, for only the weights of"
            f" nn.Linear can be masked. The target_sparsity is that of the {len(plan.targets)} matrices that are"
            " pruned. Name them in exclude=[…] if that is meant.",
            NoEffectWarning,
            stacklevel=3,
        )
    return f"To be pruned: {plan}."
