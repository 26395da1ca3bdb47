"""The card of an exported model: what it is, how to ask it, how it compares with the model that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import metadata_load

from ..hub.card import CardSizes, Evaluation, PalBertCard
from ..hub.facts import versions
from ..runtime.description import Description
from .parity import Parity

__all__ = ["kept_metadata", "write_card"]

_KEPT = ("language", "license", "datasets", "base_model")
"""Fields of the metadata that hold for the exported model too."""

_MOST = 200
"""Entries of a list in them, and characters of each: more than a card has that says what it should."""

_USE = """It answers without torch and transformers: `pip install --no-deps transformers-palbert` and
`pip install numpy tokenizers {runtime}` are all it needs.

```python
from transformers_palbert.runtime import load

ask = load("{place}")
ask(question="…", context="…")
```"""


def write_card(
    folder: Path, name: str, description: Description, parity: Parity, size: int, metadata: Mapping[str, Any]
) -> None:
    """Write ``README.md`` into ``folder``.

    Args:
        folder: Where the exported model is written.
        name: What it is called.
        description: What it is.
        parity: How it compares.
        size: Bytes of graph and weights.
        metadata: What is taken over of the model's own card, see :func:`kept_metadata`.
    """
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}[description.format]
    card = PalBertCard(
        model_name=name,
        tags=[description.format, *(["int8"] if description.precision == "int8" else [])],
        description=[_what(description), _how_close(parity), _USE.format(runtime=runtime, place=f"path/to/{name}")],
        sizes=CardSizes(
            parameters=description.parameters,
            parameters_nonzero=description.nonzero,
            file_bytes=size,
            encoder_density=description.encoder_density,
        ),
        evaluation=Evaluation("this export", parity.after) if parity.after else None,
        comparisons=[Evaluation("the model that was exported", parity.before)] if parity.before else [],
        evaluation_data=f"{parity.questions} questions, {parity.metric}" if parity.metric else None,
        versions=versions(),
        loads_without_package=False,
        **metadata,
    )
    (folder / "README.md").write_text(card.render(), encoding="utf-8")


def kept_metadata(source: str | Path | None) -> dict[str, Any]:
    """Of the card of a model, what holds for the exported one too, and is of use: strings, and lists of them.

    A card that somebody wrote by hand need not have metadata that can be read; then nothing is known.

    Args:
        source: Folder of the model, if there is one.
    """
    file = None if source is None else Path(source) / "README.md"
    if file is None or not file.is_file():
        return {}
    try:
        found = metadata_load(str(file)) or {}
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    known = {key: found[key] for key in _KEPT if _is_plain(found.get(key))}
    if not isinstance(known.get("base_model"), str):
        known.pop("base_model", None)
    if isinstance(known.get("datasets"), str):
        known["datasets"] = [known["datasets"]]
    return known


def _is_plain(value: Any) -> bool:
    entries = value if isinstance(value, list) else [value]
    return 0 < len(entries) <= _MOST and all(isinstance(entry, str) and 0 < len(entry) <= _MOST for entry in entries)


def _what(description: Description) -> str:
    runtime = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}[description.format]
    values = "matrices as integers of 8 bits" if description.precision == "int8" else "float32"
    return f"A `{description.architecture}`, exported for {runtime}, {values}."


def _how_close(parity: Parity) -> str:
    same = f"{parity.same_answers} of {parity.questions} answers are those of the model that was exported"
    return f"Measured after the export: {same}; logits differ by {parity.largest_difference:.2g} at most."
