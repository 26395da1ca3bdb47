"""The packed checkpoint as transformers sees it: a quantization method named "palbert_sparse".

Loading unpacks into plain dense weights and leaves an ordinary model; the quantizer then stays attached for saving
alone, so that the model is written as small as it was read. :mod:`transformers_palbert.registration` registers both
classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.core_model_loading import ConversionOps, WeightConverter
from transformers.quantizers.base import HfQuantizer

from ..errors import ConfigurationError, StorageError
from ..model.pruning_state import PruningState
from ..model.removal import layer_sizes, read_layer_sizes, resize_layers
from .config import LOSSLESS
from .embeddings import tables_of
from .files import POINTER, StoredTensor, named_weights, read_headers, require_inside
from .integrity import require_as_described
from .packed_saves import save_packed
from .sparse_config import SparseConfig
from .state import NOT_WHOLE, load_packed_state, restore, store_state

__all__ = ["SparseConfig", "SparseQuantizer", "dense_quantizer", "note_density"]

_PROGRESS = "_palbert_loading"
"""Attribute of a model that is being loaded; the loader copies converters, so they cannot remember anything."""

_READS_PACKED = "_palbert_reads_packed"
"""Attribute of a model whose ``load_state_dict`` unpacks; a copy of the model has both the attribute and the hook."""


class _Loading:
    """What is known of a model while its weights are being loaded."""

    def __init__(self, model: nn.Module) -> None:
        self.shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        self.stored: dict[str, StoredTensor] | None = None
        self.restored: set[str] = set()  # names in the file
        self.errors: list[str] = []


class UnpackWeight(ConversionOps):
    """Turns one packed tensor into the parameter it is, in the dtype that the model wants."""

    dtype: torch.dtype | None = None

    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, list[Tensor]]:
        name, progress = kwargs["full_layer_name"], getattr(kwargs["model"], _PROGRESS)
        ((stored, *_),) = input_dict.values()
        shape = progress.shapes[name]
        try:
            tensor = restore(name, stored, shape, self.dtype)
            progress.restored.add(target_patterns[0])
        except StorageError as error:
            # transformers would only log it, and raise an error that says nothing. The quantizer raises it in the end;
            # until then there are no numbers that could pass for weights.
            progress.errors.append(str(error))
            tensor = torch.full(shape, torch.nan, dtype=self.dtype, device=stored.device)
        return {name: [tensor]}


class SparseQuantizer(HfQuantizer):
    """Unpacks the weights when a checkpoint is loaded, and packs them when the model is saved."""

    quantization_config: SparseConfig
    packs = True
    """Whether saving packs. If not, the file is dense, and only the sizes of the layers need this quantizer."""

    def __init__(self, quantization_config: SparseConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        if not self.pre_quantized:
            raise ConfigurationError(
                "quantization_config was given for a checkpoint that is not packed. A packed one names its quantization"
                " in its own config.json, so the argument is never needed. To save an ordinary model packed, load it"
                " without quantization_config and call enable_sparse_saving(model)."
            )

    # -- loading -----------------------------------------------------------------------------------------------------

    def update_attn_implementation(self, config: Any) -> Any:
        """Free the field of the config in which a reader without this package finds the way to it.

        No other hook sees the config before transformers looks there for the name of a file.
        """
        if hasattr(config, POINTER) and named_weights(vars(config)) is None:
            delattr(config, POINTER)
        return config

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> None:
        """Check what the files hold against what the config lists, before anything is read.

        Layers from which units were removed are smaller than the architecture makes them, and get their sizes first.
        """
        if (sizes := read_layer_sizes(model.config)) is not None:
            resize_layers(model, sizes)
        progress = _Loading(model)
        if (files := kwargs.get("checkpoint_files")) is not None:
            if other := [file for file in files if not str(file).endswith(".safetensors")]:
                raise StorageError(f"{other[0]} is no safetensors file, and a packed checkpoint is nothing else.")
            require_inside(files, str(model.config.name_or_path))
            progress.stored = read_headers(files)
            require_as_described(progress.stored, self.quantization_config)
        setattr(model, _PROGRESS, progress)

    def get_weight_conversions(self) -> list[WeightConverter]:
        """One converter for each packed tensor, from its name to its name."""
        names = self.quantization_config.tensors
        return [WeightConverter(f"^{re.escape(name)}$", name, [UnpackWeight()]) for name in names]

    def get_new_dtype(self, converter: Any, param: Any, dtype: torch.dtype | None) -> torch.dtype | None:
        """Leave the casting of packed tensors to the operation that unpacks them."""
        own = [op for op in getattr(converter, "operations", ()) if isinstance(op, UnpackWeight)]
        for operation in own:
            operation.dtype = dtype
        return None if own else super().get_new_dtype(converter, param, dtype)

    def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
        """Raise unless every packed tensor was restored; attach the quantizer again, for saving."""
        progress = getattr(model, _PROGRESS)
        delattr(model, _PROGRESS)
        model._weight_conversions = [
            conversion
            for conversion in getattr(model, "_weight_conversions", None) or []
            if not any(isinstance(op, UnpackWeight) for op in getattr(conversion, "operations", ()))
        ]
        if progress.errors:
            raise StorageError("; ".join(progress.errors))
        _require_restored(model, progress, self.quantization_config.tensors)
        self.attach(model)
        return model

    # -- saving ------------------------------------------------------------------------------------------------------

    def attach(self, model: Any) -> None:
        """Let ``model`` be saved packed, and read packed state dicts. Its config, maybe of other models too, stays."""
        model.hf_quantizer = self
        model.save_pretrained = partial(save_packed, model)
        if not getattr(model, _READS_PACKED, False):
            model.register_load_state_dict_pre_hook(load_packed_state)
            setattr(model, _READS_PACKED, True)

    def remove_quantization_config(self, model: Any) -> None:
        """Undo :meth:`attach`, but for reading; transformers calls it in ``model.dequantize()`` too."""
        super().remove_quantization_config(model)
        vars(model).pop("save_pretrained", None)

    def get_state_dict_and_metadata(self, model: Any) -> tuple[dict[str, Tensor] | None, dict[str, str]]:
        """The packed state dict, for ``save_pretrained``; nothing where an adapter alone is saved.

        No metadata of our own: safetensors writes several entries in random order, and the same model would give
        different files. The version stands in the config and in each packed tensor.

        Raises:
            StorageError: if the config gives other sizes of layers than the model has, or the weights are not whole.
        """
        from transformers.modeling_utils import remove_tied_weights_from_state_dict

        if getattr(model, "_hf_peft_config_loaded", False):
            return None, {}
        _require_sizes(model)
        state = _whole_state(model)
        if self.packs:
            note_density(model, state)
            empty = {f"{name}.bias" for name, module in model.named_modules() if _has_no_rows(module)}
            state = store_state(state, self.quantization_config.storage, tables_of(model), empty)
        return remove_tied_weights_from_state_dict(state, model), {}

    def is_serializable(self) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return True

    @property
    def is_compileable(self) -> bool:
        return True

    def _dequantize(self, model: Any, dtype: torch.dtype | None = None) -> Any:
        return model  # its weights are dense; the caller detaches the quantizer


def dense_quantizer() -> SparseQuantizer:
    """One that packs nothing: the file is dense, and says how large the layers are."""
    quantizer = SparseQuantizer(SparseConfig.of(LOSSLESS), pre_quantized=True)
    quantizer.packs = False
    return quantizer


def _has_no_rows(module: nn.Module) -> bool:
    """Whether it is a projection of a block that lost all of its heads or units."""
    return isinstance(module, nn.Linear) and module.out_features == 0


def _require_sizes(model: Any) -> None:
    if (said := read_layer_sizes(model.config)) is None or said == (found := layer_sizes(model)):
        return
    path = next(path for path in found.keys() | said.keys() if found.get(path) != said.get(path))
    raise StorageError(
        f"layer_sizes of the config gives {path} {said.get(path)}, and the model has {found.get(path)}, so that the"
        " file could not be loaded. A new model of such a config gets the sizes by resize_layers(model,"
        " read_layer_sizes(config)) of transformers_palbert.model.removal; or delete config.layer_sizes."
    )


def note_density(model: Any, state: Mapping[str, Tensor]) -> None:
    """Let the model's config say how dense the model is now: it may have been trained on without masks."""
    if (pruning := PruningState.of(model)) is not None:
        now = pruning.after_training_on(state)
        model.config.pruning = None if now is None else replace(now, status="final").to_dict()


def _require_restored(model: Any, progress: _Loading, listed: list[str]) -> None:
    state = model.state_dict()
    if wrong := [name for name, shape in progress.shapes.items() if state[name].shape != shape]:
        raise StorageError(
            f"{wrong[0]} has the shape {tuple(state[wrong[0]].shape)} in the checkpoint and"
            f" {tuple(progress.shapes[wrong[0]])} in {type(model).__name__}: the checkpoint is of another architecture."
        )
    if lost := [name for name in listed if name not in progress.restored and _has_place(model, name)]:
        raise StorageError(
            f"{len(lost)} of {len(listed)} packed tensors have no parameter of their name in {type(model).__name__},"
            f" the first of them {lost[0]}: the checkpoint is damaged or of another architecture."
        )
    if absent := _absent(model, progress):
        raise StorageError(
            f"{len(absent)} tensors are missing in the checkpoint, the first of them {absent[0]}:"
            " save or download it again."
        )


def _absent(model: Any, progress: _Loading) -> list[str]:
    """Tensors that transformers made up although the file has others of the same part of the model.

    That is, of the encoder, of the embeddings, and of the head if the model's own class wrote the file; and then the
    whole encoder must be there. Other parts may be missing: heads, poolers and whatever else training will make.
    """
    if progress.stored is None:
        return []
    made_up = {name for name, tensor in model.state_dict(keep_vars=True).items() if not _was_loaded(tensor)}
    tied = getattr(model, "all_tied_weights_keys", {})
    known = {_part(model, name) for name in progress.stored}
    encoder = f"{model.base_model_prefix}."
    wrote = _wrote(model)
    return [
        name
        for name in progress.shapes
        if name in made_up
        and name not in progress.stored
        and name not in tied
        and ((_part(model, name) in known and _has_place(model, name)) or (wrote and name.startswith(encoder)))
    ]


def _was_loaded(tensor: Tensor) -> bool:
    """Whether transformers read it from the file, maybe under an older name (``LayerNorm.gamma``), or tied it."""
    return bool(getattr(tensor, "_is_hf_initialized", False))


def _part(model: Any, name: str) -> str:
    return name.removeprefix(f"{model.base_model_prefix}.").partition(".")[0]


def _wrote(model: Any) -> bool:
    return type(model).__name__ in (model.config.architectures or [])


def _has_place(model: Any, name: str) -> bool:
    """Whether the model must have the tensor ``name``: all of them if its own class wrote the file, else its encoder's.

    The head of another task, or a pooler where the model has none, is left out as transformers leaves it out.
    """
    if _wrote(model):
        return True
    prefix = model.base_model_prefix
    base = getattr(model, prefix, model)
    return _part(model, name) in dict(base.named_children())


def _whole_state(model: Any) -> dict[str, Tensor]:
    """The state dict, with what ``device_map`` offloaded to the disk read back.

    Raises:
        StorageError: if FSDP flattened the parameters; :func:`store_state` finds other ways to shard them.
    """
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise StorageError(f"{type(model).__name__} is sharded by FSDP. {NOT_WHOLE}")
    state = model.state_dict()
    if "disk" in getattr(model, "hf_device_map", {}).values() or "cpu" in getattr(model, "hf_device_map", {}).values():
        from transformers.integrations.accelerate import load_offloaded_parameter

        for name, tensor in state.items():
            if tensor.device.type == "meta":
                state[name] = load_offloaded_parameter(model, name)
    return state
