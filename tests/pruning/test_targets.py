"""What is pruned and what stays dense, for architectures that have a row and for those that have none."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertModel,
    DebertaV2Config,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    T5Config,
    XLNetConfig,
)

from tests.pruning.helpers import KINDS, qa_batch, tiny_config, tiny_model
from transformers_palbert.errors import NoEffectWarning, PruningError
from transformers_palbert.pruning import PruningConfig, bake_masks, prepare_pruning, prunable_layers, pruning_plan

# DeBERTa is compiled with torch.jit.script when older releases of transformers import it.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

CONFIG = PruningConfig(0.7, method="movement")
LINEARS_PER_LAYER = 6
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def other_config(kind: str) -> Any:
    """A small config of an architecture that has no row in the table."""
    if kind == "gpt2":
        return GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, **SPECIAL)
    if kind == "llama":
        return LlamaConfig(**SIZES, **SPECIAL)
    if kind == "modernbert":
        return ModernBertConfig(**SIZES, **SPECIAL, cls_token_id=1, sep_token_id=2)
    if kind == "xlnet":
        return XLNetConfig(vocab_size=40, d_model=16, n_layer=2, n_head=2, d_inner=32)
    if kind == "t5":
        return T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return DebertaV2Config(**SIZES)


def rows(names: Any) -> set[str]:
    """The names of the modules of layer 0, without the path to it."""
    return {name.rpartition("0.")[2] for name in names if ".0." in name}


class TestBase:
    """Only Linears inside the base model, and never one that is tied to an embedding."""

    @pytest.mark.parametrize(
        ("kind", "auto", "count", "dense"),
        [
            ("llama", AutoModelForSequenceClassification, 14, {"score"}),
            ("modernbert", AutoModelForMaskedLM, 8, {"head.dense", "decoder"}),
            ("modernbert", AutoModelForQuestionAnswering, 8, {"head.dense", "classifier"}),
            ("deberta", AutoModelForSequenceClassification, 12, {"pooler.dense", "classifier"}),
            ("t5", AutoModelForQuestionAnswering, 32, {"qa_outputs"}),
            ("t5", AutoModelForSeq2SeqLM, 32, {"lm_head"}),
        ],
    )
    @pytest.mark.filterwarnings("error::transformers_palbert.errors.NoEffectWarning")
    def test_heads_of_any_architecture_stay_dense(self, kind: str, auto: Any, count: int, dense: set[str]) -> None:
        model = auto.from_config(other_config(kind))
        linears = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        found = prunable_layers(model, CONFIG)
        assert len(found) == count
        assert linears - found.keys() == dense
        before = {name: model.get_submodule(name).weight.clone() for name in dense}
        bake_masks(prepare_pruning(model, CONFIG))
        assert all(torch.equal(model.get_submodule(name).weight, before[name]) for name in dense)

    def test_a_base_model_alone(self) -> None:
        for kind in ("llama", "deberta"):
            assert len(prunable_layers(AutoModel.from_config(other_config(kind)), CONFIG)) in (12, 14)

    def test_a_module_of_ones_own_around_a_base_model(self) -> None:
        model = nn.ModuleDict({"reader": BertModel(tiny_config("bert")), "out": nn.Linear(16, 2)})
        found = prunable_layers(model, CONFIG)
        assert len(found) == 3 * LINEARS_PER_LAYER
        assert all(name.startswith("reader.encoder.layer.") for name in found)

    def test_a_module_that_holds_no_model_of_transformers_must_say_what_to_prune(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        with pytest.raises(PruningError, match=r"which of its Linears are task heads.*are 0, 2\. Name those"):
            prunable_layers(model, CONFIG)
        assert list(prunable_layers(model, PruningConfig(0.7, targets=("^0$",)))) == ["0"]
        assert list(prunable_layers(model, PruningConfig(0.7, targets=("",)))) == ["0", "2"]

    def test_layers_that_are_no_linears_are_named(self) -> None:
        model = AutoModelForSequenceClassification.from_config(other_config("gpt2"))
        with pytest.raises(PruningError, match=r"has no Linear that could be pruned.*attn\.c_attn.*only nn\.Linear"):
            prunable_layers(model, CONFIG)

    def test_a_part_of_the_encoder_warns(self) -> None:
        model = AutoModelForSequenceClassification.from_config(other_config("xlnet"))
        assert rows(prunable_layers(model, CONFIG)) == {"ff.layer_1", "ff.layer_2"}
        with pytest.warns(NoEffectWarning, match=r"Only a part of the encoder.*rel_attn\.q.*of the 4 matrices"):
            prepare_pruning(model, CONFIG)

    @pytest.mark.filterwarnings("error::transformers_palbert.errors.NoEffectWarning")
    def test_a_part_that_was_asked_for_does_not_warn(self) -> None:
        for settings in ({"targets": ("ff",)}, {"exclude": ("rel_attn", "mask_emb")}):
            model = AutoModelForSequenceClassification.from_config(other_config("xlnet"))
            prepare_pruning(model, PruningConfig(0.7, **settings))


class TestUnfit:
    def test_a_linear_tied_to_an_embedding_is_never_pruned(self) -> None:
        model = AutoModelForMaskedLM.from_config(other_config("modernbert"))
        assert model.decoder.weight is model.model.embeddings.tok_embeddings.weight
        with pytest.raises(PruningError, match=r"decoder cannot be pruned: its weight is tied.*exclude=\['decoder'\]"):
            prunable_layers(model, PruningConfig(0.7, targets=("decoder", "head")))
        found = prunable_layers(model, PruningConfig(0.7, targets=("decoder", "head"), exclude=("decoder",)))
        assert list(found) == ["head.dense"]

    def test_also_inside_the_base_model(self) -> None:
        model = BertModel(tiny_config("bert"))
        model.encoder.twin = nn.Embedding(32, 16)
        model.encoder.layer[0].intermediate.dense.weight = model.encoder.twin.weight
        assert "encoder.layer.0.intermediate.dense" not in prunable_layers(model, CONFIG)

    @pytest.mark.parametrize("module", [nn.MultiheadAttention(4, 2), nn.TransformerEncoderLayer(4, 2, 8)])
    def test_modules_of_torch_that_do_not_call_their_linears(self, module: nn.Module) -> None:
        with pytest.raises(PruningError, match=r"torch (Multihead|Transformer)\w+, which uses its weight without"):
            prunable_layers(nn.ModuleDict({"part": module}), PruningConfig(0.7, targets=("part",)))

    def test_quantized_and_other_linears(self) -> None:
        class Scaled(nn.Linear):
            def forward(self, input: torch.Tensor) -> torch.Tensor:
                return 2 * super().forward(input)

        layer = nn.Linear(2, 2)
        layer.weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False)
        config = PruningConfig(0.7, targets=("",))
        with pytest.raises(PruningError, match=r"0 cannot be pruned: it is quantized, a Linear of torch\.int8"):
            prunable_layers(nn.Sequential(layer), config)
        with pytest.raises(PruningError, match="a Scaled, which computes in its own way"):
            prunable_layers(nn.Sequential(Scaled(2, 2)), config)


class TestPlan:
    def test_counts_by_hand(self) -> None:
        model = tiny_model("bert")
        plan = pruning_plan(model, CONFIG)
        assert len(plan.targets) == 3 * LINEARS_PER_LAYER
        assert plan.weights == 3 * (4 * 16 * 16 + 2 * 16 * 32)
        assert plan.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert plan.dense == {"embeddings": (40 + 24 + 2) * 16, "head": 2 * 16}
        assert plan.left_out == ()

    def test_is_one_line(self) -> None:
        model = AutoModelForSequenceClassification.from_config(tiny_config("bert"))
        assert str(pruning_plan(model, CONFIG)) == (
            "18 matrices, 76% of the parameters; dense: embeddings (13%), pooler (3%), head (0%)"
        )

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_the_same_before_and_after_preparation(self, kind: str) -> None:
        model = tiny_model(kind)
        plan = pruning_plan(model, CONFIG)
        prepare_pruning(model, CONFIG)
        assert pruning_plan(model, CONFIG) == plan
        model(**qa_batch())

    def test_is_that_of_the_units(self) -> None:
        plan = pruning_plan(tiny_model("bert"), PruningConfig(0.5, granularity="head"))
        assert rows(plan.targets) == {
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        }
        assert plan.dense["encoder"] == 3 * 2 * 16 * 32

    def test_is_logged_at_the_start(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "transformers_palbert"):
            prepare_pruning(tiny_model("bert"), CONFIG)
        assert caplog.messages == [f"To be pruned: {pruning_plan(tiny_model('bert'), CONFIG)}."]


class TestKnownArchitectures:
    @pytest.mark.parametrize("kind", KINDS)
    def test_by_default_every_linear_of_the_layers_and_nothing_else(self, kind: str) -> None:
        model = tiny_model(kind)
        found = prunable_layers(model, CONFIG)
        layers = 1 if "albert" in kind else 3
        assert len(found) == LINEARS_PER_LAYER * layers
        assert all("encoder" in name or "transformer" in name for name in found)

    @pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta", "distilbert"])
    @pytest.mark.parametrize("auto", [AutoModelForMaskedLM, AutoModelForSequenceClassification])
    def test_other_task_heads_are_left_alone_too(self, kind: str, auto: type) -> None:
        found = prunable_layers(auto.from_config(tiny_config(kind)), CONFIG)  # type: ignore[attr-defined]
        assert len(found) == LINEARS_PER_LAYER * (1 if "albert" in kind else 3)

    def test_patterns_choose(self) -> None:
        model = tiny_model("bert")
        found = prunable_layers(model, PruningConfig(0.5, targets=("attention.*(query|key)$",)))
        assert len(found) == 6
        assert all(name.endswith(("query", "key")) for name in found)

    def test_exclude_takes_some_back(self) -> None:
        found = prunable_layers(
            tiny_model("bert"), PruningConfig(0.5, targets=("layer",), exclude=(r"layer\.[02]\.", "value"))
        )
        assert len(found) == 5
        assert all("layer.1." in name and "value" not in name for name in found)

    def test_exclude_adds_to_what_stays_dense_anyway(self) -> None:
        model = AutoModelForSequenceClassification.from_config(tiny_config("bert"))
        found = prunable_layers(model, PruningConfig(0.5, exclude=(r"layer\.[02]\.",)))
        assert len(found) == LINEARS_PER_LAYER
        assert all("layer.1." in name for name in found)

    def test_what_is_named_is_pruned_even_a_head(self) -> None:
        assert list(prunable_layers(tiny_model(), PruningConfig(0.5, targets=("qa_outputs",)))) == ["qa_outputs"]

    def test_no_match_lists_what_there_is(self) -> None:
        with pytest.raises(PruningError, match=r"No Linear of AlbertForQuestionAnswering .*'nope'.*embedding_hidden"):
            prepare_pruning(tiny_model(), PruningConfig(0.5, targets=("nope",)))

    def test_a_model_without_linears(self) -> None:
        with pytest.raises(PruningError, match="Its Linears are none"):
            prepare_pruning(nn.Sequential(nn.ReLU()), PruningConfig(0.7, targets=("encoder",)))
