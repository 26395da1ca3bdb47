"""What a Trainer logs of a student with a teacher, and how its run is gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification, PreTrainedModel, Trainer, TrainerCallback, set_seed

from tests.pruning.helpers import (
    assert_same,
    make_trainer,
    qa_batch,
    qa_rows,
    tiny_config,
    tiny_model,
    training_arguments,
)
from transformers_palbert import DistillationCallback, MovementPruningCallback, with_teacher
from transformers_palbert.errors import ConfigurationError, NoEffectWarning
from transformers_palbert.training.distillation.projection import PROJECTION, PROJECTION_FILE, save_projection
from transformers_palbert.training.distillation.teaching import lesson_of

WEIGHTS = {"task": 0.75, "logits": 0.25, "hidden": 0.5, "attention": 3.0}


def student() -> PreTrainedModel:
    """One with a projection."""
    teacher = tiny_model("bert", seed=1, hidden_size=24, num_attention_heads=3)
    return with_teacher(tiny_model("bert"), teacher, weight=0.25, hidden_states=0.5, attention=3.0)


def trainer(folder: Path, *, rows: Any = None, model: Any = None, **arguments: Any) -> Trainer:
    callbacks = arguments.pop("callbacks", [DistillationCallback()])
    return Trainer(
        model=student() if model is None else model,
        args=training_arguments(folder, **arguments),
        train_dataset=qa_rows(24) if rows is None else rows,
        callbacks=callbacks,
    )


def training_logs(run: Trainer) -> list[dict[str, float]]:
    return [entry for entry in run.state.log_history if "loss" in entry]


@pytest.mark.parametrize("accumulation", [1, 4])  # 6 batches: the last step of 4 holds 2 of them
def test_the_parts_add_up_to_the_loss(tmp_path: Path, accumulation: int) -> None:
    run = trainer(tmp_path, gradient_accumulation_steps=accumulation, logging_steps=2, num_train_epochs=4)
    run.train()
    logs = training_logs(run)
    assert len(logs) >= 3
    for entry in logs:
        assert entry["loss"] == pytest.approx(sum(w * entry[f"loss_{name}"] for name, w in WEIGHTS.items()), rel=1e-5)
    assert len({entry["loss_hidden"] for entry in logs}) == len(logs)
    assert not any("loss_task" in entry for entry in run.state.log_history if "loss" not in entry)


def test_the_parts_add_up_where_labels_are_counted(tmp_path: Path) -> None:
    rows = []
    for number, row in enumerate(qa_rows(24)):
        labels = [token % 3 for token in row["input_ids"]]  # type: ignore[union-attr]
        labels[: number % 7] = [-100] * (number % 7)
        rows.append({"input_ids": row["input_ids"], "attention_mask": row["attention_mask"], "labels": labels})
    models = []
    for seed in (0, 1):
        set_seed(seed)
        config = tiny_config("bert")
        config.num_labels = 3
        models.append(AutoModelForTokenClassification.from_config(config).double())
    states = []
    for batch, accumulation in ((8, 1), (2, 4)):
        model = type(models[0])(models[0].config).double()
        model.load_state_dict(models[0].state_dict())
        with_teacher(model, models[1], weight=0.25, hidden_states=0.5, attention=3.0)
        run = trainer(
            tmp_path,
            rows=rows,
            model=model,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        run.train()
        for entry in training_logs(run):
            expected = sum(weight * entry[f"loss_{name}"] for name, weight in WEIGHTS.items())
            assert entry["loss"] == pytest.approx(expected, rel=1e-5)
        states.append((model.state_dict(), [entry["loss"] for entry in training_logs(run)]))
    assert states[0][1] == pytest.approx(states[1][1], rel=1e-6)
    for name, tensor in states[0][0].items():
        torch.testing.assert_close(states[1][0][name], tensor, rtol=1e-7, atol=1e-9)


def test_nothing_is_converted_between_two_logs(tmp_path: Path) -> None:
    """A value that is read waits for the device."""
    calls = {"item": 0, "tolist": 0}

    class Counter(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
            counts.append(dict(calls))

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(torch.Tensor, name)

        def call(self: torch.Tensor) -> Any:
            calls[name] += 1
            return original(self)

        return call

    found = []
    for model in (tiny_model("bert"), student()):
        counts: list[dict[str, int]] = []
        callbacks = [DistillationCallback(), Counter()]
        run = trainer(tmp_path, model=model, callbacks=callbacks, logging_steps=50, max_grad_norm=0.0)
        with mock.patch.multiple(torch.Tensor, item=counted("item"), tolist=counted("tolist")):
            run.train()
        found.append([{name: b[name] - a[name] for name in a} for a, b in pairwise(counts)])
    assert found[0] == found[1]


def test_a_model_without_a_teacher_is_left_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, model=tiny_model("bert"), save_strategy="steps", save_steps=3)
    run.train()
    assert not any(key.startswith("loss_") for entry in run.state.log_history for key in entry)
    assert not list(tmp_path.rglob(PROJECTION_FILE))


def pruned(folder: Path, model: PreTrainedModel | None = None, **arguments: Any) -> Trainer:
    """Six steps with pruning, dropout left out, checkpoints at the third and the last."""
    return make_trainer(
        folder,
        model=student() if model is None else model,
        callback=MovementPruningCallback(0.5),
        callbacks=[DistillationCallback()],
        rows=24,
        save_strategy="steps",
        save_steps=3,
        num_train_epochs=1,
        **arguments,
    )


def everything(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}


def test_a_run_that_goes_on_ends_as_one_that_was_not_stopped(tmp_path: Path) -> None:
    whole = pruned(tmp_path / "whole")
    whole.train()
    kept = load_file(tmp_path / "whole" / "checkpoint-3" / PROJECTION_FILE)["weight"]
    again = pruned(tmp_path / "whole", student())
    assert not torch.equal(again.model.get_submodule(PROJECTION).weight, kept)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert any(PROJECTION in name for name in everything(whole))
    assert_same(everything(whole), everything(again))
    ends = [training_logs(run)[-1] for run in (whole, again)]
    assert ends[0] == ends[1]
    for checkpoint in (tmp_path / "whole").glob("checkpoint-*"):
        assert not any(PROJECTION in name for name in load_file(checkpoint / "model.safetensors"))
    whole.save_model(str(tmp_path / "final"))
    assert not (tmp_path / "final" / PROJECTION_FILE).exists()
    assert not any(PROJECTION in name for name in load_file(tmp_path / "final" / "model.safetensors"))


def test_a_checkpoint_elsewhere_is_named(tmp_path: Path) -> None:
    pruned(tmp_path / "first").train()
    moved = shutil.move(tmp_path / "first" / "checkpoint-3", tmp_path / "moved")
    again = pruned(tmp_path / "second")
    with pytest.raises(ConfigurationError, match=r"DistillationCallback\(resume_from=folder\)"):
        again.train(resume_from_checkpoint=str(moved))
    again = pruned(tmp_path / "second")
    again.pop_callback(DistillationCallback)
    again.add_callback(DistillationCallback(resume_from=moved))
    again.train(resume_from_checkpoint=str(moved))
    assert again.state.global_step == 6


def optimizer_of(model: PreTrainedModel) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_projections_that_do_not_fit(tmp_path: Path) -> None:
    model = student()
    projection = lesson_of(model).projection
    save_projection(projection, tmp_path, 3)
    run = pruned(tmp_path / "out", model)
    callback = run.pop_callback(DistillationCallback)
    callback.resume_from = tmp_path
    state = mock.Mock(global_step=4)
    with pytest.raises(ConfigurationError, match="was written after step 3, and the run goes on after step 4"):
        callback.on_train_begin(run.args, state, run.control, model=model, optimizer=optimizer_of(model))
    narrow = with_teacher(tiny_model("bert"), tiny_model("bert", hidden_size=32), hidden_states=1.0)
    state.global_step = 3
    with pytest.raises(ConfigurationError, match=r"between other widths .* \(32, 16\)"):
        callback.on_train_begin(run.args, state, run.control, model=narrow, optimizer=optimizer_of(narrow))


def test_reporters_see_the_parts(tmp_path: Path) -> None:
    seen = []

    class Reporter(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
            seen.append(dict(logs))

    trainer(tmp_path, callbacks=[Reporter(), DistillationCallback()], max_steps=1).train()
    assert {"loss_task", "loss_logits", "loss_hidden", "loss_attention"} <= seen[0].keys()


def test_a_projection_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    teacher = tiny_model("bert", seed=1, hidden_size=24, num_attention_heads=3)
    model = tiny_model("bert")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = Trainer(
        model=with_teacher(model, teacher, hidden_states=1.0),
        args=training_arguments(tmp_path, max_steps=1),
        train_dataset=qa_rows(4),
        callbacks=[DistillationCallback()],
        optimizers=(optimizer, None),
    )
    with pytest.raises(ConfigurationError, match="optimizer does not know the projection"):
        run.train()


def test_a_loss_that_is_not_the_students_is_warned_of(tmp_path: Path) -> None:
    config = tiny_config("bert")
    config.num_labels = 3
    rows = [{"input_ids": row["input_ids"], "labels": [1] * 10} for row in qa_rows(8)]
    run = trainer(
        tmp_path,
        rows=rows,
        model=with_teacher(*(AutoModelForTokenClassification.from_config(config) for _ in range(2))),
        label_smoothing_factor=0.1,
    )
    with pytest.warns(NoEffectWarning, match="leave them out") as caught:
        run.train()
    assert len(caught) == 1


def test_what_was_computed_before_training_is_not_logged(tmp_path: Path) -> None:
    logs = []
    for before in (False, True):
        run = trainer(tmp_path, model=student(), max_steps=1)
        if before:
            run.model.train()(**qa_batch(seed=5))
        run.train()
        logs.append({name: value for name, value in training_logs(run)[0].items() if name.startswith("loss")})
    assert logs[0] == pytest.approx(logs[1])
