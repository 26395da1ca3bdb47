"""Two processes that average their gradients over gloo do what one process does with the double batch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from tests.pruning.helpers import Recorder, make_trainer, tiny_model
from tests.references.processes import two_processes
from transformers_palbert.pruning import MovementPruningCallback, budget, masked_layers
from transformers_palbert.speed.latency import LatencyTable

EACH = {"granularity": "structure", "applications": "each"}
SETTINGS: dict[str, dict[str, Any]] = {
    "movement": {"method": "movement"},
    "sensitivity": {"method": "sensitivity"},
    "gates": {"method": "sensitivity", "granularity": "ffn_unit", "applications": "each"},
    "structure": {"method": "fisher", **EACH},
    "hard_concrete": {"method": "hard_concrete", **EACH},
}
METHODS = tuple(SETTINGS)
PLAIN = {"optim": "sgd"}
"""Adam's first steps are of equal size: odds would be told apart by what rounding does to them."""
EVALUATION = {"eval_strategy": "steps", "eval_steps": 2}


def run(folder: Path, method: str, batch: int, seed: int, **options: Any) -> dict[str, Any]:
    """Eight steps in float64; parameters, masks and logs of all of them, and the model that is left."""
    recorder = Recorder()
    guard = {"max_metric_drop": 1e9, "metric": "loss", "greater_is_better": False}
    trainer = make_trainer(
        folder,
        model=tiny_model("palbert" if "applications" in SETTINGS[method] else "albert", seed=seed).double(),
        callback=MovementPruningCallback(0.7, warmup=0.3, **guard, **SETTINGS[method]),
        callbacks=[recorder],
        rows=64,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=4,
        num_train_epochs=2,
        weight_decay=0.01,
        **EVALUATION,
        **(PLAIN if method == "hard_concrete" else {}),
        **options,
    )
    if torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
        for layer in masked_layers(trainer.model).values():
            layer.weight.data.zero_()  # DDP must bring the first rank's weights here
    trainer.train()
    losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    return {
        "states": recorder.states,
        "masks": recorder.masks,
        "final": {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()},
        "losses": [*losses, trainer.evaluate()["eval_loss"]],
        "world": trainer.args.world_size,
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The runs of one process, and the folder with those of two."""
    folder = tmp_path_factory.mktemp("two")
    with two_processes(__file__, folder, timeout=300):
        alone = {method: run(folder / method, method, batch=16, seed=0) for method in METHODS}
    return alone, folder


def of_two(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the two processes have written."""
    first, second = (torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in range(2))
    return first, second


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_equal_one_with_double_batch(method: str, runs: tuple[dict[str, Any], Path]) -> None:
    alone, folder = runs
    drawn = method == "hard_concrete"  # by scores that are float32
    assert_same_run(alone[method], *of_two(folder, method), of_weights=1e-5 if drawn else 1e-9)


def assert_same_run(one: dict[str, Any], first: dict[str, Any], second: dict[str, Any], *, of_weights: float) -> None:
    """``one`` is the process alone; the two ranks agree bit for bit, and with it but for the order of sums."""
    assert (one["world"], first["world"], second["world"]) == (1, 2, 2)
    assert sorted(first["states"]) == list(range(1, 9))
    for step, masks in one["masks"].items():
        for name, mask in masks.items():
            assert torch.equal(first["masks"][step][name], mask)
            assert torch.equal(second["masks"][step][name], mask)
        for name, tensor in one["states"][step].items():
            assert torch.equal(first["states"][step][name], second["states"][step][name])
            tolerance = 1e-5 if name.endswith(("scores", "uncertainty")) else of_weights  # float32, weights float64
            torch.testing.assert_close(first["states"][step][name], tensor, rtol=tolerance, atol=tolerance)
    assert not all(mask.all() for mask in one["masks"][8].values())
    for name, tensor in one["final"].items():
        assert torch.equal(first["final"][name], second["final"][name])
        torch.testing.assert_close(first["final"][name], tensor, rtol=of_weights, atol=of_weights)
    assert first["losses"] == pytest.approx(one["losses"], rel=1e-6)


def test_both_processes_go_by_the_times_that_the_first_measured(runs: tuple[dict[str, Any], Path]) -> None:
    first, second = of_two(runs[1], "speed")
    assert sorted(first["masks"]) == list(range(1, 9))
    for step, masks in first["masks"].items():
        for name, mask in masks.items():
            assert torch.equal(second["masks"][step][name], mask)
    assert first["speedup"] == second["speedup"]
    assert not all(mask.all() for mask in first["masks"][8].values())


def run_for_speed(folder: Path, rank: int) -> dict[str, Any]:
    """Each process measures other times; the model keeps heads by those of one, and feed-forward units by the other."""
    seconds = (np.array([0.0, 9.0]), np.array([1.0, 2.0])) if rank else (np.array([0.0, 1.0]), np.array([1.0, 20.0]))
    table = LatencyTable((1, 2), seconds[0], (0, 32), seconds[1], 0.1)
    recorder = Recorder()
    callback = MovementPruningCallback(
        granularity="structure", target_speedup=1.5, latency_length=8, latency_batch_size=1
    )
    trainer = make_trainer(
        folder, model=tiny_model("bert"), callback=callback, callbacks=[recorder], max_steps=8, ddp_backend="gloo"
    )
    with mock.patch.object(budget, "measure_latency", return_value=table):
        trainer.train()
    return {"masks": recorder.masks, "speedup": trainer.model.config.pruning["speedup"]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    folder = Path(sys.argv[1])
    for method in METHODS:
        result = run(folder / f"two-{method}", method, batch=8, seed=rank, ddp_backend="gloo")
        torch.save(result, folder / f"{method}-{rank}.pt")
    torch.save(run_for_speed(folder / "two-speed", rank), folder / f"speed-{rank}.pt")
