"""Packing and unpacking a checkpoint folder, file by file, whatever model it holds: none is built, no code is run."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import StorageError
from ..machine import memory_limit
from ..model.pruning_state import PruningState
from .config import LOSSLESS, VALUES, StorageConfig
from .dense_file import FLOAT_BYTES, dense_bytes, write_tensors
from .embeddings import tables_in_file
from .files import CONFIG_FILE, INDEX_FILE, POINTER, WEIGHTS_FILE, StoredTensor, read_headers, read_json, read_tensor
from .integrity import read_checked_headers
from .model_files import BESIDE_WEIGHTS, CARD, chosen_files
from .packed_saves import describe_packed
from .sparse_config import QUANT_METHOD, is_packed_config, sparse_config_in
from .state import restore, round_tensor, store_tensor
from .whole_saves import PREVIOUS, new_folder, require_free, write_json

__all__ = ["compress_folder", "decompress_folder"]

_FLOATS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_KINDS = {code: name for name, code in _FLOATS.items() if name in VALUES}
_TYPES = {code: getattr(torch, name) for name, code in _FLOATS.items()}


def compress_folder(source: str | Path, target: str | Path, config: StorageConfig = LOSSLESS) -> None:
    """Write the checkpoint in ``source``, packed, into the new folder ``target``, with tokenizer and card.

    Shards stay shards. A packed checkpoint is packed anew; what it lost before does not come back, and with "auto" its
    values keep the type that they are stored in, which may be narrower than the model's. The model card is left out
    where ``config`` is lossy: its results are those of other weights. Beside weights and config go the files that
    :mod:`~transformers_palbert.storage.model_files` lists, and none behind a link that leads elsewhere.

    Raises:
        StorageError: if ``source`` is damaged, has no ``config.json``, is quantized in another way or is a checkpoint
            from the middle of pruning; if a value cannot be stored; if ``target`` holds something already; if memory
            or disk are too small. Then ``target`` is left as it was.
    """
    source, target = Path(source), Path(target)
    settings = _read_config(source)
    _require_finished(source, settings)
    stored = read_checked_headers(source)
    _require_other(source, target)
    dtype = _main_dtype(settings, stored)
    planned = _dense_plan(stored, dtype)
    _require_room(planned, target, written=False)
    tables = tables_in_file([name for name, plan in planned.items() if len(plan[1]) == 2], settings.get("model_type"))
    with new_folder(target) as folder:
        for name, members in _by_file(stored).items():
            tensors = {}
            for tensor in members:
                is_table = tensor.name in tables
                dense = round_tensor(tensor.name, _dense(tensor, dtype), config, is_table)
                tensors[tensor.name] = store_tensor(dense, _kept_kind(tensor, config, is_table), is_table)
            _save(tensors, folder / name)
        _write_config(folder, settings, dtype)
        _write_index(source, folder)
        describe_packed(folder, _kept_config(settings, config))
        lossy = (config.values, config.embeddings) != ("auto", "auto")
        _copy_the_rest(source, folder, settings, CARD if lossy else ())


def decompress_folder(source: str | Path, target: str | Path) -> None:
    """Write the packed checkpoint in ``source``, plain and dense, into the new folder ``target``.

    The weights are those that loading ``source`` gives, in the dtype that its config names. Whatever loads the
    architecture loads the result, with or without this package. One tensor at a time is in memory.

    Raises:
        StorageError: as :func:`compress_folder`, or if nothing in ``source`` is packed.
    """
    source, target = Path(source), Path(target)
    settings = _read_config(source)
    if not is_packed_config(settings):
        raise StorageError(f"{source} is no packed checkpoint: its config.json does not say {QUANT_METHOD!r}.")
    stored = read_checked_headers(source)
    _require_other(source, target)
    dtype = _main_dtype(settings, stored)
    planned = _dense_plan(stored, dtype)
    _require_room(planned, target, written=True)
    with new_folder(target) as folder:
        for file, members in _by_file(stored).items():
            members.sort(key=lambda tensor: (-FLOAT_BYTES.get(planned[tensor.name][0], 0), tensor.name))
            tensors = ((tensor.name, _dense(tensor, dtype)) for tensor in members)
            write_tensors(folder / file, {tensor.name: planned[tensor.name] for tensor in members}, tensors)
        _write_config(folder, settings, dtype)
        _write_index(source, folder)
        if "layer_sizes" in settings:  # whoever reads smaller layers needs this package, packed or not
            describe_packed(folder, LOSSLESS)
        _copy_the_rest(source, folder, settings, ())


def _by_file(stored: Mapping[str, StoredTensor]) -> dict[str, list[StoredTensor]]:
    """The tensors by the usual name of their file, in the order of their names."""
    files: dict[str, list[StoredTensor]] = {}
    for _, tensor in sorted(stored.items()):
        files.setdefault(tensor.file.name.removeprefix(PREVIOUS), []).append(tensor)
    return files


def _dense(stored: StoredTensor, dtype: str) -> Tensor:
    """A tensor as a model of ``dtype`` would hold it; what is wider stays wider."""
    tensor = restore(stored.name, read_tensor(stored))
    return tensor.to(_TYPES[_dense_dtype(stored, dtype)]) if tensor.is_floating_point() else tensor


def _kept_config(settings: Mapping[str, Any], config: StorageConfig) -> StorageConfig:
    """``config``, and where it says "auto" what a packed source says: as that it is saved again after it was loaded."""
    before = sparse_config_in(settings).storage
    values, embeddings = (
        kept if asked == "auto" else asked
        for asked, kept in ((config.values, before.values), (config.embeddings, before.embeddings))
    )
    return StorageConfig(values, embeddings, config.entropy)


def _kept_kind(stored: StoredTensor, config: StorageConfig, is_table: bool) -> StorageConfig:
    """``config``, and where it says "auto" the kind of values that the tensor has in its file: they fit into it."""
    if config.values_for(is_table) != "auto":
        return config
    kind = stored.packed.values if stored.packed is not None else _KINDS.get(stored.dtype, "auto")
    return StorageConfig(kind, entropy=config.entropy)


def _dense_dtype(stored: StoredTensor, dtype: str) -> str:
    own = _FLOATS[stored.packed.dtype] if stored.packed is not None else stored.dtype
    return dtype if FLOAT_BYTES.get(own, 8) < FLOAT_BYTES[dtype] else own


def _dense_plan(stored: Mapping[str, StoredTensor], dtype: str) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """Dtype, shape and bytes that every tensor has once it is dense, from the headers alone."""
    planned = {}
    for name, tensor in stored.items():
        code = _dense_dtype(tensor, dtype)
        shape = tensor.shape if tensor.packed is None else tensor.packed.shape
        planned[name] = code, shape, dense_bytes(code, shape) if code in FLOAT_BYTES else tensor.bytes
    return planned


def _require_room(planned: Mapping[str, tuple[str, tuple[int, ...], int]], target: Path, *, written: bool) -> None:
    """Check that the largest tensor fits into memory and, where they are written dense, that all fit on the disk.

    Where a model is loaded, its own shapes are what is compared; here there is nothing else to hold a claim against.
    """
    sizes = [size for _, _, size in planned.values()]
    memory = memory_limit()
    if memory is not None and max(sizes, default=0) > memory:
        raise StorageError(
            f"A packed tensor claims to unpack to {max(sizes) / 1e9:.1f} GB, and this process may use"
            f" {memory / 1e9:.1f} GB of memory: the checkpoint is hostile, or needs a larger machine."
        )
    parent = next(folder for folder in (target.absolute(), *target.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(parent).free
    if written and sum(sizes) > free:
        raise StorageError(
            f"The packed tensors claim to unpack to {sum(sizes) / 1e9:.1f} GB, and {parent} has {free / 1e9:.1f} GB"
            " free: the checkpoint is hostile, or needs a larger disk."
        )


def _main_dtype(settings: Mapping[str, Any], stored: Mapping[str, StoredTensor]) -> str:
    """The dtype that the config names, or else that of the first floating tensor, as transformers reads it."""
    named = _FLOATS.get(str(settings.get("dtype") or settings.get("torch_dtype")))  # the name before transformers 5
    if named is not None:
        return named
    for tensor in stored.values():
        own = _dense_dtype(tensor, "BF16")
        if own in FLOAT_BYTES:
            return own
    raise StorageError("The checkpoint holds no floating-point weights.")


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})


def _read_config(folder: Path) -> dict[str, Any]:
    settings = read_json(folder / CONFIG_FILE)
    if settings.get("quantization_config") and not is_packed_config(settings):
        raise StorageError(f"{folder} is quantized in another way, so its weights cannot be packed or unpacked.")
    sparse_config_in(settings)  # raises if its version is unknown
    return settings


def _write_config(folder: Path, settings: Mapping[str, Any], dtype: str) -> None:
    left_out = ("quantization_config", "torch_dtype", POINTER)
    kept = {name: value for name, value in settings.items() if name not in left_out}
    name = next(name for name, code in _FLOATS.items() if code == dtype)
    write_json(folder / CONFIG_FILE, {**kept, "dtype": name})


def _write_index(source: Path, folder: Path) -> None:
    """The index of the shards in ``folder``, with what the one in ``source`` says besides."""
    files = sorted(folder.glob("*.safetensors"))
    if [file.name for file in files] == [WEIGHTS_FILE]:
        return
    found = next((file for file in (source / INDEX_FILE, source / f"{PREVIOUS}{INDEX_FILE}") if file.is_file()), None)
    index = read_json(found) if found else {}
    stored = read_headers(files)
    metadata = {**index.get("metadata", {}), "total_size": sum(tensor.bytes for tensor in stored.values())}
    weight_map = {name: tensor.file.name for name, tensor in stored.items()}
    write_json(folder / INDEX_FILE, {**index, "metadata": metadata, "weight_map": weight_map})


def _require_finished(source: Path, settings: dict[str, Any]) -> None:
    state = PruningState.of(settings)
    if state is not None and not state.is_finished:
        raise StorageError(
            f"{source} is a checkpoint from the middle of pruning, with the scores and the weights that masks hide."
            " Finish the training and pack the model that it saves."
        )


def _copy_the_rest(source: Path, folder: Path, settings: dict[str, Any], left_out: Collection[str]) -> None:
    for path in chosen_files(source, BESIDE_WEIGHTS, settings):
        if path != CONFIG_FILE and path not in left_out:
            shutil.copyfile(source / path, folder / path)


def _require_other(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise StorageError(f"{target} is the checkpoint itself; give another folder to write to.")
    require_free(target)
