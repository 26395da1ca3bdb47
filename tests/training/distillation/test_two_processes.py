"""Two processes that learn from a teacher do what one process does with the double batch, a projection included."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, Trainer, set_seed

from tests.pruning.helpers import qa_rows, tiny_config, tiny_model, training_arguments
from tests.references.processes import two_processes
from transformers_palbert import DistillationCallback, MovementPruningCallback, with_teacher
from transformers_palbert.training.distillation.projection import PROJECTION_FILE

TASKS = ("questions", "tokens")


def models(task: str, seed: int) -> list[Any]:
    """A student, drawn by ``seed``, and a wider teacher."""
    made = []
    for own, changes in ((seed, {}), (7, {"hidden_size": 24, "num_attention_heads": 3, "layers": 4})):
        if task == "questions":
            made.append(tiny_model("bert", seed=own, **changes).double())
            continue
        set_seed(own)
        config = tiny_config("bert", **changes)
        config.num_labels = 3
        made.append(AutoModelForTokenClassification.from_config(config).double())
    return made


def rows(task: str) -> list[dict[str, Any]]:
    """Windows, padded to various lengths; where tokens are labelled, more and fewer of them are."""
    made = []
    for number, row in enumerate(qa_rows(32)):
        real = 10 - number % 5
        mask = [1] * real + [0] * (10 - real)
        if task == "questions":
            place = number % real
            labels: dict[str, Any] = {"start_positions": place, "end_positions": place}
        else:
            labels = {"labels": [number % 3] * (real - 3) + [-100] * (13 - real)}
        made.append({"input_ids": row["input_ids"], "attention_mask": mask, **labels})
    return made


def run(folder: Path, task: str, batch: int, seed: int, **options: Any) -> dict[str, Any]:
    """Four steps in float64 with pruning; the parameters after them, and the logs."""
    student, teacher = models(task, seed)
    with_teacher(student, teacher, hidden_states=1.0, attention=2.0)
    pruning = [MovementPruningCallback(0.5, warmup=0.0)] if task == "questions" else []
    trainer = Trainer(
        model=student,
        args=training_arguments(
            folder, per_device_train_batch_size=batch, max_steps=4, save_strategy="steps", save_steps=4, **options
        ),
        train_dataset=rows(task),
        callbacks=[*pruning, DistillationCallback()],
    )
    trainer.train()
    return {
        "parameters": {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()},
        "logs": [
            {name: value for name, value in entry.items() if name.startswith("loss")}
            for entry in trainer.state.log_history
            if "loss" in entry
        ],
        "world": trainer.args.world_size,
    }


def test_two_processes_equal_one_with_double_batch(tmp_path: Path) -> None:
    with two_processes(__file__, tmp_path, timeout=240):
        alone = {task: run(tmp_path / task, task, batch=4, seed=0, gradient_accumulation_steps=2) for task in TASKS}
    for task, one in alone.items():
        first, second = (torch.load(tmp_path / f"{task}-{rank}.pt", weights_only=True) for rank in range(2))
        assert (one["world"], first["world"], second["world"]) == (1, 2, 2)
        for name, tensor in one["parameters"].items():
            assert torch.equal(first["parameters"][name], second["parameters"][name])
            tolerance = 1e-5 if name.endswith(("scores", "uncertainty")) else 1e-9
            torch.testing.assert_close(first["parameters"][name], tensor, rtol=tolerance, atol=tolerance, msg=name)
        for logged in (first["logs"], second["logs"]):
            for entry, expected in zip(logged, one["logs"], strict=True):
                assert entry == pytest.approx(expected, rel=1e-5)
                weights = {"task": 0.5, "logits": 0.5, "hidden": 1.0, "attention": 2.0}
                assert entry["loss"] == pytest.approx(sum(w * entry[f"loss_{name}"] for name, w in weights.items()))
        assert (tmp_path / f"two-{task}" / "checkpoint-4" / PROJECTION_FILE).is_file()


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    folder = Path(sys.argv[1])
    for task in TASKS:
        result = run(folder / f"two-{task}", task, batch=4, seed=rank, ddp_backend="gloo")
        torch.save(result, folder / f"{task}-{rank}.pt")
