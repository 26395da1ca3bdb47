from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.pruning.helpers import assert_same, tiny_model
from transformers_palbert.errors import ConfigurationError, NoEffectWarning, PruningError
from transformers_palbert.pruning import PruningConfig, apply_density, masked_layers, prepare_pruning
from transformers_palbert.pruning.metric_guard import LAST_GOOD_FILE, MetricGuard

CONFIG = PruningConfig(0.7, method="movement")


def prepared(seed: int = 0) -> nn.Module:
    model = prepare_pruning(tiny_model(seed=seed), CONFIG)
    for layer in masked_layers(model).values():
        layer.scores.data.normal_()
    apply_density(model, CONFIG, 0.5)
    return model


class TestIsGood:
    def test_the_best_dense_evaluation_is_the_baseline(self) -> None:
        """A model that is fine-tuned in the same run knows nothing at its first evaluation."""
        guard = MetricGuard(2.0)
        for dense in (8.0, 90.0, 80.0):
            guard.is_good({"eval_f1": dense}, density=1.0)
        assert guard.baseline == 90
        assert guard.is_good({"eval_f1": 88.0}, density=0.5)  # exactly the allowed drop
        assert not guard.is_good({"eval_f1": 87.9}, density=0.4)
        assert guard.baseline == 90

    def test_a_dense_model_that_wobbles_has_lost_nothing(self) -> None:
        """Nothing was pruned yet: neither this run nor one that goes on from here may stop."""
        guard = MetricGuard(0.5)
        found = [guard.is_good({"eval_f1": dense}, density=1.0) for dense in (5.0, 60.0, 58.5)]
        assert found == [True, True, False]  # the last is no state to come back to
        assert (guard.baseline, guard.fell_too_far) == (60, False)
        again = MetricGuard(0.5)
        again.know(guard.known() or {})
        assert not again.fell_too_far
        assert not guard.is_good({"eval_f1": 58.5}, density=0.9)
        assert guard.fell_too_far

    def test_a_dense_model_that_still_learns_need_not_be_good(self) -> None:
        """In a run that fine-tunes as well, with the figure of another dense model to compare with."""
        guard = MetricGuard(0.5, baseline=90.0)
        assert not guard.is_good({"eval_f1": 5.0}, density=1.0)
        assert not guard.fell_too_far
        assert guard.is_good({"eval_f1": 89.8}, density=1.0)

    def test_of_a_loss_the_lowest_is_the_best(self) -> None:
        guard = MetricGuard(0.5, "loss")
        for dense in (3.0, 1.0, 2.0):
            guard.is_good({"eval_loss": dense}, density=1.0)
        assert guard.baseline == 1

    def test_a_given_baseline_stays(self) -> None:
        guard = MetricGuard(2.0, baseline=80.0)
        assert guard.is_good({"eval_f1": 90.0}, density=1.0)
        assert guard.baseline == 80

    def test_a_given_baseline_needs_no_dense_evaluation(self) -> None:
        guard = MetricGuard(1.0, "em", baseline=50.0)
        assert guard.is_good({"eval_em": 49.0}, density=0.3)
        assert not guard.is_good({"eval_em": 48.0}, density=0.3)

    def test_a_loss_must_not_rise(self) -> None:
        guard = MetricGuard(0.5, "loss", baseline=1.0, greater_is_better=False)
        assert guard.is_good({"eval_loss": 1.5}, 0.5)
        assert guard.is_good({"eval_loss": 0.1}, 0.5)
        assert not guard.is_good({"eval_loss": 1.6}, 0.5)

    @pytest.mark.parametrize(("name", "better"), [("loss", False), ("eval_dev_loss", False), ("f1", True)])
    def test_the_direction_is_in_the_name(self, name: str, better: bool) -> None:
        assert MetricGuard(0.5, name).greater_is_better is better
        assert MetricGuard(0.5, name, greater_is_better=not better).greater_is_better is not better

    def test_a_drop_as_large_as_the_metric_warns_once(self) -> None:
        guard = MetricGuard(1.0, baseline=0.8)
        with pytest.warns(NoEffectWarning, match="can stop nothing"):
            guard.is_good({"eval_f1": 0.8}, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            guard.is_good({"eval_f1": 0.1}, 0.5)
            MetricGuard(1.0, baseline=80.0).is_good({"eval_f1": 80.0}, 1.0)
            MetricGuard(1.0, "loss", baseline=0.5).is_good({"eval_loss": 0.5}, 1.0)
            MetricGuard(1.0, "mcc", baseline=-0.2).is_good({"eval_mcc": 0.5}, 1.0)

    @pytest.mark.parametrize("name", ["f1", "eval_f1"])
    def test_with_or_without_prefix(self, name: str) -> None:
        assert MetricGuard(1.0, name, baseline=1.0).is_good({"eval_f1": 1.0}, 0.5)

    def test_nan_is_not_good(self) -> None:
        assert not MetricGuard(1.0, baseline=1.0).is_good({"eval_f1": float("nan")}, 0.5)

    def test_nan_is_no_baseline(self) -> None:
        guard = MetricGuard(1.0)
        with pytest.raises(PruningError, match="nan"):
            guard.is_good({"eval_f1": float("nan")}, 1.0)

    def test_a_missing_metric_names_those_there_are(self) -> None:
        with pytest.raises(PruningError, match=r"'eval_f1'.*\['eval_em', 'eval_loss'\].*metric="):
            MetricGuard(1.0).is_good({"eval_loss": 1.0, "eval_em": 2.0}, 1.0)

    def test_a_missing_baseline_names_the_cure(self) -> None:
        with pytest.raises(PruningError, match=r"density 0\.900.*eval_on_start=True.*dense_metric"):
            MetricGuard(1.0).is_good({"eval_f1": 1.0}, 0.9)

    @pytest.mark.parametrize("drop", [-0.1, float("nan")])
    def test_a_drop_that_is_none(self, drop: float) -> None:
        with pytest.raises(ConfigurationError, match="max_metric_drop="):
            MetricGuard(drop)


class TestSeveralSets:
    def test_others_are_passed_over_whatever_their_order(self) -> None:
        guard = MetricGuard(1.0, "dev_f1")
        for order in (("dev", "test"), ("test", "dev")):
            heard = [guard.hears({f"eval_{name}_f1": 1.0}) for name in order]
            assert heard == [name == "dev" for name in order]
            guard.require_heard()

    def test_one_that_is_in_none_is_an_error_each_time(self) -> None:
        guard = MetricGuard(1.0)
        guard.require_heard()  # nothing was evaluated
        for _ in range(2):
            guard.hears({"eval_dev_f1": 1.0})
            guard.hears({"eval_test_f1": 1.0})
            with pytest.raises(PruningError, match=r"'eval_f1'.*\['eval_dev_f1', 'eval_test_f1'\]"):
                guard.require_heard()


class TestState:
    def test_restores_the_remembered_weights_and_scores(self, tmp_path: Path) -> None:
        model, guard = prepared(), MetricGuard(1.0, baseline=1.0)
        guard.remember(model, 5, 0.5, tmp_path / LAST_GOOD_FILE)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        for parameter in model.parameters():
            parameter.data.add_(1.0)
        guard.restore(model)
        assert_same(before, dict(model.named_parameters()))
        assert (guard.step, guard.density) == (5, 0.5)

    def test_survives_in_its_file(self, tmp_path: Path) -> None:
        file = tmp_path / LAST_GOOD_FILE
        model, guard = prepared(), MetricGuard(1.0, baseline=0.25)
        guard.remember(model, 5, 0.5, file)
        assert [path.name for path in tmp_path.iterdir()] == [LAST_GOOD_FILE]
        other, again = prepared(seed=3), MetricGuard(1.0)
        again.recall(file, step=5)
        assert (again.step, again.density, again.baseline) == (5, 0.5, 0.25)
        again.restore(other)
        assert_same(dict(model.named_parameters()), dict(other.named_parameters()))

    def test_a_state_from_the_future_is_not_taken_but_the_baseline_is(self, tmp_path: Path) -> None:
        file = tmp_path / LAST_GOOD_FILE
        guard = MetricGuard(1.0, baseline=0.25)
        guard.remember(prepared(), 5, 0.5, file)
        again = MetricGuard(1.0)
        again.recall(file, step=4)
        assert again.step is None
        assert again.baseline == 0.25

    def test_a_given_baseline_outranks_the_files(self, tmp_path: Path) -> None:
        MetricGuard(1.0, baseline=0.25).remember(prepared(), 5, 0.5, tmp_path / LAST_GOOD_FILE)
        again = MetricGuard(1.0, baseline=0.75)
        again.recall(tmp_path / LAST_GOOD_FILE, step=6)
        assert (again.step, again.baseline) == (5, 0.75)

    def test_no_file_is_no_error(self, tmp_path: Path) -> None:
        guard = MetricGuard(1.0)
        guard.recall(tmp_path / LAST_GOOD_FILE, 3)
        assert guard.step is None

    def test_nothing_good_is_an_error(self) -> None:
        with pytest.raises(PruningError, match=r"No evaluation came within max_metric_drop=0\.5"):
            MetricGuard(0.5, baseline=1.0).restore(prepared())

    def test_what_is_remembered_does_not_change_with_the_model(self) -> None:
        model, guard = prepared(), MetricGuard(1.0, baseline=1.0)
        guard.remember(model, 1, 1.0)
        expected = model.qa_outputs.bias.clone()
        model.qa_outputs.bias.data.fill_(7.0)
        guard.restore(model)
        assert torch.equal(model.qa_outputs.bias, expected)
