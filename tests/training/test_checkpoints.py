"""A run goes on from the newest checkpoint that was written to its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer, TrainingArguments

from tests.pruning.helpers import assert_same, make_trainer, qa_rows, tiny_model, training_arguments
from tests.storage.helpers import pruned_model
from transformers_palbert import DistillationCallback, enable_sparse_saving, with_teacher
from transformers_palbert.errors import ConfigurationError, PruningError, StorageError
from transformers_palbert.pruning import PruningConfig, prepare_pruning
from transformers_palbert.training.checkpoints import (
    ResumingMixin,
    find_damage,
    last_whole_checkpoint,
    require_masks_kept,
    resume_point,
)


def write(step: int, folder: str = "out") -> Path:
    """A whole checkpoint, as far as it is looked at."""
    checkpoint = Path(folder, f"checkpoint-{step}")
    checkpoint.mkdir(parents=True)
    save_file({"weight": torch.ones(4, 4)}, checkpoint / "model.safetensors")
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return checkpoint


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


DAMAGES = {
    "state missing": (lambda folder: (folder / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "state cut": (cut("trainer_state.json", 5), "trainer_state.json cannot be read"),
    "state empty": (lambda folder: (folder / "trainer_state.json").write_text("{}"), "does not say at which step"),
    "state nested": (
        lambda folder: (folder / "trainer_state.json").write_text("[" * 100_000),
        "trainer_state.json cannot be read (it is nested too deeply)",
    ),
    "index without a map": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": []}'),
        "model.safetensors.index.json does not say where the weights are",
    ),
    "state no mapping": (lambda folder: (folder / "trainer_state.json").write_text("[]"), "holds no mapping"),
    "weights missing": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
    "weights cut": (cut("model.safetensors", -1), "model.safetensors cannot be read"),
    "weights empty": (cut("model.safetensors", 0), "model.safetensors cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_checkpoint_that_was_cut_off_is_passed_over(name: str, caplog: pytest.LogCaptureFixture) -> None:
    damage, message = DAMAGES[name]
    whole, newest = write(6), write(12)
    assert last_whole_checkpoint(Path("out")) == newest
    damage(newest)
    with caplog.at_level(logging.WARNING):
        assert last_whole_checkpoint(Path("out")) == whole
    (record,) = caplog.records
    assert "checkpoint-12 is passed over" in record.getMessage()
    assert message in record.getMessage()


def test_a_checkpoint_of_an_adapter_is_whole() -> None:
    """PEFT saves the adapter and its config, and no whole model."""
    checkpoint = write(12)
    (checkpoint / "model.safetensors").rename(checkpoint / "adapter_model.safetensors")
    (checkpoint / "adapter_config.json").write_text("{}")
    assert last_whole_checkpoint(Path("out")) == checkpoint
    cut("adapter_model.safetensors", -1)(checkpoint)
    assert last_whole_checkpoint(Path("out")) is None


def test_newest_counts_by_number_not_by_name() -> None:
    for step in (9, 10, 100, 11):
        write(step)
    Path("out/checkpoint-final").mkdir()
    Path("out/checkpoint-200").write_text("a file")
    assert last_whole_checkpoint(Path("out")) == Path("out/checkpoint-100")


def test_shards_count_all_together() -> None:
    checkpoint = write(1)
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert find_damage(checkpoint) == "model-00002-of-00002.safetensors is missing"
    save_file({"b": torch.ones(1)}, checkpoint / names["b"])
    assert find_damage(checkpoint) is None


def test_where_weights_are_sharded_by_the_training_only_the_state_is_looked_at() -> None:
    (write(1) / "model.safetensors").unlink()
    assert last_whole_checkpoint(Path("out")) is None
    assert last_whole_checkpoint(Path("out"), look_at_weights=False) == Path("out/checkpoint-1")


def test_where_to_go_on() -> None:
    def point(**arguments: Any) -> str | None:
        return resume_point(Trainer(nn.Linear(2, 2), TrainingArguments("out", use_cpu=True, **arguments)))

    assert point() is None
    write(3)
    assert point() == "out/checkpoint-3"
    assert point(resume_from_checkpoint="elsewhere") == "elsewhere"
    assert point(resume_from_checkpoint=True) == "out/checkpoint-3"  # as a recipe may say
    assert point(resume_from_checkpoint=False) is None


def test_files_that_a_run_needs_beside(caplog: pytest.LogCaptureFixture) -> None:
    whole, newest = write(6), write(12)
    save_file({"weight": torch.ones(4, 4)}, whole / "beside.safetensors")
    assert find_damage(newest) is None
    assert find_damage(newest, needed=["beside.safetensors"]) == "beside.safetensors is missing"
    assert last_whole_checkpoint(Path("out")) == newest
    assert last_whole_checkpoint(Path("out"), needed=["beside.safetensors"]) == whole
    assert "checkpoint-12 is passed over: beside.safetensors is missing" in caplog.text
    (newest / "beside.safetensors").write_bytes(b"")
    assert last_whole_checkpoint(Path("out"), needed=["beside.safetensors"]) == whole


class TestOfAStudentThatIsNotAsWideAsItsTeacher:
    """Its projection is written after all else, so a run that is killed may leave a checkpoint without it."""

    @staticmethod
    def trainer(folder: Path, **arguments: Any) -> Trainer:
        teacher = tiny_model("bert", seed=1, hidden_size=24, num_attention_heads=3)
        model = with_teacher(tiny_model("bert"), teacher, hidden_states=0.5)
        options = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, **arguments}

        class Ours(ResumingMixin, Trainer):
            pass

        return Ours(
            model=model,
            args=training_arguments(folder, **options),
            train_dataset=qa_rows(24),
            callbacks=[DistillationCallback()],
        )

    def test_goes_on_from_the_checkpoint_before(self, tmp_path: Path) -> None:
        whole = self.trainer(tmp_path / "run")
        whole.train()
        (tmp_path / "run" / "checkpoint-6" / "distillation.safetensors").unlink()
        resumed = self.trainer(tmp_path / "run")
        assert resume_point(resumed) == str(tmp_path / "run" / "checkpoint-4")
        resumed.train(resume_from_checkpoint=True)
        assert_same(resumed.model.state_dict(), whole.model.state_dict())

    def test_without_any_it_says_so(self, tmp_path: Path) -> None:
        self.trainer(tmp_path / "run", max_steps=2).train()
        (tmp_path / "run" / "checkpoint-2" / "distillation.safetensors").unlink()
        resumed = self.trainer(tmp_path / "run")
        assert resume_point(resumed) == str(tmp_path / "run" / "checkpoint-2")
        with pytest.raises(ConfigurationError, match=r"distillation\.safetensors cannot be read"):
            resumed.train(resume_from_checkpoint=True)


def test_trainers_of_ours_pass_over_what_was_cut_off() -> None:
    asked: list[object] = []

    class Stock:
        args = TrainingArguments("out", use_cpu=True)
        model = nn.Linear(2, 2)

        def train(self, resume_from_checkpoint: object, trial: object = None) -> None:
            asked.append(resume_from_checkpoint)

    class Ours(ResumingMixin, Stock):  # type: ignore[misc]
        pass

    Ours().train(True)
    write(6)
    (write(12) / "trainer_state.json").unlink()
    Ours().train(resume_from_checkpoint=True)
    Ours().train(None, trial=3)
    Ours().train(resume_from_checkpoint="elsewhere")
    assert asked == [True, "out/checkpoint-6", None, "elsewhere"]


def test_a_stock_trainer_goes_on_from_what_was_found(tmp_path: Path) -> None:
    options = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2}
    make_trainer(tmp_path, **options).train()
    (tmp_path / "checkpoint-6" / "trainer_state.json").unlink()
    trainer = make_trainer(tmp_path, **options)
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(str(tmp_path)))
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == [1, 2, 3, 4, 5, 6]


def test_from_the_middle_of_pruning_only_with_masks() -> None:
    checkpoint = write(3)
    for status in ("training", "final"):
        settings = {"pruning": {"density": 0.5, "status": status, "targets": ["ffn"]}}
        (checkpoint / "config.json").write_text(json.dumps(settings))
        if status == "final":
            require_masks_kept(checkpoint, tiny_model())
            continue
        with pytest.raises(PruningError, match=r"checkpoint-3 is from the middle of a pruning run, at density 0\.500"):
            require_masks_kept(checkpoint, tiny_model())
        require_masks_kept(checkpoint, prepare_pruning(tiny_model(), PruningConfig(0.5)))
    (checkpoint / "config.json").unlink()
    require_masks_kept(checkpoint, tiny_model())


def test_a_packed_checkpoint_with_a_flipped_bit_is_not_gone_on_from(tmp_path: Path) -> None:
    """``Trainer`` reads the file of the weights alone, and no plain tensor in it has a checksum."""

    class Ours(ResumingMixin, Trainer):
        pass

    def trainer() -> Trainer:
        model = pruned_model()
        enable_sparse_saving(model)
        args = training_arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=2, learning_rate=0.0)
        return Ours(model=model, args=args, train_dataset=qa_rows(32))

    trainer().train()
    trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    file = tmp_path / "checkpoint-2" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match="not as they were saved"):
        trainer().train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
