"""Gates that are drawn in training: their distribution, their constraint, and whole runs with them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, TrainerCallback

from tests.pruning.helpers import (
    Recorder,
    assert_same,
    make_trainer,
    pruning_callback,
    qa_batch,
    stopped_and_gone_on_with,
    tiny_model,
)
from tests.references.pruning import naive_hard_concrete, naive_open
from transformers_palbert.errors import ConfigurationError, PruningError
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.pruning import (
    MovementPruningCallback,
    Pruner,
    PruningConfig,
    finishing,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.pruning import budget as budget_module
from transformers_palbert.pruning.gated_linear import GatedLinear
from transformers_palbert.pruning.hard_concrete import START, gate_noise, open_probability, sample_gates
from transformers_palbert.pruning.lagrangian import ASCENT, PENALTY, expected_share, shift_to_share
from transformers_palbert.pruning.optimizer import ScoreStep
from transformers_palbert.pruning.selection import Selection
from transformers_palbert.pruning.stochastic_gates import StochasticGates
from transformers_palbert.speed.costs import Curve, StructureCosts
from transformers_palbert.speed.latency import LatencyTable

SETTINGS: dict[str, Any] = {"method": "hard_concrete", "granularity": "structure", "target_sparsity": 0.5}


def prepared(kind: str = "bert", **settings: Any) -> tuple[Any, Selection]:
    """A model whose gates have random odds."""
    config = PruningConfig(**{**SETTINGS, **settings})
    model = prepare_pruning(tiny_model(kind), config)
    torch.manual_seed(0)
    for layer in masked_layers(model).values():
        layer.scores.data.normal_(std=2.0)
    return model, Selection(model, config)


class TestGates:
    def test_values_and_gradients(self) -> None:
        odds = torch.linspace(-5, 5, 33, dtype=torch.float64)[:, None].repeat(1, 41).requires_grad_()
        noise = torch.linspace(0.001, 0.999, 41, dtype=torch.float64).expand(33, -1)
        gates = sample_gates(odds, noise)
        gates.sum().backward()
        pairs = zip(odds.detach().flatten().tolist(), noise.flatten().tolist(), strict=True)
        expected = torch.tensor([naive_hard_concrete(*pair) for pair in pairs], dtype=torch.float64)
        torch.testing.assert_close(gates.detach().flatten(), expected[:, 0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(odds.grad.flatten(), expected[:, 1], rtol=1e-9, atol=1e-12)  # type: ignore[union-attr]
        assert 0.2 < float(((gates > 0) & (gates < 1)).double().mean()) < 0.8

    def test_the_probability_of_being_open(self) -> None:
        for odds in (-6.0, -1.0, 0.0, 2.0, START):
            found = float(open_probability(torch.tensor(odds, dtype=torch.float64)))
            assert found == pytest.approx(naive_open(odds), rel=1e-12)
            assert found == pytest.approx(naive_open(odds, draws=20_000), abs=1e-4)
        assert float(open_probability(torch.tensor(START))) > 0.98

    def test_noise_is_a_function_of_seed_and_step(self) -> None:
        shapes = [(1, 5), (3, 7)]
        state = torch.get_rng_state()
        first = gate_noise(shapes, 1, 2)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(3)
        assert all(torch.equal(*pair) for pair in zip(first, gate_noise(shapes, 1, 2), strict=True))
        for other in (gate_noise(shapes, 1, 3), gate_noise(shapes, 2, 2)):
            assert not any(torch.equal(*pair) for pair in zip(first, other, strict=True))
        assert [tuple(noise.shape) for noise in first] == shapes

    def test_noise_is_uniform_and_never_at_the_edges(self) -> None:
        (noise,) = gate_noise([(1, 100_000)], 0, 0)
        assert 0 < float(noise.min()) < 1e-3
        assert 0.999 < float(noise.max()) < 1
        counts = torch.histc(noise, 10, 0, 1)
        assert float((counts / 10_000 - 1).abs().max()) < 0.05
        assert torch.isfinite(sample_gates(torch.full_like(noise, START), noise)).all()


class TestLayer:
    def layer(self, applications: int = 1) -> GatedLinear:
        torch.manual_seed(0)
        odds = torch.randn(applications, 4)
        return GatedLinear(nn.Linear(8, 3).double(), 4, applications, {"scores": odds})

    def test_gates_and_their_gradients_in_training(self) -> None:
        layer, inputs = self.layer(), torch.randn(5, 8, dtype=torch.float64)
        (noise,) = gate_noise([(1, 4)], 0, 0)
        layer.set_noise(noise)
        layer.start_forward()
        upstream = torch.randn(5, 3, dtype=torch.float64)
        layer(inputs).backward(upstream)
        pairs = zip(layer.scores.detach()[0].tolist(), noise[0].tolist(), strict=True)  # type: ignore[union-attr]
        gates, slopes = (torch.tensor(values) for values in zip(*(naive_hard_concrete(*p) for p in pairs), strict=True))
        scaled = (inputs.unflatten(1, (4, 2)) * gates.double()[None, :, None]).flatten(1)
        torch.testing.assert_close(layer(inputs), scaled @ layer.weight.T + layer.bias, rtol=1e-6, atol=1e-6)
        by_gate = torch.einsum(
            "bo,bud,oud->u", upstream, inputs.unflatten(1, (4, 2)), layer.weight.unflatten(1, (4, 2))
        )
        torch.testing.assert_close(layer.scores.grad[0].double(), by_gate * slopes, rtol=1e-5, atol=1e-6)  # type: ignore[union-attr, index]

    def test_in_evaluation_and_without_noise_they_are_the_mask(self) -> None:
        layer, inputs = self.layer(), torch.randn(5, 8, dtype=torch.float64)
        layer.set_mask(torch.tensor([[1, 0, 1, 0]]))
        masked = inputs * torch.tensor([1, 1, 0, 0, 1, 1, 0, 0])
        expected = masked @ layer.weight.T + layer.bias
        layer.set_noise(torch.full((1, 4), 0.5))
        assert not torch.equal(layer(inputs), expected)
        torch.testing.assert_close(layer.eval()(inputs), expected)
        torch.testing.assert_close(layer.train()(inputs).detach() == expected, torch.zeros(5, 3, dtype=torch.bool))
        layer.set_noise(None)
        torch.testing.assert_close(layer(inputs), expected)

    def test_applications_draw_their_own(self) -> None:
        layer, inputs = self.layer(3), torch.randn(5, 8, dtype=torch.float64)
        layer.set_noise(gate_noise([(3, 4)], 0, 0)[0])
        found = []
        for application in range(3):
            layer.application = application
            found.append(layer(inputs))
        assert not torch.equal(found[0], found[1])
        assert not torch.equal(found[1], found[2])


class TestConstraint:
    @pytest.mark.parametrize("kind", ["bert", "albert", "palbert"])
    @pytest.mark.parametrize("target", [{"target_sparsity": 0.5}, {"target_sparsity": None, "target_flops": 0.5}])
    def test_expected_cost_and_its_gradient(self, kind: str, target: dict[str, Any]) -> None:
        """Of straight costs, the expectation itself; by autograd in float64."""
        each = {"applications": "each"} if kind == "palbert" else {}
        _, selection = prepared(kind, **target, **each)
        odds = [layer.scores.detach().double().requires_grad_() for layer in selection.layers.values()]  # type: ignore[union-attr]
        by_set = [odds[list(selection.layers).index(units.gate)] for units in selection.sets]
        total = torch.zeros((), dtype=torch.float64)
        for block in selection.budget.blocks:
            for log_alpha in by_set[block.units][block.application]:
                # P(z ≠ 0) times what one unit costs
                total = total + torch.sigmoid(log_alpha - 2 / 3 * np.log(0.1 / 1.1)) * float(block.costs[1])
        share = (total + selection.budget.rest) / selection.budget.total
        share.backward()
        found, gradients = expected_share(selection.budget, by_set)
        assert found == pytest.approx(float(share), rel=1e-12)
        for gradient, odd in zip(gradients, by_set, strict=True):
            torch.testing.assert_close(gradient, odd.grad, rtol=1e-9, atol=1e-15)

    def test_of_a_measured_curve_it_is_that_at_the_expected_number(self) -> None:
        _, selection = prepared()
        curve = Curve((0, 8, 32), (1.0, 2.0, 20.0))
        selection.costs = StructureCosts(Curve((1, 2), (0.0, 4.0)), curve, 3.0)
        odds = [selection.layers[units.gate].scores for units in selection.sets]
        found, gradients = expected_share(selection.budget, odds)
        total, whole = 3.0, 3.0 + 3 * 24.0
        for units, odd, gradient in zip(selection.sets, odds, gradients, strict=True):
            opened = [naive_open(value) for value in odd.double().flatten().tolist()]
            count = sum(opened)
            at = selection.costs.heads if units.shape == (1, 2) else curve
            total += float(at.at(count))
            step = 1e-6
            slope = float(at.at(count + step) - at.at(count - step)) / (2 * step)
            expected = [slope * p * (1 - p) / whole for p in opened]
            torch.testing.assert_close(gradient[0].tolist(), expected, rtol=1e-5, atol=1e-12)
        assert found == pytest.approx(total / whole, rel=1e-9)

    @pytest.mark.parametrize("share", [0.95, 0.5, 0.3])
    def test_one_shift_of_all_odds_leads_to_a_share(self, share: float) -> None:
        measured = StructureCosts(Curve((0, 1, 2), (0.0, 3.0, 4.0)), Curve((0, 8, 32), (1.0, 2.0, 20.0)), 3.0)
        model, selection = prepared()
        for costs in (None, measured):
            budget = Selection(model, selection.config, costs).budget
            odds = [selection.layers[units.gate].scores.detach().double() for units in selection.sets]
            shift, shares = shift_to_share(budget, odds, share)
            assert shares[0] == expected_share(budget, odds)[0]
            assert shares[-1] == pytest.approx(share, abs=1e-5)
            assert expected_share(budget, [odd - shift for odd in odds])[0] == shares[-1]

    def test_a_share_from_far_away(self) -> None:
        _, selection = prepared()
        for start, share in ((12.0, 0.1), (-12.0, 0.9)):
            odds = [torch.full(selection.layers[units.gate].mask.shape, start) for units in selection.sets]
            assert shift_to_share(selection.budget, odds, share)[1][-1] == pytest.approx(share, abs=2e-5)

    def test_a_share_that_no_gate_changes(self) -> None:
        _, selection = prepared()
        selection.costs = StructureCosts(Curve((0, 2), (1.0, 1.0)), Curve((0, 32), (1.0, 1.0)), 3.0)
        odds = [selection.layers[units.gate].scores for units in selection.sets]
        assert shift_to_share(selection.budget, odds, 0.5) == (0.0, [pytest.approx(1.0)])

    @staticmethod
    def stepped(selection: Selection, gradient: float = 1.0, step: int = 50) -> StochasticGates:
        """Gates for which a step of a hundred is about to be made, with a random gradient of the loss."""
        gates = StochasticGates(selection, 100)
        torch.manual_seed(3)
        for layer in gates.layers:
            layer.scores.grad = gradient * torch.randn_like(layer.scores)  # type: ignore[union-attr, arg-type]
        gates.constrain(step)
        return gates

    @pytest.mark.parametrize("multiplier", [0.0, 2.5])
    def test_what_is_added_to_the_gradients(self, multiplier: float) -> None:
        """The derivative of the constraint, in the scale of the loss's gradient, whatever factor that still has."""
        added = []
        for factor in (1.0, 1024.0):
            _, selection = prepared()
            gates = StochasticGates(selection, 100)
            gates.multiplier = multiplier
            torch.manual_seed(3)
            for layer in selection.layers.values():
                layer.scores.grad = factor * torch.randn_like(layer.scores)
            before = [layer.scores.grad.clone() for layer in gates.layers]  # type: ignore[union-attr]
            gates.constrain(50)
            added.append([(layer.scores.grad - old) / factor for layer, old in zip(gates.layers, before, strict=True)])  # type: ignore[union-attr]
            share, slopes = expected_share(selection.budget, [layer.scores for layer in gates.layers])  # type: ignore[misc]
            excess = share - selection.config.density_at(51, 100)
            size = torch.cat([old.flatten() for old in before]).double().square().mean().sqrt() / factor
            steep = torch.cat([slope.flatten() for slope in slopes]).square().mean().sqrt()
            for found, slope in zip(added[-1], slopes, strict=True):
                expected = (multiplier + PENALTY * excess) * size / steep * slope
                torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
        for one, other in zip(*added, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)

    def test_after_a_step_gates_cost_what_is_scheduled(self) -> None:
        """All odds move alike, and the multiplier by what was missing."""
        _, selection = prepared()
        gates = self.stepped(selection)
        before = [layer.scores.detach().clone() for layer in gates.layers]  # type: ignore[union-attr]
        missing = expected_share(selection.budget, before)[0] - (target := selection.config.density_at(51, 100))
        gates.settle(skipped=False)
        assert gates.share == pytest.approx(target, abs=2e-5)
        assert expected_share(selection.budget, gates._odds)[0] == pytest.approx(target, abs=2e-5)
        assert gates.multiplier == pytest.approx(ASCENT * missing)
        moved = torch.cat([(odd - old).flatten() for odd, old in zip(gates._odds, before, strict=True)])
        torch.testing.assert_close(moved, moved[:1].expand_as(moved), rtol=1e-4, atol=1e-5)

    def test_gates_are_not_opened_beyond_where_they_start(self) -> None:
        """At the first step after the warm-up, the schedule still asks for nearly all of the model."""
        _, selection = prepared()
        for layer in selection.layers.values():
            layer.scores.data.fill_(START)
        gates = self.stepped(selection, step=10)
        assert selection.config.density_at(11, 100) > 0.95
        gates.settle(skipped=False)
        assert all(float((odd - START).max()) < 1e-3 for odd in gates._odds)

    @pytest.mark.parametrize("step", [0, 5, 70, 99])
    def test_nothing_changes_in_warm_up_and_cool_down(self, step: int) -> None:
        _, selection = prepared()
        before = [odd.clone() for odd in StochasticGates(selection, 100)._odds]
        gates = self.stepped(selection, step=step)
        plain = [layer.scores.grad.clone() for layer in gates.layers]  # type: ignore[union-attr]
        torch.manual_seed(3)
        assert all(torch.equal(gradient, torch.randn_like(gradient)) for gradient in plain)
        gates.settle(skipped=False)
        assert all(torch.equal(*pair) for pair in zip(gates._odds, before, strict=True))
        assert (gates.multiplier, gates.share) == (0.0, None)

    def test_a_skipped_step_leaves_all_as_it_is(self) -> None:
        _, selection = prepared()
        gates = self.stepped(selection)
        before = [odd.clone() for odd in gates._odds]
        gates.settle(skipped=True)
        assert gates.multiplier == 0.0
        assert all(torch.equal(*pair) for pair in zip(gates._odds, before, strict=True))


RUN = {"max_steps": 12, "rows": 48}


def gated_trainer(folder: Path, kind: str = "bert", settings: dict[str, Any] | None = None, **options: Any) -> Any:
    values = {**SETTINGS, "warmup": 0.2, "cooldown": 0.25, **(settings or {})}
    return make_trainer(
        folder, model=tiny_model(kind), callback=MovementPruningCallback(**values), **{**RUN, **options}
    )


class Noises(TrainerCallback):
    """Copies the noise that the layers have for each step."""

    def __init__(self) -> None:
        self.seen: list[list[Tensor | None]] = []

    def on_step_begin(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        self.seen.append([layer._noise for layer in masked_layers(model).values()])  # type: ignore[attr-defined]


class TestInATrainer:
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("bert", {}),
            ("albert", {"target_sparsity": None, "target_flops": 0.6, "latency_length": 8}),
            ("palbert", {"applications": "each"}),
            ("bert", {"granularity": "ffn_unit"}),
        ],
    )
    def test_ends_at_the_target_and_loads_again(self, kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
        recorder = Recorder()
        trainer = gated_trainer(tmp_path, kind, settings, callbacks=[recorder])
        callback = next(c for c in trainer.callback_handler.callbacks if isinstance(c, MovementPruningCallback))
        trainer.train()
        selection, target = callback._selection, callback.config.final_density
        assert selection.budget.allows(selection.masks, target)
        found = trainer.model.eval()(**qa_batch()).start_logits
        torch.testing.assert_close(found, recorder.logits[12], rtol=1e-5, atol=1e-5)
        trainer.save_model()
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(**qa_batch()).start_logits, found)
        if kind == "bert":
            assert layer_sizes(trainer.model) != layer_sizes(tiny_model(kind))

    def test_gates_are_drawn_until_the_cool_down_and_rest_then(self, tmp_path: Path) -> None:
        noises, recorder = Noises(), Recorder()
        trainer = gated_trainer(tmp_path, callbacks=[noises, recorder])
        trainer.train()
        drawn = [all(noise is not None for noise in step) for step in noises.seen]
        assert drawn == [True] * 9 + [False] * 3
        assert not torch.equal(noises.seen[0][1], noises.seen[1][1])  # type: ignore[arg-type]
        for step in range(2, 13):
            moved = [
                not torch.equal(recorder.states[step][name], recorder.states[step - 1][name])
                for name in recorder.states[1]
                if name.endswith("scores")
            ]
            assert all(moved) if step <= 9 else not any(moved)
            if step > 9:
                assert_same(recorder.masks[step], recorder.masks[9])

    def test_gates_are_held_to_the_budget_from_the_warm_up_until_the_cool_down(self, tmp_path: Path) -> None:
        trainer = gated_trainer(tmp_path, settings={"target_sparsity": 0.4}, max_steps=40, rows=64)
        trainer.train()
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        held = [entry["step"] for entry in logs if "density_expected" in entry]
        assert held == list(range(9, 31))
        assert logs[29]["density_expected"] == pytest.approx(0.6, abs=2e-5)
        selection = pruning_callback(trainer)._selection
        assert selection.budget.allows(selection.masks, 0.6)

    @pytest.mark.parametrize("target", [
        {"target_sparsity": 0.6},
        {"target_sparsity": None, "target_flops": 0.4, "latency_length": 8},
        {"target_sparsity": None, "target_speedup": 2.0, "latency_length": 8},
    ])  # fmt: skip
    @pytest.mark.parametrize("steps", [15, 40])
    def test_the_expected_cost_follows_the_schedule_in_short_runs(
        self, steps: int, target: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = LatencyTable((0, 1, 2), np.array([0.0, 2.0, 3.0]), (0, 8, 32), np.array([1.0, 4.0, 9.0]), 2.0)
        monkeypatch.setattr(budget_module, "cached_latency", lambda *_, **__: table)
        monkeypatch.setattr(finishing, "fastest_seconds", lambda *_: [2.0, 1.0])
        trainer = gated_trainer(tmp_path, settings=target, max_steps=steps, rows=64)
        config = pruning_callback(trainer).config
        trainer.train()
        held = [entry for entry in trainer.state.log_history if "density_expected" in entry]
        assert len(held) >= 0.5 * steps
        for entry in held:
            scheduled = min(config.density_at(entry["step"], steps), held[0]["density_expected"])
            assert entry["density_expected"] == pytest.approx(scheduled, abs=2e-5)

    def test_checkpoints_have_the_logits_of_the_model_in_memory(self, tmp_path: Path) -> None:
        recorder = Recorder()
        gated_trainer(tmp_path, callbacks=[recorder], save_strategy="steps", save_steps=3).train()
        for step in (3, 6, 9, 12):
            loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / f"checkpoint-{step}").eval()
            torch.testing.assert_close(loaded(**qa_batch()).start_logits, recorder.logits[step], rtol=1e-4, atol=1e-5)

    def test_the_rate_of_the_odds(self, tmp_path: Path) -> None:
        """40 over the number of steps, unless it is given; without weight decay."""
        for rate, expected in ((None, 40 / 12), (0.01, 0.01)):
            recorder = Recorder()
            gated_trainer(
                tmp_path, settings={"score_learning_rate": rate}, callbacks=[recorder], weight_decay=0.9,
                lr_scheduler_type="constant", optim="adamw_torch",
            ).train()  # fmt: skip
            name = next(name for name in recorder.states[1] if name.endswith("scores"))
            moved = (recorder.states[1][name] - START).abs()
            assert float(moved.max()) == pytest.approx(expected, rel=0.05)  # the first step of Adam, but for its ε

    def test_another_seed_draws_other_gates(self, tmp_path: Path) -> None:
        noises = [Noises(), Noises(), Noises()]
        for callback, seed in zip(noises, (1, 1, 2), strict=True):
            gated_trainer(tmp_path, callbacks=[callback], seed=seed, max_steps=3).train()
        assert torch.equal(noises[0].seen[2][0], noises[1].seen[2][0])  # type: ignore[arg-type]
        assert not torch.equal(noises[0].seen[2][0], noises[2].seen[2][0])  # type: ignore[arg-type]

    def test_bf16_autocast(self, tmp_path: Path) -> None:
        trainer = gated_trainer(tmp_path, bf16=True)
        trainer.train()
        assert trainer.model.config.pruning["density"] == pytest.approx(0.5, abs=0.006)


def test_in_a_loop_of_ones_own_with_a_stop_in_between() -> None:
    whole, resumed = stopped_and_gone_on_with(PruningConfig(**SETTINGS), steps=10)
    assert whole.state_dict()["multiplier"] != 0.0
    assert resumed.state_dict() == whole.state_dict()
    assert_same(resumed.finish().state_dict(), whole.finish().state_dict())


@pytest.mark.parametrize("fused", [False, True])
def test_a_scale_changes_nothing(fused: bool) -> None:
    """Whoever divides by it, and whenever."""
    ends = []
    for factor in (1.0, 2.0**10):
        config = PruningConfig(**SETTINGS)
        model = prepare_pruning(tiny_model("bert"), config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=fused)
        pruner = Pruner(model, optimizer, config, 8)
        scaler = torch.amp.GradScaler("cpu", init_scale=factor)
        for step in range(1, 9):
            scaler.scale(model(**qa_batch(seed=step)).loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        ends.append(dict(pruner.finish().state_dict()))
    assert ends[0].keys() == ends[1].keys()
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-3, atol=1e-4)


class TestFailsLoudly:
    @pytest.mark.parametrize("granularity", ["element", "row", "block:4x4"])
    def test_weights_have_no_gates(self, granularity: str) -> None:
        with pytest.raises(ConfigurationError, match="method='hard_concrete' draws gates of heads and feed-forward"):
            PruningConfig(0.5, method="hard_concrete", granularity=granularity)

    def test_settings_of_other_methods(self) -> None:
        with pytest.raises(ConfigurationError, match=r"score_start='rank' is a setting of method='movement'"):
            PruningConfig(**SETTINGS, score_start="rank")
        with pytest.raises(ConfigurationError, match=r"scope='global' changes nothing"):
            PruningConfig(0.5, method="hard_concrete", granularity="head", scope="global")

    def test_gates_that_received_no_gradient(self) -> None:
        model, _ = prepared()
        for layer in masked_layers(model).values():
            layer.scores.data.fill_(START)
        with pytest.raises(PruningError, match="All hard_concrete scores of all gates equal 3"):
            Selection(model, PruningConfig(**SETTINGS)).apply(0.5)

    def test_a_checkpoint_of_another_method(self, tmp_path: Path) -> None:
        options = {"save_strategy": "steps", "save_steps": 6}
        gated_trainer(tmp_path, **options).train()
        with (
            warnings.catch_warnings(),
            pytest.raises(PruningError, match="method='hard_concrete' there and 'fisher' here"),
        ):
            gated_trainer(tmp_path / "new", settings={"method": "fisher"}, **options).train(
                resume_from_checkpoint=str(tmp_path / "checkpoint-6")
            )


def test_the_step_goes_on_with_its_multiplier() -> None:
    _, selection = prepared()
    step = ScoreStep(selection, 10)
    step.go_on(1.5)
    assert step.multiplier == 1.5
    with mock.patch.object(step.gates, "draw") as draw:
        step.draw(3)
    draw.assert_called_once_with(3)
