"""Removal from a model that is saved and loaded again: of heads and feed-forward units, and of whole layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel

from ..errors import PruningError
from ..model.depth import keep_layers
from ..model.removal import KeptUnits, fold_dead_units, keep_units, read_layer_sizes
from ..storage.quantizer import SparseQuantizer
from ..storage.saving import enable_sparse_saving
from .convert import is_prepared

__all__ = ["drop_layers", "remove_units", "save_with_sizes"]


def remove_units(model: PreTrainedModel, kept: Mapping[str, KeptUnits] | None = None) -> PreTrainedModel:
    """Cut attention heads and feed-forward units out of ``model``: smaller matrices, less to compute.

    Layers may end with different sizes. Such a model is saved packed from then on, since the configuration of its
    architecture cannot say them: ``from_pretrained`` gives it back after ``import transformers_palbert``, and fails
    without. Where all layers keep the same number of feed-forward units and all their heads, the file is a stock one.

    Args:
        model: A model of an architecture in :data:`~transformers_palbert.model.structure.STRUCTURES`, not in the middle
            of being pruned; changed in place. An optimizer made before knows parameters that are no longer there.
        kept: Path of a layer below the base model, as in ``"encoder.layer.0"``, -> the heads and units that stay. None
            removes what can go without changing anything: whatever a baked mask left without a way in or out.

    Returns:
        ``model`` itself.

    Raises:
        PruningError: if the model is in the middle of being pruned.
        ConfigurationError: if a layer or a unit does not exist, or the architecture is not in the table.

    Example:
        >>> remove_units(model, {"encoder.layer.0": KeptUnits(heads=[0, 3, 5], units=range(512))})
        >>> model.save_pretrained("smaller")
    """
    _require_finished(model)
    keep_units(model, fold_dead_units(model) if kept is None else kept)
    save_with_sizes(model)
    return model


def drop_layers(model: PreTrainedModel, kept_layers: Sequence[int]) -> PreTrainedModel:
    """Leave whole layers out of ``model``: a smaller model of the same architecture, whose file is a stock one.

    The layers that stay are renumbered, and the configuration says how many they are. ALBERT and PAL-BERT apply shared
    layers several times: of these, applications are left out, and only a PAL-BERT whose applications keep heads and
    units of their own cares which.

    Nothing makes up for what is left out, so train the model again.

    Args:
        model: A model of an architecture in :data:`~transformers_palbert.model.structure.STRUCTURES`, not in the middle
            of being pruned; changed in place. An optimizer made before knows parameters that are no longer there.
        kept_layers: Which layers stay, counted from 0 at the bottom, ascending; at least one.

    Returns:
        ``model`` itself.

    Raises:
        PruningError: if the model is in the middle of being pruned.
        ConfigurationError: if a layer does not exist, the question-answering head reads one that would go, or the
            configuration cannot say how often each of several groups of shared layers would be applied.

    Example:
        >>> drop_layers(model, range(0, 12, 2))
        >>> model.config.num_hidden_layers
        6
    """
    _require_finished(model)
    keep_layers(model, kept_layers)
    save_with_sizes(model)
    return model


def _require_finished(model: PreTrainedModel) -> None:
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before removing."
        )


def save_with_sizes(model: PreTrainedModel) -> None:
    """Let ``model`` be saved packed where its layers have sizes that the fields of its configuration cannot say."""
    packed = isinstance(getattr(model, "hf_quantizer", None), SparseQuantizer)
    if read_layer_sizes(model.config) is not None and not packed:
        enable_sparse_saving(model)
