"""A question-answering model written as a folder that answers without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..baselines.configuration import WordReaderConfig
from ..errors import ConfigurationError, PruningError
from ..pruning import is_prepared
from ..qa.answering import Reader, accepted_inputs, padded_batch
from ..qa.features import encode_windows
from ..qa.settings import AnsweringSettings, settings_for
from ..runtime.description import DESCRIPTION_FILE, MODEL_FILES, Description
from ..runtime.tokenizer import load_tokenizer
from ..sizes import pruning_report
from ..storage.whole_saves import new_folder, require_free, write_json
from .exported_card import kept_metadata, write_card
from .graphs import Inputs, convert, plain_copy, require_exporters, save
from .loaded import ExportedForQuestionAnswering
from .parity import PARITY_FILE, Parity, measure_parity, require_parity, require_same_tokens

__all__ = ["CALIBRATION_WINDOWS", "SAMPLE", "Exported", "export_model", "require_exportable"]

CALIBRATION_WINDOWS = 100
"""How many windows the ranges of activations are measured on."""

SAMPLE: tuple[dict[str, str], ...] = (
    {
        "id": "en",
        "question": "Where do I live?",
        "context": "My name is Wolfgang and I live in Berlin. Before that, in 1998, I was a carpenter in Vienna.",
    },
    {"id": "zh", "question": "王芳住在哪里？", "context": "我叫王芳，1998年出生于上海，现在住在北京，是一名医生。"},
)
"""What logits are compared on where no questions are given."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        description: What ``runtime.json`` says.
        parity: What ``parity.json`` says.
        file_bytes: Bytes of graph and weights.
    """

    folder: Path
    description: Description
    parity: Parity
    file_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "folder": str(self.folder),
            "format": self.description.format,
            "precision": self.description.precision,
            "file_bytes": self.file_bytes,
            "parity": self.parity.to_dict(),
        }


def require_exportable(model: Any, tokenizer: Any) -> None:
    """Check that a model can be exported at all.

    Raises:
        ConfigurationError: if it is exported already, reads words instead of tokens, or has no fast tokenizer.
        PruningError: if it is in the middle of being pruned.
    """
    if isinstance(model, ExportedForQuestionAnswering):
        raise ConfigurationError(
            f"{model.name_or_path} is an exported model already. Export the model of torch that it was made from."
        )
    if isinstance(model.config, WordReaderConfig):
        raise ConfigurationError(
            f"A {model.config.model_type!r} cuts texts into words in Python code, which a graph cannot hold: it cannot"
            " be exported. Answer with it through the pipeline."
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigurationError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and the runtime reads tokenizer.json alone. Load it"
            " with `AutoTokenizer.from_pretrained(…)`."
        )
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before exporting."
        )


def export_model(
    model: Any,
    tokenizer: Any,
    folder: str | Path,
    *,
    format: str = "onnx",
    int8: bool = False,
    settings: AnsweringSettings | None = None,
    calibration: Sequence[Mapping[str, Any]] = (),
    sample: Sequence[Mapping[str, Any]] = SAMPLE,
    metric: str | None = None,
    source: str | Path | None = None,
) -> Exported:
    """Write ``model`` as a folder for :func:`transformers_palbert.runtime.load`, and measure that it answers the same.

    The folder holds the graph, the tokenizer, ``runtime.json``, ``parity.json`` with what was measured, and a card. It
    appears as a whole or not at all.

    Args:
        model: A finished question-answering model: pruned, packed, with layers of different sizes, whatever loads.
        tokenizer: Its fast tokenizer.
        folder: A new folder, or an empty one.
        format: ``"onnx"`` or ``"openvino"``.
        int8: Whether matrices become integers of 8 bits.
        settings: How windows are cut and answers decoded where both models are compared; by default those saved with
            the model, see :func:`~transformers_palbert.qa.settings.settings_for`.
        calibration: With ``int8``, questions on which the ranges of activations are measured, so that they need not be
            measured in every call. Not those that the model is judged by.
        sample: Questions that both models answer: ``id``, ``question``, ``context``.
        metric: What their answers are scored with; then each has ``answers`` too.
        source: Folder of the model, whose card says where it comes from.

    Raises:
        StorageError: if ``folder`` holds something.
        ConfigurationError: if the model cannot be exported, or ``calibration`` is given without ``int8``.
        PruningError: if the model is in the middle of being pruned.
        MissingExtraError: if a library is not installed.
        TokenizerError: if the tokenizer reads texts in another way without transformers.
        ExportError: if a float32 graph computes something else than the model.
    """
    folder = Path(folder)
    require_free(folder)
    if calibration and not int8:
        raise ConfigurationError(
            "Questions to calibrate with have no use in float32. Export in int8, or leave them out."
        )
    require_exportable(model, tokenizer)
    require_exporters(format, int8)
    metadata = kept_metadata(source)
    plain = plain_copy(model)
    settings = settings or settings_for(model.config, longest=tokenizer.model_max_length, fallback={}, given={})
    reader = Reader(plain, tokenizer, settings)
    description = _describe(model, tokenizer, format, int8)
    inputs = _batches(reader, [sample[0]] * 2, description.model_inputs, 2)[0]
    chosen = calibration[:CALIBRATION_WINDOWS]  # each is one window at least
    ranges = _batches(reader, chosen, description.model_inputs, 1)[:CALIBRATION_WINDOWS]
    exported = convert(plain, inputs, format=format, int8=int8, calibration=ranges)
    with new_folder(folder) as staging:
        save(exported, plain.config, staging)
        tokenizer.save_pretrained(staging)
        write_json(staging / DESCRIPTION_FILE, description.to_dict())
        require_same_tokens(tokenizer, load_tokenizer(staging, description), sample)
        loaded = ExportedForQuestionAnswering.from_pretrained(staging)
        parity = measure_parity(reader, Reader(loaded, tokenizer, reader.settings), sample, metric)
        del loaded
        if not int8:
            require_parity(parity)
        write_json(staging / PARITY_FILE, parity.to_dict())
        size = sum((staging / name).stat().st_size for name in MODEL_FILES[format])
        write_card(staging, folder.name, description, parity, size, metadata)
    return Exported(folder, description, parity, size)


def _describe(model: Any, tokenizer: Any, format: str, int8: bool) -> Description:
    report = pruning_report(model)
    accepted = accepted_inputs(model)
    return Description(
        format=format,
        precision="int8" if int8 else "float32",
        architecture=type(model).__name__,
        parameters=report.total.numel,
        nonzero=report.total.nonzero,
        encoder_density=report.encoder.density,
        model_inputs=[name for name in tokenizer.model_input_names if name in accepted],
        model_max_length=min(tokenizer.model_max_length, 10**9),  # "no limit" is a number beyond every integer
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        cls_token_id=tokenizer.cls_token_id,
        pad_token_id=tokenizer.pad_token_id,
        pad_token_type_id=tokenizer.pad_token_type_id,
    )


def _batches(reader: Reader, records: Sequence[Mapping[str, Any]], names: Sequence[str], size: int) -> list[Inputs]:
    """The windows of ``records`` as inputs of the model, ``size`` at once."""
    if not records:
        return []
    texts = ([record[name] for record in records] for name in ("question", "context"))
    windows = encode_windows(reader.tokenizer, *texts, **reader.settings.windows)
    cuts: list[Inputs] = []
    for start in range(0, len(windows), size):
        batch = padded_batch(windows, np.arange(start, min(start + size, len(windows))), reader.tokenizer)
        cuts.append({name: tensor for name, tensor in batch.items() if name in names})
    return cuts
