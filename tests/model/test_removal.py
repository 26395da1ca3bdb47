"""Removal of heads and feed-forward units: the logits of the model whose units have no way out, in fewer weights."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from tests.model.test_structure import DEPTH, HEADS, KINDS, UNITS, small_model
from transformers_palbert import ConfigurationError
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import (
    KeptUnits,
    LayerSize,
    fold_dead_units,
    keep_units,
    layer_path,
    layer_sizes,
    read_layer_sizes,
    resize_layers,
)
from transformers_palbert.model.structure import STRUCTURES, encoder_layers

INPUTS = {
    "input_ids": torch.arange(24).view(2, 12) + 3,
    "attention_mask": torch.tensor([[1] * 12, [1] * 7 + [0] * 5]),
}
WIDTH = 8


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        outputs = model.eval()(**INPUTS)
    return torch.cat([outputs.start_logits, outputs.end_logits], dim=-1)


def random_kept(model: PreTrainedModel, seed: int = 0) -> dict[str, KeptUnits]:
    """Two, one or no heads and about half of the units of each layer, other ones in each."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for number, path in enumerate(layer_sizes(model)):
        heads = torch.randperm(HEADS, generator=generator)[: 2 - number % 3].sort().values
        units = (torch.rand(UNITS, generator=generator) < 0.5).nonzero()[:, 0]
        kept[path] = KeptUnits(heads.tolist(), units.tolist())
    return kept


def naive_removed(model: PreTrainedModel, kept: dict[str, KeptUnits]) -> PreTrainedModel:
    """A whole copy whose other units have no way out."""
    model = copy.deepcopy(model)
    for layer in encoder_layers(model):
        stays = kept[layer_path(model, layer)]
        with torch.no_grad():
            for head in set(range(HEADS)) - set(stays.heads or ()):
                layer.attention_output.weight[:, head * WIDTH : (head + 1) * WIDTH] = 0
            for unit in set(range(UNITS)) - set(stays.units or ()):
                layer.ffn_out.weight[:, unit] = 0
    return model


def random_model(kind: str, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(3)
    model = small_model(kind, **changes)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_whole_model(kind: str, attention: str) -> None:
    model = random_model(kind, attn_implementation=attention)
    kept = random_kept(model)
    expected, size = logits(naive_removed(model, kept)), sum(p.numel() for p in model.parameters())
    keep_units(model, kept)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in model.parameters()) < size
    for path, found in layer_sizes(model).items():
        assert found == LayerSize(len(kept[path].heads or ()), len(kept[path].units or ()))
    model.bfloat16()
    assert logits(model).isfinite().all()


@pytest.mark.parametrize("kind", ["albert", "bert", "distilbert"])
def test_what_is_left_can_be_trained(kind: str) -> None:
    model = random_model(kind)
    model.base_model.embeddings.requires_grad_(False)
    keep_units(model, random_kept(model))
    model.train()(**INPUTS, start_positions=torch.tensor([1, 2]), end_positions=torch.tensor([3, 4])).loss.backward()
    for layer in encoder_layers(model):
        for linear in (layer.query, layer.value, layer.attention_output, layer.ffn_in, layer.ffn_out):
            assert linear.weight.grad is not None
            assert linear.weight.grad.shape == linear.weight.shape == (linear.out_features, linear.in_features)


@pytest.mark.parametrize("kind", ["palbert", "roberta"])
def test_removing_twice_is_removing_once(kind: str) -> None:
    once, twice = random_model(kind), random_model(kind)
    paths = list(layer_sizes(once))
    keep_units(once, {path: KeptUnits([0, 2], [1, 5, 9]) for path in paths})
    keep_units(twice, {path: KeptUnits(None, [1, 4, 5, 9]) for path in paths})
    keep_units(twice, {path: KeptUnits([0, 2], [0, 2, 3]) for path in paths})
    assert torch.equal(logits(once), logits(twice))
    assert once.config.to_dict() == twice.config.to_dict()


class TestConfiguration:
    def test_layers_of_different_sizes(self) -> None:
        model = random_model("bert")
        kept = random_kept(model)
        keep_units(model, kept)
        sizes = read_layer_sizes(model.config)
        assert sizes == layer_sizes(model)
        assert model.config.num_attention_heads == HEADS

    @pytest.mark.parametrize("kind", KINDS)
    def test_units_alone_and_alike_need_no_entry(self, kind: str) -> None:
        model = random_model(kind)
        keep_units(model, {path: KeptUnits(None, [2, 3, 5]) for path in layer_sizes(model)})
        assert read_layer_sizes(model.config) is None
        again = type(model)(model.config)
        again.load_state_dict(model.state_dict())
        assert torch.equal(logits(again), logits(model))

    def test_heads_alike_have_a_field_in_palbert(self) -> None:
        model = random_model("palbert")
        keep_units(model, {path: KeptUnits([1]) for path in layer_sizes(model)})
        assert read_layer_sizes(model.config) is None
        assert (model.config.num_attention_heads, model.config.attention_head_size) == (1, WIDTH)
        again = type(model)(model.config)
        again.load_state_dict(model.state_dict())
        assert torch.equal(logits(again), logits(model))

    def test_keeping_everything_changes_nothing(self) -> None:
        model = random_model("bert")
        before, config = logits(model), model.config.to_dict()
        keep_units(model, dict.fromkeys(layer_sizes(model), KeptUnits()))
        assert torch.equal(logits(model), before)
        assert model.config.to_dict() == config

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_whole_model_is_made_ready(self, kind: str) -> None:
        model, other = random_model(kind), random_model(kind)
        keep_units(model, random_kept(model))
        resize_layers(other, layer_sizes(model))
        other.load_state_dict(model.state_dict())
        assert torch.equal(logits(other), logits(model))


def test_dead_units_are_found_and_their_constants_folded() -> None:
    model = random_model("bert")
    whole = layer_sizes(model)
    first, second, *_ = encoder_layers(model)
    with torch.no_grad():
        first.ffn_in.weight[[0, 7]] = 0  # receive nothing, and give the activation of their bias
        first.ffn_out.weight[:, 9] = 0  # gives nothing
        first.value.weight[:WIDTH] = 0  # a head that gives the bias of its values
        second.attention_output.weight[:, WIDTH : 2 * WIDTH] = 0
    expected = logits(model)
    kept = fold_dead_units(model)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    names = list(whole)
    assert set(kept) == {names[0], names[1]}
    assert kept[names[0]].heads == [1, 2]
    assert kept[names[0]].units == [unit for unit in range(UNITS) if unit not in (0, 7, 9)]
    assert kept[names[1]].heads == [0, 2]
    keep_units(model, kept)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert fold_dead_units(model) == {}


class TestBlocksThatLostEverything:
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_their_constants_stay(self, kind: str, attention: str) -> None:
        model = random_model(kind, attn_implementation=attention)
        layer = encoder_layers(model)[-1]
        with torch.no_grad():
            layer.attention_output.weight[:, : 2 * WIDTH] = 0
            layer.value.weight[2 * WIDTH :] = 0  # the last head gives the bias of its values
            layer.ffn_out.weight[:, :-1] = 0
            layer.ffn_in.weight[-1] = 0
        expected = logits(model)
        keep_units(model, fold_dead_units(model))
        assert layer_sizes(model)[layer_path(model, layer)] == LayerSize(0, 0)
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
        assert logits(model.bfloat16()).isfinite().all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_removing_live_heads_is_zeroing_their_way_out(self, kind: str) -> None:
        model = random_model(kind)
        kept = dict.fromkeys(layer_sizes(model), KeptUnits([], []))
        expected = logits(naive_removed(model, kept))
        keep_units(model, kept)
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
        keep_units(model, kept)  # twice is once
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
        assert fold_dead_units(model) == {}

    @pytest.mark.parametrize("kind", ["albert", "bert", "distilbert"])
    def test_nothing_is_multiplied_there(self, kind: str) -> None:
        model = random_model(kind)
        keep_units(model, dict.fromkeys(layer_sizes(model), KeptUnits([], [])))
        with FlopCounterMode(display=False) as counter:
            logits(model)
        spent = sum(counter.get_flop_counts()["Global"].values())
        outside = sum(
            2 * module.weight.numel() * INPUTS["input_ids"].numel()
            for module in model.modules()
            if isinstance(module, nn.Linear)
        )
        assert spent == outside  # of the head, and the projection of embeddings

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_attention_weights_are_of_no_head(self, kind: str, attention: str) -> None:
        model = random_model(kind, attn_implementation=attention).eval()
        path = list(layer_sizes(model))[-1]
        model(**INPUTS, output_attentions=True)  # transformers puts its hooks in place
        keep_units(model, {path: KeptUnits([])})
        found = model(**INPUTS, output_attentions=True).attentions
        if attention == "eager":
            shared = STRUCTURES[kind].shared
            assert [len(weights[0]) for weights in found] == [0 if shared else HEADS] * (DEPTH - 1) + [0]
        else:
            assert not found

    @pytest.mark.parametrize("kind", KINDS)
    def test_copies_and_pickles(self, kind: str) -> None:
        model = random_model(kind)
        keep_units(model, dict.fromkeys(layer_sizes(model), KeptUnits([])))
        expected = logits(model)
        for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert type(copied.base_model) is type(model.base_model)
            assert type(encoder_layers(copied)[0].attention) is type(encoder_layers(model)[0].attention)
            with torch.no_grad():
                for parameter in copied.parameters():
                    parameter.zero_()
            assert not torch.equal(logits(copied), expected)
            assert torch.equal(logits(model), expected)

    @pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "distilbert"])
    def test_training_reaches_every_parameter(self, kind: str) -> None:
        """A distributed training waits for the gradient of each; empty ones are no exception."""
        model = random_model(kind)
        keep_units(model, {list(layer_sizes(model))[-1]: KeptUnits([], [])})
        model.train()(
            **INPUTS, start_positions=torch.tensor([1, 2]), end_positions=torch.tensor([3, 4])
        ).loss.backward()
        lacking = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        assert not {name for name in lacking if "pooler" not in name}

    @pytest.mark.parametrize("kind", ["albert", "bert", "distilbert"])
    def test_compiles_in_one_graph(self, kind: str) -> None:
        model = random_model(kind)
        keep_units(model, dict.fromkeys(layer_sizes(model), KeptUnits([], [])))
        with torch.no_grad():
            found = torch.compile(model.eval(), backend="eager", fullgraph=True)(**INPUTS).start_logits
        torch.testing.assert_close(found, logits(model).unflatten(-1, (2, -1))[:, 0])


class TestFailsLoudly:
    @pytest.mark.parametrize(("kept", "message"), [
        (KeptUnits([0, HEADS]), r"in \[0, 3\)"),
        (KeptUnits(None, [1, 1]), "different, ascending"),
        (KeptUnits(None, [2, 1]), "different, ascending"),
        (KeptUnits(None, [-1]), r"in \[0, 40\)"),
    ])  # fmt: skip
    def test_wrong_indices(self, kept: KeptUnits, message: str) -> None:
        model = random_model("bert")
        before = layer_sizes(model)
        with pytest.raises(ConfigurationError, match=message):
            keep_units(model, {**dict.fromkeys(before, KeptUnits([0])), list(before)[-1]: kept})
        assert layer_sizes(model) == before  # nothing was cut

    def test_unknown_layers(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no layer 'encoder.layer.9'; it has encoder.layer.0"):
            keep_units(random_model("bert"), {"encoder.layer.9": KeptUnits([0])})
        with pytest.raises(ConfigurationError, match="do not have the same layers"):
            resize_layers(random_model("bert"), {"encoder.layer.0": LayerSize(1, 1)})

    @pytest.mark.parametrize("size", [LayerSize(-1, 4), LayerSize(HEADS + 1, 4), LayerSize(1, UNITS + 1)])
    def test_sizes_that_the_architecture_does_not_have(self, size: LayerSize) -> None:
        model = random_model("bert")
        with pytest.raises(ConfigurationError, match="at most 3 and 40"):
            resize_layers(model, dict.fromkeys(layer_sizes(model), size))

    @pytest.mark.parametrize("value", [{}, [], 3, {"a": 3}, {"a": [1]}, {"a": [1, True]}, {"a": [-1, 2]}])
    def test_damaged_configurations(self, value: Any) -> None:
        model = random_model("bert")
        model.config.layer_sizes = value
        with pytest.raises(ConfigurationError, match="layer_sizes"):
            read_layer_sizes(model.config)

    def test_applications_with_units_of_their_own(self) -> None:
        masks = [mask_to_text([True] * UNITS)] * DEPTH
        model = random_model("palbert", application_units=masks)
        with pytest.raises(ConfigurationError, match="shared weights must stay whole"):
            keep_units(model, dict.fromkeys(layer_sizes(model), KeptUnits([0])))


def test_every_architecture_of_the_table_is_tested() -> None:
    assert sorted(STRUCTURES) == KINDS
