"""Going on with a pruning run: what a checkpoint holds must be what the run that reads it expects.

Two things are compared. The tensors, when a state dict is loaded: that is before the optimizer's state is, which would
only say that a group has another size. The settings, when training begins: they stand in ``trainer_state.json``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..errors import PruningError
from ..model.pruning_state import MASK_KEY, PRUNED_WEIGHT_KEY, SCORES_KEY, TRAINING_KEYS
from .maskable import MaskableLinear

__all__ = ["LOAD_HOOK", "changed_settings", "require_same_settings", "require_same_tensors", "watch_loading"]

logger = logging.getLogger(__name__)

LOAD_HOOK = "_palbert_load_hook"
"""The attribute of a prepared model that holds the handle of :func:`watch_loading`."""


def changed_settings(stored: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """One phrase for each setting of ``own`` that is another in ``stored``; unknown ones are passed over.

    Args:
        stored: Plain values, as JSON gives them back.
        own: Plain values.
    """
    different = [name for name, value in own.items() if name in stored and stored[name] != value]
    return [f"{name}={stored[name]!r} there and {own[name]!r} here" for name in different]


def require_same_settings(
    stored: Mapping[str, Any] | None, own: Mapping[str, Any], *, allowed: bool, callback: str
) -> bool:
    """Raise if a checkpoint was written with other settings than those of the run that goes on from it.

    Args:
        stored: The settings that the checkpoint names, as plain values; None if it names none.
        own: Those of the run.
        allowed: Whether they may differ.
        callback: The name of the callback's class, for the message.

    Returns:
        Whether they differ, and may.

    Raises:
        PruningError: naming what differs.
    """
    if stored is None:
        problem = "no callback of this class had part in the run that wrote the checkpoint"
    else:
        problem = "; ".join(changed_settings(stored, own))
    if problem and not allowed:
        raise PruningError(
            f"The checkpoint was not written with the settings of this {callback}: {problem}. Go on with those of the"
            " checkpoint, or give change_on_resume=True if they are meant to change."
        )
    if problem:
        logger.warning("Going on with settings that are not those of the checkpoint: %s.", problem)
    return bool(problem)


def watch_loading(model: nn.Module) -> None:
    """Let ``model.load_state_dict`` refuse the state of another pruning run, see :func:`require_same_tensors`."""
    setattr(model, LOAD_HOOK, model.register_load_state_dict_pre_hook(_before_loading))


def _before_loading(module: nn.Module, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    require_same_tensors(module, {name.removeprefix(prefix) for name in state if name.startswith(prefix)})


def require_same_tensors(model: nn.Module, names: set[str]) -> None:
    """Raise unless the tensors called ``names`` are those of a run that prunes ``model`` as it is prepared.

    A state without any trace of pruning is taken as well, and said in the log: it is that of a dense model.

    Raises:
        PruningError: if the state has other targets, or lacks what a layer needs, or has what no layer reads.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    layers = {name: module for name, module in modules.items() if isinstance(module, MaskableLinear)}
    expected = {name: {*layer.own_keys, *layer.score_state} for name, layer in layers.items()}
    found = {name: {key for key in TRAINING_KEYS if f"{name}.{key}" in names} for name in layers}
    traces = (f".{PRUNED_WEIGHT_KEY}", f".{SCORES_KEY}")
    foreign = {name.rpartition(".")[0] for name in names if name.endswith(traces)} - layers.keys()
    dense = [name for name in layers if f"{name}.weight" in names and not found[name]]
    if not foreign and not any(found.values()):
        if dense:
            logger.warning(
                "The state that is loaded has neither masks nor scores: no pruning run wrote it. The weights are taken"
                " from it; an optimizer's state of such a run fits no model that is prepared for pruning."
            )
        return
    _require_same_targets(sorted(foreign), dense)
    for name in layers:
        if f"{name}.weight" in names:
            _require_keys(name, expected[name], found[name])


def _require_same_targets(there: list[str], here: list[str]) -> None:
    if there or here:
        facts = [
            f"{len(names)} only {place}, such as {names[0]}"
            for place, names in (("there", there), ("here", here))
            if names
        ]
        raise PruningError(
            f"The checkpoint is of a run that pruned other matrices: {'; '.join(facts)}. Go on with the targets and the"
            " exclude of the run that wrote it, or begin a new run from its weights, from_pretrained(checkpoint)."
        )


def _require_keys(layer: str, expected: set[str], found: set[str]) -> None:
    if lacking := sorted({MASK_KEY, PRUNED_WEIGHT_KEY} & expected - found):
        raise PruningError(
            f"{layer}.{lacking[0]} is missing in the checkpoint, although the rest of the pruning is there: the tensor"
            " was deleted, or is in another file than the weight. Take a checkpoint that is as the run wrote it, in one"
            " file."
        )
    if different := sorted(expected ^ found):
        state = "missing" if different[0] in expected else "there, and nothing reads it"
        raise PruningError(
            f"{layer}.{different[0]} is {state} in the checkpoint: a run with another method or other settings of it"
            " wrote the checkpoint, or the tensor was deleted. Go on with the method of the run that wrote it, or begin"
            " a new run from its weights, from_pretrained(checkpoint)."
        )
