from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering

from tests.references.tiny_models import SHAPE
from transformers_palbert.experiments.run_folder import collect_metrics, delete_checkpoints, describe_training, logged


@pytest.fixture
def folder() -> Path:
    """What a training leaves: half of one matrix is zero."""
    model = AlbertForQuestionAnswering(AlbertConfig(**SHAPE))
    with torch.no_grad():
        model.get_submodule("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn").weight[::2] = 0
    model.save_pretrained("run")
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "eval_f1": 3.0, "epoch": 1.0}, {"step": 2, "loss": 1.0, "density": 1}]
    Path("run/trainer_state.json").write_text(json.dumps({"global_step": 2, "log_history": rows}))
    Path("run/all_results.json").write_text(json.dumps({"eval_f1": 3.0, "note": "text"}))
    return Path("run")


def test_steps_and_sizes(folder: Path) -> None:
    found = describe_training(folder)
    model = AlbertForQuestionAnswering.from_pretrained(folder)
    assert found["optimizer_steps"] == 2
    assert found["parameters"] == model.num_parameters()
    assert found["parameters_nonzero"] == sum(int(p.count_nonzero()) for p in model.parameters())
    h, f = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    assert found["density_encoder"] == pytest.approx(1 - h * f / 2 / (4 * h * h + 2 * h * f), abs=1e-6)
    assert found["file_bytes"] == (folder / "model.safetensors").stat().st_size


def test_rows_of_the_log(folder: Path) -> None:
    assert logged(folder, "loss", "density") == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "density": 1}]
    assert logged(folder, "eval_f1", "epoch") == [{"step": 2, "eval_f1": 3.0, "epoch": 1.0}]


def test_numbers_are_collected_and_checkpoints_go(folder: Path) -> None:
    (folder / "checkpoint-1").mkdir()
    metrics = collect_metrics(folder)
    assert (metrics["eval_f1"], "note" in metrics) == (3.0, False)
    assert metrics["file_mb"] == (folder / "model.safetensors").stat().st_size / 1e6
    delete_checkpoints(folder)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".json", ".json", ".safetensors"]
