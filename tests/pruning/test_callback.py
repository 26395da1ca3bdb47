"""Settings, logs, the best model, the metric's guard, and everything that must not fail in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from tests.pruning.helpers import (
    assert_same,
    make_trainer,
    nonzero,
    pruning_callback,
    qa_batch,
    qa_rows,
    raw_state,
    tiny_model,
    training_arguments,
)
from transformers_palbert.errors import ConfigurationError, NoEffectWarning, PruningError
from transformers_palbert.pruning import (
    MovementPruningCallback,
    PruningConfig,
    bake_masks,
    is_prepared,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.pruning.masked_linear import MaskedLinear
from transformers_palbert.pruning.metric_guard import LAST_GOOD_FILE, MetricGuard


def density_of(trainer: Trainer) -> tuple[int, int]:
    """Non-zero weights of the targets, and all of them."""
    state, names = trainer.model.state_dict(), trainer.model.config.pruning["targets"]
    return nonzero(state, names), sum(state[f"{name}.weight"].numel() for name in names)


def assert_exact(trainer: Trainer, density: float) -> None:
    assert not any(isinstance(module, MaskedLinear) for module in trainer.model.modules())
    left, size = density_of(trainer)
    assert left == round(density * size)


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        control.should_training_stop = state.global_step >= self.step


def scripted(values: dict[int, float], name: str = "f1") -> Callable[[Trainer], dict[str, float]]:
    """A metric that is ``values[step]``."""
    return lambda trainer: {name: values[trainer.state.global_step]}


class TestSettings:
    @pytest.mark.parametrize(
        "arguments",
        [{}, {"target_sparsity": 0.5, "config": PruningConfig(0.5)}, {"config": PruningConfig(0.5), "warmup": 0}],
    )
    def test_either_a_target_or_a_config(self, arguments: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=r"MovementPruningCallback\(target_sparsity=0\.7\)"):
            MovementPruningCallback(**arguments)

    def test_seventy_is_not_a_fraction(self) -> None:
        with pytest.raises(ConfigurationError, match=r"target_sparsity=70.*0\.7 rather than 70"):
            MovementPruningCallback(target_sparsity=70)

    def test_settings_reach_the_config(self) -> None:
        callback = MovementPruningCallback(0.5, method="magnitude", scope="global", targets=["ffn"])
        assert callback.config == PruningConfig(0.5, method="magnitude", scope="global", targets=("ffn",))

    def test_an_unknown_setting(self) -> None:
        with pytest.raises(TypeError, match="sparsity"):
            MovementPruningCallback(0.5, sparsity=0.3)

    def test_a_storage_that_is_none(self) -> None:
        with pytest.raises(ConfigurationError, match=r"save_sparse='float16'.*StorageConfig\(values='float16'\)"):
            MovementPruningCallback(0.5, save_sparse="float16")  # type: ignore[arg-type]

    def test_negative_drop(self) -> None:
        with pytest.raises(ConfigurationError, match="max_metric_drop=-1"):
            MovementPruningCallback(0.5, max_metric_drop=-1)


class TestLogs:
    def test_reach_history_and_tensorboard(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, max_steps=4, report_to="tensorboard", eval_strategy="steps", eval_steps=2)
        trainer.train()
        history = {key: [e[key] for e in trainer.state.log_history if key in e] for key in self.names()}
        (folder,) = {file.parent for file in tmp_path.rglob("events.out.tfevents*")}
        events = EventAccumulator(str(folder)).Reload()
        for name, values in history.items():
            tag = f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"
            assert [event.value for event in events.Scalars(tag)] == pytest.approx(values)
            assert len(values) == (2 if name.startswith("eval_") else 4)
        assert history["density_encoder"][-1] == pytest.approx(0.3, abs=1e-3)
        assert history["density_encoder"][-1] < history["density_total"][-1] < 1
        assert history["pruning_progress"] == pytest.approx([0.25, 2 / 3, 1, 1], abs=0.01)

    @staticmethod
    def names() -> list[str]:
        names = ["density_encoder", "density_total", "pruning_progress"]
        return names + [f"eval_{name}" for name in names]

    def test_other_entries_are_left_alone(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, max_steps=2)
        trainer.train()
        trainer.log({"mine": 1.0})
        assert "density_encoder" not in trainer.state.log_history[-1]
        assert not any("density_encoder" in entry for entry in trainer.state.log_history if "train_runtime" in entry)

    def test_the_callback_runs_before_the_reporters(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, report_to="tensorboard")
        first, *others = trainer.callback_handler.callbacks
        assert first is pruning_callback(trainer)
        assert len(others) >= 3
        assert not any(isinstance(other, MovementPruningCallback) for other in others)


# -- load_best_model_at_end --------------------------------------------------------------------------------------------

BEST = {
    "load_best_model_at_end": True,
    "metric_for_best_model": "f1",
    "greater_is_better": True,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "max_steps": 12,
}  # with the default warm-up and cool-down the final density is reached at step 9


class TestBestModel:
    def test_the_best_at_the_final_density_wins(self, tmp_path: Path) -> None:
        values = {2: 0.9, 4: 0.99, 6: 0.8, 8: 0.7, 10: 0.6, 12: 0.5}  # dense ones are better, as they are
        trainer = make_trainer(tmp_path, metrics=scripted(values), **BEST)
        trainer.train()
        assert trainer.state.best_global_step == 10
        assert trainer.state.best_metric == 0.6
        assert_exact(trainer, 0.3)
        saved = load_file(tmp_path / "checkpoint-10" / "model.safetensors")
        for name, tensor in trainer.model.state_dict().items():
            assert torch.equal(tensor, saved[name])
        last = load_file(tmp_path / "checkpoint-12" / "model.safetensors")
        assert not torch.equal(saved["qa_outputs.weight"], last["qa_outputs.weight"])

    def test_a_denser_best_is_forgotten_even_if_no_evaluation_follows(self, tmp_path: Path) -> None:
        options = {**BEST, "eval_steps": 5, "save_steps": 5}
        trainer = make_trainer(tmp_path, metrics=scripted({5: 0.9}), callbacks=[StopAt(9)], **options)
        trainer.train()
        assert trainer.state.best_model_checkpoint is None
        assert_exact(trainer, 0.3)
        saved = load_file(tmp_path / "checkpoint-5" / "model.safetensors")
        assert not torch.equal(trainer.model.qa_outputs.weight, saved["qa_outputs.weight"])

    def test_after_a_resume_too(self, tmp_path: Path) -> None:
        values = {2: 0.9, 4: 0.99, 6: 0.8, 8: 0.7, 10: 0.6, 12: 0.5}
        whole = make_trainer(tmp_path, metrics=scripted(values), **BEST)
        whole.train()
        for step in (4, 10):
            resumed = make_trainer(tmp_path, metrics=scripted(values), **BEST)
            resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
            assert resumed.state.best_global_step == 10
            assert_same(resumed.model.state_dict(), whole.model.state_dict())

    def test_early_stopping_waits_for_the_final_density(self, tmp_path: Path) -> None:
        values = {step: 1.0 - 0.01 * step for step in range(2, 41, 2)}  # falls from the first step on
        trainer = make_trainer(
            tmp_path, metrics=scripted(values), callbacks=[EarlyStoppingCallback(2)], **{**BEST, "max_steps": 40}
        )
        trainer.train()
        assert trainer.state.best_global_step == 28  # the first evaluation at the final density
        assert trainer.state.global_step == 32  # and two that were worse
        assert_exact(trainer, 0.3)

    def test_early_stopping_waits_where_nothing_is_saved(self, tmp_path: Path) -> None:
        """Trainer then knows the best metric, and not at which step it was."""
        values = {step: 1.0 - 0.01 * step for step in range(2, 41, 2)}
        options = {**BEST, "max_steps": 40, "save_strategy": "no", "load_best_model_at_end": False}
        trainer = make_trainer(tmp_path, metrics=scripted(values), callbacks=[EarlyStoppingCallback(2)], **options)
        trainer.train()
        assert trainer.state.global_step == 32
        assert_exact(trainer, 0.3)

    def test_save_total_limit(self, tmp_path: Path) -> None:
        values = {2: 0.9, 4: 0.99, 6: 0.8, 8: 0.7, 10: 0.6, 12: 0.5}
        trainer = make_trainer(tmp_path, metrics=scripted(values), **BEST, save_total_limit=1)
        trainer.train()
        assert trainer.state.best_global_step == 10
        assert_exact(trainer, 0.3)


# -- prune, evaluate, continue -----------------------------------------------------------------------------------------

GUARDED = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 10, "rows": 40}
DENSE_UNTIL_3 = {"warmup": 0.3, "cooldown": 0.2, "schedule": "linear"}


def guarded(folder: Path, values: dict[int, float], **changes: Any) -> tuple[Trainer, dict[int, dict[str, Tensor]]]:
    """A run whose metric is scripted, and the raw parameters at every evaluation."""
    seen: dict[int, dict[str, Tensor]] = {}

    class Watch(TrainerCallback):
        def on_evaluate(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
            if not trainer_finished(trainer):
                seen[state.global_step] = raw_state(model)

    settings = {"max_metric_drop": 5.0, **DENSE_UNTIL_3, **changes.pop("settings", {})}
    callback = MovementPruningCallback(0.7, **settings)
    options = {**GUARDED, **changes}
    trainer = make_trainer(folder, callback=callback, callbacks=[Watch()], metrics=scripted(values), **options)
    return trainer, seen


def trainer_finished(trainer: Trainer) -> bool:
    return not is_prepared(trainer.model)


@pytest.fixture
def _interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the file of the last good state where it is, as a run does that does not come to its end."""
    monkeypatch.setattr(MetricGuard, "finish", lambda *_: None)


class TestMaxMetricDrop:
    VALUES: ClassVar = {1: 80.0, 2: 79.0, 3: 78.0, 4: 79.0, 5: 76.0, 6: 74.9, 7: 90.0, 8: 90.0, 9: 90.0, 10: 90.0}

    def test_stops_and_restores_the_last_good_state(self, tmp_path: Path) -> None:
        trainer, seen = guarded(tmp_path, self.VALUES)
        trainer.train()
        assert trainer.state.global_step == 6
        density = 1 - 0.7 * 2 / 5  # step 5 is the second of the ramp's five
        assert trainer.model.config.pruning["density"] == pytest.approx(density)
        assert_exact(trainer, density)
        state = trainer.model.state_dict()
        for name, before in seen[5].items():
            if name.endswith(("scores", "uncertainty")):
                continue
            kept = state[name] != 0
            assert torch.equal(state[name][kept], before[kept])
            if name.removesuffix(".weight") not in trainer.model.config.pruning["targets"]:
                assert torch.equal(state[name], before)

    def test_nothing_is_lost_where_every_evaluation_is_good(self, tmp_path: Path) -> None:
        trainer, _ = guarded(tmp_path, dict.fromkeys(range(11), 80.0))
        trainer.train()
        assert trainer.state.global_step == 10
        assert_exact(trainer, 0.3)

    def test_when_the_first_pruned_state_is_bad_the_dense_one_returns(self, tmp_path: Path) -> None:
        values = {1: 80.0, 2: 80.0, 3: 80.0, 4: 10.0}
        trainer, seen = guarded(tmp_path, values)
        with pytest.warns(NoEffectWarning, match=r"step 3, at density 1\.000 .*No weight is removed.*max_metric_drop"):
            trainer.train()
        assert trainer.model.config.pruning["density"] == 1
        for name, tensor in trainer.model.named_parameters():
            assert torch.equal(tensor, seen[3][name])

    def test_the_baseline_of_an_evaluation_on_start(self, tmp_path: Path) -> None:
        values = {0: 60.0, 1: 56.0, 2: 58.0, 3: 59.0, 4: 56.0, 5: 54.0}
        trainer, _ = guarded(tmp_path, values, eval_on_start=True)
        trainer.train()
        assert pruning_callback(trainer).guard.baseline == 60
        assert trainer.state.global_step == 5

    @pytest.mark.parametrize("prefix", ["test", "eval_test"])
    def test_evaluations_before_training_are_those_of_the_dense_model(self, prefix: str, tmp_path: Path) -> None:
        values = {0: 60.0, **dict.fromkeys(range(1, 7), 10.0)}
        trainer, _ = guarded(tmp_path, values)
        before = raw_state(trainer.model)
        trainer.evaluate(metric_key_prefix=prefix)
        trainer.evaluate()
        trainer.evaluate(metric_key_prefix=prefix)
        with pytest.warns(NoEffectWarning, match=r"step 0, at density 1\.000"):
            trainer.train()
        assert pruning_callback(trainer).guard.baseline == 60
        assert trainer.state.global_step == 4  # the first cut; what was lost before, pruning did not take
        for name, tensor in trainer.model.named_parameters():
            assert torch.equal(tensor, before[name])

    def test_an_evaluation_before_training_that_measures_something_else(self, tmp_path: Path) -> None:
        for prefix, value in (("eval", float("nan")), ("test", 80.0)):
            trainer, _ = guarded(tmp_path, {**self.VALUES, 0: value})
            trainer.evaluate(metric_key_prefix=prefix)
            trainer.train()
            assert pruning_callback(trainer).guard.baseline == 80
            assert trainer.state.global_step == 6

    def test_an_evaluation_of_ones_own_between_two_steps(self, tmp_path: Path) -> None:
        class Own(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
                if state.global_step in (1, 4):
                    trainer.evaluate(metric_key_prefix="test" if state.global_step == 1 else "eval_test")

        trainer, _ = guarded(tmp_path, {**self.VALUES, 3: 82.0}, eval_steps=3)
        trainer.add_callback(Own())
        with pytest.warns(NoEffectWarning, match="that of step 3, at density 1"):
            trainer.train()
        assert pruning_callback(trainer).guard.baseline == 82

    def test_a_given_baseline(self, tmp_path: Path) -> None:
        trainer, _ = guarded(tmp_path, self.VALUES, settings={"dense_metric": 90.0, "max_metric_drop": 12.0})
        trainer.train()
        assert trainer.state.global_step == 5

    def test_a_loss(self, tmp_path: Path) -> None:
        settings = {"metric": "loss", "greater_is_better": False, "max_metric_drop": 100.0}
        trainer, _ = guarded(tmp_path, self.VALUES, settings=settings)
        trainer.train()
        assert_exact(trainer, 0.3)

    @pytest.mark.parametrize("metric", ["my_loss", "eval_my_loss"])
    def test_a_loss_that_falls_is_no_reason_to_stop(self, metric: str, tmp_path: Path) -> None:
        values = dict.fromkeys(range(1, 4), 80.0) | dict.fromkeys(range(4, 11), 1.0)
        settings = {"metric": metric, "max_metric_drop": 0.5}
        trainer, _ = guarded(tmp_path, values, settings=settings)
        assert not pruning_callback(trainer).guard.greater_is_better
        trainer.compute_metrics = lambda _: {"my_loss": values[trainer.state.global_step]}
        trainer.train()
        assert_exact(trainer, 0.3)

    def test_several_evaluation_sets(self, tmp_path: Path) -> None:
        seen: list[str] = []
        for metric, fails in (("dev_f1", False), ("test_f1", False), ("f1", True)):
            trainer, _ = guarded(tmp_path, self.VALUES, settings={"metric": metric})
            trainer.eval_dataset = {name: qa_rows(4, seed=1) for name in ("dev", "test")}
            if fails:
                with pytest.raises(PruningError, match=r"watches 'eval_f1'.*'eval_dev_f1'.*'eval_test_f1'"):
                    trainer.train()
                continue
            trainer.train()
            assert trainer.state.global_step == 6
            assert_exact(trainer, 1 - 0.7 * 2 / 5)
            seen.append(pruning_callback(trainer).guard.metric)
        assert seen == ["eval_dev_f1", "eval_test_f1"]

    def test_a_drop_that_can_stop_nothing(self, tmp_path: Path) -> None:
        trainer, _ = guarded(tmp_path, dict.fromkeys(range(11), 0.8), settings={"max_metric_drop": 1.0})
        with pytest.warns(NoEffectWarning, match=r"max_metric_drop=1 can stop nothing.*eval_f1 is 0\.8.*0\.01"):
            trainer.train()

    def test_epochs_of_evaluation(self, tmp_path: Path) -> None:
        options = {"eval_strategy": "epoch", "max_steps": -1, "num_train_epochs": 5, "rows": 8}  # two steps each
        trainer, _ = guarded(tmp_path, {2: 80.0, 4: 79.0, 6: 70.0}, **options)
        trainer.train()
        assert trainer.state.global_step == 6
        assert_exact(trainer, 1 - 0.7 / 5)

    def test_an_end_without_evaluation_says_which_state_it_takes(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer, _ = guarded(tmp_path, {3: 80.0, 6: 80.0}, eval_steps=3)
        trainer.add_callback(StopAt(8))
        with caplog.at_level(logging.WARNING, "transformers_palbert"):
            trainer.train()
        left, size = density_of(trainer)
        assert left / size > 0.4
        assert "that of step 6, at density" in caplog.text
        assert "instead of 0.300" in caplog.text

    @pytest.mark.parametrize("step", [2, 5])
    @pytest.mark.usefixtures("_interrupted")
    def test_a_resumed_run_ends_in_the_same_state(self, step: int, tmp_path: Path) -> None:
        whole, _ = guarded(tmp_path, self.VALUES, save_strategy="steps", save_steps=1)
        whole.train()
        resumed, _ = guarded(tmp_path, self.VALUES, save_strategy="steps", save_steps=1)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert resumed.state.global_step == 6
        assert_same(resumed.model.state_dict(), whole.model.state_dict())
        assert resumed.model.config.pruning == whole.model.config.pruning

    @pytest.mark.usefixtures("_interrupted")
    def test_a_resumed_run_still_has_its_last_good_state(self, tmp_path: Path) -> None:
        """The good state is from step 4 and the checkpoint from step 5, so only the file has it."""
        values = {2: 80.0, 4: 79.0, 6: 10.0}
        options = {"eval_steps": 2, "save_strategy": "steps", "save_steps": 1}
        whole, seen = guarded(tmp_path, values, **options)
        whole.train()
        resumed, _ = guarded(tmp_path, values, **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
        assert_same(resumed.model.state_dict(), whole.model.state_dict())
        assert torch.equal(resumed.model.qa_outputs.weight, seen[4]["qa_outputs.weight"])

    @pytest.mark.usefixtures("_interrupted")
    def test_an_evaluation_before_resuming_changes_nothing(self, tmp_path: Path) -> None:
        whole, _ = guarded(tmp_path, self.VALUES, save_strategy="steps", save_steps=1)
        whole.train()
        resumed, _ = guarded(tmp_path, {**self.VALUES, 0: 5.0}, save_strategy="steps", save_steps=1)
        resumed.evaluate()
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
        assert pruning_callback(resumed).guard.baseline == 80
        assert_same(resumed.model.state_dict(), whole.model.state_dict())

    @pytest.mark.parametrize(("step", "last"), [(2, 6), (5, 6), (6, 7)])
    def test_a_finished_run_that_is_started_again_ends_in_the_same_state(
        self, step: int, last: int, tmp_path: Path
    ) -> None:
        """Where it stopped it takes a step, and what is evaluated behind that is not looked at."""
        whole, _ = guarded(tmp_path, self.VALUES, save_strategy="steps", save_steps=1)
        whole.train()
        again, _ = guarded(tmp_path, self.VALUES, save_strategy="steps", save_steps=1)
        again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert again.state.global_step == last
        assert_same(again.model.state_dict(), whole.model.state_dict())
        assert again.model.config.pruning == whole.model.config.pruning

    def test_a_finished_run_that_came_to_its_end_can_be_started_again(self, tmp_path: Path) -> None:
        """The last checkpoint was written before the last evaluation, which comes with the end of the epoch."""
        options = {"save_strategy": "steps", "save_steps": 5, "eval_strategy": "epoch", "max_steps": -1, "rows": 8}
        values = dict.fromkeys(range(11), 80.0)
        whole, _ = guarded(tmp_path, values, **options, num_train_epochs=5)
        whole.train()
        again, _ = guarded(tmp_path, values, **options, num_train_epochs=5)
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
        assert_same(again.model.state_dict(), whole.model.state_dict())
        assert_exact(again, 0.3)

    def test_a_finished_run_goes_on_where_more_is_allowed(self, tmp_path: Path) -> None:
        first, _ = guarded(tmp_path, self.VALUES, save_strategy="steps", save_steps=1)
        first.train()
        again, _ = guarded(tmp_path, self.VALUES, settings={"max_metric_drop": 6.0})
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
        assert again.state.global_step == 10
        assert_exact(again, 0.3)

    def test_a_checkpoint_elsewhere_knows_the_baseline_and_that_it_is_good(self, tmp_path: Path) -> None:
        options = {"save_strategy": "steps", "save_steps": 1}
        whole, _ = guarded(tmp_path / "first", self.VALUES, **options)
        whole.train()
        other, _ = guarded(tmp_path / "other", self.VALUES)
        other.train(resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-5"))
        assert pruning_callback(other).guard.baseline == 80
        assert_same(other.model.state_dict(), whole.model.state_dict())
        late, _ = guarded(tmp_path / "late", self.VALUES)
        with pytest.raises(PruningError, match=r"is that of step 5, and _pruning_last_good.safetensors is not in the"):
            late.train(resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-6"))

    def test_a_finished_run_leaves_no_dense_copy_behind(self, tmp_path: Path) -> None:
        trainer, _ = guarded(tmp_path, self.VALUES)
        trainer.train()
        trainer.save_model()
        assert not list(tmp_path.rglob("_*"))

    @pytest.mark.usefixtures("_interrupted")
    @pytest.mark.parametrize("saves", [True, False])
    def test_who_saves_checkpoints_keeps_the_dense_copy(
        self, saves: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With `save_on_each_node`, one process of each: a resumed run looks for it beside the checkpoint."""
        trainer, _ = guarded(tmp_path, self.VALUES)
        monkeypatch.setattr(type(trainer.args), "should_save", saves)
        trainer.train()
        assert (tmp_path / LAST_GOOD_FILE).exists() is saves

    @pytest.mark.usefixtures("_interrupted")
    def test_the_file_of_an_earlier_run_does_not_leak_into_a_new_one(self, tmp_path: Path) -> None:
        first, _ = guarded(tmp_path, dict.fromkeys(range(11), 99.0))
        first.train()
        assert (tmp_path / LAST_GOOD_FILE).is_file()
        second, _ = guarded(tmp_path, {9: 50.0}, eval_steps=9, settings={"dense_metric": 50.0})
        second.add_callback(StopAt(3))
        with pytest.raises(PruningError, match="No evaluation came within"):
            second.train()
        assert not (tmp_path / LAST_GOOD_FILE).exists()

    def test_missing_metric(self, tmp_path: Path) -> None:
        trainer, _ = guarded(tmp_path, self.VALUES, settings={"metric": "em"})
        with pytest.raises(PruningError, match=r"'eval_em'.*eval_f1"):
            trainer.train()

    def test_missing_baseline(self, tmp_path: Path) -> None:
        trainer, _ = guarded(tmp_path, self.VALUES, settings={"warmup": 0.0})
        with pytest.raises(PruningError, match="eval_on_start=True"):
            trainer.train()

    def test_no_evaluation_at_all_is_refused_before_training(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="eval_strategy='no'"):
            make_trainer(tmp_path, callback=MovementPruningCallback(0.7, max_metric_drop=1.0))

    def test_not_together_with_the_best_model(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="set one of them"):
            make_trainer(tmp_path, callback=MovementPruningCallback(0.7, max_metric_drop=1.0), **BEST)


# -- model_init, and the search for hyperparameters --------------------------------------------------------------------


def fresh_models(folder: Path, callback: MovementPruningCallback, **arguments: Any) -> Trainer:
    """A Trainer that makes a prepared model for each training."""
    values = {"max_steps": 4, **arguments}
    return Trainer(
        model_init=lambda: prepare_pruning(tiny_model(), callback.config),
        args=training_arguments(folder, **values),
        train_dataset=qa_rows(16),
        eval_dataset=qa_rows(8, seed=1),
        callbacks=[callback],
    )


class TestFreshModels:
    def test_each_training_prunes_anew(self, tmp_path: Path) -> None:
        trainer = fresh_models(tmp_path, MovementPruningCallback(0.7))
        ends = []
        for _ in range(2):
            trainer.train()
            assert_exact(trainer, 0.3)
            ends.append({name: tensor.clone() for name, tensor in trainer.model.state_dict().items()})
        assert_same(*ends)

    def test_a_search_over_several_trials(self, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.7, max_metric_drop=0.05, metric="loss")
        trainer = fresh_models(tmp_path, callback, eval_strategy="steps", eval_steps=1, eval_on_start=True)
        ends = []

        class Note(TrainerCallback):
            def on_train_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
                ends.append((callback.guard.baseline, callback.guard.step, model.config.pruning["status"]))

        trainer.add_callback(Note())
        best = trainer.hyperparameter_search(
            hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 5e-3)},
            compute_objective=lambda metrics: metrics["eval_loss"],
            backend="optuna",
            n_trials=3,
        )
        assert best is not None
        assert [status for _, _, status in ends] == ["final"] * 3
        assert len({baseline for baseline, _, _ in ends}) == 1  # each trial took that of its own dense model

    def test_a_trial_that_was_given_up_leaves_nothing_to_the_next(self, tmp_path: Path) -> None:
        class GiveUp(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
                if state.global_step == 2 and not given_up:
                    given_up.append(True)
                    raise KeyboardInterrupt

        given_up: list[bool] = []
        callback = MovementPruningCallback(0.7, max_metric_drop=100.0, metric="loss", dense_metric=1.0)
        trainer = fresh_models(tmp_path, callback, eval_strategy="steps", eval_steps=1)
        trainer.add_callback(GiveUp())
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        trainer.train()
        assert_exact(trainer, 0.3)
        assert callback.guard.step == 4


# -- nothing fails in silence ------------------------------------------------------------------------------------------


class TestFailsLoudly:
    def test_no_layer_matched(self, tmp_path: Path) -> None:
        with pytest.raises(PruningError, match=r"No Linear of AlbertForQuestionAnswering is selected"):
            make_trainer(tmp_path, callback=MovementPruningCallback(0.7, targets=["decoder"]))

    def test_training_that_stops_early_warns_and_is_exact_all_the_same(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, callbacks=[StopAt(5)], max_steps=20, rows=80)
        with pytest.warns(NoEffectWarning, match=r"step 5 of 20, at density 0\.\d+.*cut to 0\.300 in one go"):
            trainer.train()
        assert_exact(trainer, 0.3)

    @pytest.mark.parametrize(
        ("settings", "steps"), [({"warmup": 0.9, "cooldown": 0.0}, 10), ({"schedule": "linear"}, 1), ({}, 1)]
    )
    def test_a_last_cut_in_the_last_step_warns(self, settings: dict[str, Any], steps: int, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, callback=MovementPruningCallback(0.7, **settings), max_steps=steps)
        with pytest.warns(
            NoEffectWarning, match=rf"from density 1\.000 to 0\.300, falls into the last .* {steps} steps"
        ):
            trainer.train()
        assert_exact(trainer, 0.3)

    def test_a_run_without_steps(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, num_train_epochs=0)
        with pytest.raises(ConfigurationError, match=r"has 0 optimizer steps.*num_train_epochs=0"):
            trainer.train()

    def test_layers_that_are_frozen_after_the_trainer_is_made(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, model=tiny_model("bert"), max_steps=2)
        trainer.model.bert.encoder.layer[0].requires_grad_(False)
        with pytest.raises(PruningError, match=r"scores of 6 layers, .*layer\.0\..*frozen.*before the Trainer is made"):
            trainer.train()

    def test_layers_that_were_frozen_before_are_pruned_all_the_same(self, tmp_path: Path) -> None:
        model = tiny_model("bert")
        model.bert.encoder.layer[0].requires_grad_(False)
        trainer = make_trainer(tmp_path, model=model, callback=MovementPruningCallback(0.7), max_steps=6)
        trainer.train()
        assert_exact(trainer, 0.3)

    def test_early_stopping_on_the_way_down_warns(self, tmp_path: Path) -> None:
        class Impatient(EarlyStoppingCallback):
            def on_evaluate(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
                control.should_training_stop = True

        trainer = make_trainer(
            tmp_path, callbacks=[Impatient()], metrics=scripted({4: 0.5}), **{**BEST, "eval_steps": 4, "save_steps": 4}
        )
        with pytest.warns(NoEffectWarning, match="step 4 of 12"):
            trainer.train()
        assert_exact(trainer, 0.3)

    @pytest.mark.filterwarnings("error::transformers_palbert.errors.NoEffectWarning")
    def test_stopping_in_the_cool_down_does_not_warn(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, callbacks=[StopAt(8)], max_steps=10, rows=40)
        trainer.train()
        assert_exact(trainer, 0.3)

    def test_scores_that_no_gradient_reached(self, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.7, method="movement", schedule="constant", warmup=0.0)
        with pytest.raises(PruningError, match=r"All movement scores of .*query equal 0.*warm-up"):
            make_trainer(tmp_path, callback=callback, max_steps=3).train()

    def test_a_layer_that_takes_no_part_in_the_loss(self, tmp_path: Path) -> None:
        model = tiny_model("bert")
        model.bert.spare = nn.Linear(16, 16)
        callback = MovementPruningCallback(0.7, method="movement", targets=["query", "spare"])
        with pytest.raises(PruningError, match=r"All movement scores of bert\.spare equal 0"):
            make_trainer(tmp_path, model=model, callback=callback, max_steps=5).train()

    def test_weights_that_are_all_equal(self, tmp_path: Path) -> None:
        model = tiny_model()
        layer = model.albert.encoder.albert_layer_groups[0].albert_layers[0].ffn
        layer.weight.data.fill_(0.5)
        layer.weight.requires_grad_(False)
        callback = MovementPruningCallback(0.7, method="magnitude")
        with pytest.raises(PruningError, match=r"All magnitude scores of .*ffn equal 0\.5"):
            make_trainer(tmp_path, model=model, callback=callback, max_steps=3).train()

    @pytest.mark.parametrize("method", ["movement", "magnitude"])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_gradients_that_are_not_finite(self, method: str, value: float, tmp_path: Path) -> None:
        class Poison(TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
                for name, parameter in model.named_parameters():
                    if "query" in name:
                        parameter.grad.fill_(value)

        callback = MovementPruningCallback(0.7, method=method)
        trainer = make_trainer(
            tmp_path, callback=callback, callbacks=[Poison()], max_steps=4, max_grad_norm=0.0, optim="sgd"
        )
        with pytest.raises(PruningError, match=r"NaN|not finite|nan|equal -?inf"):
            trainer.train()

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_score_that_is_not_finite_at_the_end(self, value: float, tmp_path: Path) -> None:
        class Poison(TrainerCallback):
            def on_optimizer_step(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
                if state.global_step == 3:  # the last of four
                    next(iter(masked_layers(model).values())).scores.data[0, 0] = value

        with pytest.raises(PruningError, match=r"1 of 256 scores are NaN|query are not finite"):
            make_trainer(tmp_path, callbacks=[Poison()], max_steps=4).train()

    def test_added_after_construction(self, tmp_path: Path) -> None:
        trainer = Trainer(model=tiny_model(), args=training_arguments(tmp_path), train_dataset=qa_rows(8))
        trainer.add_callback(MovementPruningCallback(0.7))
        with pytest.raises(PruningError, match=r"callbacks=\[MovementPruningCallback.*not to add_callback"):
            trainer.train()

    def test_model_init_without_preparation(self, tmp_path: Path) -> None:
        trainer = Trainer(
            model_init=lambda: tiny_model(),
            args=training_arguments(tmp_path, max_steps=2),
            train_dataset=qa_rows(8),
            callbacks=[MovementPruningCallback(0.7)],
        )
        with pytest.raises(PruningError, match=r"with model_init, call prepare_pruning\(model, callback\.config\)"):
            trainer.train()

    def test_model_init_with_preparation(self, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.7)
        trainer = Trainer(
            model_init=lambda: prepare_pruning(tiny_model(), callback.config),
            args=training_arguments(tmp_path, max_steps=4),
            train_dataset=qa_rows(16),
            callbacks=[callback],
        )
        trainer.train()
        assert_exact(trainer, 0.3)

    def test_an_optimizer_made_before(self, tmp_path: Path) -> None:
        model = tiny_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        trainer = Trainer(
            model=model,
            args=training_arguments(tmp_path, max_steps=2),
            train_dataset=qa_rows(8),
            optimizers=(optimizer, None),
            callbacks=[MovementPruningCallback(0.7)],
        )
        with pytest.raises(PruningError, match="does not know 6 of the score tensors"):
            trainer.train()

    def test_an_optimizer_made_after_preparation(self, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.7)
        model = prepare_pruning(tiny_model(), callback.config)
        trainer = Trainer(
            model=model,
            args=training_arguments(tmp_path, max_steps=4),
            train_dataset=qa_rows(16),
            optimizers=(torch.optim.AdamW(model.parameters(), lr=1e-3), None),
            callbacks=[callback],
        )
        trainer.train()
        assert_exact(trainer, 0.3)

    def test_prepared_for_another_method(self, tmp_path: Path) -> None:
        model = prepare_pruning(tiny_model(), PruningConfig(0.7, method="magnitude"))
        with pytest.raises(PruningError, match="was prepared with"):
            make_trainer(tmp_path, model=model, max_steps=2).train()

    def test_scores_without_a_method_that_reads_them(self, tmp_path: Path) -> None:
        model = prepare_pruning(tiny_model(), PruningConfig(0.7))
        with pytest.raises(PruningError, match="was prepared with"):
            make_trainer(
                tmp_path, model=model, callback=MovementPruningCallback(0.7, method="magnitude"), max_steps=2
            ).train()

    def test_prepared_with_other_settings_of_the_same_method(self, tmp_path: Path) -> None:
        model = prepare_pruning(tiny_model(), PruningConfig(0.7, uncertainty_decay=None))
        with pytest.raises(PruningError, match="with other settings of method='sensitivity'"):
            make_trainer(tmp_path, model=model, callback=MovementPruningCallback(0.7), max_steps=2).train()

    def test_masks_that_a_checkpoint_should_hold(self, tmp_path: Path) -> None:
        """Between two updates nothing but the checkpoint knows them."""
        options = {"max_steps": 12, "rows": 48, "save_strategy": "steps", "save_steps": 1}
        first = make_trainer(tmp_path, callback=MovementPruningCallback(0.7, mask_every=5), **options)
        first.train()
        file = tmp_path / "checkpoint-6" / "model.safetensors"
        state = load_file(file)
        save_file({name: ~value if name.endswith("ffn.mask") else value for name, value in state.items()}, file)
        second = make_trainer(tmp_path, callback=MovementPruningCallback(0.7, mask_every=5), **options)
        with pytest.raises(PruningError, match=r"masks of the checkpoint should keep \d+ weights, and they keep \d+"):
            second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))

    def test_a_second_training(self, tmp_path: Path) -> None:
        trainer = make_trainer(tmp_path, max_steps=2)
        trainer.train()
        with pytest.raises(PruningError, match="has finished its run"):
            trainer.train()

    def test_a_callback_that_has_had_its_run(self, tmp_path: Path) -> None:
        callback = MovementPruningCallback(0.5)
        make_trainer(tmp_path, callback=callback, max_steps=2).train()
        with pytest.raises(PruningError, match="a new MovementPruningCallback"):
            make_trainer(tmp_path, callback=callback, max_steps=2)

    def test_a_new_trainer_prunes_further(self, tmp_path: Path) -> None:
        first = make_trainer(tmp_path, max_steps=3)
        first.train()
        second = make_trainer(tmp_path, model=first.model, callback=MovementPruningCallback(0.9), max_steps=3)
        second.train()
        assert_exact(second, 0.1)

    @pytest.mark.parametrize("sharding", [{"fsdp": True}, {"deepspeed": "zero3.json"}])
    def test_sharded_parameters(self, sharding: dict[str, Any], tmp_path: Path) -> None:
        plain = training_arguments(tmp_path)
        values = {"fsdp": plain.fsdp, "deepspeed": plain.deepspeed, "load_best_model_at_end": False, **sharding}
        with pytest.raises(PruningError, match="FSDP and DeepSpeed shard them"):
            MovementPruningCallback(0.7).on_init_end(SimpleNamespace(**values), None, None, model=tiny_model())

    def test_two_callbacks(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="leave one of them out"):
            make_trainer(tmp_path, callbacks=[MovementPruningCallback(0.5)])

    def test_sparsity_zero_warns(self, tmp_path: Path) -> None:
        with pytest.warns(NoEffectWarning, match="target_sparsity=0"):
            make_trainer(tmp_path, callback=MovementPruningCallback(0.0))


def test_a_stock_trainer_tells_of_layer_wise_rates_that_it_does_not_make(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=tiny_model("palbert", layer_lr_decay=0.9), max_steps=2)
    with pytest.warns(NoEffectWarning, match=r"layer_lr_decay=0\.9 works between the layers alone"):
        trainer.train()


def test_the_gradients_of_the_scores_count_in_the_norm(tmp_path: Path) -> None:
    norms: list[tuple[float, float]] = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
            gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            weights = [gradient for name, gradient in gradients.items() if not name.endswith("scores")]
            total = nn.utils.get_total_norm
            norms.append((float(total(list(gradients.values()))), float(total(weights))))

    trainer = make_trainer(tmp_path, callbacks=[Look()], max_steps=4, max_grad_norm=1e9)
    trainer.train()
    logged = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    assert logged == pytest.approx([both for both, _ in norms], rel=1e-5)
    assert all(both > alone for both, alone in norms)


def test_what_the_optimizer_holds_is_the_same_before_and_after_a_step(tmp_path: Path) -> None:
    """Resuming relies on the order of groups and parameters."""
    layouts = []

    class Look(TrainerCallback):
        def on_step_begin(self, args, state, control, optimizer=None, **kwargs):  # type: ignore[no-untyped-def]
            layouts.append([[id(p) for p in group["params"]] for group in optimizer.param_groups])

        on_step_end = on_step_begin

    make_trainer(tmp_path, callbacks=[Look()], max_steps=3, weight_decay=0.1).train()
    assert len(layouts) == 6
    assert all(layout == layouts[0] for layout in layouts)


def test_evaluation_alone_leaves_the_model_dense(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, callback=MovementPruningCallback(0.7, max_metric_drop=1.0, metric="loss"), eval_strategy="epoch"
    )
    expected = tiny_model().eval()(**qa_batch()).start_logits
    trainer.evaluate()
    assert torch.equal(trainer.model.eval()(**qa_batch()).start_logits, expected)
    bake_masks(trainer.model)
    assert_same(trainer.model.state_dict(), tiny_model().state_dict())
