"""`accelerate launch` with two processes (gloo, CPU): the same command, one result, the same on both."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.examples.test_run_qa import SHAPE, options
from tests.references.scripts import load_script
from transformers_palbert.sizes import inspect_checkpoint
from transformers_palbert.training import question_answering

ROOT = Path(__file__).parents[2]


def test_accelerate_launch_trains_one_model_on_two_processes(files: dict[str, str], tmp_path: Path) -> None:
    dev = Path(files["dev"]).read_text(encoding="utf-8").splitlines()
    Path(files["dev"]).write_text("\n".join(dev[:11]) + "\n", encoding="utf-8")  # odd: one process gets one more
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "target_sparsity": 0.5, "max_steps": 6}
    arguments = options(
        files, "out", **settings, per_device_train_batch_size=2, eval_strategy="steps", eval_steps=3,
        ddp_backend="gloo",
    )  # fmt: skip
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
              "--main_process_port", "0", "--num_machines", "1", "--mixed_precision", "no",
              "--dynamo_backend", "no"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "REPORT": str(tmp_path)}
    process = subprocess.run(
        [*launch, __file__, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert process.returncode == 0, process.stderr[-3000:]

    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert (first["world"], second["world"]) == (2, 2)
    scores = [{k: v for k, v in one["metrics"].items() if "runtime" not in k and "per_second" not in k}
              for one in (first, second)]  # fmt: skip
    assert scores[0] == pytest.approx(scores[1])
    assert scores[0]["eval_total"] == 11
    assert scores[0]["eval_density_encoder"] == pytest.approx(0.5, abs=1e-3)
    assert first["weights"] == second["weights"]
    assert len(json.loads(Path("out/eval_predictions.json").read_text(encoding="utf-8"))) == 11
    assert inspect_checkpoint("out").encoder.density == pytest.approx(0.5, abs=1e-3)
    assert json.loads(Path("out/trainer_state.json").read_text())["global_step"] == 6


def watched(trainer: type) -> tuple[type, list]:
    """The Trainer class, and a list that what it makes is put in."""
    made: list = []

    class Watched(trainer):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    return Watched, made


if __name__ == "__main__":
    torch.set_num_threads(1)
    question_answering.QuestionAnsweringTrainer, made = watched(question_answering.QuestionAnsweringTrainer)
    metrics = load_script("examples/run_qa.py").main(sys.argv[1:])
    state = made[0].model.state_dict()
    weights = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state.values())).hexdigest()
    report = {"metrics": metrics, "world": made[0].args.world_size, "weights": weights}
    Path(os.environ["REPORT"], f"{os.environ['RANK']}.json").write_text(json.dumps(report))
