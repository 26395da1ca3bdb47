"""Export to a plain ALBERT; tests of storage load one in a process without the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AlbertForMaskedLM,
    AlbertForQuestionAnswering,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
)

from tests.pruning.helpers import qa_batch, tiny_config, tiny_model
from tests.references.small_tokenizers import wordpiece
from tests.storage.helpers import CONFIGS, pruned_model, read_json
from transformers_palbert import (
    BiLstmConfig,
    BiLstmForQuestionAnswering,
    ConfigurationError,
    PruningConfig,
    PruningError,
    enable_sparse_saving,
    prepare_pruning,
)
from transformers_palbert.export.stock import export_stock, require_stock


@pytest.mark.parametrize("config", [None, *CONFIGS.values()], ids=["dense", *CONFIGS])
@pytest.mark.parametrize("kind", ["palbert", "albert", "bert"])
def test_the_logits_stay(kind: str, config: Any, tmp_path: Path) -> None:
    changes = {"hidden_act": "mish", "layer_lr_decay": 0.9, "qa_layers": [-1]} if kind == "palbert" else {}
    model = pruned_model(kind, **changes)
    if config is not None:
        enable_sparse_saving(model, config)
    saving = getattr(model, "hf_quantizer", None)
    export_stock(model, tmp_path, wordpiece())
    settings = read_json(tmp_path / "config.json")
    assert settings["model_type"] == ("albert" if kind == "palbert" else kind)
    assert not settings.keys() & {
        "quantization_config",
        "qa_layers",
        "layer_lr_decay",
        "pruning",
        "attention_head_size",
    }
    assert (tmp_path / "tokenizer_config.json").is_file()
    stock = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert type(stock).__module__.startswith("transformers.")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in stock.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(stock(**qa_batch()).start_logits, model.eval()(**qa_batch()).start_logits)
    assert getattr(model, "hf_quantizer", None) is saving


def test_one_pooled_layer_that_is_the_last(tmp_path: Path) -> None:
    model = tiny_model("palbert", qa_layers=[2], qa_layer_pooling="weighted_sum")
    export_stock(model, tmp_path)
    stock = AlbertForQuestionAnswering.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(stock(**qa_batch()).end_logits, model.eval()(**qa_batch()).end_logits)


def test_another_task(tmp_path: Path) -> None:
    model = AutoModelForMaskedLM.from_config(tiny_config("palbert"))
    export_stock(model, tmp_path)
    stock = AlbertForMaskedLM.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in stock.state_dict().items())


def test_half_precision(tmp_path: Path) -> None:
    export_stock(tiny_model("palbert").half(), tmp_path)
    assert AlbertForQuestionAnswering.from_pretrained(tmp_path).dtype == torch.float16


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"qa_layers": [0]}, r"qa_layers=\[0\]"),
        ({"qa_layers": [0, 2], "qa_layer_pooling": "mean"}, r"qa_layers=\[0, 2\]"),
        ({"attention_head_size": 4}, "attention_head_size=4"),
        ({"attention_head_size": 5, "num_attention_heads": 3}, "attention_head_size=5"),
    ],
)
def test_what_albert_cannot_do_is_named(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    model = tiny_model("palbert", **changes)
    with pytest.raises(ConfigurationError, match=f"{field} has no place in stock ALBERT"):
        export_stock(model, tmp_path / "out")
    with pytest.raises(ConfigurationError, match=field):
        require_stock(model.config)
    assert not (tmp_path / "out").exists()


def test_in_the_middle_of_pruning(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="bake_masks"):
        export_stock(prepare_pruning(tiny_model("palbert"), PruningConfig(0.5)), tmp_path)  # type: ignore[arg-type]


def test_a_baseline_is_no_stock_architecture(tmp_path: Path) -> None:
    model = BiLstmForQuestionAnswering(BiLstmConfig(vocab_size=50, hidden_size=8, embedding_size=8))
    with pytest.raises(ConfigurationError, match="no architecture 'bilstm'"):
        export_stock(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
