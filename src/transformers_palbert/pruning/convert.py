"""From a dense model to a prunable one and back: make its Linears maskable, update and bake the masks.

All functions change the model in place, as ``torch.nn`` surgery does, and none of them knows a Trainer.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import NoEffectWarning, PruningError
from ..model.applications import cut_applications, require_whole_applications
from ..storage.saving import disable_sparse_saving
from .config import PruningConfig
from .gated_linear import GatedLinear
from .gates import has_gates, require_own_applications, write_gates, zero_units
from .granularity import Granularity, Units, matrices
from .maskable import MaskableLinear
from .masked_linear import MaskedLinear
from .masks import apportion, top_v, top_v_global
from .refusals import require_config, require_prunable, require_survivors
from .resuming import LOAD_HOOK, watch_loading
from .scores import Score
from .targets import announce, prunable_layers, pruning_plan

__all__ = [
    "apply_density",
    "bake_masks",
    "is_prepared",
    "kept_weights",
    "masked_layers",
    "prepare_pruning",
    "pruned_matrices",
    "pruning_units",
    "require_method",
    "require_told_apart",
    "score_parameters",
    "unit_scores",
    "update_scores",
    "weights_under_masks",
]

logger = logging.getLogger(__name__)

FORWARD_HOOK = "_palbert_hook"
"""The attribute of a prepared base model that holds the handle of the hook that builds the weights of a forward."""

TOLD_APART = "_palbert_told_apart"
"""The attribute of a prepared model that says that its scores were seen to differ."""


def masked_layers(model: nn.Module) -> dict[str, MaskableLinear]:
    """The layers of ``model`` that carry masks or gates, by module name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MaskableLinear)}


def is_prepared(model: nn.Module) -> bool:
    """Whether :func:`prepare_pruning` has been applied, and :func:`bake_masks` not yet."""
    return any(isinstance(module, MaskableLinear) for module in model.modules())


def prepare_pruning(model: nn.Module, config: PruningConfig) -> nn.Module:
    """Make the targeted Linears maskable, all weights kept at first.

    Where the units are weights, rows, columns or blocks, each becomes a :class:`MaskedLinear`; where units span
    matrices, the one whose inputs they are becomes a :class:`GatedLinear`, and the others stay what they are.
    Parameters keep their names and identities; methods of first order add one parameter ``scores`` per changed layer.
    Call it before an optimizer is made.

    Returns:
        ``model`` itself.

    Raises:
        PruningError: if no Linear matches, or the model is prepared already, or cannot be pruned as it is.
    """
    require_config(config)
    require_prunable(model)
    if is_prepared(model):
        raise PruningError("This model is prepared for pruning already; call bake_masks(model) first to start anew.")
    if config.target_sparsity == 0:
        warnings.warn("target_sparsity=0 removes no weight; give the share to remove.", NoEffectWarning, stacklevel=2)
    if config.applications == "each":
        require_own_applications(model)
    targets = prunable_layers(model, config)
    sets = config.units.units(model, targets)
    if not sets:
        raise PruningError(
            f"The targets of {type(model).__name__} have no units of granularity={config.granularity!r}. They are"
            f" {', '.join(list(targets)[:8])}; choose others with targets=[…], or another granularity."
        )
    if any(units.gate for units in sets):
        require_whole_applications(model)
    _require_equal_units(sets, config)
    require_survivors(sets, config)
    logger.info(announce(pruning_plan(model, config), config))
    _require_own_weights({name: targets[name] for name in matrices(sets)})
    _replace(model, {linear: new for units in sets for linear, new in _maskable(units, targets, config.score)})
    _build_once_per_forward(model)
    watch_loading(model)
    if isinstance(model, PreTrainedModel):
        disable_sparse_saving(model)  # it may have been loaded from a packed file
    return model


def _maskable(units: Units, targets: Mapping[str, nn.Linear], score: Score) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The Linears that change for ``units``, each with what takes its place."""
    if units.gate is None:
        for linear in (targets[part.matrix] for part in units.slices):
            yield linear, MaskedLinear(linear, score.initial(linear.weight))
    else:
        linear = targets[units.gate]
        yield (
            linear,
            GatedLinear(linear, units.shape[1], units.applications, score.initial(_unit_sizes(units, targets))),
        )


@torch.no_grad()
def _unit_sizes(units: Units, linears: Mapping[str, nn.Linear]) -> Tensor:
    """Mean ``|W|`` over each unit, of the units' shape, float32."""
    return units.scores({part.matrix: linears[part.matrix].weight.abs().float() for part in units.slices}).contiguous()


def _require_own_weights(linears: Mapping[str, nn.Linear]) -> None:
    seen: set[Tensor] = set()
    for name, linear in linears.items():
        if linear.weight in seen:
            raise PruningError(f"{name} shares its weight with another Linear; leave one of them out with exclude=[…].")
        seen.add(linear.weight)


def _replace(model: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    """Put each value of ``new`` wherever its key stands; a module that is used twice may stand in two places."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in new:
            model.set_submodule(name, new[module])


def _build_once_per_forward(model: nn.Module) -> None:
    """Build every effective weight when the encoder's forward starts.

    The hook sits on the base model (``model.albert``), not on the model: accelerate's autocast wraps the outermost
    ``forward``, so only inside it the dtype of the products is known. Built there, and not inside a layer, the weights
    also lie outside the regions that gradient checkpointing runs twice.
    """
    base = getattr(model, getattr(model, "base_model_prefix", ""), model)
    setattr(base, FORWARD_HOOK, base.register_forward_pre_hook(_start_forward))


def _start_forward(module: nn.Module, args: object) -> None:  # noqa: ARG001 (the shape of a hook)
    for layer in masked_layers(module).values():
        layer.start_forward()


def _require_equal_units(sets: list[Units], config: PruningConfig) -> None:
    sizes = sorted({units.weights for units in sets})
    if config.scope == "global" and len(sizes) > 1:
        raise PruningError(
            f"scope='global' compares units with each other, and those of granularity={config.granularity!r} have"
            f" different sizes here ({', '.join(map(str, sizes))} weights): keeping a share of them would keep another"
            " share of the weights. Use scope='matrix', or targets=[…] of one shape."
        )


def pruning_units(model: nn.Module, config: PruningConfig) -> list[Units]:
    """The sets of units of a prepared model."""
    return _units_of(model, config.units, masked_layers(model))


def _units_of(model: nn.Module, granularity: Granularity, layers: Mapping[str, MaskableLinear]) -> list[Units]:
    if not any(isinstance(layer, GatedLinear) for layer in layers.values()):
        return granularity.units(model, layers)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return [units for units in granularity.units(model, linears) if units.gate in layers]


def pruned_matrices(model: nn.Module, config: PruningConfig) -> list[str]:
    """Names of the Linears of a prepared model that lose weights, those without a mask of their own included."""
    return matrices(pruning_units(model, config))


def score_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The tensors ``scores`` of the prunable layers, in the model's order; none for a method that learns nothing."""
    return [layer.scores for layer in masked_layers(model).values() if layer.scores is not None]


@torch.no_grad()
def update_scores(model: nn.Module, config: PruningConfig, gradients: Sequence[Tensor | None]) -> None:
    """Tell the scores what they received in a step, where the optimizer does not sum it up.

    Args:
        model: A prepared model.
        config: Its settings.
        gradients: Those of :func:`score_parameters`, in their order; None where a layer received none.
    """
    score, rate = config.score, config.score_learning_rate or 1.0
    learning = (layer for layer in masked_layers(model).values() if layer.scores is not None)
    for layer, gradient in zip(learning, gradients, strict=True):
        if gradient is not None:
            score.update(layer.score_state, gradient, rate)


@torch.no_grad()
def unit_scores(model: nn.Module, config: PruningConfig) -> dict[str, Tensor]:
    """Scores of the units of a prepared model, float32; higher means keep.

    The key is the matrix whose weights or inputs the units are.
    """
    layers = masked_layers(model)
    sets = _units_of(model, config.units, layers)
    return {units.gate or units.slices[0].matrix: _scores_of(units, model, layers, config.score) for units in sets}


def _scores_of(units: Units, model: nn.Module, layers: Mapping[str, MaskableLinear], score: Score) -> Tensor:
    if units.gate is None:
        weights = {part.matrix: layers[part.matrix] for part in units.slices}
        return units.scores({name: score(layer.weight, layer.score_state) for name, layer in weights.items()})
    gated = layers[units.gate]
    if score.learned:
        return score(gated.mask, gated.score_state)
    linears: Any = {part.matrix: model.get_submodule(part.matrix) for part in units.slices}
    return score(_unit_sizes(units, linears), {})


def require_method(model: nn.Module, config: PruningConfig) -> None:
    """Raise unless the layers of a prepared model remember what the method of ``config`` needs.

    Raises:
        PruningError: naming the cure.
    """
    needed = config.score.initial(torch.empty(0)).keys()
    if any(layer.score_state.keys() != needed for layer in masked_layers(model).values()):
        raise PruningError(
            f"The model was prepared for another method than {config.method!r}, or with other settings of it: give"
            " prepare_pruning(model, config) the config that prunes."
        )


def require_told_apart(model: nn.Module, config: PruningConfig) -> None:
    """Raise if all scores of a layer are equal: the first weights by position would be kept.

    It looks once per model, when pruning begins: reading values back from a GPU in every step would cost time.

    Raises:
        PruningError: naming the layer, the possible causes and the cure.
    """
    if getattr(model, TOLD_APART, False):
        return
    for name, scores in unit_scores(model, config).items():
        if scores.numel() > 1 and bool(scores.min() == scores.max()):
            raise PruningError(
                f"All {config.method} scores of {name} equal {scores.flatten()[0].item():g}: there is nothing to tell"
                " its weights apart. No gradient reached them yet: give the run a warm-up (warmup=0.1), make the"
                " optimizer after prepare_pruning, let a Pruner or the callback watch its steps, and check that this"
                " layer takes part in the loss."
            )
    setattr(model, TOLD_APART, True)


def kept_weights(model: nn.Module, config: PruningConfig, density: float) -> int:
    """Number of weights that :func:`apply_density` keeps."""
    sets = pruning_units(model, config)
    kept = apportion(density, [units.count for units in sets])
    return round(sum(units.kept_weights(count) for units, count in zip(sets, kept, strict=True)))


def weights_under_masks(model: nn.Module, config: PruningConfig) -> int:
    """Number of weights that the present masks keep."""
    layers, kept = masked_layers(model), 0.0
    for units in _units_of(model, config.units, layers):
        masked = [units.gate] if units.gate is not None else [part.matrix for part in units.slices]
        weights = units.kept_weights(1) if units.gate is not None else 1
        kept += weights * sum(int(torch.count_nonzero(layers[name].mask)) for name in masked)
    return round(kept)


@torch.no_grad()
def apply_density(model: nn.Module, config: PruningConfig, density: float) -> None:
    """Give every prunable layer the mask that keeps the best-scored share ``density`` of the units, exactly.

    Over all sets ``round(density · N)`` of ``N`` units are kept; each set has that share to within one unit (scope
    ``matrix``), or the sets compete (scope ``global``).

    Raises:
        PruningError: if all scores of a layer are equal, the first time that weights are to be removed.
    """
    if density < 1:
        require_told_apart(model, config)
    layers = masked_layers(model)
    sets = _units_of(model, config.units, layers)
    scores = [_scores_of(units, model, layers, config.score) for units in sets]
    kept = apportion(density, [units.count for units in sets])
    if config.scope == "global":
        masks = top_v_global(scores, sum(kept))
    else:
        masks = [top_v(score, count) for score, count in zip(scores, kept, strict=True)]
    for units, mask in zip(sets, masks, strict=True):
        for name, part in units.masks(mask).items() if units.gate is None else ((units.gate, mask),):
            layers[name].set_mask(part)
    write_gates(model)


def bake_masks(model: nn.Module) -> nn.Module:
    """Write the masks into the weights as zeros and put plain Linears back: no pruning code is needed afterwards.

    Where applications of a shared layer keep units of their own, the layer computes with slices of its weights from
    then on, as it does when it is loaded again.

    Returns:
        ``model`` itself, with its original module types and state-dict keys.

    Raises:
        PruningError: if the model was never prepared.
    """
    layers = masked_layers(model)
    if not layers:
        raise PruningError("This model has no masks to bake; call prepare_pruning(model, config) first.")
    applications = any(isinstance(layer, GatedLinear) and layer.mask.size(0) > 1 for layer in layers.values())
    if has_gates(model):
        write_gates(model)
        zero_units(model)
    _replace(model, {layer: layer.bake() for layer in layers.values()})
    if applications:
        cut_applications(model)
    model.__dict__.pop(TOLD_APART, None)
    for module in model.modules():
        for name in (FORWARD_HOOK, LOAD_HOOK):
            if (hook := module.__dict__.pop(name, None)) is not None:
                hook.remove()
    return model
