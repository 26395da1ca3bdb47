"""A run goes on from its own checkpoint, and from no other without a word."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.pruning.helpers import assert_same, make_trainer, nonzero, pruning_callback, tiny_model
from transformers_palbert.errors import PruningError
from transformers_palbert.pruning import (
    MovementPruningCallback,
    PruningConfig,
    bake_masks,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.storage.config import StorageConfig

RUN = {"max_steps": 6, "rows": 24, "save_strategy": "steps", "save_steps": 3, "weight_decay": 0.1}
SETTINGS: dict[str, Any] = {"target_sparsity": 0.7, "method": "movement", "mask_every": 2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Step 3 of 6 of a run with ``SETTINGS``."""
    folder = tmp_path_factory.mktemp("run")
    make_trainer(folder, callback=MovementPruningCallback(**SETTINGS), **RUN).train()
    return folder / "checkpoint-3"


def resume(folder: Path, checkpoint: Path, arguments: dict[str, Any] | None = None, **changes: Any) -> Any:
    trainer = make_trainer(
        folder, callback=MovementPruningCallback(**{**SETTINGS, **changes}), **{**RUN, **(arguments or {})}
    )
    trainer.train(resume_from_checkpoint=str(checkpoint))
    return trainer


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"target_sparsity": 0.5}, "target_sparsity=0.7 there and 0.5 here"),
            ({"schedule": "linear"}, "schedule='cubic' there and 'linear' here"),
            ({"warmup": 0.2, "cooldown": 0.1}, "warmup=0.1 there and 0.2 here; cooldown=0.3 there and 0.1 here"),
            ({"scope": "global"}, "scope='matrix' there and 'global' here"),
            ({"mask_every": 1}, "mask_every=2 there and 1 here"),
            ({"score_update": "sum"}, "score_update='optimizer' there and 'sum' here"),
        ],
    )
    def test_other_ones_are_an_error(
        self, changes: dict[str, Any], message: str, checkpoint: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(PruningError, match=rf"{re.escape(message)}\. Go on .*change_on_resume=True"):
            resume(tmp_path, checkpoint, **changes)

    def test_another_number_of_steps_is_another_schedule(self, checkpoint: Path, tmp_path: Path) -> None:
        with pytest.raises(PruningError, match="max_steps=6 there and 9 here"):
            resume(tmp_path, checkpoint, {"max_steps": 9})

    def test_a_change_that_is_meant(self, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "transformers_palbert"):
            trainer = resume(tmp_path, checkpoint, target_sparsity=0.5, scope="global", change_on_resume=True)
        assert "target_sparsity=0.7 there and 0.5 here; scope='matrix' there" in caplog.text
        state, names = trainer.model.state_dict(), trainer.model.config.pruning["targets"]
        assert nonzero(state, names) == round(0.5 * sum(state[f"{name}.weight"].numel() for name in names))

    def test_the_same_ones_go_on_bit_for_bit(self, checkpoint: Path, tmp_path: Path) -> None:
        resumed = resume(tmp_path, checkpoint)
        assert_same(resumed.model.state_dict(), load_whole(checkpoint.parent / "checkpoint-6"))

    def test_a_checkpoint_of_a_run_without_the_callback(self, tmp_path: Path) -> None:
        dense = make_trainer(tmp_path, **RUN)
        dense.callback_handler.callbacks.remove(pruning_callback(dense))
        bake_masks(dense.model)
        dense.train()
        with pytest.raises(PruningError, match="no callback of this class had part in the run that wrote"):
            resume(tmp_path / "new", tmp_path / "checkpoint-3", method="magnitude")

    def test_what_a_checkpoint_says_makes_the_callback_again(self, checkpoint: Path, tmp_path: Path) -> None:
        options = {
            "max_metric_drop": 1.0,
            "metric": "em",
            "save_sparse": StorageConfig("float16"),
            "method": "movement",
        }
        callback = MovementPruningCallback(0.7, **options)
        twin = MovementPruningCallback.from_state(json.loads(json.dumps(callback.state())))
        assert twin.state() == callback.state()
        assert twin.config == callback.config
        assert twin.storage == callback.storage
        arguments = {"restore_callback_states_from_checkpoint": True}
        resumed = resume(tmp_path, checkpoint, arguments, target_sparsity=0.2)
        assert_same(resumed.model.state_dict(), load_whole(checkpoint.parent / "checkpoint-6"))


def load_whole(checkpoint: Path) -> dict[str, Tensor]:
    """The end of the run of :func:`checkpoint`: the last checkpoint, without what only the training needs."""
    state = load_file(checkpoint / "model.safetensors")
    training = ("mask", "scores", "pruned_weight")
    return {name: tensor for name, tensor in state.items() if not name.endswith(training)}


class TestTensors:
    """What changes the number of parameters is found before torch's optimizer says that a group has another size."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"targets": ("ffn",)}, r"of a run that pruned other matrices: 4 only there, such as albert"),
            ({"targets": ("ffn", "query", "pooler|qa_outputs")}, r"3 only there.*; 1 only here, such as qa_outputs\."),
            ({"exclude": ("query",)}, r"1 only there, such as albert.*query\. Go on with the targets and the exclude"),
            ({"method": "magnitude"}, r"scores is there, and nothing reads it.*another method"),
            ({"method": "sensitivity"}, r"query\.uncertainty is missing.*another method or other settings of it"),
        ],
    )
    def test_of_other_targets_or_of_another_method(
        self, changes: dict[str, Any], message: str, checkpoint: Path, tmp_path: Path
    ) -> None:
        for allowed in (False, True):
            with pytest.raises(PruningError, match=message):
                resume(tmp_path, checkpoint, **changes, change_on_resume=allowed)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("pruned_weight", r"pruned_weight is missing in the checkpoint, although the rest of the pruning is there"),
            ("mask", r"mask is missing in the checkpoint, although the rest"),
            ("scores", r"scores is missing in the checkpoint: .*another method.*or the tensor was deleted"),
        ],
    )
    @pytest.mark.parametrize("every", [True, False])
    def test_that_were_deleted(self, key: str, message: str, every: bool, checkpoint: Path, tmp_path: Path) -> None:
        damaged = damage(checkpoint, tmp_path, lambda name: name.endswith(f"{'.' if every else 'ffn.'}{key}"))
        with pytest.raises(PruningError, match=message):
            resume(tmp_path / "new", damaged)

    def test_a_dense_state_is_taken_and_told(self, caplog: pytest.LogCaptureFixture) -> None:
        dense = tiny_model(seed=3)
        model = prepare_pruning(tiny_model(), PruningConfig(0.7))
        with caplog.at_level(logging.WARNING, "transformers_palbert"):
            model.load_state_dict(dense.state_dict(), strict=False)
        assert "neither masks nor scores" in caplog.text
        assert all(
            torch.equal(layer.weight, dense.get_submodule(name).weight) for name, layer in masked_layers(model).items()
        )

    def test_a_part_of_a_state(self) -> None:
        model = prepare_pruning(tiny_model(), PruningConfig(0.7))
        state = model.state_dict()
        part = {name: tensor for name, tensor in state.items() if ".ffn." in name or "embeddings" in name}
        model.load_state_dict(part, strict=False)

    def test_the_watch_ends_with_the_pruning(self) -> None:
        model = prepare_pruning(tiny_model(), PruningConfig(0.7))
        twin = copy.deepcopy(model)
        for pruned in (model, twin):
            assert pruned._load_state_dict_pre_hooks
            bake_masks(pruned)
            assert not pruned._load_state_dict_pre_hooks
            pruned.load_state_dict(tiny_model().state_dict())


def damage(checkpoint: Path, folder: Path, chosen: Callable[[str], bool]) -> Path:
    """A copy of ``checkpoint`` without the tensors that are ``chosen``."""
    damaged = folder / checkpoint.name
    damaged.mkdir()
    for file in checkpoint.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    state = load_file(checkpoint / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if not chosen(name)}
    assert 0 < len(kept) < len(state)
    save_file(kept, damaged / "model.safetensors")
    return damaged
