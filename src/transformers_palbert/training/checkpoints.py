"""Going on where a run stopped: from its last checkpoint, or from the one before if the last was cut off."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import CONFIG_NAME

from ..errors import PruningError
from ..json_text import parse_json
from ..model.pruning_state import PruningState
from ..pruning.convert import is_prepared
from ..storage.files import INDEX_FILE, WEIGHTS_FILE
from ..storage.integrity import read_checked_headers
from ..storage.sparse_config import is_packed_config
from .distillation.projection import PROJECTION_FILE
from .distillation.teaching import lesson_of

__all__ = ["ResumingMixin", "find_damage", "last_whole_checkpoint", "require_masks_kept", "resume_point"]

if TYPE_CHECKING:
    from transformers import Trainer

    _Base = Trainer
else:
    _Base = object

logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"
CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class ResumingMixin(_Base):
    """Lets ``Trainer.train`` go on from checkpoints that are whole, and from the middle of pruning only with masks.

    It comes before the Trainer in the bases: ``class MyTrainer(ResumingMixin, Trainer)``.
    """

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As ``Trainer`` does; ``resume_from_checkpoint=True`` passes over checkpoints that were cut off.

        Packed weights are compared with the digests in the checkpoint's config: ``Trainer`` reads the weights file
        alone.

        Raises:
            PruningError: see :func:`require_masks_kept`.
            StorageError: if a packed checkpoint is damaged.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = _last_whole(self) or True  # Trainer says that there is none
        if isinstance(resume_from_checkpoint, str | Path) and self.model is not None:
            require_masks_kept(Path(resume_from_checkpoint), self.model)
            _require_undamaged(Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint, *args, **kwargs)


def _require_undamaged(checkpoint: Path) -> None:
    settings, _ = _read_json(checkpoint / CONFIG_NAME)
    if is_packed_config(settings):
        read_checked_headers(checkpoint)


def require_masks_kept(checkpoint: Path, model: nn.Module) -> None:
    """Raise if ``checkpoint`` is from the middle of a pruning run and ``model`` is not prepared to go on pruning.

    Its masks and scores would be left out, and the weights would grow back.

    Raises:
        PruningError: naming the cure.
    """
    settings, _ = _read_json(checkpoint / CONFIG_NAME)
    state = PruningState.of(settings)
    if state is not None and not state.is_finished and not is_prepared(model):
        raise PruningError(
            f"{checkpoint} is from the middle of a pruning run, at density {state.density:.3f}, and this run has no"
            " MovementPruningCallback: the masks would be lost. Give the Trainer the callback that wrote it, or begin"
            " a new run from its weights, from_pretrained(checkpoint)."
        )


def resume_point(trainer: Trainer) -> str | None:
    """The checkpoint to go on from: the one that was asked for, or else the last whole one in the output folder.

    A recipe may say ``true``, which is the latter, or ``false``, which begins anew.
    """
    asked: str | bool | None = trainer.args.resume_from_checkpoint
    if asked is False:
        return None
    if isinstance(asked, str):
        return asked
    if (found := _last_whole(trainer)) is not None:
        logger.info("Going on from %s; choose another --output_dir to start anew.", found)
    return found


def _last_whole(trainer: Trainer) -> str | None:
    args = trainer.args
    sharded = bool(args.fsdp or args.deepspeed)  # these keep the weights in files of their own form
    folder, needed = str(args.output_dir), _files_beside(trainer.model)
    found = last_whole_checkpoint(folder, look_at_weights=not sharded, needed=needed)
    if found is None and needed:  # what reads them says best what is missing in all checkpoints
        found = last_whole_checkpoint(folder, look_at_weights=not sharded)
    return None if found is None else str(found)


def _files_beside(model: Any) -> tuple[str, ...]:
    """Names of the safetensors files that a run with ``model`` keeps in checkpoints, beside what every Trainer does."""
    lesson = lesson_of(model)
    return () if lesson is None or lesson.projection is None else (PROJECTION_FILE,)


def last_whole_checkpoint(
    folder: str | Path, *, look_at_weights: bool = True, needed: Collection[str] = ()
) -> Path | None:
    """The newest checkpoint in ``folder`` that was written to its end; damaged ones are passed over with a warning.

    A run that is killed, or whose disk is full, while it saves leaves a folder that cannot be resumed. The function of
    transformers that looks for the last checkpoint takes such a folder all the same.

    Args:
        folder: The output folder of a run.
        look_at_weights: Whether the file of the weights is looked at as well.
        needed: Names of further safetensors files that must be there, such as ``"distillation.safetensors"`` for a
            student that is not as wide as its teacher.

    Example:
        >>> trainer.train(resume_from_checkpoint=last_whole_checkpoint(args.output_dir))
    """
    for checkpoint in _newest_first(Path(folder)):
        damage = find_damage(checkpoint, look_at_weights=look_at_weights, needed=needed)
        if damage is None:
            return checkpoint
        logger.warning("%s is passed over: %s. It was cut off while it was written.", checkpoint, damage)
    return None


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    steps = {path: CHECKPOINT.fullmatch(path.name) for path in folder.iterdir() if path.is_dir()}
    return sorted((path for path, step in steps.items() if step), key=lambda path: -int(path.name.split("-")[1]))


def find_damage(checkpoint: Path, *, look_at_weights: bool = True, needed: Collection[str] = ()) -> str | None:
    """What is wrong with a checkpoint, in a few words; None if ``Trainer`` can go on from it.

    Its state is the last file that ``Trainer`` writes: where that is whole, optimizer and schedule are there as well.
    What callbacks write comes after it. The arguments are those of :func:`last_whole_checkpoint`.
    """
    damage = _damage_of_state(checkpoint / STATE_FILE)
    if damage is None and look_at_weights:
        damage = _damage_of_weights(checkpoint)
    return damage or _first_damage(checkpoint, needed)


def _damage_of_state(file: Path) -> str | None:
    content, damage = _read_json(file)
    if damage is None and "global_step" not in content:
        damage = f"{file.name} does not say at which step it was written"
    return damage


def _damage_of_weights(checkpoint: Path) -> str | None:
    names = {WEIGHTS_FILE}
    if (checkpoint / "adapter_config.json").is_file() and not (checkpoint / WEIGHTS_FILE).is_file():
        names = {"adapter_model.safetensors"}  # of PEFT
    if (checkpoint / INDEX_FILE).is_file():
        index, damage = _read_json(checkpoint / INDEX_FILE)
        if damage is not None:
            return damage
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict):
            return f"{INDEX_FILE} does not say where the weights are"
        names = {str(name) for name in weight_map.values()}
    return _first_damage(checkpoint, names)


def _first_damage(checkpoint: Path, names: Collection[str]) -> str | None:
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
        content = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, f"{file.name} cannot be read ({error})"
    return (content, None) if isinstance(content, dict) else ({}, f"{file.name} holds no mapping")
