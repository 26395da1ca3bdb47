"""Saves that happen as a whole or not at all, also where the process is killed or the power fails.

A model is several files, and no system replaces several files at once. So a new model is written aside, and takes the
place of the old one in steps after each of which the folder holds one whole model:

1. The old weights get second names, ``.previous-…``, and the old config is replaced by one that names them.
2. The new weights take the usual names. Nobody reads these now.
3. The new config replaces the old one. This one rename is the moment at which the new model is there.
4. The second names go.

transformers reads the name of the weights in ``config.json`` too, so each of these states loads with and without this
package.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..machine import is_another_process
from .files import CONFIG_FILE, INDEX_FILE, POINTER, WEIGHTS_FILE, named_weights, read_json, weight_files

__all__ = ["new_folder", "replaced_model", "require_free", "write_json"]

STAGING = ".palbert-saving-"
PREVIOUS = ".previous-"
READ_FIRST = (CONFIG_FILE, "runtime.json")
"""What a checkpoint and an exported model cannot be loaded without."""

_WEIGHTS = re.compile(rf"{re.escape(WEIGHTS_FILE)}|{re.escape(INDEX_FILE)}|model-\d{{5}}-of-\d{{5}}\.safetensors")


@contextmanager
def replaced_model(folder: Path) -> Iterator[Path]:
    """A folder to write a model to, whose files take the place of the model in ``folder`` in the end.

    Other files in ``folder`` stay. If something goes wrong, ``folder`` is as it was; if the process is killed, it has
    the old model or the new one. What a killed process left there is removed.

    Raises:
        StorageError: if ``folder`` is a file.
    """
    if folder.is_file():
        raise StorageError(f"{folder} is a file; give a folder to save to.")
    folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    staging = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=folder))
    try:
        yield staging
        if any(staging.iterdir()):
            _put_in_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, folder: Path) -> None:
    config = staging / CONFIG_FILE
    _share_permissions(staging)
    _sync_tree(staging)
    whole = config.is_file()  # else it is a part of a model, such as an adapter
    if whole:
        _keep_previous(staging, folder)
    new = {file.name for file in staging.iterdir()}
    for name in sorted(new - {CONFIG_FILE}):
        os.replace(staging / name, folder / name)
    if whole:
        for file in _weights_in(folder) - new:
            (folder / file).unlink()
        _sync_folder(folder)
        os.replace(config, folder / CONFIG_FILE)
    _sync_folder(folder)
    _remove_leftovers(folder, keep=staging)


def _keep_previous(staging: Path, folder: Path) -> None:
    """Let the model that is in ``folder`` be read under other names; nothing where there is no whole one."""
    try:
        settings = read_json(folder / CONFIG_FILE)
        files = weight_files(folder)
    except StorageError:
        return  # it cannot be loaded anyway
    if named_weights(settings):
        return  # a process was killed here before: it has other names already
    for file in files:
        _link(file, folder / f"{PREVIOUS}{file.name}")
    pointer = f"{PREVIOUS}{WEIGHTS_FILE}"
    if files[0].name != WEIGHTS_FILE:
        pointer = f"{PREVIOUS}{INDEX_FILE}"
        index = read_json(folder / INDEX_FILE)
        index["weight_map"] = {name: f"{PREVIOUS}{file}" for name, file in index["weight_map"].items()}
        write_json(folder / pointer, index)
    config = staging / f"{PREVIOUS}{CONFIG_FILE}"
    write_json(config, {**settings, POINTER: pointer})
    _sync_file(config)
    _sync_folder(folder)
    os.replace(config, folder / CONFIG_FILE)
    _sync_folder(folder)


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file.resolve(), name)
    except OSError:  # a system without hard links
        shutil.copyfile(file, name)
        _sync_file(name)


def _remove_leftovers(folder: Path, keep: Path | None = None) -> None:
    """Remove what a killed process left, but not the weights that the config names."""
    for left in folder.glob(f"{STAGING}*"):
        if left != keep and not _is_of_another_process(left):
            shutil.rmtree(left, ignore_errors=True)
    previous = list(folder.glob(f"{PREVIOUS}*"))
    if previous and not _names_previous(folder):
        for left in previous:
            left.unlink(missing_ok=True)


def _is_of_another_process(staging: Path) -> bool:
    """Whether another process that still runs made it; it may be one of several that save at once by mistake."""
    return is_another_process(staging.name.removeprefix(STAGING).partition("-")[0])


def _names_previous(folder: Path) -> bool:
    try:
        return named_weights(read_json(folder / CONFIG_FILE)) is not None
    except StorageError:
        return False


def _weights_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if _WEIGHTS.fullmatch(file.name)}


def require_free(target: Path) -> None:
    """Refuse to write a new folder where something is, before the work; what a killed process left does not count.

    Raises:
        StorageError: if ``target`` is a file, or a folder that holds something.
    """
    if target.is_dir() and not any(path for path in target.iterdir() if not path.name.startswith(STAGING)):
        return
    if target.exists():
        raise StorageError(f"{target} exists and is not empty; give a new folder to write to.")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``target`` in the end, or vanishes if something goes wrong.

    Where ``target`` is there already, and empty, it takes the files over one by one, those last that a reader looks for
    first: it may be a mounted volume, a link or the folder that one is in, which no other one can replace.
    """
    target = target.resolve()
    stays = target.is_dir()
    place = target if stays else target.parent
    place.mkdir(parents=True, exist_ok=True)
    if stays:
        _remove_leftovers(target)
    folder = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-" if stays else f".{target.name}.", dir=place))
    try:
        yield folder
        _share_permissions(folder)
        _sync_tree(folder)
        if stays:
            for path in sorted(folder.iterdir(), key=lambda path: path.name in READ_FIRST):
                path.rename(target / path.name)
        else:
            folder.rename(target)
        _sync_folder(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _share_permissions(folder: Path) -> None:
    """Give a folder of ``mkdtemp``, which are private, the permissions of an ordinary one."""
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file as transformers writes its own."""
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync_folder(path) if path.is_dir() else _sync_file(path)
    _sync_folder(folder)


def _sync_file(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and orders renames by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
