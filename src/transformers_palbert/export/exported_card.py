"""The card of an exported model: what it is, how to ask it, how it compares with the model that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from ..hub.card import CardSizes, Evaluation, PalBertCard
from ..hub.facts import versions
from ..runtime.description import Description
from .parity import Parity

__all__ = ["write_card"]

_KEPT = ("language", "license", "datasets", "base_model")
"""Fields of the metadata that hold for the exported model too."""

_USE = """It answers without torch and transformers: `pip install --no-deps transformers-palbert` and
`pip install numpy tokenizers {runtime}` are all it needs.

```python
from transformers_palbert.runtime import load

ask = load("{place}")
ask(question="…", context="…")
```"""


def write_card(
    folder: Path, name: str, description: Description, parity: Parity, size: int, source: str | Path | None
) -> None:
    """Write ``README.md`` into ``folder``.

    Args:
        folder: Where the exported model is written.
        name: What it is called.
        description: What it is.
        parity: How it compares.
        size: Bytes of graph and weights.
        source: Folder of the model that was exported; metadata of its card, if it has one, is taken over.
    """
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}[description.format]
    known = {} if source is None else _metadata(Path(source))
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
        **known,
    )
    (folder / "README.md").write_text(card.render(), encoding="utf-8")


def _metadata(source: Path) -> dict[str, Any]:
    file = source / "README.md"
    if not file.is_file():
        return {}
    try:
        found = ModelCard.load(file).data.to_dict()
    except ValueError:  # a card that somebody wrote by hand need not have metadata that can be read
        return {}
    base = found.get("base_model")
    known = {key: found[key] for key in _KEPT if found.get(key)}
    if not isinstance(base, str):
        known.pop("base_model", None)
    if isinstance(known.get("datasets"), str):
        known["datasets"] = [known["datasets"]]
    return known


def _what(description: Description) -> str:
    runtime = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}[description.format]
    values = "matrices as integers of 8 bits" if description.precision == "int8" else "float32"
    return f"A `{description.architecture}`, exported for {runtime}, {values}."


def _how_close(parity: Parity) -> str:
    same = f"{parity.same_answers} of {parity.questions} answers are those of the model that was exported"
    return f"Measured after the export: {same}; logits differ by {parity.largest_difference:.2g} at most."
