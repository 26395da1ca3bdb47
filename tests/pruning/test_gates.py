"""Units that are kept by gates: in a Trainer, in checkpoints, in the finished model; shared and per application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from tests.pruning.helpers import Recorder, make_trainer, qa_batch, tiny_model
from transformers_palbert.errors import ConfigurationError, PruningError
from transformers_palbert.hub.facts import pruning_settings
from transformers_palbert.model.applications import SlicedLinear, mask_from_text
from transformers_palbert.model.removal import KeptUnits, layer_sizes
from transformers_palbert.model.structure import encoder_layers
from transformers_palbert.pruning import (
    MovementPruningCallback,
    PruningConfig,
    apply_density,
    bake_masks,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.pruning.convert import score_parameters
from transformers_palbert.pruning.finishing import finish_pruning
from transformers_palbert.pruning.removal import remove_units
from transformers_palbert.pruning.selection import Selection

GRANULARITIES = ("head", "ffn_unit")
FIELDS = {"head": ("application_heads", 2), "ffn_unit": ("application_units", 32)}


def prepared(granularity: str, kind: str = "palbert", **settings: Any) -> tuple[PreTrainedModel, PruningConfig]:
    """A model whose gates have random scores."""
    config = PruningConfig(0.5, method="movement", granularity=granularity, **{"applications": "each", **settings})
    model = prepare_pruning(tiny_model(kind), config).eval()
    for scores in score_parameters(model):
        torch.nn.init.normal_(scores.data)
    return model, config  # type: ignore[return-value]


def kept(model: PreTrainedModel, granularity: str) -> list[list[bool]]:
    """What the configuration says that each application keeps."""
    field, count = FIELDS[granularity]
    return [mask_from_text(text, count) for text in getattr(model.config, field)]


@pytest.mark.parametrize("granularity", GRANULARITIES)
class TestEachApplication:
    def test_keeps_units_of_its_own(self, granularity: str) -> None:
        model, config = prepared(granularity)
        (gated,) = masked_layers(model).values()
        assert gated.mask.shape == (3, FIELDS[granularity][1])
        apply_density(model, config, 0.5)
        assert gated.mask.eq(1).tolist() == kept(model, granularity)
        assert sum(map(sum, kept(model, granularity))) == gated.mask.numel() // 2
        assert not torch.equal(gated.mask[0], gated.mask[1])

    def test_baked_computes_the_same_with_less(self, granularity: str) -> None:
        model, config = prepared(granularity)
        apply_density(model, config, 0.5)
        expected = model(**qa_batch())
        bake_masks(model)
        found = model(**qa_batch())
        torch.testing.assert_close(found.start_logits, expected.start_logits)
        torch.testing.assert_close(found.loss, expected.loss)
        sliced = [module for module in model.modules() if isinstance(module, SlicedLinear)]
        assert len(sliced) == (4 if granularity == "head" else 2)
        assert {len(linear.kept[0]) for linear in sliced} < {16, 8, 0, *range(32)}

    def test_weights_that_no_application_uses_are_zero(self, granularity: str) -> None:
        model, config = prepared(granularity)
        for scores in score_parameters(model):
            scores.data[:, 0] = -9.0
        apply_density(model, config, 0.5)
        bake_masks(model)
        (layer,) = encoder_layers(model)
        if granularity == "head":
            assert not any(linear.weight[:8].any() for linear in (layer.query, layer.key, layer.value))
            assert not layer.attention_output.weight[:, :8].any()
        else:
            assert not layer.ffn_in.weight[0].any()
            assert not layer.ffn_out.weight[:, 0].any()

    @pytest.mark.parametrize("method", ["movement", "sensitivity"])
    def test_in_a_trainer(self, granularity: str, method: str, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.5, method=method, granularity=granularity, applications="each")
        recorder = Recorder()
        trainer = make_trainer(
            tmp_path,
            model=tiny_model("palbert"),
            callback=callback,
            callbacks=[recorder],
            max_steps=8,
            save_strategy="steps",
            save_steps=2,
        )
        trainer.train()
        count = 3 * FIELDS[granularity][1]
        assert sum(map(sum, kept(trainer.model, granularity))) == count // 2
        assert trainer.model.config.pruning["applications"] == "each"
        logged = [entry["density_encoder"] for entry in trainer.state.log_history if "loss" in entry]
        matrices = 4 * 16 * 16 + 2 * 16 * 32
        pruned = (4 * 16 * 16 if granularity == "head" else 2 * 16 * 32) // 2
        assert logged[-1] == pytest.approx((matrices - pruned) / matrices)
        for step in (2, 4, 6, 8):
            loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / f"checkpoint-{step}").eval()
            torch.testing.assert_close(loaded(**qa_batch()).start_logits, recorder.logits[step], rtol=1e-4, atol=1e-5)
        trainer.save_model()
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(**qa_batch()).start_logits, trainer.model.eval()(**qa_batch()).start_logits)

    def test_a_resumed_run_says_it_in_its_checkpoints(self, granularity: str, tmp_path: Path) -> None:
        options = {"max_steps": 8, "save_strategy": "steps", "save_steps": 1}
        settings = {"granularity": granularity, "applications": "each", "mask_every": 4, "warmup": 0.0, "cooldown": 0.2}
        make_trainer(
            tmp_path, model=tiny_model("palbert"), callback=MovementPruningCallback(0.5, **settings), **options
        ).train()
        recorder = Recorder()
        resumed = make_trainer(
            tmp_path / "resumed",
            model=tiny_model("palbert"),
            callback=MovementPruningCallback(0.5, **settings),
            callbacks=[recorder],
            **options,
        )
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "resumed" / "checkpoint-6").eval()
        torch.testing.assert_close(loaded(**qa_batch()).start_logits, recorder.logits[6], rtol=1e-4, atol=1e-5)

    def test_gradient_checkpointing_changes_nothing(self, granularity: str, tmp_path: Path) -> None:
        states = []
        for checkpointing in (False, True):
            model = tiny_model("palbert")
            callback = MovementPruningCallback(0.5, granularity=granularity, applications="each")
            trainer = make_trainer(tmp_path, model=model, callback=callback, max_steps=5)
            if checkpointing:
                enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
                enable()
            trainer.train()
            states.append({**trainer.model.state_dict()})
            assert sum(map(sum, kept(trainer.model, granularity))) == 3 * FIELDS[granularity][1] // 2
        for name, tensor in states[0].items():
            assert torch.equal(states[1][name], tensor)

    def test_the_guard_ends_with_the_applications_of_the_state_that_it_kept(
        self, granularity: str, tmp_path: Path
    ) -> None:
        guard = {"max_metric_drop": 0.0, "metric": "loss", "greater_is_better": False, "dense_metric": 1e9}
        callback = MovementPruningCallback(0.5, granularity=granularity, applications="each", warmup=0.0, **guard)
        recorder = Recorder()
        trainer = make_trainer(
            tmp_path,
            model=tiny_model("palbert"),
            callback=callback,
            callbacks=[recorder],
            max_steps=8,
            eval_strategy="steps",
            eval_steps=2,
        )
        assert callback.guard is not None
        good = callback.guard.is_good
        callback.guard.is_good = lambda metrics, density: good(metrics, density) and trainer.state.global_step < 6  # type: ignore[method-assign]
        trainer.train()
        (mask,) = recorder.masks[4].values()
        assert kept(trainer.model, granularity) == mask.eq(1).tolist()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", ["albert", "palbert", "bert"])
def test_shared_gates_in_checkpoints_on_the_way(granularity: str, kind: str, tmp_path: Path) -> None:
    """Without this package too: the weight of a checkpoint is the effective one."""
    recorder = Recorder()
    callback = MovementPruningCallback(0.5, granularity=granularity)
    options = {"max_steps": 8, "save_strategy": "steps", "save_steps": 2}
    make_trainer(tmp_path, model=tiny_model(kind), callback=callback, callbacks=[recorder], **options).train()
    for step in (2, 4, 6, 8):
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / f"checkpoint-{step}").eval()
        torch.testing.assert_close(loaded(**qa_batch()).start_logits, recorder.logits[step])


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta", "distilbert"])
def test_shared_gates_end_in_smaller_layers(granularity: str, kind: str, tmp_path: Path) -> None:
    models = {}
    for sparse in (True, False):
        callback = MovementPruningCallback(0.5, granularity=granularity, save_sparse=sparse)
        trainer = make_trainer(tmp_path, model=tiny_model(kind), callback=callback, max_steps=8)
        trainer.train()
        models[sparse] = trainer.model.eval()
    whole = layer_sizes(tiny_model(kind))
    assert layer_sizes(models[False]) == whole  # stock, with zeros
    for path, size in layer_sizes(models[True]).items():
        expected = (1, whole[path].units) if granularity == "head" else (whole[path].heads, whole[path].units // 2)
        assert (size.heads, size.units) == expected
    found, zeros = models[True](**qa_batch()).start_logits, models[False](**qa_batch()).start_logits
    torch.testing.assert_close(found, zeros, rtol=1e-5, atol=1e-5)
    models[True].save_pretrained(tmp_path / "small")
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "small").eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, found)


class TestFailsLoudly:
    @pytest.mark.parametrize("granularity", ["element", "row", "block:4x4"])
    def test_masks_of_weights_are_shared(self, granularity: str) -> None:
        with pytest.raises(ConfigurationError, match=r"needs units that a gate can switch.*'head' or 'ffn_unit'"):
            PruningConfig(0.5, granularity=granularity, applications="each")

    @pytest.mark.parametrize("settings", [{"method": "magnitude"}, {"method": "movement", "score_start": "rank"}])
    def test_sizes_of_shared_weights_do_not_differ(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="cannot tell the applications of a shared layer apart"):
            PruningConfig(0.5, granularity="head", applications="each", **settings)

    def test_unknown(self) -> None:
        with pytest.raises(ConfigurationError, match=r"applications='all' is not allowed; choose one of"):
            PruningConfig(0.5, applications="all")

    @pytest.mark.parametrize("kind", ["albert", "bert"])
    def test_only_palbert_can_say_it(self, kind: str) -> None:
        with pytest.raises(PruningError, match=r"needs a PAL-BERT.*PalBertForQuestionAnswering\.from_pretrained"):
            prepared("head", kind)

    @pytest.mark.parametrize("applications", ["each", "shared"])
    def test_not_twice(self, applications: str) -> None:
        model, _ = prepared("head")
        apply_density(model, PruningConfig(0.5, method="movement", granularity="head", applications="each"), 0.5)
        bake_masks(model)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with pytest.raises(ConfigurationError, match="shared weights must stay whole"):
            prepare_pruning(model, PruningConfig(0.5, granularity="ffn_unit", applications=applications))
        with pytest.raises(ConfigurationError, match="shared weights must stay whole"):
            remove_units(model)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())

    def test_layers_that_lost_units_before(self) -> None:
        model = tiny_model("palbert", layers=4, num_hidden_groups=2)
        path = next(iter(layer_sizes(model)))
        remove_units(model, {path: KeptUnits(None, range(8))})
        with pytest.raises(PruningError, match="Prune its applications first"):
            prepare_pruning(model, PruningConfig(0.5, granularity="ffn_unit", applications="each"))


def test_groups_that_are_applied_once_and_twice() -> None:
    config = PruningConfig(0.5, method="movement", granularity="ffn_unit", applications="each")
    model = prepare_pruning(tiny_model("palbert", layers=3, num_hidden_groups=2), config).eval()
    for scores in score_parameters(model):
        torch.nn.init.normal_(scores.data)
    apply_density(model, config, 0.5)
    expected = model(**qa_batch()).start_logits
    bake_masks(model)
    assert sum(map(sum, kept(model, "ffn_unit"))) == 48
    torch.testing.assert_close(model(**qa_batch()).start_logits, expected)


def test_checkpoints_of_a_resumed_run_say_what_each_application_keeps(tmp_path: Path) -> None:
    """Also between two updates of the masks, which then come from the checkpoint."""
    logits = {}
    for folder, resume in (("whole", None), ("resumed", tmp_path / "whole" / "checkpoint-6")):
        callback = MovementPruningCallback(
            0.5, granularity="ffn_unit", applications="each", warmup=0.1, cooldown=0.5, mask_every=100
        )
        recorder = Recorder()
        trainer = make_trainer(
            tmp_path / folder,
            model=tiny_model("palbert"),
            callback=callback,
            callbacks=[recorder],
            max_steps=10,
            save_strategy="steps",
            save_steps=1,
        )
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        logits[folder] = recorder.logits
    for step in (7, 10):
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "resumed" / f"checkpoint-{step}").eval()
        assert sum(map(sum, kept(loaded, "ffn_unit"))) == 48
        torch.testing.assert_close(loaded(**qa_batch()).start_logits, logits["whole"][step], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("applications", ["shared", "each"])
def test_the_card_says_how_far_units_were_pruned(applications: str, tmp_path: Path) -> None:
    callback = MovementPruningCallback(0.75, granularity="ffn_unit", applications=applications)
    trainer = make_trainer(tmp_path, model=tiny_model("palbert"), callback=callback, max_steps=8)
    trainer.train()
    trainer.save_model()
    assert trainer.model.config.pruning["density"] == 0.25
    assert pruning_settings(trainer.model)["target_sparsity"] == 0.75
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path / "again")
    assert loaded.config.pruning["density"] == 0.25


@pytest.mark.parametrize("applications", ["each", "shared"])
def test_what_a_gate_receives_does_not_depend_on_the_learning_rates_of_the_layers(applications: str) -> None:
    """They say how fast weights learn, not what a unit is worth."""
    received = []
    for decay in (1.0, 0.5):
        config = PruningConfig(0.5, method="movement", granularity="ffn_unit", applications=applications)
        model = prepare_pruning(tiny_model("palbert", layer_lr_decay=decay), config).eval()
        model(**qa_batch()).loss.backward()
        (scores,) = score_parameters(model)
        received.append(scores.grad)
    assert received[0] is not None
    assert received[0].norm() > 0
    torch.testing.assert_close(received[0], received[1], rtol=1e-5, atol=1e-9)


def test_gates_of_layers_that_are_applied_once_end_as_smaller_layers() -> None:
    config = PruningConfig(0.5, method="movement", granularity="ffn_unit", applications="each")
    model = prepare_pruning(tiny_model("palbert", num_hidden_groups=3), config).eval()
    for scores in score_parameters(model):
        torch.nn.init.normal_(scores.data)
    selection = Selection(model, config)
    selection.apply(0.5)
    expected = model(**qa_batch()).start_logits
    finish_pruning(selection, 0.5)
    assert [size.units for size in layer_sizes(model).values()] == [16, 16, 16]  # type: ignore[arg-type]
    torch.testing.assert_close(model(**qa_batch()).start_logits, expected, rtol=1e-4, atol=1e-5)


def test_units_of_layers_that_are_applied_unequally_often_do_not_compete_for_a_share() -> None:
    """A unit of a layer that is applied twice is half of its weights, so a share of the units is no share of these."""
    config = PruningConfig(0.5, granularity="ffn_unit", applications="each", scope="global")
    with pytest.raises(PruningError, match="have different sizes here"):
        prepare_pruning(tiny_model("palbert", num_hidden_groups=2), config)
