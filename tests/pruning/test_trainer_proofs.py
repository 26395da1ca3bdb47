"""The callback in whole runs of a stock ``Trainer``: what must hold whatever the run looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from safetensors.torch import load_file
from torch import Tensor
from transformers import AlbertForQuestionAnswering, AutoModelForQuestionAnswering, Trainer, TrainerCallback

from tests.pruning.helpers import (
    KINDS,
    Recorder,
    assert_same,
    make_trainer,
    nonzero,
    qa_batch,
    raw_state,
    steady_logs,
    tiny_model,
)
from tests.references.pruning import naive_sensitivity, naive_top_v
from transformers_palbert import PalBertForQuestionAnswering
from transformers_palbert.pruning import (
    MovementPruningCallback,
    apply_density,
    masked_layers,
    masked_linear,
)
from transformers_palbert.pruning import optimizer as optimizer_module
from transformers_palbert.pruning.masked_linear import MaskedLinear
from transformers_palbert.pruning.optimizer import take_gradients
from transformers_palbert.sizes import pruning_report


@pytest.fixture
def builds() -> Iterator[mock.Mock]:
    with mock.patch.object(masked_linear, "mask_weight", wraps=masked_linear.mask_weight) as counter:
        yield counter


def targets(trainer: Trainer) -> list[str]:
    return list(trainer.model.config.pruning["targets"])


def assert_exact_density(trainer: Trainer, sparsity: float = 0.7) -> None:
    """``round((1 - sparsity) · N)`` weights are left, the modules are plain, and the report agrees."""
    assert not any(isinstance(module, MaskedLinear) for module in trainer.model.modules())
    state = trainer.model.state_dict()
    size = sum(state[f"{name}.weight"].numel() for name in targets(trainer))
    assert nonzero(state, targets(trainer)) == round((1 - sparsity) * size)
    assert not any(key.endswith(("scores", "pruned_weight", "mask")) for key in state)


# -- the end of a run --------------------------------------------------------------------------------------------------


class TestFinalModel:
    @pytest.mark.parametrize("kind", KINDS)
    def test_exact_density_and_stock_checkpoint(self, kind: str, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, model=tiny_model(kind), max_steps=6)
        trainer.train()
        assert_exact_density(trainer)
        trainer.save_model(tmp_path / "final")
        dense = tiny_model(kind)
        assert set(load_file(tmp_path / "final" / "model.safetensors")) == set(dense.state_dict())
        loaded, keys = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "final", output_loading_info=True)
        assert type(loaded) is type(dense)
        assert not any(keys.values())
        expected = trainer.model.eval()(**qa_batch())
        assert torch.equal(loaded.eval()(**qa_batch()).start_logits, expected.start_logits)

    def test_pal_berts_file_loads_in_stock_albert(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, model=tiny_model("palbert"), max_steps=3)
        trainer.train()
        trainer.save_model(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "albert"}))
        loaded, keys = AlbertForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(keys.values())
        expected = trainer.model.eval()(**qa_batch()).start_logits
        assert torch.equal(loaded.eval()(**qa_batch()).start_logits, expected)

    @pytest.mark.parametrize("sparsity", [0.77, 0.999])
    @pytest.mark.parametrize("method", ["movement", "magnitude"])
    @pytest.mark.parametrize("scope", ["matrix", "global"])
    def test_every_target_is_met_exactly(self, sparsity: float, method: str, scope: str, tmp_path: Path) -> None:
        callback = MovementPruningCallback(sparsity, method=method, scope=scope, schedule="linear")
        trainer = make_trainer(tmp_path, callback=callback, max_steps=4)
        trainer.train()
        assert_exact_density(trainer, sparsity)

    @pytest.mark.parametrize("steps", [1, 2, 3])
    @pytest.mark.parametrize("warmup", [0.0, 0.9])
    def test_runs_however_short_end_at_the_target(self, steps: int, warmup: float, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.7, method="movement", warmup=warmup, cooldown=0.05)
        trainer = make_trainer(tmp_path, callback=callback, max_steps=steps)
        trainer.train()
        assert_exact_density(trainer)

    def test_weights_that_are_zero_by_themselves(self, tmp_path: Path) -> None:
        """Magnitude drops them first; nothing is kept that is zero, so the count is the target's still."""
        model = tiny_model()
        for parameter in model.albert.encoder.parameters():
            parameter.data[..., 0] = 0.0
            parameter.requires_grad_(False)
        trainer = make_trainer(
            tmp_path, model=model, callback=MovementPruningCallback(0.7, method="magnitude"), max_steps=3
        )
        trainer.train()
        assert_exact_density(trainer)

    def test_config_says_what_was_done(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, model=tiny_model("palbert"), max_steps=4, save_strategy="steps", save_steps=2)
        trainer.train()
        trainer.save_model(tmp_path)
        half = json.loads((tmp_path / "checkpoint-2" / "config.json").read_text())["pruning"]
        full = json.loads((tmp_path / "config.json").read_text())["pruning"]
        assert half["status"] == "training"
        assert 0.3 < half["density"] < 1
        assert (full["status"], full["density"], full["target_sparsity"]) == ("final", 0.3, 0.7)
        assert (full["method"], full["granularity"], full["scope"]) == ("movement", "element", "matrix")
        assert len(full["targets"]) == 6
        assert all(name in dict(trainer.model.named_modules()) for name in full["targets"])

    def test_evaluation_prediction_and_saving_go_on_afterwards(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, max_steps=3)
        trainer.train()
        metrics = trainer.evaluate()
        assert metrics["eval_loss"] > 0
        assert trainer.state.log_history[-1]["eval_density_encoder"] == pytest.approx(0.3, abs=1e-3)
        assert len(trainer.predict(trainer.eval_dataset).predictions[0]) == 8

    def test_targets_by_pattern(self, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.5, method="movement", targets=["ffn"])
        trainer = make_trainer(tmp_path, callback=callback, max_steps=4)
        before = raw_state(trainer.model)
        trainer.train()
        assert [name.rpartition(".")[2] for name in targets(trainer)] == ["ffn", "ffn_output"]
        assert_exact_density(trainer, 0.5)
        after = trainer.model.state_dict()
        untouched = [name for name in before if "attention" in name and name.endswith("weight")]
        assert untouched
        assert all(int(torch.count_nonzero(after[name])) == after[name].numel() for name in untouched)

    def test_a_head_may_be_a_target_too(self, tmp_path: Path) -> None:
        """It lies outside the encoder, whose forward builds the other effective weights."""
        callback = MovementPruningCallback(0.5, method="movement", targets=["qa_outputs", "ffn$"])
        trainer = make_trainer(tmp_path, callback=callback, max_steps=5, eval_strategy="steps", eval_steps=1)
        trainer.train()
        assert targets(trainer)[-1] == "qa_outputs"
        assert_exact_density(trainer, 0.5)


# -- the middle of a run -----------------------------------------------------------------------------------------------


class TestDuringTraining:
    def test_each_step_has_the_density_of_the_schedule(self, tmp_path: Path) -> None:
        recorder = Recorder()
        trainer = make_trainer(tmp_path, callbacks=[recorder], max_steps=10)
        trainer.train()
        entries = [entry for entry in trainer.state.log_history if "loss" in entry]
        for entry in entries:
            masks = recorder.masks[entry["step"]].values()
            kept, size = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
            assert entry["density_encoder"] == kept / size
        assert [entry["density_encoder"] for entry in entries[:1]] == [1.0]
        assert entries[-1]["density_encoder"] == round(0.3 * size) / size

    def test_logged_densities_are_those_of_the_report(self, tmp_path: Path) -> None:
        for callback in (
            MovementPruningCallback(0.7, method="movement"),
            MovementPruningCallback(0.6, method="movement", targets=["ffn"]),
        ):
            trainer = make_trainer(tmp_path, callback=callback, max_steps=5)
            trainer.train()
            entry = [entry for entry in trainer.state.log_history if "loss" in entry][-1]
            report = pruning_report(trainer.model)
            pruned = report.encoder.numel - report.encoder.nonzero
            assert entry["density_encoder"] == report.encoder.density
            assert entry["density_total"] == (report.total.numel - pruned) / report.total.numel

    def test_masks_of_before_do_not_outlive_the_start_of_a_run(self, tmp_path: Path) -> None:
        """A run may begin anew on a model that was masked already, as ``auto_find_batch_size`` does."""
        callback, recorder = MovementPruningCallback(0.7, method="movement", warmup=0.5), Recorder()
        trainer = make_trainer(tmp_path, callback=callback, callbacks=[recorder], max_steps=4)
        for layer in masked_layers(trainer.model).values():
            layer.scores.data.normal_()
        apply_density(trainer.model, callback.config, 0.1)
        trainer.train()
        assert all(mask.all() for mask in recorder.masks[1].values())

    def test_pruned_weights_rest_and_scores_move(self, tmp_path: Path) -> None:
        recorder = Recorder()
        callback = MovementPruningCallback(0.5, method="movement", schedule="constant", warmup=0.3)
        make_trainer(
            tmp_path, callback=callback, callbacks=[recorder], max_steps=6, weight_decay=0.0, optim="sgd"
        ).train()
        for name, mask in recorder.masks[4].items():
            before, after = recorder.states[4], recorder.states[5]
            rests = before[f"{name}.weight"] == after[f"{name}.weight"]
            assert rests[~mask].all()
            assert not rests[mask].all()
            assert not torch.equal(before[f"{name}.scores"][~mask], after[f"{name}.scores"][~mask])

    def test_scores_sum_up_movement_away_from_zero(self, tmp_path: Path) -> None:
        """With SGD each step adds ``-η·(∂L/∂W)·W`` to the scores: the step that the weight takes, times the weight."""
        recorder = Recorder()
        callback = MovementPruningCallback(0.5, method="movement", schedule="constant", warmup=0.5, cooldown=0.0)
        options = {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0, "weight_decay": 0.0}
        make_trainer(tmp_path, callback=callback, callbacks=[recorder], max_steps=6, **options).train()
        for step in (1, 2, 3, 4, 5):
            now, then = recorder.states[step], recorder.states[step + 1]
            for name, mask in recorder.masks[step].items():
                weight = now[f"{name}.weight"]
                moved = (then[f"{name}.weight"] - weight) * weight
                scored = then[f"{name}.scores"] - now[f"{name}.scores"]
                torch.testing.assert_close(scored[mask], moved[mask], rtol=1e-3, atol=1e-6)
                assert scored.abs().sum() > 1e-4
                assert step < 3 or not mask.all()

    def test_movement_scores_are_what_the_optimizer_alone_makes_of_their_gradients(self, tmp_path: Path) -> None:
        """Bit for bit: nothing of the package is between the gradient of Eq. 4 and Adam, and no decay."""
        gradients: list[tuple[float, dict[str, Tensor]]] = []

        class Listen(TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, model=None, optimizer=None, **kwargs):  # type: ignore[no-untyped-def]
                layers = masked_layers(model).items()
                gradients.append(
                    (optimizer.param_groups[0]["lr"], {name: layer.scores.grad.clone() for name, layer in layers})
                )

        recorder = Recorder()
        trainer = make_trainer(tmp_path, callbacks=[Listen(), recorder], max_steps=6, rows=24, weight_decay=0.1)
        kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
        trainer.train()
        alone = {name: torch.nn.Parameter(torch.zeros_like(value)) for name, value in gradients[0][1].items()}
        optimizer = kind(alone.values(), **{**options, "weight_decay": 0.0})
        for step, (rate, found) in enumerate(gradients, start=1):
            optimizer.param_groups[0]["lr"] = rate
            for name, parameter in alone.items():
                parameter.grad = found[name]
            optimizer.step()
            for name, parameter in alone.items():
                assert torch.equal(recorder.states[step][f"{name}.scores"], parameter)

    @pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta"])
    def test_checkpoints_have_the_logits_of_the_model_in_memory(self, kind: str, tmp_path: Path) -> None:
        recorder = Recorder()
        make_trainer(
            tmp_path, model=tiny_model(kind), callbacks=[recorder], max_steps=8, save_strategy="steps", save_steps=2
        ).train()
        for step in (2, 4, 6, 8):
            loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / f"checkpoint-{step}").eval()
            assert torch.equal(loaded(**qa_batch()).start_logits, recorder.logits[step])
        if kind == "albert":
            ours = PalBertForQuestionAnswering.from_pretrained(tmp_path / "checkpoint-4").eval()
            assert torch.equal(ours(**qa_batch()).start_logits, recorder.logits[4])

    def test_prediction_in_the_middle_changes_nothing(self, tmp_path: Path) -> None:
        class Predicting(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
                with torch.inference_mode():
                    looking.model.eval()(**qa_batch())
                looking.predict(looking.eval_dataset)
                looking.model.train()

        plain = make_trainer(tmp_path, max_steps=6)
        plain.train()
        looking = make_trainer(tmp_path, callbacks=[Predicting()], max_steps=6, eval_strategy="steps", eval_steps=1)
        looking.train()
        assert_same(plain.model.state_dict(), looking.model.state_dict())

    def test_weight_decay_never_touches_the_scores(self, tmp_path: Path) -> None:
        """With nothing to learn from, decay alone moves the weights; the scores stay where they were."""

        class NoGradient(TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
                for layer in masked_layers(model).values():
                    if state.global_step == 2:
                        before.update(raw_state(model))
                    if state.global_step >= 2:
                        layer.weight.grad.zero_()
                        layer.scores.grad.zero_()

        before: dict[str, Tensor] = {}
        recorder = Recorder()
        make_trainer(tmp_path, callbacks=[NoGradient(), recorder], max_steps=4, weight_decay=0.5, optim="sgd").train()
        for name in recorder.masks[3]:
            assert before[f"{name}.scores"].any()
            assert torch.equal(recorder.states[3][f"{name}.scores"], before[f"{name}.scores"])
            assert not torch.equal(recorder.states[3][f"{name}.weight"], before[f"{name}.weight"])

    def test_effective_weights_are_built_once_per_forward(self, tmp_path: Path, builds: mock.Mock) -> None:
        for options in ({}, {"bf16": True}):
            model = tiny_model(layers=12)
            trainer = make_trainer(
                tmp_path, model=model, max_steps=3, gradient_accumulation_steps=2, rows=24, **options
            )
            builds.reset_mock()
            trainer.train()
            assert builds.call_count == 3 * 2 * 6  # steps × micro-batches × layers, for 12 applications each


# -- accumulation and precision ----------------------------------------------------------------------------------------


def run_accumulated(folder: Path, settings: dict[str, Any], batch: int, accumulation: int) -> Recorder:
    """Eight optimizer steps of 32 samples each, in float64 so that Adam does not magnify the noise of float32."""
    recorder = Recorder()
    make_trainer(
        folder,
        model=tiny_model("bert" if "granularity" in settings else "albert").double(),
        # warm-up, because Adam's first step makes all movement scores ±η: ties, to float32
        callback=MovementPruningCallback(0.7, warmup=0.3, **settings),
        callbacks=[recorder],
        rows=128,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=2,
        weight_decay=0.01,
    ).train()
    assert sorted(recorder.states) == list(range(1, 9))
    return recorder


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "movement"},
        {"method": "sensitivity"},
        {"method": "fisher"},
        {"method": "sensitivity", "granularity": "structure"},
        {"method": "hard_concrete", "granularity": "structure"},
    ],
    ids=str,
)
def test_accumulation_equals_one_large_batch(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = run_accumulated(tmp_path, settings, 32, 1)
    for batch, accumulation in ((16, 2), (8, 4)):
        parts = run_accumulated(tmp_path, settings, batch, accumulation)
        for step in whole.states:
            for name, tensor in whole.states[step].items():
                # scores are float32, and gates that are drawn by them; weights are float64
                of_scores = name.endswith(("scores", "uncertainty")) or settings["method"] == "hard_concrete"
                tolerance = 1e-5 if of_scores else 1e-9
                torch.testing.assert_close(parts.states[step][name], tensor, rtol=tolerance, atol=tolerance)
            assert_same(parts.masks[step], whole.masks[step])


class TestPrecision:
    def test_bf16_autocast_trains_and_ends_exactly(self, tmp_path: Path) -> None:
        full = make_trainer(tmp_path, model=tiny_model("bert"), max_steps=12, rows=48)
        half = make_trainer(tmp_path, model=tiny_model("bert"), max_steps=12, rows=48, bf16=True)
        for trainer in (full, half):
            trainer.train()
            assert_exact_density(trainer)
            assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())
        losses = [[entry["loss"] for entry in t.state.log_history if "loss" in entry] for t in (full, half)]
        assert losses[0] != losses[1]  # autocast did something
        assert losses[1] == pytest.approx(losses[0], rel=0.05)

    def test_bf16_weights(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, model=tiny_model().to(torch.bfloat16), max_steps=6)
        assert {layer.scores.dtype for layer in masked_layers(trainer.model).values()} == {torch.float32}
        trainer.train()
        assert_exact_density(trainer)
        assert all(parameter.dtype == torch.bfloat16 for parameter in trainer.model.parameters())

    @pytest.mark.parametrize("kind", ["palbert", "bert"])
    def test_gradient_checkpointing_changes_nothing(self, kind: str, tmp_path: Path, builds: mock.Mock) -> None:
        states, counts = [], []
        for checkpointing in (False, True):
            model = tiny_model(kind)
            trainer = make_trainer(tmp_path, model=model, max_steps=5, bf16=True)
            if checkpointing:
                enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
                enable()
            builds.reset_mock()
            trainer.train()
            states.append(trainer.model.state_dict())
            counts.append(builds.call_count)
        assert_same(*states)
        assert counts[0] == counts[1]

    @pytest.mark.parametrize("max_grad_norm", [1e9, 0.0])
    @pytest.mark.parametrize("unscaled", [True, False])
    @pytest.mark.parametrize("method", ["movement", "sensitivity", "fisher", "hard_concrete"])
    def test_a_step_that_the_scaler_skips_leaves_weights_and_scores_alone(
        self, method: str, unscaled: bool, max_grad_norm: float, tmp_path: Path
    ) -> None:
        """And what the scores receive does not depend on the scale, whether the Trainer has divided by it or not.

        It does before it measures the norm of the gradients, which it does without clipping as well.
        """
        states = []
        for scale in (4.0, 1.0):
            units = {"granularity": "structure"} if method == "hard_concrete" else {}
            callback = MovementPruningCallback(0.7, method=method, **units)
            trainer = make_trainer(
                tmp_path, callback=callback, max_steps=10, weight_decay=0.1, max_grad_norm=max_grad_norm
            )
            model = trainer.model
            scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            optimizer = AcceleratedOptimizer(trainer.create_optimizer(), scaler=scaler)
            trainer.state.max_steps = 10
            events = {"model": model, "optimizer": optimizer}
            callback.on_train_begin(trainer.args, trainer.state, trainer.control, **events)
            moved = []
            for step in range(1, 6):
                model.zero_grad()
                scaler.scale(model(**qa_batch(seed=step)).loss).backward()
                if step == 4:
                    next(iter(masked_layers(model).values())).weight.grad[0, 0] = float("inf")
                before = raw_state(model)
                if unscaled:
                    scaler.unscale_(optimizer.optimizer)
                callback.on_pre_optimizer_step(trainer.args, trainer.state, trainer.control, **events)
                scaled = scaler.get_scale()
                optimizer.step()
                callback.on_optimizer_step(trainer.args, trainer.state, trainer.control, **events)
                trainer.state.global_step = step
                callback.on_step_end(trainer.args, trainer.state, trainer.control, **events)
                after = raw_state(model)
                moved.append(any(not torch.equal(before[name], after[name]) for name in before))
                assert (scaler.get_scale() < scaled) is (step == 4)
            assert moved == [True, True, True, False, True]
            assert len(optimizer.param_groups) == 2
            states.append(raw_state(model))
        for name, tensor in states[0].items():
            torch.testing.assert_close(tensor, states[1][name], rtol=1e-5, atol=1e-9)


class TestSensitivity:
    def test_over_steps_it_is_the_reference(self, tmp_path: Path) -> None:
        """Gradients of the masked weights included: removed ones go on being scored."""
        received: list[dict[str, Tensor]] = []

        class Listen(TrainerCallback):
            def on_substep_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
                raise AssertionError("one batch a step")

        def listen(scores: Any) -> list[Tensor | None]:
            gradients = take_gradients(scores)
            received.append({name: g.clone() for name, g in zip(names, gradients, strict=True)})
            return gradients

        recorder = Recorder()
        trainer = make_trainer(
            tmp_path, callback=MovementPruningCallback(0.7), callbacks=[recorder, Listen()], max_steps=8, rows=32
        )
        names = list(masked_layers(trainer.model))
        with mock.patch.object(optimizer_module, "take_gradients", listen):
            trainer.train()
        assert len(received) == 8
        for step in range(1, 9):
            for name in names:
                mean, spread = naive_sensitivity([seen[name] for seen in received[:step]], 0.85, 0.95)
                state = recorder.states[step]
                torch.testing.assert_close(state[f"{name}.scores"].double(), mean, rtol=1e-4, atol=1e-12)
                torch.testing.assert_close(state[f"{name}.uncertainty"].double(), spread, rtol=1e-4, atol=1e-12)
                kept = int(recorder.masks[step][name].sum())
                assert torch.equal(
                    recorder.masks[step][name],
                    naive_top_v(state[f"{name}.scores"] * state[f"{name}.uncertainty"], kept),
                )
        assert any(received[-1][name][~recorder.masks[7][name]].any() for name in names)

    def test_takes_no_room_in_the_optimizer(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, callback=MovementPruningCallback(0.7), max_steps=3)
        scores = [layer.scores for layer in masked_layers(trainer.model).values()]
        trainer.train()
        assert len(scores) == 6
        assert not any(parameter in trainer.optimizer.state for parameter in scores)


def test_masks_rest_between_their_updates(tmp_path: Path) -> None:
    recorder = Recorder()
    callback = MovementPruningCallback(0.7, mask_every=4, warmup=0.1, cooldown=0.25)
    trainer = make_trainer(tmp_path, callback=callback, callbacks=[recorder], max_steps=20, rows=80)
    trainer.train()
    changes = [
        step
        for step in range(2, 21)
        if any(not torch.equal(recorder.masks[step][n], recorder.masks[step - 1][n]) for n in recorder.masks[step])
    ]
    assert changes[:4] == [4, 8, 12, 15]  # the cool-down begins at 15, and begins at the final density
    assert set(changes) <= {4, 8, 12, 15, 16, 20}
    densities = [entry["density_encoder"] for entry in trainer.state.log_history if "loss" in entry]
    assert densities[3] == densities[6] > densities[7]
    assert densities[14] == pytest.approx(0.3, abs=1e-3)
    assert_exact_density(trainer)
    for name, mask in recorder.masks[20].items():  # the last one trained with is the one that is baked in
        assert torch.equal(trainer.model.get_submodule(name).weight != 0, mask)


def test_scores_that_start_at_the_rank_have_a_rate_of_their_own(tmp_path: Path) -> None:
    """Adam moves a score by at most about its rate a step, however large the rate of the weights is."""
    recorder = Recorder()
    callback = MovementPruningCallback(0.7, method="movement", score_start="rank", score_learning_rate=0.01)
    trainer = make_trainer(
        tmp_path, callback=callback, callbacks=[recorder], max_steps=8, lr_scheduler_type="constant", learning_rate=0.5
    )
    trainer.train()
    for name in recorder.masks[1]:
        moved = (recorder.states[2][f"{name}.scores"] - recorder.states[1][f"{name}.scores"]).abs().max()
        assert 0 < moved <= 0.011


# -- stop and resume ---------------------------------------------------------------------------------------------------

STEPS = 12  # two epochs of 48 rows: six optimizer steps each, every one of them of two micro-batches of four
RUN = {
    "rows": 48,
    "num_train_epochs": 2,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.01,
    "save_strategy": "steps",
    "save_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
}


def full_run(
    folder: Path,
    method: str,
    scope: str = "matrix",
    kind: str = "albert",
    settings: Mapping[str, Any] | None = None,
    **changes: int,
) -> tuple[Trainer, Recorder]:
    recorder = Recorder()
    callback = MovementPruningCallback(0.7, method=method, scope=scope, warmup=0.25, cooldown=0.25, **(settings or {}))
    model = tiny_model(kind, dropout=0.1)  # with dropout, the random state must come back too
    return make_trainer(folder, model=model, callback=callback, callbacks=[recorder], **{**RUN, **changes}), recorder


def optimizer_file(folder: Path, step: int) -> dict[str, object]:
    return torch.load(folder / f"checkpoint-{step}" / "optimizer.pt", weights_only=True)


def assert_equal_trees(left: object, right: object) -> None:
    if isinstance(left, Tensor):
        assert torch.equal(left, right)  # type: ignore[arg-type]
    elif isinstance(left, dict):
        assert left.keys() == right.keys()  # type: ignore[attr-defined]
        for key in left:
            assert_equal_trees(left[key], right[key])  # type: ignore[index]
    elif isinstance(left, list):
        for one, other in zip(left, right, strict=True):  # type: ignore[call-overload]
            assert_equal_trees(one, other)
    else:
        assert left == right


@pytest.mark.parametrize(
    ("method", "settings", "scope", "kind", "every", "steps"),
    [
        # at the end of the warm-up, at the end of an epoch, where the cool-down begins, after the last step
        ("movement", {}, "matrix", "albert", 3, (3, 6, 9, 12)),
        ("sensitivity", {}, "matrix", "albert", 3, (3, 6, 9, 12)),
        # in the warm-up, on the ramp in the middle of an epoch, in the cool-down
        ("movement", {}, "global", "palbert", 2, (2, 4, 10)),
        ("sensitivity", {"uncertainty_decay": None}, "global", "bert", 2, (4, 10)),
        ("movement", {"score_start": "rank"}, "matrix", "bert", 5, (5,)),
        ("movement", {"score_update": "sum"}, "matrix", "albert", 5, (5,)),
        # between two updates of the masks, and at one
        ("sensitivity", {"mask_every": 3}, "matrix", "albert", 1, (4, 5, 6, 8, 11)),
        ("magnitude", {}, "matrix", "bert", 1, (1, 7)),
        # units that are kept by gates, also by gates of each application
        ("sensitivity", {"granularity": "ffn_unit"}, "matrix", "bert", 5, (5,)),
        ("movement", {"granularity": "ffn_unit", "applications": "each"}, "matrix", "palbert", 5, (5, 10)),
        # units that compete for a budget, and gates that are drawn
        ("fisher", {}, "matrix", "bert", 5, (5,)),
        ("fisher", {"granularity": "structure", "applications": "each"}, "matrix", "palbert", 5, (5,)),
        ("sensitivity", {"granularity": "structure", "mask_every": 3}, "matrix", "albert", 1, (4, 6, 8)),
        ("hard_concrete", {"granularity": "structure"}, "matrix", "bert", 2, (2, 4, 6, 10)),
        ("hard_concrete", {"granularity": "structure", "applications": "each"}, "matrix", "palbert", 5, (5,)),
    ],
)
def test_stop_and_resume_is_bit_identical(
    method: str,
    settings: dict[str, Any],
    scope: str,
    kind: str,
    every: int,
    steps: tuple[int, ...],
    tmp_path: Path,
) -> None:
    whole, recorder = full_run(tmp_path / "whole", method, scope, kind, settings, save_steps=every)
    whole.train()
    assert sorted(recorder.states) == list(range(1, STEPS + 1))
    for step in steps:
        resumed, again = full_run(tmp_path / f"from-{step}", method, scope, kind, settings, save_steps=every)
        for parameter in resumed.model.parameters():
            parameter.data.normal_()  # nothing may come from anywhere but the checkpoint
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert sorted(again.states) == list(range(step + 1, STEPS + 1))
        for later in again.states:
            assert_same(again.states[later], recorder.states[later])
            assert_same(again.masks[later], recorder.masks[later])
        assert_same(resumed.model.state_dict(), whole.model.state_dict())
        assert steady_logs(resumed)[:-1] == steady_logs(whole)[:-1]
        if step < STEPS:
            assert_equal_trees(
                optimizer_file(tmp_path / f"from-{step}", STEPS), optimizer_file(tmp_path / "whole", STEPS)
            )
        if "granularity" not in settings:  # of whole units, tests/pruning/test_gates.py counts
            assert_exact_density(resumed)


def test_resume_from_the_newest_checkpoint_of_the_folder(tmp_path: Path) -> None:
    whole, _ = full_run(tmp_path / "whole", "movement", save_steps=5)
    whole.train()

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            if state.global_step == 7:
                raise KeyboardInterrupt

    stopped, _ = full_run(tmp_path / "stopped", "movement", save_steps=5)
    stopped.add_callback(Stop())
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    resumed, _ = full_run(tmp_path / "stopped", "movement", save_steps=5)
    resumed.train(resume_from_checkpoint=True)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())


def test_a_sharded_checkpoint_resumes_or_is_refused(tmp_path: Path) -> None:
    """Files cut where a weight is whole load; see ``MaskedLinear`` for those that are not."""
    trainer = make_trainer(tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    trainer.train()
    folder = tmp_path / "checkpoint-2"
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    from safetensors.torch import save_file

    parts = {
        "a": {k: v for k, v in tensors.items() if ".ffn" in k},
        "b": {k: v for k, v in tensors.items() if ".ffn" not in k},
    }
    for name, part in parts.items():
        save_file(part, folder / f"{name}.safetensors", metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: f"{name}.safetensors" for name, part in parts.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    again = make_trainer(tmp_path / "again", max_steps=4)
    again.train(resume_from_checkpoint=str(folder))
    assert_same(again.model.state_dict(), trainer.model.state_dict())
