"""``save_pretrained`` as a whole or not at all; of packed weights also the description of what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .config import StorageConfig
from .files import CONFIG_FILE, POINTER, read_headers, read_json, weight_files
from .integrity import digests_of
from .sparse_config import NEEDS_PACKAGE, SparseConfig
from .whole_saves import replaced_model, write_json

__all__ = ["describe_packed", "described_settings", "save_packed", "save_whole"]

HUB_OPTIONS = ("repo_id", "commit_message", "commit_description", "private", "token", "revision", "create_pr", "tags")
"""Arguments of ``save_pretrained`` that ``push_to_hub`` takes."""


def save_packed(
    model: Any,
    save_directory: str | Path,
    is_main_process: bool = True,
    state_dict: dict[str, Any] | None = None,
    push_to_hub: bool = False,
    **options: Any,
) -> None:
    """``save_pretrained`` of a model that is saved packed: as a whole or not at all, with a config that describes it.

    Raises:
        ConfigurationError: for a ``variant``: config.json describes one set of weights.
        StorageError: if the model is sharded by FSDP, DeepSpeed or tensor parallelism.
    """
    if options.get("variant"):
        raise ConfigurationError(
            f"variant={options['variant']!r} is not possible for packed weights: config.json describes one set of"
            " weights. Save this one to a folder of its own."
        )

    def save(folder: str | Path, *args: Any, **kwargs: Any) -> None:
        type(model).save_pretrained(model, folder, *args, **kwargs)
        if is_main_process:
            describe_packed(Path(folder), model.hf_quantizer.quantization_config.storage)

    save_whole(save, model, save_directory, is_main_process, state_dict, push_to_hub, **options)


def save_whole(
    save: Callable[..., None],
    model: Any,
    save_directory: str | Path,
    is_main_process: bool = True,
    state_dict: dict[str, Any] | None = None,
    push_to_hub: bool = False,
    *args: Any,
    **options: Any,
) -> None:
    """``save(folder, …)`` of ``model`` as a whole or not at all; the arguments are those of ``save_pretrained``.

    Raises:
        StorageError: if ``save_directory`` is a file.
    """
    if not is_main_process:  # it writes nothing, and takes part in what the processes gather
        save(save_directory, is_main_process, state_dict, False, *args, **options)
        return
    folder = Path(save_directory)
    hub = {name: options.pop(name) for name in HUB_OPTIONS if name in options} if push_to_hub else {}
    with replaced_model(folder) as staging:
        save(staging, is_main_process, state_dict, False, *args, **options)
    if push_to_hub:
        model.push_to_hub(hub.pop("repo_id", folder.name), **hub)


def describe_packed(folder: Path, storage: StorageConfig) -> None:
    """Write into the config of a saved model what is packed, and the digest of every tensor in its files.

    Where nothing is packed, it stays an ordinary checkpoint: whoever has not this package can read it too. Not so where
    layers have sizes of their own, which this package alone can read.
    """
    if not (folder / CONFIG_FILE).is_file():
        return  # an adapter alone
    stored = read_headers(weight_files(folder))
    packed = [tensor.name for tensor in stored.values() if tensor.packed is not None]
    settings = read_json(folder / CONFIG_FILE)
    needed = bool(packed) or "layer_sizes" in settings
    described = SparseConfig.of(storage, packed, digests_of(stored.values()) if needed else None)
    write_json(folder / CONFIG_FILE, described_settings(settings, described))


def described_settings(settings: Mapping[str, Any], described: SparseConfig) -> dict[str, Any]:
    """The fields of ``config.json`` for a checkpoint as ``described``, in the place of any older description."""
    plain = {name: value for name, value in settings.items() if name not in ("quantization_config", POINTER)}
    if not described.digests:
        return plain
    return {**plain, "quantization_config": described.to_dict(), POINTER: NEEDS_PACKAGE}
