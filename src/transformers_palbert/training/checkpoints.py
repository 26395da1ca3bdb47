"""Going on where a run stopped: from its last checkpoint, or from the one before if the last was cut off."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import TrainingArguments

from ..storage.files import INDEX_FILE, WEIGHTS_FILE

__all__ = ["find_damage", "last_whole_checkpoint", "resume_point"]

logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def resume_point(args: TrainingArguments) -> str | None:
    """The checkpoint to go on from: the one that was asked for, or else the last whole one in the output folder."""
    if args.resume_from_checkpoint is not None:
        return args.resume_from_checkpoint
    sharded = bool(args.fsdp or args.deepspeed)  # these keep the weights in files of their own form
    found = last_whole_checkpoint(Path(str(args.output_dir)), look_at_weights=not sharded)
    if found is None:
        return None
    logger.info("Going on from %s; choose another --output_dir to start anew.", found)
    return str(found)


def last_whole_checkpoint(folder: Path, *, look_at_weights: bool = True) -> Path | None:
    """The newest checkpoint in ``folder`` that was written to its end; damaged ones are passed over with a warning.

    A run that is killed, or whose disk is full, while it saves leaves a folder that cannot be resumed.
    """
    for checkpoint in _newest_first(folder):
        damage = find_damage(checkpoint, look_at_weights=look_at_weights)
        if damage is None:
            return checkpoint
        logger.warning("%s is passed over: %s. It was cut off while it was written.", checkpoint, damage)
    return None


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    steps = {path: CHECKPOINT.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()}
    return sorted((path for path, step in steps.items() if step), key=lambda path: -int(path.name.split("-")[1]))


def find_damage(checkpoint: Path, *, look_at_weights: bool = True) -> str | None:
    """What is wrong with a checkpoint, in a few words; None if ``Trainer`` can go on from it.

    Its state is the last file that ``Trainer`` writes: where that is whole, optimizer and schedule are there as well.
    """
    damage = _damage_of_state(checkpoint / STATE_FILE)
    if damage is None and look_at_weights:
        damage = _damage_of_weights(checkpoint)
    return damage


def _damage_of_state(file: Path) -> str | None:
    content, damage = _read_json(file)
    if damage is None and "global_step" not in content:
        damage = f"{file.name} does not say at which step it was written"
    return damage


def _damage_of_weights(checkpoint: Path) -> str | None:
    names = {WEIGHTS_FILE}
    if (checkpoint / INDEX_FILE).is_file():
        index, damage = _read_json(checkpoint / INDEX_FILE)
        if damage is not None:
            return damage
        names = set(index.get("weight_map", {}).values())
    return next((damage for name in sorted(names) if (damage := _damage_of_tensors(checkpoint / name))), None)


def _damage_of_tensors(file: Path) -> str | None:
    if not file.is_file():
        return f"{file.name} is missing"
    try:
        with safe_open(file, framework="pt"):  # compares the length of the file with what its header announces
            return None
    except (OSError, SafetensorError) as error:
        return f"{file.name} cannot be read ({error})"


def _read_json(file: Path) -> tuple[dict, str | None]:
    """The content of a file, and what is wrong with it."""
    if not file.is_file():
        return {}, f"{file.name} is missing"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, f"{file.name} cannot be read ({error})"
    return (content, None) if isinstance(content, dict) else ({}, f"{file.name} holds no mapping")
