"""``runtime.json``: what a process without transformers must know of an exported model and its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ..errors import StorageError
from ..json_text import read_json

__all__ = [
    "CONFIG_FILE",
    "DESCRIPTION_FILE",
    "FORMATS",
    "MODEL_FILES",
    "RUNTIME_FILES",
    "Description",
    "read_description",
]

DESCRIPTION_FILE = "runtime.json"

CONFIG_FILE = "config.json"
"""Configuration of the model, which says with which settings it answers."""

MODEL_FILES = {"onnx": ("model.onnx", "model.onnx.data"), "openvino": ("openvino_model.xml", "openvino_model.bin")}
"""Format -> its graph and the weights beside it, as the exporters of transformers name them."""

FORMATS = tuple(MODEL_FILES)

RUNTIME_FILES = (
    DESCRIPTION_FILE,
    CONFIG_FILE,
    "tokenizer.json",
    *(name for names in MODEL_FILES.values() for name in names),
)
"""Every file that the runtime may read."""

VERSION = 1
_CHOICES = {"format": FORMATS, "precision": ("float32", "int8"), "padding_side": ("left", "right"),
            "truncation_side": ("left", "right")}  # fmt: skip
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Description:
    """An exported model.

    Attributes:
        format: What runs it: ``"onnx"`` or ``"openvino"``.
        precision: ``"float32"``, or ``"int8"`` where most of its matrices are integers.
        architecture: Class of the model that was exported.
        parameters: How many that model had.
        nonzero: How many of them were not zero.
        encoder_density: Share of the encoder's weights that were not zero, in [0, 1].
        model_inputs: What the tokenizer makes for the model: names of arrays.
        model_max_length: Most tokens of a window.
        padding_side: On the ``"right"``, the question comes first in a window, on the ``"left"`` second.
        truncation_side: Where texts lose what is too much.
        cls_token_id: Number of ``[CLS]``, or None for a tokenizer without.
        pad_token_id: Number of the padding token, or None.
        pad_token_type_id: Type of the padding token.
    """

    format: str
    precision: str
    architecture: str
    parameters: int
    nonzero: int
    encoder_density: float
    model_inputs: list[str]
    model_max_length: int
    padding_side: str
    truncation_side: str
    cls_token_id: int | None
    pad_token_id: int | None
    pad_token_type_id: int

    def to_dict(self) -> dict[str, Any]:
        """What ``runtime.json`` holds."""
        return {"version": VERSION, **asdict(self)}


def read_description(folder: Path) -> Description:
    """Read and check ``runtime.json``.

    Raises:
        StorageError: if it is missing, of a later version, or a field is missing, unknown or of a wrong type or value,
            or a file of the model is not there.
    """
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        raise StorageError(
            f"{file} does not exist: {folder} holds no exported model. Write one with `palbert export MODEL {folder}`."
        )
    values = read_json(file)
    if (version := values.pop("version", None)) != VERSION:
        raise StorageError(
            f"{file} is of version {version!r}, and this release of transformers-palbert reads version {VERSION}."
            " Install the release that exported the model, or export it again."
        )
    description = _checked(file, values)
    for name in (*MODEL_FILES[description.format], "tokenizer.json", CONFIG_FILE):
        if not (folder / name).is_file():
            raise StorageError(f"{folder / name} is missing. Export the model again, or download all of its files.")
    return description


def _checked(file: Path, values: Mapping[str, Any]) -> Description:
    names = [field.name for field in fields(Description)]
    if wrong := sorted(values.keys() ^ set(names)):
        state = "unknown" if wrong[0] in values else "missing"
        raise StorageError(f"{file} is damaged: its field {wrong[0]!r} is {state}. Export the model again.")
    for name, hint in get_type_hints(Description).items():
        _require(file, name, values[name], _fits(name, values[name], hint))
    return Description(**values)


def _fits(name: str, value: Any, hint: Any) -> bool:
    if name == "model_inputs":
        return isinstance(value, list) and "input_ids" in value and all(item in _INPUTS for item in value)
    if isinstance(value, bool) or not isinstance(value, get_args(hint) or hint):
        return False
    return value in _CHOICES[name] if name in _CHOICES else not isinstance(value, int | float) or value >= 0


def _require(file: Path, name: str, value: Any, fits: bool) -> None:
    if not fits:
        allowed = f" Allowed is {' or '.join(map(repr, _CHOICES[name]))}." if name in _CHOICES else ""
        raise StorageError(f"{file} is damaged: it says {name}={value!r}.{allowed} Export the model again.")
