"""What ``save_pretrained`` and ``from_pretrained`` do besides, for models that know nothing of packed weights.

The description of packed weights is a field of the config, and configs travel: a new model may be made from that of a
packed one, and a packed folder may be read with a config from elsewhere. No registry of transformers is asked in either
case, so :mod:`transformers_palbert.registration` puts these two functions around the methods that all models share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..errors import StorageError
from ..model.pruning_state import PruningState, is_training_key
from ..model.structure import known_structure
from .files import read_headers
from .packed_saves import save_whole
from .quantizer import SparseQuantizer, dense_quantizer, note_density
from .sparse_config import is_packed_config
from .tensors import is_packed

__all__ = ["load_described", "save_plain"]

_CURE = (
    "Leave the argument `config` out, or make it from the folder's own: config = AutoConfig.from_pretrained(folder, …)."
    " The config of a model in memory does not describe a file."
)


def save_plain(save: Callable[..., None], model: Any, *args: Any, **kwargs: Any) -> None:
    """``model.save_pretrained`` with a config that is true: of the density now, and silent of other packed weights.

    A packed save describes its own weights afterwards. So does that of a model with layers of sizes of their own, which
    nobody could load otherwise. Models that this package defines, prunes or cuts are saved as a whole or not at all,
    dense ones too; any other model is saved as it always was.

    Raises:
        StorageError: if layers have sizes of their own, and the config gives others, or the model is quantized.
    """
    if _has_sizes(model) and not isinstance(getattr(model, "hf_quantizer", None), SparseQuantizer):
        _describe_sizes(model)
        model.save_pretrained(*args, **kwargs)
        return
    if _is_finished(model):
        weights = kwargs.get("state_dict") or dict(model.named_parameters(remove_duplicate=False))
        if all(map(_is_whole, weights.values())):
            note_density(model, weights)
    save_model = partial(save, model)
    with _without_description(model.config):
        if _is_of_this_package(model) and not _is_part_of_a_save(model) and not kwargs.get("variant"):
            save_whole(save_model, model, *args, **kwargs)
        else:
            save_model(*args, **kwargs)


def _is_of_this_package(model: Any) -> bool:
    defined = type(model).__module__.partition(".")[0] == __name__.partition(".")[0]
    return defined or _pruning_of(model) is not None


def _pruning_of(model: Any) -> Mapping[str, Any] | None:
    values = getattr(model.config, "pruning", None)
    ours = isinstance(values, Mapping) and "targets" in values  # configs of others may have a field of this name
    return values if ours else None


def _is_part_of_a_save(model: Any) -> bool:
    """Whether a save of packed weights is under way, which is made whole by itself."""
    return "save_pretrained" in vars(model)


def _has_sizes(model: Any) -> bool:
    """Whether the config gives layers sizes of their own; those of others may have a field of this name."""
    return known_structure(model) is not None and isinstance(getattr(model.config, "layer_sizes", None), Mapping)


def _describe_sizes(model: Any) -> None:
    """Let ``model`` be saved dense, in a file that says how it is read."""
    if (quantizer := getattr(model, "hf_quantizer", None)) is not None:
        raise StorageError(
            f"The layers of {type(model).__name__} have sizes of their own, and it is quantized with"
            f" {quantizer.quantization_config.quant_method}: no file can say both. Save it before it is quantized."
        )
    dense_quantizer().attach(model)


def _is_finished(model: Any) -> bool:
    """Whether ``model`` was pruned to the end, and is saved dense. On the way there the callback keeps count."""
    if (values := _pruning_of(model)) is None:
        return False
    quantizer = getattr(model, "hf_quantizer", None)
    dense = quantizer is None or (isinstance(quantizer, SparseQuantizer) and not quantizer.packs)
    prepared = any(is_training_key(name) for name, _ in model.named_buffers())
    return dense and not prepared and PruningState.from_dict(values).is_finished


def _is_whole(weight: Any) -> bool:
    """Whether this process has all of it, which no state dict is asked for: making one may need the other processes."""
    return weight.device.type != "meta" and weight.shape != (0,) and not hasattr(weight, "to_local")


@contextmanager
def _without_description(config: Any) -> Iterator[None]:
    """Take the description out of ``config`` inside the block; it may be in use for loading the packed folder."""
    if not is_packed_config(vars(config)):
        yield
        return
    description = config.quantization_config
    del config.quantization_config
    try:
        yield
    finally:
        config.quantization_config = description


def load_described(
    load: Callable[..., Any], model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, **options: Any
) -> Any:
    """Let ``load`` fill ``model``, and refuse packed weights where the config in use does not say that they are packed.

    Raises:
        StorageError: if a parameter got none of its weights, as the file holds them packed. transformers would call
            that a mismatch of sizes, and with ``ignore_mismatched_sizes=True`` make up the weights.
    """
    result = load(model, state_dict, checkpoint_files, load_config, **options)
    info, _ = result
    if info.mismatched_keys and not isinstance(load_config.hf_quantizer, SparseQuantizer):
        names = {name for name, *_ in info.mismatched_keys}
        _require_plain(names, state_dict, checkpoint_files or ())
        _require_no_sizes(names, model.config)
    return result


def _require_no_sizes(names: Collection[str], config: Any) -> None:
    sizes = getattr(config, "layer_sizes", None)
    paths = sizes if isinstance(sizes, Mapping) else ()  # configs of others may have a field of this name
    if cut := [name for name in names if any(f".{path}." in f".{name}" for path in paths)]:
        raise StorageError(
            f"{min(cut)} and others have the sizes that the config's layer_sizes gives, and the config that"
            f" from_pretrained was given does not say how the file is read. {_CURE}"
        )


def _require_plain(names: Collection[str], state: Mapping[str, Any] | None, files: Iterable[str]) -> None:
    if state is not None:
        packed = [name for name in names if name in state and is_packed(state[name])]
        where = "the state dict"
    else:
        stored = read_headers(file for file in files if str(file).endswith(".safetensors"))
        packed = [tensor.name for tensor in stored.values() if tensor.packed is not None]
        where = next((str(tensor.file) for tensor in stored.values() if tensor.packed is not None), "")
    if packed:
        raise StorageError(
            f"{len(packed)} tensors in {where} are packed, the first of them {min(packed)}, and the config that"
            f" from_pretrained was given does not say so. {_CURE}"
        )
