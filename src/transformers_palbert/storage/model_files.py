"""Which files of a folder are a saved model: the one list for pushes to the Hub, and for copies beside packed weights.

Training folders hold more than the model: keys, notes, caches, logs of the shell, predictions. So the list says what
goes along, and everything else stays. So do symbolic links, behind which any file can be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .files import CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE

__all__ = [
    "BESIDE_WEIGHTS",
    "CARD",
    "CHECKPOINT",
    "EXPORTED",
    "LOGS",
    "PUSHED",
    "chosen_files",
    "code_files",
    "leads_out",
]

logger = logging.getLogger(__name__)

WEIGHTS = (WEIGHTS_FILE, INDEX_FILE, "model-?????-of-?????.safetensors", "adapter_model.safetensors")
CONFIGS = (CONFIG_FILE, "adapter_config.json", "generation_config.json", "preprocessor_config.json")
TOKENIZER = (
    "added_tokens.json", "bpe.codes", "chat_template.jinja", "merges.txt", "sentencepiece.bpe.model",
    "special_tokens_map.json", "spiece.model", "spm.model", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip
CARD = ("README.md", "training.png", "density.png")  # the last is the picture of cards that version 0.1 wrote
LICENCE = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE")
RESULTS = ("all_results.json", "eval_results.json", "predict_results.json", "test_results.json", "train_results.json")

LOGS = ("runs/*events.out.tfevents.*",)
"""TensorBoard's. They name the host, and hold the training arguments with the paths in them."""

BESIDE_WEIGHTS = (*CONFIGS, *TOKENIZER, *CARD, *LICENCE)
"""Patterns of the files that are copied beside weights that are written anew."""

PUSHED = (*WEIGHTS, *BESIDE_WEIGHTS, *RESULTS)
"""A model on the Hub."""

EXPORTED = (
    "export.json", "model.onnx", "model.onnx.data", "openvino_model.bin", "openvino_model.xml", "parity.json",
    "runtime.json", *BESIDE_WEIGHTS,
)  # fmt: skip
"""A model exported for a runtime, on the Hub."""

CHECKPOINT = (
    *PUSHED, "optimizer.pt", "rng_state*.pth", "scaler.pt", "scheduler.pt", "trainer_state.json", "training_args.bin",
)  # fmt: skip
"""A checkpoint that training can go on from. Some of it are pickles."""


def chosen_files(folder: Path, patterns: Iterable[str], settings: dict[str, Any] | None = None) -> list[str]:
    """Sorted paths, relative to ``folder``, of its files that match one of ``patterns``.

    Links that lead out of the folder are left out, with a warning in the log; those of the Hub's cache are followed.

    Args:
        folder: Where the model is.
        patterns: Of whole relative paths; ``*`` also stands for slashes.
        settings: What ``config.json`` holds; where it names code of its own, Python files on top go along.
    """
    patterns = (*patterns, *code_files(settings or {}))
    paths = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    matching = (path for path in paths if any(_matches(path, pattern) for pattern in patterns))
    found = sorted(matching)
    if out := [path for path in found if leads_out(folder, path)]:
        logger.warning("Left out of %s, as links lead from there to elsewhere: %s", folder, ", ".join(out))
    return [path for path in found if path not in out]


def _matches(path: str, pattern: str) -> bool:
    return fnmatchcase(path, pattern) and ("/" in path) == ("/" in pattern)


def code_files(settings: dict[str, Any]) -> tuple[str, ...]:
    """The pattern of a model's own code, where its config says by ``auto_map`` that it has some."""
    return ("*.py",) if settings.get("auto_map") else ()


def leads_out(folder: Path, path: str) -> bool:
    """Whether a link leads from ``path`` below ``folder`` to somewhere else; the Hub's cache is made of links."""
    target, home = (folder / path).resolve(), folder.resolve()
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    return not (target.is_relative_to(home) or target.is_relative_to(blobs))
