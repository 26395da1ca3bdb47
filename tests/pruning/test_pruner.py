"""Pruning without a Trainer: the same as with one, and the same guards."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin
from torch import nn
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import assert_same, nonzero, qa_batch, raw_state, tiny_model
from transformers_palbert.errors import ConfigurationError, NoEffectWarning, PruningError
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.pruning import (
    Pruner,
    PruningConfig,
    apply_density,
    bake_masks,
    density_at,
    is_prepared,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.pruning.convert import score_parameters, update_scores
from transformers_palbert.pruning.optimizer import take_gradients

STEPS = 10
METHODS: list[dict[str, Any]] = [
    {"method": "sensitivity"},
    {"method": "movement"},
    {"method": "magnitude"},
    {"method": "movement", "score_start": "rank"},
    {"method": "movement", "score_update": "sum"},
]


def prepared(config: PruningConfig, kind: str = "bert") -> tuple[nn.Module, torch.optim.Optimizer]:
    model = prepare_pruning(tiny_model(kind), config)
    return model, torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)


def loop(model: Any, optimizer: Any, first: int, last: int, scaler: Any = None, factor: float = 1.0) -> None:
    """Steps ``first`` to ``last``, each with a batch of its own."""
    for step in range(first, last + 1):
        loss = factor * model(**qa_batch(seed=step)).loss
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()


def weights_left(model: Any) -> float:
    state, names = model.state_dict(), model.config.pruning["targets"]
    return nonzero(state, names) / sum(state[f"{name}.weight"].numel() for name in names)


class TestLoop:
    @pytest.mark.parametrize("settings", METHODS, ids=str)
    def test_ends_exactly_with_a_config_that_says_so(self, settings: dict[str, Any]) -> None:
        config = PruningConfig(0.7, **settings)
        model, optimizer = prepared(config)
        pruner = Pruner(model, optimizer, config, STEPS)
        assert model.config.pruning["status"] == "training"
        loop(model, optimizer, 1, STEPS)
        assert pruner.finish() is model
        assert not is_prepared(model)
        assert weights_left(model) == pytest.approx(0.3, abs=1e-3)
        pruning = model.config.pruning
        assert (pruning["density"], pruning["status"], pruning["method"]) == (0.3, "final", settings["method"])
        loop(model, optimizer, 1, 1)  # nothing watches the optimizer any more

    def test_density_follows_the_schedule(self) -> None:
        config = PruningConfig(0.7, mask_every=2)
        model, optimizer = prepared(config)
        pruner = Pruner(model, optimizer, config, STEPS)
        for step in range(1, STEPS + 1):
            loop(model, optimizer, step, step)
            assert pruner.density == config.density_at(step, STEPS)
            kept = sum(int(layer.mask.sum()) for layer in masked_layers(model).values())
            assert kept == round(pruner.density * sum(layer.mask.numel() for layer in masked_layers(model).values()))

    def test_sensitivity_is_that_of_single_functions(self) -> None:
        """By hand: take the gradients of the scores away, step, update the scores, set the masks."""
        config = PruningConfig(0.7)
        model, optimizer = prepared(config)
        twin, other = prepared(config)
        pruner = Pruner(model, optimizer, config, STEPS)
        plan = {"final_density": 0.3, "warmup": 0.1, "cooldown": 0.3}
        for step in range(1, STEPS + 1):
            loop(model, optimizer, step, step)
            twin(**qa_batch(seed=step)).loss.backward()
            gradients = take_gradients(score_parameters(twin))
            other.step()
            other.zero_grad()
            update_scores(twin, config, gradients)
            apply_density(twin, config, density_at(step, STEPS, **plan))
        assert_same(raw_state(model), raw_state(twin))
        assert_same(pruner.finish().state_dict(), bake_masks(twin).state_dict())

    def test_scores_do_not_decay(self) -> None:
        config = PruningConfig(0.7, method="movement", score_start="rank")
        ends = []
        for decay in (0.0, 0.5):
            model = prepare_pruning(tiny_model("bert"), config)
            before = [score.detach().clone() for score in score_parameters(model)]
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, weight_decay=decay)
            Pruner(model, optimizer, config, STEPS)
            loop(model, optimizer, 1, 1)
            ends.append({str(place): score.detach() for place, score in enumerate(score_parameters(model))})
            assert not any(torch.equal(old, new) for old, new in zip(before, ends[-1].values(), strict=True))
        assert_same(ends[0], ends[1])

    def test_accelerate_with_accumulation(self) -> None:
        config = PruningConfig(0.7)
        ends = []
        for before in (True, False):
            # there is no dataloader here, and the end of one that an earlier test left would count
            plugin = GradientAccumulationPlugin(num_steps=2, sync_with_dataloader=False)
            accelerator = Accelerator(cpu=True, gradient_accumulation_plugin=plugin)
            model, optimizer = prepared(config)
            pruner = Pruner(model, optimizer, config, STEPS) if before else None
            wrapped, stepping = accelerator.prepare(model, optimizer)
            pruner = pruner or Pruner(model, stepping, config, STEPS)
            for step in range(1, 2 * STEPS + 1):
                with accelerator.accumulate(wrapped):
                    accelerator.backward(wrapped(**qa_batch(seed=step)).loss)
                    stepping.step()
                    stepping.zero_grad()
            assert pruner.step == STEPS
            ends.append(pruner.finish().state_dict())
        assert_same(ends[0], ends[1])

    @pytest.mark.parametrize("fused", [False, True])
    def test_a_scaler_that_skips_a_step(self, fused: bool) -> None:
        """Scores are those of the unscaled gradients, and of no step that was skipped."""
        config = PruningConfig(0.7)
        ends = []
        for scaled in (True, False):
            model = prepare_pruning(tiny_model("bert"), config)
            optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=fused)
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20, growth_interval=3) if scaled else None
            pruner = Pruner(model, optimizer, config, STEPS)
            loop(model, optimizer, 1, 4, scaler)
            if scaled:
                loop(model, optimizer, 5, 5, scaler, factor=float("inf"))
                assert scaler.get_scale() == 2.0**20  # doubled once, halved once
            assert pruner.step == 4
            loop(model, optimizer, 5, STEPS, scaler)
            assert pruner.step == STEPS
            ends.append(raw_state(model))
        for name, tensor in ends[0].items():
            torch.testing.assert_close(tensor, ends[1][name], rtol=1e-4, atol=1e-9)

    def test_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        config = PruningConfig(0.7, mask_every=3)
        whole, optimizer = prepared(config)
        pruner = Pruner(whole, optimizer, config, STEPS)
        loop(whole, optimizer, 1, 4)
        torch.save([whole.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
        place = json.loads(json.dumps(pruner.state_dict()))
        loop(whole, optimizer, 5, STEPS)

        resumed, other = prepared(config)
        again = Pruner(resumed, other, config, STEPS)
        for part, state in zip((resumed, other), torch.load(tmp_path / "state.pt"), strict=True):
            part.load_state_dict(state)
        again.load_state_dict(place)
        loop(resumed, other, 5, STEPS)
        assert_same(again.finish().state_dict(), pruner.finish().state_dict())
        with pytest.raises(PruningError, match="total_steps=10 there and 11 here"):
            Pruner(*prepared(config), config, STEPS + 1).load_state_dict(place)

    def test_the_state_of_the_model_may_be_loaded_first(self) -> None:
        config = PruningConfig(0.7)
        whole, optimizer = prepared(config)
        pruner = Pruner(whole, optimizer, config, STEPS)
        loop(whole, optimizer, 1, 4)
        states, place = [copy.deepcopy(part.state_dict()) for part in (whole, optimizer)], pruner.state_dict()
        loop(whole, optimizer, 5, STEPS)

        resumed, other = prepared(config)
        for part, state in zip((resumed, other), states, strict=True):
            part.load_state_dict(state)
        again = Pruner(resumed, other, config, STEPS)
        again.load_state_dict(place)
        loop(resumed, other, 5, STEPS)
        assert_same(again.finish().state_dict(), pruner.finish().state_dict())

    @pytest.mark.parametrize("granularity", ["head", "ffn_unit"])
    def test_units_are_cut_out(self, granularity: str, tmp_path: Path) -> None:
        config = PruningConfig(0.5, granularity=granularity)
        model, optimizer = prepared(config)
        pruner = Pruner(model, optimizer, config, STEPS)
        loop(model, optimizer, 1, STEPS)
        expected = model.eval()(**qa_batch()).start_logits
        pruner.finish()
        sizes = layer_sizes(model).values()
        assert {(size.heads, size.units) for size in sizes} == {(1, 32) if granularity == "head" else (2, 16)}
        torch.testing.assert_close(model(**qa_batch()).start_logits, expected, rtol=1e-4, atol=1e-5)
        model.save_pretrained(tmp_path)
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(**qa_batch()).start_logits, model(**qa_batch()).start_logits)

    def test_a_resumed_run_says_what_each_application_keeps(self) -> None:
        config = PruningConfig(0.5, granularity="ffn_unit", applications="each", mask_every=4)
        model, optimizer = prepared(config, "palbert")
        pruner = Pruner(model, optimizer, config, STEPS)
        loop(model, optimizer, 1, 5)
        resumed, other = prepared(config, "palbert")
        again = Pruner(resumed, other, config, STEPS)
        again.load_state_dict(pruner.state_dict())
        assert resumed.config.pruning == model.config.pruning
        resumed.load_state_dict(model.state_dict())
        other.load_state_dict(optimizer.state_dict())
        loop(resumed, other, 6, 6)
        assert sum(text.count("1") for text in model.config.application_units)
        assert resumed.config.application_units == model.config.application_units


class TestGuards:
    @pytest.mark.filterwarnings("ignore:The loop ended after 5")
    @pytest.mark.parametrize("ends", [False, True])
    def test_masks_that_were_not_loaded(self, ends: bool) -> None:
        config = PruningConfig(0.7)
        model, optimizer = prepared(config)
        pruner = Pruner(model, optimizer, config, STEPS)
        loop(model, optimizer, 1, 5)
        forgetful, other = prepared(config)
        again = Pruner(forgetful, other, config, STEPS)
        again.load_state_dict(pruner.state_dict())
        with pytest.raises(
            PruningError, match=r"should keep \d+ weights, and they keep \d+: .*was not loaded\. Load it"
        ):
            again.finish() if ends else loop(forgetful, other, 6, 6)

    def test_an_optimizer_made_before(self) -> None:
        model, config = tiny_model("bert"), PruningConfig(0.7)
        optimizer = torch.optim.AdamW(model.parameters())
        prepare_pruning(model, config)
        with pytest.raises(PruningError, match=r"does not know 18 of the score tensors, .*made before"):
            Pruner(model, optimizer, config, STEPS)

    @pytest.mark.parametrize("method", ["sensitivity", "movement"])
    def test_without_a_pruner_the_first_weights_by_position_are_not_kept(self, method: str) -> None:
        model, config = tiny_model("bert"), PruningConfig(0.7, method=method)
        optimizer = torch.optim.AdamW(model.parameters())
        prepare_pruning(model, config)
        apply_density(model, config, 1.0)
        loop(model, optimizer, 1, 2)
        with pytest.raises(
            PruningError, match=f"All {method} scores of bert.*equal 0.*optimizer after prepare_pruning"
        ):
            apply_density(model, config, 0.3)

    def test_a_model_that_is_not_prepared(self) -> None:
        model = tiny_model("bert")
        with pytest.raises(PruningError, match=r"Call prepare_pruning\(model, config\) first"):
            Pruner(model, torch.optim.AdamW(model.parameters()), PruningConfig(0.7), STEPS)

    @pytest.mark.parametrize(
        ("prepared_with", "message"),
        [
            ({"method": "magnitude"}, "method='magnitude', and is to be pruned with method='sensitivity'"),
            ({"granularity": "head"}, "granularity='head', and is to be pruned with granularity='element'"),
            ({"granularity": "structure"}, "granularity='structure'"),
            ({"targets": ("attention",)}, r"targets=\('attention',\), and is to be pruned with targets=None"),
            ({"exclude": ("query",)}, r"exclude=\('query',\)"),
        ],
        ids=str,
    )
    def test_a_model_that_is_prepared_with_other_settings(self, prepared_with: dict[str, Any], message: str) -> None:
        model, optimizer = prepared(PruningConfig(0.7, **prepared_with))
        with pytest.raises(PruningError, match=f"was prepared with .*{message}"):
            Pruner(model, optimizer, PruningConfig(0.7), STEPS)
        bake_masks(model)  # undoes it
        prepare_pruning(model, PruningConfig(0.7))
        Pruner(model, torch.optim.AdamW(model.parameters()), PruningConfig(0.7), STEPS)

    @pytest.mark.parametrize("steps", [0, -1, 1.5, True, "3"])
    def test_a_run_without_steps(self, steps: Any) -> None:
        with pytest.raises(ConfigurationError, match="total_steps="):
            Pruner(*prepared(PruningConfig(0.7)), PruningConfig(0.7), steps)

    def test_an_optimizer_that_never_stepped(self) -> None:
        config = PruningConfig(0.7)
        pruner = Pruner(*prepared(config), config, STEPS)
        with pytest.raises(PruningError, match="has taken no step"):
            pruner.finish()

    def test_a_loop_that_ends_early_warns_and_is_exact(self) -> None:
        config = PruningConfig(0.7)
        model, optimizer = prepared(config)
        pruner = Pruner(model, optimizer, config, STEPS)
        loop(model, optimizer, 1, 4)
        with pytest.warns(NoEffectWarning, match=r"after 4 of total_steps=10, at density 0\.\d+\..*cut to 0\.300"):
            pruner.finish()
        assert weights_left(model) == pytest.approx(0.3, abs=1e-3)
