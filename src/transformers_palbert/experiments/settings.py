"""Settings of a run: options of a training script, as a mapping from option to value.

Two runs are the same if their settings are, whatever their files are called: a file or folder that a setting names
counts by what it holds. Where a run writes, what it logs and how many processes help it does not count.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError
from ..model.pruning_state import TARGETS

__all__ = ["Settings", "canonical", "content_key", "load_settings", "parse_overrides", "settings_key", "to_arguments"]

Settings = dict[str, Any]

WITHOUT_EFFECT = frozenset(
    {"cache_dir", "dataloader_num_workers", "disable_tqdm", "output_dir", "preprocessing_num_workers", "report_to"}
    | {"save_steps", "save_strategy", "save_total_limit", "token"}
)
"""Options that change nothing in a run's result; neither do those that start with ``log``."""

NAMES_A_PATH = re.compile(
    r"_file$|_path$|_model$|^(config_name|dataset_name|tokenizer_name|user_dictionary|word_vectors)$"
)
COUNTS_AS_A_WHOLE = re.compile(r"_model$|^dataset_name$")
"""Options whose folder counts by all of its files: data, and encoders of sentences, which have parts in folders."""

WEIGHTS_AND_WORDS = ("config.json", "*.safetensors", "*.bin", "*.txt", "*.model", "tokenizer*.json")
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)


def load_settings(file: Path) -> Settings:
    """Read a recipe: a YAML or JSON mapping.

    Raises:
        ConfigurationError: if the file is missing, is not YAML, or holds something else.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must hold a mapping, not {type(content).__name__}.")
    return content


def parse_overrides(pairs: list[str]) -> Settings:
    """``["learning_rate=1e-5", "fp16=true"]`` as settings; ``option=null`` takes an option away.

    Raises:
        ConfigurationError: if a pair has no ``=``, or its value is not YAML.
    """
    settings: Settings = {}
    for pair in pairs:
        option, sign, value = pair.partition("=")
        if not (sign and option):
            raise ConfigurationError(f"{pair!r} must look like option=value.")
        settings[option.strip().lstrip("-").replace("-", "_")] = _value(pair, value)
    return settings


def _value(pair: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{pair!r:.60} has a value that is not YAML: {error}") from error


def to_arguments(settings: Mapping[str, Any]) -> list[str]:
    """The settings as ``--option=value``, sorted; options whose value is None are left out."""
    return [f"--{option}={_text(value)}" for option, value in sorted(settings.items()) if value is not None]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def settings_key(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that are equal for settings with the same result.

    The seed is a setting like any other. Numbers count by their value (``2e-5`` is ``0.00002``), files and folders by
    their content, pruning options only where something is pruned, and checkpoints only where they can win.
    """
    without_effect = WITHOUT_EFFECT - _choosing_the_best(settings)
    counted = {
        option: canonical(option, value)
        for option, value in settings.items()
        if value is not None and option not in without_effect and not option.startswith("log")
    }
    if not counted.keys() & set(TARGETS):
        counted = {option: value for option, value in counted.items() if not option.startswith("pruning_")}
    text = json.dumps(counted, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _choosing_the_best(settings: Mapping[str, Any]) -> set[str]:
    """Options that say which checkpoints compete, where the best is loaded in the end: those that were saved.

    Where they are saved as often as they are evaluated, the options of the evaluations say it already.
    """
    if not settings.get("load_best_model_at_end"):
        return set()
    pairs = (("save_strategy", "eval_strategy"), ("save_steps", "eval_steps"))
    other = {save for save, evaluate in pairs if _differ(settings, save, evaluate)}
    return other if settings.get("save_strategy", "steps") == "steps" else other - {"save_steps"}


def _differ(settings: Mapping[str, Any], one: str, other: str) -> bool:
    return canonical(one, settings.get(one)) != canonical(other, settings.get(other))


def canonical(option: str, value: Any) -> Any:
    """What a value counts as: a number by its value, a file or folder by what it holds."""
    if isinstance(value, str) and NAMES_A_PATH.search(option) and Path(value).exists():
        return content_key(Path(value), whole=COUNTS_AS_A_WHOLE.search(option) is not None)
    if isinstance(value, str) and NUMBER.fullmatch(value):  # YAML 1.1 takes 2e-5 for text; a label may be "0.90"
        value = float(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def content_key(path: Path, whole: bool = False) -> str:
    """A digest of a file, or of the weights, config and vocabulary in a folder, whatever their names are.

    A folder without any of these counts by all of its files, hidden ones excepted; with ``whole``, every folder does.
    """
    if path.is_file():
        return _digest(path.resolve(), path.stat().st_mtime_ns)
    known = [] if whole else sorted({file for pattern in WEIGHTS_AND_WORDS for file in path.glob(pattern)})
    parts = [
        f"{file.relative_to(path).as_posix()} {_digest(file.resolve(), file.stat().st_mtime_ns)}"
        for file in known or _files_in(path)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if parts else str(path)


def _files_in(folder: Path) -> list[Path]:
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return [folder / name for name in sorted(names) if not any(part.startswith(".") for part in name.parts)]


@cache
def _digest(file: Path, _modified: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
