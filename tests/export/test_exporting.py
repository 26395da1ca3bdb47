"""Exported models against the models that they were made from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import BertTokenizer

from tests.pruning.helpers import tiny_model
from tests.references.exported_models import KINDS, RECORDS, exported, source
from tests.references.small_tokenizers import wordpiece
from transformers_palbert import (
    BiLstmConfig,
    BiLstmForQuestionAnswering,
    ConfigurationError,
    MissingExtraError,
    PruningConfig,
    PruningError,
    StorageError,
    TokenizerError,
    prepare_pruning,
)
from transformers_palbert.errors import ExportError
from transformers_palbert.export import exporting
from transformers_palbert.export.exported_card import kept_metadata, write_card
from transformers_palbert.export.exporting import export_model
from transformers_palbert.export.graphs import plain_copy
from transformers_palbert.export.loaded import ExportedForQuestionAnswering
from transformers_palbert.export.parity import Parity, require_parity, require_same_tokens
from transformers_palbert.runtime.description import read_description

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
onnx = pytest.importorskip("onnx")


def needs(format: str, int8: bool = False) -> Any:
    """Skip where the libraries of an extra are missing."""
    names = ("openvino", "nncf") if int8 else ("openvino",)
    for name in names if format == "openvino" else ():
        pytest.importorskip(name, reason="the extra `openvino` is not installed")


def ragged_batch(rows: int, length: int, names: Any) -> dict[str, torch.Tensor]:
    """Random tokens in rows of different lengths."""
    generator = torch.Generator().manual_seed(rows)
    mask = (torch.arange(length) < length - torch.arange(rows)[:, None] % length).long()
    values = {
        "input_ids": torch.randint(5, 90, (rows, length), generator=generator) * mask + (1 - mask),
        "attention_mask": mask,
        "token_type_ids": (torch.arange(length) > 3).long().expand(rows, -1) * mask,
    }
    return {name: values[name] for name in names}


def logits(model: Any, batch: dict[str, torch.Tensor]) -> Any:
    with torch.no_grad():
        found = model(**batch)
    return torch.stack((found.start_logits, found.end_logits)) * batch["attention_mask"]


@pytest.mark.parametrize(("kind", "format"), [*((kind, "onnx") for kind in KINDS), ("albert", "openvino")])
def test_logits_are_those_of_the_model_for_batches_of_any_shape(kind: str, format: str) -> None:
    needs(format)
    model = plain_copy(source(kind)[0])
    loaded = ExportedForQuestionAnswering.from_pretrained(exported(kind, format), threads=1)
    for rows, length in ((1, 7), (3, 40), (9, 13)):
        batch = ragged_batch(rows, length, loaded.description.model_inputs)
        torch.testing.assert_close(logits(loaded, batch), logits(model, batch), atol=1e-4, rtol=1e-4)
    parity = json.loads((exported(kind, format) / "parity.json").read_text())
    assert parity["same_answers"] == parity["questions"] == len(RECORDS)
    assert parity["before"] == parity["after"]
    assert set(parity["after"]) == {"exact_match", "f1"}


@pytest.mark.parametrize(("kind", "format"), [("applications", "onnx"), ("albert", "openvino")])
def test_shared_weights_are_stored_once(kind: str, format: str) -> None:
    needs(format)
    matrices = 4 * sum(parameter.numel() for parameter in source(kind)[0].parameters())
    name = {"onnx": "model.onnx.data", "openvino": "openvino_model.bin"}[format]
    assert (exported(kind, format) / name).stat().st_size < 1.1 * matrices


def products_of_constants(file: Path) -> list[str]:
    """Matrix products in float32 with a matrix that does not depend on the input, and is not empty."""
    graph = onnx.load(file).graph
    constant = {tensor.name for tensor in graph.initializer if 0 not in tensor.dims}
    found = []
    for node in graph.node:
        if node.op_type in ("Transpose", "Gather", "Reshape", "Identity") and set(node.input) <= constant:
            constant |= set(node.output)
        if node.op_type == "Constant":
            constant |= set(node.output)
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in constant:
            found.append(node.name)
    return found


@pytest.mark.parametrize("kind", ["albert", "applications"])
def test_no_product_with_a_shared_matrix_stays_float(kind: str) -> None:
    """Exporters leave shared matrices behind Transposes, where the quantizer does not find them."""
    file = exported(kind, int8=True) / "model.onnx"
    nodes = [node.op_type for node in onnx.load(file).graph.node]
    assert nodes.count("MatMulInteger") == 14  # six for each of two applications, before and behind them one
    assert products_of_constants(file) == []


@pytest.mark.parametrize(
    ("kind", "format", "calibrated"),
    [
        ("albert", "onnx", False),
        ("applications", "onnx", False),
        ("albert", "onnx", True),
        ("albert", "openvino", True),
    ],
)
def test_int8_stays_near_the_model(kind: str, format: str, calibrated: bool) -> None:
    needs(format, int8=True)
    folder = exported(kind, format, int8=True, calibrated=calibrated)
    parity = json.loads((folder / "parity.json").read_text())
    assert 0 < parity["largest_difference"] < 0.3 * parity["largest_logit"]
    assert json.loads((folder / "runtime.json").read_text())["precision"] == "int8"


def test_the_folder_says_what_it_is() -> None:
    folder = exported("packed")
    card = ModelCard.load(folder / "README.md")
    assert set(card.data.tags) == {"transformers-palbert", "onnx"}
    assert 'load("path/to/packed-onnx-False-False")' in card.text
    assert f"{len(RECORDS)} of {len(RECORDS)} answers are those of the model" in card.text
    said = json.loads((folder / "runtime.json").read_text())
    assert said["nonzero"] < said["parameters"] == sum(p.numel() for p in source("packed")[0].parameters())
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())


def test_the_card_keeps_where_the_model_comes_from(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\nlanguage: zh\ndatasets: [hfl/cmrc2018]\n---\n# x\n")
    metadata = kept_metadata(tmp_path)
    write_card(tmp_path, "out", read_description(exported("packed")), parity_of(0.1), 1000, metadata)
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.language, card.data.datasets) == ("mit", "zh", ["hfl/cmrc2018"])
    assert "3 of 4 answers are those of the model that was exported" in card.text


BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("title: PAL: small\nlicense: mit", {}),
        ("- mit", {}),
        ("license: [", {}),
        ("license: " + "[" * 1000, {}),
        ("license: mit\nmodel-index: 3\n1: 2", {"license": "mit"}),
        ("license: mit\nlanguage: no\ndatasets: {a: b}\nbase_model: [a, b]", {"license": "mit"}),
        ("language: [zh, en]\ndatasets: x/y\nbase_model: a/b\nlicense: ''",
         {"language": ["zh", "en"], "datasets": ["x/y"], "base_model": "a/b"}),
        (f"x0: &x0 [mit]\n{BOMB}license: *x9\nlanguage: zh", {"language": "zh"}),
        (f"language: [{', '.join(['zh'] * 1000)}]\nlicense: {'mit ' * 1000}", {}),
    ],
    ids=["colon", "list", "unfinished", "deep", "other fields", "types", "lists", "aliases", "long"],
)  # fmt: skip
def test_a_card_that_says_something_else_is_no_reason_to_fail(
    tmp_path: Path, front_matter: str, expected: dict[str, Any]
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# x\n", encoding="utf-8")
    assert kept_metadata(tmp_path) == expected
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    assert kept_metadata(tmp_path) == kept_metadata(None) == kept_metadata("me/model") == {}


def test_the_model_stays_as_it_was() -> None:
    model = tiny_model("albert").half().train()
    plain = plain_copy(model)
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    assert (model.training, plain.training) == (True, False)


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ExportError("too far")

    class Converted:
        save_pretrained = staticmethod(lambda folder: (folder / "model.onnx").write_bytes(b"x"))

    monkeypatch.setattr(exporting, "convert", lambda *_, **__: Converted())
    monkeypatch.setattr(exporting, "require_same_tokens", fail)
    model, tokenizer, settings = source("albert")
    with pytest.raises(ExportError):
        export_model(model, tokenizer, tmp_path / "out", settings=settings)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="is not empty"):
        export_model(*source("albert")[:2], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_what_cannot_be_exported_is_said_before_any_work(tmp_path: Path) -> None:
    pruned = tiny_model("albert")
    prepare_pruning(pruned, PruningConfig(target_sparsity=0.5))
    with pytest.raises(PruningError, match="finish the training"):
        export_model(pruned, wordpiece(), tmp_path / "out")
    words = BiLstmForQuestionAnswering(BiLstmConfig(vocab_size=20, embedding_dim=4, hidden_size=4))
    with pytest.raises(ConfigurationError, match="'bilstm' cuts texts into words"):
        export_model(words, wordpiece(), tmp_path / "out")
    again = ExportedForQuestionAnswering.from_pretrained(exported("structured"))
    with pytest.raises(ConfigurationError, match="is an exported model already"):
        export_model(again, wordpiece(), tmp_path / "out")
    with pytest.raises(ConfigurationError, match="the formats are onnx, openvino"):
        export_model(tiny_model("albert"), wordpiece(), tmp_path / "out", format="tflite")
    with pytest.raises(ConfigurationError, match="no use in float32"):
        export_model(tiny_model("albert"), wordpiece(), tmp_path / "out", calibration=RECORDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "int8", "module"),
    [("onnx", False, "onnxscript"), ("openvino", False, "openvino"), ("openvino", True, "nncf")],
)
def test_a_missing_extra_is_named(
    format: str, int8: bool, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(format)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"`{module}` is not installed.*transformers-palbert\[{format}\]"):
        export_model(*source("albert")[:2], tmp_path / "out", format=format, int8=int8)


def parity_of(difference: float) -> Parity:
    return Parity(4, 4, 3, difference, 10.0, None, {}, {})


def test_a_float_graph_that_computes_something_else_is_an_error() -> None:
    require_parity(parity_of(0.009))
    for difference in (0.011, float("nan")):
        with pytest.raises(ExportError, match="3 of 4 answers are equal"):
            require_parity(parity_of(difference))


def test_a_tokenizer_with_code_of_its_own_is_refused() -> None:
    require_same_tokens(wordpiece(), wordpiece(), RECORDS)
    with pytest.raises(TokenizerError, match="BertTokenizer cuts texts in code of its own"):
        require_same_tokens(wordpiece(), wordpiece(BertTokenizer, do_lower_case=False), RECORDS)
