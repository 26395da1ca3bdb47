"""The example of a training loop without a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering, BertTokenizer

from tests.pruning.helpers import nonzero, tiny_model
from tests.references.scripts import load_script


def test_from_a_checkpoint_to_a_pruned_and_packed_one(files: dict[str, str], tmp_path: Path, capsys: Any) -> None:
    tokenizer = BertTokenizer(vocab=files["vocab"])
    model = tiny_model("bert", vocab_size=len(tokenizer), max_position_embeddings=64)
    for part in (tokenizer, model):
        part.save_pretrained(tmp_path / "start")
    places = {"--model": tmp_path / "start", "--train": files["train"], "--output": tmp_path / "out"}
    settings = {"--batch-size": 4, "--learning-rate": 1e-2}
    arguments = [str(value) for pair in {**places, **settings}.items() for value in pair]
    load_script("examples/prune_in_a_loop.py").main(arguments)

    assert "To be pruned: 18 matrices" in capsys.readouterr().out
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out")
    state, pruning = loaded.state_dict(), loaded.config.pruning
    sizes = sum(state[f"{name}.weight"].numel() for name in pruning["targets"])
    assert nonzero(state, pruning["targets"]) == round(0.3 * sizes)
    assert (pruning["density"], pruning["status"]) == (0.3, "final")
    assert not torch.equal(loaded.qa_outputs.weight, model.qa_outputs.weight)
    files_of = {path.suffix: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert files_of[".safetensors"] < (tmp_path / "start" / "model.safetensors").stat().st_size
