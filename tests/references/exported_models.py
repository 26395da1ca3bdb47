"""Tiny models of every kind that can be exported, and their exports, each made once in a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering

from tests.model.test_applications import KEPT
from tests.pruning.helpers import tiny_model
from tests.references.small_tokenizers import byte_level, wordpiece
from tests.storage.helpers import pruned_model
from transformers_palbert import KeptUnits, StorageConfig, enable_sparse_saving, remove_units
from transformers_palbert.export.exporting import export_model
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.qa.settings import AnsweringSettings

ENGLISH = "My name is Wolfgang and I live in Berlin, where unbelievables live. "
CHINESE = "我叫王芳，住在北京。二〇一八年出生于上海。"
EXAMPLES = [
    {"question": question, "context": context}
    for question, context in [
        ("where does Wolfgang live?", ENGLISH * 3),
        ("谁住在北京？", CHINESE),
        ("who?", ENGLISH),
        ("  什么时候？", CHINESE * 5),
        ("what is the answer?", CHINESE + ENGLISH),
        ("a?", "b"),
    ]
]
RECORDS: list[dict[str, Any]] = [
    {"id": str(number), **example, "answers": {"text": [example["context"][:3]], "answer_start": [0]}}
    for number, example in enumerate(EXAMPLES)
]
SETTINGS = AnsweringSettings(max_seq_length=40, doc_stride=10, max_question_length=16, max_answer_length=6)
LONG_SETTINGS = AnsweringSettings(max_seq_length=100, doc_stride=30, max_question_length=40, max_answer_length=6)

KINDS = ("roberta", "structured", "packed", "applications")

_HOME = Path(tempfile.mkdtemp(prefix="palbert-exports-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
_SHAPE = {"vocab_size": 100, "max_position_embeddings": 64, "layers": 2}


_WIDE = {"hidden_size": 96, "intermediate_size": 128}
"""The exporter computes small constants at once; matrices of this width stay where layers share them."""
WIDE_KEPT = {
    "application_heads": KEPT["application_heads"],
    "application_units": [mask_to_text([unit % 4 > keeps for unit in range(128)]) for keeps in (0, 1, 3)],
}
"""Each of three applications keeps heads and units of its own, and the last of them none at all."""


@cache
def source(kind: str) -> tuple[Any, Any, AnsweringSettings]:
    """A model with far-apart logits, its tokenizer, and settings that its windows allow."""
    tokenizer, settings = wordpiece(), SETTINGS
    if kind == "roberta":
        model: Any = tiny_model("roberta", **{**_SHAPE, "vocab_size": 300, "max_position_embeddings": 128})
        tokenizer, settings = byte_level(), LONG_SETTINGS
    elif kind == "structured":
        model = tiny_model("bert", **_SHAPE)
        first, second = layer_sizes(model)
        remove_units(model, {first: KeptUnits([1], [0, 3, 5]), second: KeptUnits(None, range(8))})
    elif kind == "packed":
        model = _packed()
    elif kind == "applications":
        model = tiny_model("palbert", **{**_SHAPE, "layers": 3}, **_WIDE, **WIDE_KEPT)
    else:
        model = tiny_model(kind, **_SHAPE, **_WIDE, hidden_act="gelu_new")
    with torch.no_grad():
        model.qa_outputs.weight.normal_(std=2)
    return model.eval(), tokenizer, settings


def _packed() -> Any:
    """A pruned PAL-BERT in half precision, that reads two layers, as it comes back from its packed file."""
    model = pruned_model("palbert", hidden_act="mish", qa_layers=[0, -1], qa_layer_pooling="mean", **_SHAPE)
    enable_sparse_saving(model, StorageConfig(values="float16"))
    model.save_pretrained(_HOME / "packed")
    return AutoModelForQuestionAnswering.from_pretrained(_HOME / "packed")


@cache
def exported(kind: str, format: str = "onnx", int8: bool = False, calibrated: bool = False) -> Path:
    """The folder of an exported model; copy it before changing it."""
    model, tokenizer, settings = source(kind)
    folder = _HOME / f"{kind}-{format}-{int8}-{calibrated}"
    export_model(
        model, tokenizer, folder, format=format, int8=int8, settings=settings, sample=RECORDS,
        calibration=RECORDS if calibrated else (), metric="squad",
    )  # fmt: skip
    return folder
