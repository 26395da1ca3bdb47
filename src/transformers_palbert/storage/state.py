"""From the tensors of a model to the tensors of a packed file, and back: one rule for each direction.

Saving changes no value: a tensor is stored in the chosen encoding if that gives it back bit for bit, else losslessly,
and packed only where that is smaller. Values become coarser in one place, :func:`round_tensor`, which is called on
request and in memory, so that what is evaluated is what is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import StorageError
from .config import VECTOR_DTYPES, StorageConfig
from .tensors import is_packed, pack_tensor, unpack_tensor

__all__ = ["NOT_WHOLE", "load_packed_state", "restore", "round_tensor", "store_state", "store_tensor"]

NOT_WHOLE = (
    "Pieces cannot be packed: call disable_sparse_saving(model) before such a training, and pack what it saved with"
    " `palbert compress`."
)
_INTEGER_VIEWS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def store_state(
    state: Mapping[str, Tensor], config: StorageConfig, tables: Collection[str] = (), empty: Collection[str] = ()
) -> dict[str, Tensor]:
    """What a file holds for ``state``; tensors that share their memory share their packed form too.

    ``tables`` are the names of the embedding tables, ``empty`` those of vectors that rightly have no entries.

    Raises:
        StorageError: if a tensor is not whole on this process, as under FSDP or DeepSpeed.
    """
    packed: dict[tuple[Any, ...], Tensor] = {}
    stored = {}
    for name, tensor in state.items():
        if name not in empty:
            _require_whole(name, tensor)
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in packed:
            packed[key] = store_tensor(tensor, config, name in tables)
        stored[name] = packed[key]
    return stored


def store_tensor(tensor: Tensor, config: StorageConfig, is_table: bool = False) -> Tensor:
    """What a file holds for ``tensor``: a packed matrix (uint8 vector), a vector in 16 bits, or ``tensor`` itself."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return tensor
    if tensor.dim() != 2:
        return _narrowed(tensor, config)
    packed = _packed_exactly(tensor, config.values_for(is_table), config.entropy)
    return packed if packed is not None and packed.numel() < tensor.nbytes else tensor


def round_tensor(name: str, tensor: Tensor, config: StorageConfig, is_table: bool = False) -> Tensor:
    """``tensor``, of its own shape and dtype, with the values that a file written with ``config`` gives back.

    Nothing changes in a lossless encoding but the sign of zeros: masking leaves -0.0, and files hold 0.0.

    Raises:
        StorageError: if a finite value would become infinite, or cannot be stored at all.
    """
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return tensor
    if tensor.dim() == 2:
        values = config.values_for(is_table)
        if values == "auto":
            return tensor + 0.0
        return _named(name, lambda: unpack_tensor(pack_tensor(tensor, values), tensor.shape, tensor.dtype))
    rounded = tensor.to(_vector_dtype(tensor, config)).to(tensor.dtype)
    if bool((tensor.isfinite() & ~rounded.isfinite()).any()):
        raise StorageError(f"{name} has a value that is too large for float16; store values as bfloat16.")
    return rounded


def restore(name: str, stored: Tensor, shape: torch.Size | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """The dense tensor that ``stored`` holds, packed or not; of ``shape`` and ``dtype`` where they are given.

    Raises:
        StorageError: if it is damaged or has another shape; the message names it.
    """
    if is_packed(stored):
        return _named(name, lambda: unpack_tensor(stored, shape, dtype).to(stored.device))
    return stored if dtype is None else stored.to(dtype)


def load_packed_state(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Pre-hook of ``load_state_dict``: unpack what is packed in ``state``, before shapes are compared.

    ``Trainer`` restores checkpoints by ``load_state_dict``, without ``from_pretrained``.

    Raises:
        StorageError: if a packed tensor is damaged or has not the shape of its parameter.
    """
    packed = [name for name, value in state.items() if name.startswith(prefix) and is_packed(value)]
    if not packed:
        return
    own = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
    for name in packed:
        target = own.get(name.removeprefix(prefix))
        if target is not None:  # else it is reported as unexpected
            state[name] = restore(name, state[name], target.shape)


def _packed_exactly(tensor: Tensor, values: str, entropy: bool) -> Tensor | None:
    """``tensor`` packed with ``values`` if that loses nothing, else losslessly, else None."""
    for choice in dict.fromkeys((values, "auto")):
        try:
            packed = pack_tensor(tensor, choice, entropy)
            if _same_bits(unpack_tensor(packed, tensor.shape, tensor.dtype), tensor):
                return packed
        except StorageError:
            continue  # such as NaN in int8
    return None


def _vector_dtype(tensor: Tensor, config: StorageConfig) -> torch.dtype:
    dtype = getattr(torch, VECTOR_DTYPES.get(config.values, ""), tensor.dtype)
    return dtype if dtype.itemsize < tensor.element_size() else tensor.dtype


def _narrowed(tensor: Tensor, config: StorageConfig) -> Tensor:
    narrow = tensor.to(_vector_dtype(tensor, config))
    return narrow if _same_bits(narrow.to(tensor.dtype), tensor) else tensor


def _same_bits(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors of one dtype are the same but for the signs of zeros; NaN equals NaN."""
    view = _INTEGER_VIEWS[left.element_size()]
    left, right = ((tensor.detach().cpu().contiguous() + 0.0).view(view) for tensor in (left, right))
    return torch.equal(left, right)


def _require_whole(name: str, tensor: Tensor) -> None:
    empty = tensor.shape == (0,)  # what DeepSpeed leaves of a parameter whose pieces are elsewhere
    if empty or tensor.device.type == "meta" or hasattr(tensor, "to_local"):
        raise StorageError(
            f"{name} is not whole in this process: FSDP, DeepSpeed or tensor parallelism shard it. {NOT_WHOLE}"
        )


def _named(name: str, action: Callable[[], Tensor]) -> Tensor:
    try:
        return action()
    except StorageError as error:
        raise StorageError(f"{name}: {error}") from error
