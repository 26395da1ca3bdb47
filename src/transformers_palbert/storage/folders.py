"""Packing and unpacking a checkpoint folder, file by file, whatever model it holds: none is built, no code is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import StorageError
from ..model.pruning_state import PruningState
from .config import LOSSLESS, StorageConfig
from .files import INDEX_FILE, WEIGHTS_FILE, open_weights, read_headers, require_room, weight_files
from .quantizer import QUANT_METHOD, SparseConfig, is_packed_config
from .state import restore, round_tensor, store_tensor
from .tensors import is_packed

__all__ = ["compress_folder", "decompress_folder"]

CONFIG_FILE = "config.json"
COPIED = frozenset(
    {".jinja", ".json", ".md", ".model", ".png", ".py", ".spm", ".svg", ".tiktoken", ".txt", ".vocab", ".yaml"}
)
"""Kinds of files that are copied: tokenizer, card, code; never pickles such as training_args.bin and optimizer.pt."""

_NOT_COPIED = re.compile(
    rf"{re.escape(CONFIG_FILE)}|{re.escape(INDEX_FILE)}|trainer_state\.json|.*_(results|predictions|null_odds)\.json"
)
"""Files that are written anew, and those of a training run, which can be larger than the packed weights."""

CARD_FILES = ("README.md", "density.png")


def compress_folder(source: str | Path, target: str | Path, config: StorageConfig = LOSSLESS) -> None:
    """Write the checkpoint in ``source``, packed, into the new folder ``target``, with tokenizer and card.

    Shards stay shards. A packed checkpoint is packed anew; what it lost before does not come back. The model card is
    left out where ``config`` is lossy: its results are those of other weights.

    Raises:
        StorageError: if ``source`` is damaged, has no ``config.json``, is quantized in another way or is a checkpoint
            from the middle of pruning; if a value cannot be stored; if ``target`` holds something already. Then
            ``target`` is left as it was.
    """

    def pack(name: str, tensor: Tensor) -> Tensor:
        return store_tensor(name, round_tensor(name, tensor, config), config)

    _convert(Path(source), Path(target), pack, config)


def decompress_folder(source: str | Path, target: str | Path) -> None:
    """Write the packed checkpoint in ``source``, plain and dense, into the new folder ``target``.

    The weights are those that loading ``source`` gives, in the dtype that its config names. Whatever loads the
    architecture loads the result, with or without this package.

    Raises:
        StorageError: as :func:`compress_folder`, or if nothing in ``source`` is packed.
    """
    if not is_packed_config(_read_config(Path(source))):
        raise StorageError(f"{source} is no packed checkpoint: its config.json does not say {QUANT_METHOD!r}.")
    _convert(Path(source), Path(target), lambda _, tensor: tensor, None)


def _convert(
    source: Path, target: Path, change: Callable[[str, Tensor], Tensor], packing: StorageConfig | None
) -> None:
    settings = _read_config(source)
    if packing is not None:
        _require_finished(source, settings)
    files = weight_files(source)
    require_room(read_headers(files).values())
    _require_free(source, target)
    dtype = _main_dtype(settings, files)
    with _new_folder(target) as folder:
        packed, total = [], 0
        for file in files:
            tensors = {name: change(name, tensor) for name, tensor in _dense_tensors(file, dtype)}
            _save(tensors, folder / file.name)
            packed += [name for name, tensor in tensors.items() if is_packed(tensor)]
            total += sum(tensor.nbytes for tensor in tensors.values())
        settings["dtype"] = str(dtype).removeprefix("torch.")
        settings.pop("torch_dtype", None)  # its name before transformers 5
        settings.pop("quantization_config", None)
        if packed or "layer_sizes" in settings:  # whoever reads smaller layers needs this package, packed or not
            settings["quantization_config"] = SparseConfig.of(packing or LOSSLESS, packed).to_dict()
        _write_json(folder / CONFIG_FILE, settings)
        lossy = packing is not None and (packing.values, packing.embeddings) != ("auto", "auto")
        _copy_the_rest(source, folder, CARD_FILES if lossy else ())
        if files[0].name != WEIGHTS_FILE:
            index = json.loads((source / INDEX_FILE).read_text(encoding="utf-8"))
            metadata = {**index.get("metadata", {}), "total_size": total}
            _write_json(folder / INDEX_FILE, {**index, "metadata": metadata})


def _dense_tensors(file: Path, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one file as a model of ``dtype`` would hold them; what is wider stays wider."""
    with open_weights(file) as reader:
        for name in reader.keys():  # noqa: SIM118 (not a dict: it has no iterator)
            tensor = restore(name, reader.get_tensor(name))
            if tensor.is_floating_point() and tensor.element_size() < dtype.itemsize:
                tensor = tensor.to(dtype)
            yield name, tensor


def _main_dtype(settings: dict[str, Any], files: list[Path]) -> torch.dtype:
    """The dtype that the config names, or else that of the first floating tensor, as transformers reads it."""
    named = getattr(torch, str(settings.get("dtype") or settings.get("torch_dtype")), None)
    if isinstance(named, torch.dtype):
        return named
    for file in files:
        with open_weights(file) as reader:
            for name in reader.keys():  # noqa: SIM118
                if (tensor := reader.get_tensor(name)).is_floating_point():
                    return tensor.dtype
    raise StorageError(f"{files[0].parent} holds no floating-point weights.")


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, {"format": "pt"})


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(
            f"{folder / CONFIG_FILE} does not exist; give a folder that save_pretrained wrote."
        ) from error
    except ValueError as error:
        raise StorageError(f"{folder / CONFIG_FILE} is damaged: {error}.") from error
    if not isinstance(settings, dict):
        raise StorageError(f"{folder / CONFIG_FILE} is damaged: it is no JSON object.")
    if settings.get("quantization_config") and not is_packed_config(settings):
        raise StorageError(f"{folder} is quantized in another way, so its weights cannot be packed or unpacked.")
    if is_packed_config(settings):
        SparseConfig.from_dict(settings["quantization_config"])  # raises if its version is unknown
    return settings


def _require_finished(source: Path, settings: dict[str, Any]) -> None:
    state = PruningState.of(settings)
    if state is not None and not state.is_finished:
        raise StorageError(
            f"{source} is a checkpoint from the middle of pruning, with the scores and the weights that masks hide."
            " Finish the training and pack the model that it saves."
        )


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _copy_the_rest(source: Path, folder: Path, left_out: Collection[str]) -> None:
    for file in sorted(source.iterdir()):
        wanted = file.suffix in COPIED and not _NOT_COPIED.fullmatch(file.name) and file.name not in left_out
        if file.is_file() and wanted:
            shutil.copyfile(file, folder / file.name)


def _require_free(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise StorageError(f"{target} is the checkpoint itself; give another folder to write to.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} exists and is not empty; give a new folder to write to.")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its place in the end, or vanishes if something goes wrong."""
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    try:
        yield folder
        umask = os.umask(0)
        os.umask(umask)
        folder.chmod(0o777 & ~umask)  # mkdtemp's are private
        if target.exists():
            target.rmdir()  # empty, as was checked
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
