from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForQuestionAnswering

from tests.pruning.helpers import KINDS, assert_same, masks_of, qa_batch, raw_state, tiny_config, tiny_model
from tests.references.pruning import SortingMaskedLinear, naive_apportion, naive_top_v
from transformers_palbert.errors import NoEffectWarning, PruningError
from transformers_palbert.pruning import (
    PruningConfig,
    apply_density,
    bake_masks,
    is_prepared,
    masked_layers,
    masked_linear,
    prepare_pruning,
)
from transformers_palbert.pruning.convert import score_parameters, update_scores
from transformers_palbert.pruning.masked_linear import MaskedLinear
from transformers_palbert.pruning.selection import Selection

CONFIG = PruningConfig(0.7, method="movement")
ALL = PruningConfig(0.7, method="movement", targets=("",))
LEFT_ALONE = (
    "embed",
    "pooler",
    "LayerNorm",
    "layer_norm",
    "qa_outputs",
    "classifier",
    "predictions",
    "lm_head",
    "vocab_",
)


def prepared(kind: str = "albert", config: PruningConfig = CONFIG, **changes: object) -> nn.Module:
    """A prepared tiny model whose scores are random."""
    model = prepare_pruning(tiny_model(kind, **changes), config)
    generator = torch.Generator().manual_seed(5)
    for layer in masked_layers(model).values():
        if layer.scores is not None:
            layer.scores.data.normal_(generator=generator)
    return model


@pytest.fixture
def builds() -> Iterator[mock.Mock]:
    with mock.patch.object(masked_linear, "mask_weight", wraps=masked_linear.mask_weight) as counter:
        yield counter


class TestWhatStaysDense:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_rest_of_the_model_is_untouched(self, kind: str) -> None:
        model = tiny_model(kind)
        modules, before = dict(model.named_modules()), raw_state(model)
        prepare_pruning(model, CONFIG)
        apply_density_after_random_scores(model)
        bake_masks(model)
        after = raw_state(model)
        for name in before:
            if any(part in name for part in LEFT_ALONE):
                assert torch.equal(before[name], after[name])
        for name, module in model.named_modules():
            if not isinstance(module, nn.Linear):
                assert module is modules[name]


def apply_density_after_random_scores(model: nn.Module, density: float = 0.3) -> None:
    for layer in masked_layers(model).values():
        layer.scores.data.normal_()
    apply_density(model, CONFIG, density)


class TestPrepare:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_prepared_model_computes_what_it_did(self, kind: str) -> None:
        model, batch = tiny_model(kind).eval(), qa_batch()
        before = model(**batch)
        parameters = {name: id(parameter) for name, parameter in model.named_parameters()}
        assert prepare_pruning(model, CONFIG) is model
        after = model(**batch)
        assert torch.equal(before.start_logits, after.start_logits)
        assert torch.equal(before.loss, after.loss)
        now = {name: id(p) for name, p in model.named_parameters() if not name.endswith("scores")}
        assert now == parameters

    def test_movement_adds_zero_scores_in_float32(self) -> None:
        model = prepare_pruning(tiny_model().to(torch.bfloat16), CONFIG)
        for layer in masked_layers(model).values():
            assert layer.scores.dtype == torch.float32
            assert layer.scores.shape == layer.weight.shape
            assert not layer.scores.any()
            assert layer.mask.all()

    def test_magnitude_adds_no_parameter(self) -> None:
        model = tiny_model()
        names = [name for name, _ in model.named_parameters()]
        prepare_pruning(model, PruningConfig(0.5, method="magnitude"))
        assert [name for name, _ in model.named_parameters()] == names

    def test_training_mode_is_kept(self) -> None:
        for mode in (True, False):
            model = prepare_pruning(tiny_model().train(mode), CONFIG)
            assert all(layer.training is mode for layer in masked_layers(model).values())

    def test_twice_is_an_error(self) -> None:
        with pytest.raises(PruningError, match="bake_masks"):
            prepare_pruning(prepared(), CONFIG)

    def test_sparsity_zero_warns(self) -> None:
        with pytest.warns(NoEffectWarning, match="target_sparsity=0"):
            prepare_pruning(tiny_model(), PruningConfig(0))

    def test_tied_linears_are_refused(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        with pytest.raises(PruningError, match="1 shares its weight"):
            prepare_pruning(model, ALL)

    def test_a_module_in_two_places_is_masked_in_both(self) -> None:
        shared = nn.Linear(3, 3)
        model = nn.Sequential(shared, nn.ReLU(), shared)
        prepare_pruning(model, ALL)
        assert model[0] is model[2]
        assert isinstance(model[2], MaskedLinear)
        apply_density_after_random_scores(model)
        bake_masks(model)
        assert model[0] is model[2]
        assert type(model[2]) is nn.Linear


def enable_checkpointing(model: nn.Module, **options: object) -> None:
    """Under the name that this version of transformers has for it."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable(options or None)


class TestBuiltOncePerForward:
    """However often ALBERT applies its layer."""

    @pytest.mark.parametrize("kind", ["albert", "palbert", "bert"])
    @pytest.mark.parametrize("bf16", [False, True])
    def test_in_training_and_evaluation(self, kind: str, bf16: bool, builds: mock.Mock) -> None:
        model = prepared(kind, layers=12)
        layers = len(masked_layers(model))
        for count in (1, 2, 3):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = model(**qa_batch()).loss
            loss.backward()
            assert builds.call_count == count * layers
        builds.reset_mock()
        with torch.no_grad():
            model.eval()(**qa_batch())
        assert builds.call_count == layers

    @pytest.mark.parametrize("kind", ["palbert", "bert"])
    @pytest.mark.parametrize("bf16", [False, True])
    def test_with_gradient_checkpointing_and_equal_gradients(self, kind: str, bf16: bool, builds: mock.Mock) -> None:
        gradients = []
        for checkpointing in (False, True):
            model = prepared(kind, layers=4).train()
            apply_density(model, CONFIG, 0.5)
            if checkpointing:
                enable_checkpointing(model)
            builds.reset_mock()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = model(**qa_batch()).loss
            loss.backward()
            assert builds.call_count == len(masked_layers(model))
            gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        assert_same(*gradients)

    def test_reentrant_checkpointing_gives_the_same_gradients(self) -> None:
        gradients = []
        for checkpointing in (False, True):
            model = prepared("palbert").train()
            apply_density(model, CONFIG, 0.5)
            if checkpointing:
                enable_checkpointing(model, use_reentrant=True)
                model.enable_input_require_grads()
            model(**qa_batch()).loss.backward()
            gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], gradient)

    def test_a_bare_encoder_too(self, builds: mock.Mock) -> None:
        model = prepare_pruning(tiny_model("palbert").albert, CONFIG)
        enable_checkpointing(model.train())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(qa_batch()["input_ids"]).last_hidden_state
        output.sum().backward()
        assert builds.call_count == len(masked_layers(model))


class TestApplyDensity:
    @pytest.mark.parametrize("density", [0.0, 0.01, 0.3, 0.777, 1.0])
    @pytest.mark.parametrize("method", ["movement", "magnitude"])
    def test_per_matrix(self, density: float, method: str) -> None:
        config = PruningConfig(0.5, method=method)
        model = prepared("bert", config)
        apply_density(model, config, density)
        layers = list(masked_layers(model).values())
        counts = naive_apportion(density, [layer.weight.numel() for layer in layers])
        for layer, count in zip(layers, counts, strict=True):
            scores = layer.weight.detach().abs() if method == "magnitude" else layer.scores.detach()
            assert torch.equal(layer.mask, naive_top_v(scores, count))

    @pytest.mark.parametrize("density", [0.0, 0.01, 0.3, 0.777, 1.0])
    def test_globally(self, density: float) -> None:
        config = PruningConfig(0.5, method="movement", scope="global")
        model = prepared("bert", config)
        layers = list(masked_layers(model).values())
        layers[0].scores.data += 100  # one matrix matters more than all others
        apply_density(model, config, density)
        scores = torch.cat([layer.scores.detach().flatten() for layer in layers])
        found = torch.cat([layer.mask.flatten() for layer in layers])
        assert torch.equal(found, naive_top_v(scores, round(density * scores.numel())))
        kept = min(layers[0].weight.numel(), round(density * scores.numel()))
        assert int(layers[0].mask.sum()) == kept

    def test_a_weight_may_come_back(self) -> None:
        model = prepared()
        apply_density(model, CONFIG, 0.2)
        first = masks_of(model)
        for layer in masked_layers(model).values():
            layer.scores.data.neg_()
        apply_density(model, CONFIG, 0.2)
        assert all((mask & ~first[name]).any() for name, mask in masks_of(model).items())

    def test_scores_follow_the_method(self) -> None:
        model = prepared()
        first = Selection(model, CONFIG).scores_by_matrix()
        assert list(first) == list(masked_layers(model))
        zeroth = Selection(model, PruningConfig(0.5, method="magnitude")).scores_by_matrix()
        for name, layer in masked_layers(model).items():
            assert torch.equal(first[name], layer.scores)
            assert torch.equal(zeroth[name], layer.weight.abs())

    def test_movement_without_scores_is_an_error(self) -> None:
        model = prepared("albert", PruningConfig(0.5, method="magnitude"))
        with pytest.raises(PruningError, match="prepare_pruning"):
            apply_density(model, CONFIG, 0.5)

    def test_nan_scores(self) -> None:
        model = prepared()
        next(iter(masked_layers(model).values())).scores.data[0, 0] = float("nan")
        with pytest.raises(PruningError, match="1 of 256 scores are NaN"):
            apply_density(model, CONFIG, 0.5)


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta"])
def test_whole_models_equal_the_port_of_the_research_code(kind: str) -> None:
    """The port sorts in each of ALBERT's twelve applications and leaves all gradients to autograd."""
    ours = prepared(kind, layers=12)
    theirs = SortingMaskedLinear.replace_targets(tiny_model(kind, layers=12), density=0.5)
    for name, layer in masked_layers(ours).items():
        theirs.get_submodule(name).scores.data.copy_(layer.scores.data)
    apply_density(ours, CONFIG, 0.5)
    results = [model(**qa_batch()) for model in (ours, theirs)]
    assert torch.equal(results[0].start_logits, results[1].start_logits)
    gradients = []
    for model, result in zip((ours, theirs), results, strict=True):
        result.loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


class TestBake:
    @pytest.mark.parametrize("kind", KINDS)
    def test_same_logits_plain_modules_plain_keys(self, kind: str) -> None:
        dense = tiny_model(kind)
        model, batch = prepared(kind).eval(), qa_batch()
        apply_density(model, CONFIG, 0.3)
        before = model(**batch)
        assert bake_masks(model) is model
        after = model(**batch)
        assert torch.equal(before.start_logits, after.start_logits)
        assert torch.equal(before.end_logits, after.end_logits)
        assert model.state_dict().keys() == dense.state_dict().keys()
        assert [type(module) for module in model.modules()] == [type(module) for module in dense.modules()]
        assert not is_prepared(model)
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_twice_is_an_error(self) -> None:
        with pytest.raises(PruningError, match="no masks to bake"):
            bake_masks(bake_masks(prepared()))

    def test_a_baked_model_can_be_pruned_again(self) -> None:
        model = bake_masks(prepared())
        prepare_pruning(model, CONFIG)
        assert model(**qa_batch()).loss.isfinite()


class TestCopies:
    @pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_are_independent(self, clone: object) -> None:
        model, batch = prepared().eval(), qa_batch()
        apply_density(model, CONFIG, 0.3)
        expected = model(**batch)
        twin = clone(model)  # type: ignore[operator]
        assert torch.equal(twin(**batch).start_logits, expected.start_logits)
        apply_density(twin, CONFIG, 1.0)
        assert not torch.equal(twin(**batch).start_logits, expected.start_logits)
        bake_masks(twin)
        assert torch.equal(model(**batch).start_logits, expected.start_logits)
        assert is_prepared(model)

    @pytest.mark.parametrize("kind", KINDS)
    def test_save_pretrained_writes_what_stock_classes_read(self, kind: str, tmp_path: Path) -> None:
        model, batch = prepared(kind).eval(), qa_batch()
        apply_density(model, CONFIG, 0.3)
        model.save_pretrained(tmp_path)
        loaded, keys = AutoModelForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
        assert not keys["missing_keys"]
        assert {key.rpartition(".")[2] for key in keys["unexpected_keys"]} == {"mask", "scores", "pruned_weight"}
        assert torch.equal(loaded.eval()(**batch).start_logits, model(**batch).start_logits)

    def test_tied_weights_are_saved_and_loaded(self, tmp_path: Path) -> None:
        model = AutoModelForMaskedLM.from_config(tiny_config("bert")).eval()
        prepare_pruning(model, CONFIG)
        apply_density_after_random_scores(model)
        model.save_pretrained(tmp_path)
        loaded, keys = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not keys["missing_keys"]
        tokens = qa_batch()["input_ids"]
        assert torch.equal(loaded.eval()(tokens).logits, model(tokens).logits)


def test_a_sum_has_the_rate_that_is_given() -> None:
    settings = {"method": "movement", "score_start": "rank", "score_update": "sum", "score_learning_rate": 0.25}
    config = PruningConfig(0.5, **settings)
    model = prepare_pruning(tiny_model("bert"), config)
    before = [scores.detach().clone() for scores in score_parameters(model)]
    update_scores(model, config, [torch.ones_like(scores) for scores in before])
    for old, new in zip(before, score_parameters(model), strict=True):
        torch.testing.assert_close(new.detach(), old - 0.25)
