"""From a dense model to a prunable one and back: make its Linears maskable, update and bake the masks.

All functions change the model in place, as ``torch.nn`` surgery does, and none of them knows a Trainer.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import NoEffectWarning, PruningError
from .config import PruningConfig
from .granularity import Units, matrices
from .masked_linear import MaskedLinear
from .masks import apportion, top_v, top_v_global
from .refusals import require_config, require_prunable, require_survivors
from .resuming import LOAD_HOOK, watch_loading
from .targets import announce, prunable_layers, pruning_plan

__all__ = [
    "apply_density",
    "bake_masks",
    "is_prepared",
    "kept_weights",
    "masked_layers",
    "prepare_pruning",
    "pruning_units",
    "require_method",
    "require_told_apart",
    "score_parameters",
    "update_scores",
    "weight_scores",
]

logger = logging.getLogger(__name__)

FORWARD_HOOK = "_palbert_hook"
"""The attribute of a prepared base model that holds the handle of the hook that builds the weights of a forward."""

TOLD_APART = "_palbert_told_apart"
"""The attribute of a prepared model that says that its scores were seen to differ."""


def masked_layers(model: nn.Module) -> dict[str, MaskedLinear]:
    """The prunable layers of ``model``, by module name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, MaskedLinear)}


def is_prepared(model: nn.Module) -> bool:
    """Whether :func:`prepare_pruning` has been applied, and :func:`bake_masks` not yet."""
    return any(isinstance(module, MaskedLinear) for module in model.modules())


def prepare_pruning(model: nn.Module, config: PruningConfig) -> nn.Module:
    """Replace the targeted Linears by :class:`MaskedLinear`, all weights kept at first.

    Parameters keep their names and identities; methods of first order add one parameter ``scores`` per layer. Call it
    before an optimizer is made.

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
    score = config.score
    layers: dict[nn.Module, nn.Module] = {}
    weights: set[Tensor] = set()
    targets = prunable_layers(model, config)
    sets = config.units.units(model, targets)
    if not sets:
        raise PruningError(
            f"The targets of {type(model).__name__} have no units of granularity={config.granularity!r}. They are"
            f" {', '.join(list(targets)[:8])}; choose others with targets=[…], or another granularity."
        )
    _require_equal_units(sets, config)
    require_survivors(sets, config)
    logger.info(announce(pruning_plan(model, config), config))
    for name, linear in ((name, targets[name]) for name in matrices(sets)):
        if linear.weight in weights:
            raise PruningError(f"{name} shares its weight with another Linear; leave one of them out with exclude=[…].")
        weights.add(linear.weight)
        layers[linear] = MaskedLinear(linear, score.initial(linear.weight))
    _replace(model, layers)
    _build_once_per_forward(model)
    watch_loading(model)
    return model


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
    return config.units.units(model, masked_layers(model))


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


def weight_scores(layer: MaskedLinear, config: PruningConfig) -> Tensor:
    """Scores of one layer's weights, ``[out, in]``, float32; higher means keep."""
    return config.score(layer.weight, layer.score_state)


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
    for name, layer in masked_layers(model).items():
        scores = weight_scores(layer, config)
        if bool(scores.min() == scores.max()):
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
    return sum(units.weights * count for units, count in zip(sets, kept, strict=True))


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
    sets = config.units.units(model, layers)
    by_matrix = {name: weight_scores(layer, config) for name, layer in layers.items()}
    scores = [units.scores(by_matrix) for units in sets]
    kept = apportion(density, [units.count for units in sets])
    if config.scope == "global":
        masks = top_v_global(scores, sum(kept))
    else:
        masks = [top_v(score, count) for score, count in zip(scores, kept, strict=True)]
    for units, mask in zip(sets, masks, strict=True):
        for name, of_weights in units.masks(mask).items():
            layers[name].set_mask(of_weights)


def bake_masks(model: nn.Module) -> nn.Module:
    """Write the masks into the weights as zeros and put plain Linears back: no pruning code is needed afterwards.

    Returns:
        ``model`` itself, with its original module types and state-dict keys.

    Raises:
        PruningError: if the model was never prepared.
    """
    layers = masked_layers(model)
    if not layers:
        raise PruningError("This model has no masks to bake; call prepare_pruning(model, config) first.")
    _replace(model, {layer: layer.bake() for layer in layers.values()})
    model.__dict__.pop(TOLD_APART, None)
    for module in model.modules():
        for name in (FORWARD_HOOK, LOAD_HOOK):
            if (hook := module.__dict__.pop(name, None)) is not None:
                hook.remove()
    return model
