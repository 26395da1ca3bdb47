"""Heads and units that compete for a budget of weights, operations or seconds: in a Trainer and to the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from tests.pruning.helpers import Recorder, assert_same, make_trainer, qa_batch, stopped_and_gone_on_with, tiny_model
from transformers_palbert.errors import ConfigurationError, PruningError, PruningWarning
from transformers_palbert.model.applications import mask_from_text
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.pruning import (
    MovementPruningCallback,
    PruningConfig,
    apply_density,
    is_prepared,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.pruning import budget as budget_module
from transformers_palbert.pruning.convert import dense_copy, score_parameters
from transformers_palbert.pruning.selection import Selection
from transformers_palbert.speed.costs import flop_costs, weight_costs
from transformers_palbert.speed.latency import LatencyTable

KINDS = ("albert", "palbert", "bert", "roberta", "distilbert")
LENGTH = 8
TARGETS: dict[str, dict[str, Any]] = {
    "weights": {"target_sparsity": 0.5},
    "flops": {"target_flops": 0.5, "latency_length": LENGTH},
    "speed": {"target_speedup": 1.6, "latency_length": LENGTH, "latency_batch_size": 2},
}
TABLE = LatencyTable((1, 2), np.array([0.0, 3.0]), (0, 8, 32), np.array([1.0, 1.5, 9.0]), 2.0)
"""Seconds that no machine has: with them, runs are the same everywhere."""


@pytest.fixture(autouse=True)
def _measured() -> Any:
    with (
        mock.patch.object(budget_module, "cached_latency", return_value=TABLE) as measure,
        mock.patch("transformers_palbert.pruning.finishing.fastest_seconds", return_value=[3.0, 1.5]),
    ):
        yield measure


def prepared(kind: str, granularity: str = "structure", **settings: Any) -> tuple[PreTrainedModel, PruningConfig]:
    """A model whose gates have random scores that say something about losses."""
    config = PruningConfig(
        method="movement", score_update="sum", granularity=granularity, **(settings or TARGETS["weights"])
    )
    model = prepare_pruning(tiny_model(kind), config).eval()
    torch.manual_seed(1)
    for scores in score_parameters(model):
        torch.nn.init.normal_(scores.data)
    return model, config  # type: ignore[return-value]


def cost(target: str, heads: list[list[int]], units: list[list[int]], applications: int) -> float:
    """By hand: the cost of a tiny model of which layers keep these heads and units, in each of their applications."""
    each = [count for layer in heads for count in layer], [count for layer in units for count in layer]
    if target == "weights":
        return sum(each[0]) * 4 * 8 * 16 / applications + sum(each[1]) * 2 * 16 / applications
    if target == "flops":
        head = 2 * LENGTH * 4 * 8 * 16 + 4 * LENGTH**2 * 8
        return float(sum(each[0]) * head + sum(each[1]) * 2 * LENGTH * 2 * 16)
    return TABLE.rest_seconds + sum(TABLE.layer(h, u) for h, u in zip(*each, strict=True))


def counts_of(model: PreTrainedModel, repeats: int) -> tuple[list[list[int]], list[list[int]]]:
    """Heads and units that each layer keeps in each of its applications, from the masks of a prepared model."""
    found: tuple[list[list[int]], list[list[int]]] = ([], [])
    for name, layer in masked_layers(model).items():
        rows = layer.mask.count_nonzero(1).tolist()
        found["attention" not in name].append(rows if len(rows) > 1 else rows * repeats)
    return found


class TestChoice:
    @pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
    @pytest.mark.parametrize("target", TARGETS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_costs_as_much_as_the_share_and_never_more(self, kind: str, target: str, share: float) -> None:
        model, config = prepared(kind, **TARGETS[target])
        repeats = 3 if kind in ("albert", "palbert") else 1
        layers = 1 if repeats == 3 else 3
        if target == "speed":
            share = max(share, 0.4)
        apply_density(model, config, share)
        times = repeats if target == "weights" else 1
        whole = cost(target, [[2] * repeats] * layers, [[32] * repeats] * layers, times)
        found = cost(target, *counts_of(model, repeats), times)
        assert found <= share * whole * (1 + 1e-9)
        further = {"weights": 2 * 16, "flops": 2 * LENGTH * 2 * 16 * repeats, "speed": 0.3125 * repeats}[target]
        assert found > share * whole - further - 1e-9 or any(u == 32 for of in counts_of(model, 1)[1] for u in of)

    @pytest.mark.parametrize("target", TARGETS)
    def test_applications_count_by_themselves(self, target: str) -> None:
        model, config = prepared("palbert", applications="each", **TARGETS[target])
        apply_density(model, config, 0.5)
        heads, units = counts_of(model, 1)
        whole = cost(target, [[2] * 3], [[32] * 3], 3)
        assert 0.5 * whole - 30 < cost(target, heads, units, 3) <= 0.5 * whole * (1 + 1e-9)
        assert len({*units[0]}) > 1

    def test_all_units_compete_by_score_per_cost(self) -> None:
        model, config = prepared("bert")
        apply_density(model, config, 0.5)
        kept, lost = [], []
        for name, layer in masked_layers(model).items():
            worth = layer.scores.detach() / (4 * 8 * 16 if "attention" in name else 2 * 16)
            kept += worth[layer.mask == 1].tolist()
            lost += worth[layer.mask == 0].tolist()
        # one head more may not fit where several units do
        assert sum(value > min(kept) for value in lost) <= 6
        assert np.mean(kept) > np.mean(lost)

    def test_scores_whose_scale_says_nothing_compete_as_they_are(self) -> None:
        config = PruningConfig(0.5, method="movement", granularity="structure")
        assert config.score.relative
        model = prepare_pruning(tiny_model("bert"), config)
        heads = [layer for name, layer in masked_layers(model).items() if "attention" in name]
        units = [layer for layer in masked_layers(model).values() if layer not in heads]
        for layer in units:
            torch.nn.init.uniform_(layer.scores.data)
        for layer in heads:  # worth little for their cost
            layer.scores.data.copy_(torch.tensor([[2.0, -2.0]]))
        apply_density(model, config, 0.5)
        assert [layer.mask.tolist() for layer in heads] == [[[1, 0]]] * 3
        kept = min(float(layer.scores.detach()[layer.mask == 1].min()) for layer in units)
        assert kept >= max(float(layer.scores.detach()[layer.mask == 0].max()) for layer in units)

    def test_whole_blocks_vanish(self) -> None:
        model, config = prepared("bert", target_sparsity=0.667)
        layers = list(masked_layers(model).values())
        for place, layer in enumerate(layers):
            layer.scores.data.fill_(-1.0 if place < 4 else 1.0).add_(torch.rand_like(layer.scores) * 0.1)
        apply_density(model, config, 0.334)
        assert [int(layer.mask.sum()) for layer in layers] == [0, 0, 0, 0, 2, 32]

    def test_magnitude_counts_means_over_weights(self) -> None:
        """At equal means, heads and units are worth the same, however many weights they have."""
        config = PruningConfig(0.5, method="magnitude", granularity="structure")
        model = prepare_pruning(tiny_model("bert"), config)
        selection = Selection(model, config)
        means = selection.scores()
        selection.apply(0.5)
        kept = [float(score[mask == 1].min()) for score, mask in zip(means, selection.masks, strict=True) if mask.any()]
        lost = [
            float(score[mask == 0].max()) for score, mask in zip(means, selection.masks, strict=True) if not mask.all()
        ]
        assert sum(value > min(kept) for value in lost) <= 1


SHORT = {"max_steps": 8, "rows": 32}


def structure_trainer(folder: Path, kind: str, target: str, **options: Any) -> Any:
    settings = {**TARGETS[target], "method": "sensitivity", "granularity": "structure", "warmup": 0.2, "cooldown": 0.3}
    settings |= options.pop("settings", {})
    callback = MovementPruningCallback(**settings)
    return make_trainer(folder, model=tiny_model(kind), callback=callback, **{**SHORT, **options})


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["albert", "bert", "distilbert"])
def test_finished_models_are_cut_and_load_again(kind: str, target: str, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = structure_trainer(tmp_path, kind, target, callbacks=[recorder])
    trainer.train()
    model = trainer.model.eval()
    assert not is_prepared(model)
    sizes, whole = layer_sizes(model), layer_sizes(tiny_model(kind))
    assert sizes != whole
    masks = recorder.masks[8]
    for name, mask in masks.items():
        path = next(path for path in sizes if path in name)
        left = sizes[path].heads if "attention" in name else sizes[path].units
        # attention without any head may keep one that is dead
        assert left == int(mask.sum()) or ("attention" in name and not mask.any() and left == 1)
    found = model(**qa_batch()).start_logits
    torch.testing.assert_close(found, recorder.logits[8], rtol=1e-5, atol=1e-5)
    trainer.save_model()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, found)
    pruning = json.loads((tmp_path / "config.json").read_text())["pruning"]
    assert pruning["granularity"] == "structure"
    units = sum(int(mask.sum()) * (4 * 8 * 16 if "attention" in name else 2 * 16) for name, mask in masks.items())
    total = sum(mask.numel() * (4 * 8 * 16 if "attention" in name else 2 * 16) for name, mask in masks.items())
    assert pruning["density"] == pytest.approx(units / total)


@pytest.mark.parametrize("target", TARGETS)
def test_applications_are_cut_and_load_again(target: str, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = structure_trainer(tmp_path, "palbert", target, callbacks=[recorder], settings={"applications": "each"})
    trainer.train()
    model = trainer.model.eval()
    found = model(**qa_batch()).start_logits
    torch.testing.assert_close(found, recorder.logits[8], rtol=1e-5, atol=1e-5)
    trainer.save_model()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, found)
    heads = [sum(mask_from_text(text, 2)) for text in model.config.application_heads]
    units = [sum(mask_from_text(text, 32)) for text in model.config.application_units]
    share = {"weights": 0.5, "flops": 0.5, "speed": 1 / 1.6}[target]
    assert cost(target, [heads], [units], 3) <= share * cost(target, [[2] * 3], [[32] * 3], 3) * (1 + 1e-9)


def test_checkpoints_on_the_way_have_the_logits_of_the_model_in_memory(tmp_path: Path) -> None:
    for kind, settings in (("bert", {}), ("palbert", {"applications": "each"})):
        recorder = Recorder()
        folder = tmp_path / kind
        structure_trainer(
            folder, kind, "flops", callbacks=[recorder], settings=settings, save_strategy="steps", save_steps=2
        ).train()
        for step in (4, 6, 8):
            loaded = AutoModelForQuestionAnswering.from_pretrained(folder / f"checkpoint-{step}").eval()
            torch.testing.assert_close(loaded(**qa_batch()).start_logits, recorder.logits[step], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_the_budget_follows_the_schedule(target: str, tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = structure_trainer(tmp_path, "bert", target, callbacks=[recorder])
    config = next(c.config for c in trainer.callback_handler.callbacks if isinstance(c, MovementPruningCallback))
    trainer.train()
    spent = []
    for step, masks in recorder.masks.items():
        rows: dict[bool, list[list[int]]] = {True: [], False: []}
        for name, mask in masks.items():
            rows["attention" in name].append([int(mask.sum())])
        whole = cost(target, [[2]] * 3, [[32]] * 3, 1)
        spent.append(cost(target, rows[True], rows[False], 1) / whole)
        assert spent[-1] <= config.density_at(step, 8) * (1 + 1e-9)
    assert spent[0] == 1
    assert spent[-1] < spent[2] < 1
    logged = [entry["density_encoder"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged[-1] < logged[0] == 1


class TestSpeed:
    def test_says_what_was_measured_and_what_the_table_says(self, tmp_path: Path) -> None:
        trainer = structure_trainer(tmp_path, "bert", "speed")
        trainer.train()
        said = trainer.model.config.pruning
        assert (said["speedup"], said["speedup_inputs"]) == (2.0, [2, LENGTH])
        sizes = [(size.heads, size.units) for size in layer_sizes(trainer.model).values()]
        table = TABLE.model([(2, 32)] * 3) / TABLE.model(sizes)
        assert said["speedup_by_table"] == pytest.approx(table)
        assert 1.6 <= table < 1.75

    def test_a_speed_that_falls_short_is_warned_of(self, tmp_path: Path) -> None:
        trainer = structure_trainer(tmp_path, "bert", "speed")
        with (
            mock.patch("transformers_palbert.pruning.finishing.fastest_seconds", return_value=[1.2, 1.0]),
            pytest.warns(PruningWarning, match=r"is 1\.20 times as fast .* 1\.60 times was the aim of target_speedup="),
        ):
            trainer.train()

    def test_a_run_that_goes_on_keeps_what_was_measured(self, tmp_path: Path, _measured: mock.Mock) -> None:  # noqa: PT019
        options = {"save_strategy": "steps", "save_steps": 4}
        whole = structure_trainer(tmp_path / "whole", "bert", "speed", **options)
        whole.train()
        assert _measured.call_count == 1
        _measured.return_value = LatencyTable((1, 2), np.array([0.0, 50.0]), (0, 32), np.array([1.0, 2.0]), 0.1)
        resumed = structure_trainer(tmp_path / "resumed", "bert", "speed", **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
        assert _measured.call_count == 1
        assert_same(resumed.model.state_dict(), whole.model.state_dict())

    def test_settings_that_change_are_measured_for(self, tmp_path: Path, _measured: mock.Mock) -> None:  # noqa: PT019
        options = {"save_strategy": "steps", "save_steps": 4}
        structure_trainer(tmp_path / "whole", "bert", "speed", **options).train()
        changed = {"latency_batch_size": 1}
        with pytest.raises(PruningError, match="latency_batch_size=2 there and 1 here"):
            structure_trainer(tmp_path / "not", "bert", "speed", settings=changed, **options).train(
                resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4")
            )
        resumed = structure_trainer(
            tmp_path / "yes", "bert", "speed", settings={**changed, "change_on_resume": True}, **options
        )
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
        assert _measured.call_count == 2
        assert _measured.call_args.kwargs == {"batch_size": 1, "length": LENGTH}

    def test_the_measured_copy_is_dense_and_plain(self) -> None:
        for kind, settings in (("bert", {}), ("palbert", {"applications": "each"})):
            model, config = prepared(kind, **TARGETS["flops"], **settings)
            dense = tiny_model(kind).eval()(**qa_batch()).start_logits
            apply_density(model, config, 0.5)
            copied = dense_copy(model).eval()
            assert not is_prepared(copied)
            assert is_prepared(model)
            assert torch.equal(copied(**qa_batch()).start_logits, dense)
            assert {type(module) for module in copied.modules()} == {
                type(module) for module in tiny_model(kind).modules()
            }

    def test_a_wrapped_forward_is_not_that_of_the_copy(self) -> None:
        model, _ = prepared("bert", **TARGETS["speed"])
        called = []
        own = model.forward
        model.forward = lambda *args, **kwargs: called.append(1) or own(*args, **kwargs)  # type: ignore[func-returns-value]
        dense_copy(model)(**qa_batch())
        assert not called


def test_in_a_loop_of_ones_own_with_a_stop_in_between(_measured: mock.Mock) -> None:  # noqa: PT019
    config = PruningConfig(granularity="structure", **TARGETS["speed"])
    other = LatencyTable((1, 2), np.array([0.0, 50.0]), (0, 32), np.array([1.0, 2.0]), 0.1)
    whole, resumed = stopped_and_gone_on_with(
        config, steps=8, meanwhile=lambda: setattr(_measured, "return_value", other)
    )
    model = whole.finish()
    assert_same(resumed.finish().state_dict(), model.state_dict())
    assert model.config.pruning["speedup"] == 2.0  # type: ignore[union-attr, index]
    assert layer_sizes(model) != layer_sizes(tiny_model("bert"))


class TestOtherGranularities:
    @pytest.mark.parametrize("granularity", ["head", "ffn_unit"])
    def test_may_have_these_targets_too(self, granularity: str) -> None:
        model, config = prepared("bert", granularity, target_flops=0.7, latency_length=LENGTH)
        budget = Selection(model, config).budget
        costs = flop_costs(model, LENGTH)
        assert budget.total == 3 * (costs.heads.at(2) + costs.units.at(32))
        assert budget.rest == 3 * (costs.units.at(32) if granularity == "head" else costs.heads.at(2))

    def test_of_the_weights_only_those_that_are_targeted_count(self) -> None:
        config = PruningConfig(0.5, granularity="structure", exclude=("layer.0",))
        model = prepare_pruning(tiny_model("bert"), config)
        costs, budget = weight_costs(model), Selection(model, config).budget
        assert (budget.rest, budget.total) == (0.0, 2 * (costs.heads.at(2) + costs.units.at(32)))


class TestFailsLoudly:
    @pytest.mark.parametrize(
        "settings",
        [
            {"target_sparsity": 0.5, "target_flops": 0.5},
            {"target_flops": 0.5, "target_speedup": 2.0},
            {"target_sparsity": 0.5, "target_speedup": 2.0},
        ],
    )
    def test_two_targets(self, settings: dict[str, Any]) -> None:
        names = " and ".join(settings)
        with pytest.raises(ConfigurationError, match=f"{names} given, and a run has exactly one"):
            PruningConfig(granularity="structure", **settings)

    def test_no_target(self) -> None:
        with pytest.raises(ConfigurationError, match="No target given, and a run has exactly one"):
            PruningConfig(granularity="structure")
        with pytest.raises(ConfigurationError, match="Give either a target"):
            MovementPruningCallback(granularity="structure")

    @pytest.mark.parametrize("granularity", ["element", "row", "block:4x4"])
    @pytest.mark.parametrize("target", [{"target_flops": 0.5}, {"target_speedup": 2.0}])
    def test_zeros_make_nothing_faster(self, granularity: str, target: dict[str, float]) -> None:
        with pytest.raises(ConfigurationError, match="no step gets quicker"):
            PruningConfig(granularity=granularity, **target)

    @pytest.mark.parametrize("value", [0, 1, 1.5, -1, "0.5", True, float("nan")])
    def test_a_share_of_operations(self, value: object) -> None:
        with pytest.raises(ConfigurationError, match=r"target_flops=.* must be a number in \(0, 1\)"):
            PruningConfig(target_flops=value, granularity="structure")  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [1, 0.5, -2, "2", True, float("inf"), float("nan")])
    def test_a_speed(self, value: object) -> None:
        with pytest.raises(ConfigurationError, match=r"target_speedup=.* must be a number above 1"):
            PruningConfig(target_speedup=value, granularity="structure")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "settings",
        [
            {"target_sparsity": 0.5, "latency_length": 8},
            {"target_sparsity": 0.5, "latency_batch_size": 8},
            {"target_flops": 0.5, "latency_batch_size": 8},
        ],
    )
    def test_inputs_that_nothing_counts_for(self, settings: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=r"latency_\w+=8 is a setting of target_speedup.*none is given"):
            PruningConfig(granularity="structure", **settings)

    @pytest.mark.parametrize("field", ["latency_batch_size", "latency_length"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "8"])
    def test_inputs_are_whole_numbers(self, field: str, value: object) -> None:
        with pytest.raises(ConfigurationError, match=f"{field}=.* must be a whole number"):
            PruningConfig(target_speedup=2.0, granularity="structure", **{field: value})  # type: ignore[arg-type]

    def test_longer_inputs_than_the_model_takes(self) -> None:
        config = PruningConfig(target_speedup=2.0, granularity="structure", latency_length=25)
        with pytest.raises(ConfigurationError, match="latency_length=25 is more than the 24 tokens"):
            prepare_pruning(tiny_model("bert"), config)

    def test_a_scope_that_says_nothing(self) -> None:
        with pytest.raises(ConfigurationError, match=r"scope='global' changes nothing .* granularity='structure'"):
            PruningConfig(0.5, granularity="structure", scope="global")

    def test_zeros_that_stay(self) -> None:
        with pytest.raises(ConfigurationError, match=r"save_sparse=False leaves heads and units .* target_speedup=2"):
            MovementPruningCallback(target_speedup=2.0, granularity="structure", save_sparse=False)
        with pytest.raises(ConfigurationError, match=r"save_sparse=False leaves heads and units .* target_flops=0.5"):
            MovementPruningCallback(target_flops=0.5, granularity="structure", save_sparse=False)

    @pytest.mark.parametrize("settings", [{"target_sparsity": 0.999}, {"target_flops": 0.001}])
    def test_a_target_that_leaves_nothing(self, settings: dict[str, float]) -> None:
        model = tiny_model("bert")
        with pytest.raises(PruningError, match=r"leaves 0\.001 of what the dense model costs"):
            prepare_pruning(model, PruningConfig(granularity="structure", **settings))
        assert not is_prepared(model)

    def test_a_speed_that_no_removal_reaches(self, tmp_path: Path) -> None:
        trainer = structure_trainer(tmp_path, "bert", "speed", settings={"target_speedup": 9.0})
        with pytest.raises(PruningError, match=r"target_speedup=9\.0 leaves 0\.111 .* and 0\.\d+ of it is in parts"):
            trainer.train()

    def test_masks_of_another_budget(self, tmp_path: Path) -> None:
        options = {"save_strategy": "steps", "save_steps": 5, "settings": {"mask_every": 3}}
        structure_trainer(tmp_path, "bert", "flops", **options).train()
        file = tmp_path / "checkpoint-5" / "model.safetensors"
        state = load_file(file)
        name = next(name for name in state if name.endswith("output.dense.mask") and "attention" not in name)
        save_file({**state, name: torch.zeros_like(state[name])}, file, {"format": "pt"})
        trainer = structure_trainer(tmp_path / "resumed", "bert", "flops", **options)
        with pytest.raises(PruningError, match=r"should keep units that cost 0\.\d+ of the dense model"):
            trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
