"""What Trainer writes and reads with the callback, or with a model that was loaded from a packed file."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForQuestionAnswering, PreTrainedModel, Trainer

from tests.pruning.helpers import assert_same, make_trainer, qa_rows, raw_state, tiny_model, training_arguments
from tests.references.processes import two_processes
from transformers_palbert import MovementPruningCallback, StorageConfig
from transformers_palbert.errors import StorageError
from transformers_palbert.pruning import PruningConfig, bake_masks, prepare_pruning, pruning_plan
from transformers_palbert.sizes import inspect_checkpoint
from transformers_palbert.storage.saving import disable_sparse_saving, enable_sparse_saving
from transformers_palbert.storage.tensors import is_packed, packed_header

CHECKPOINTS: dict[str, Any] = {"save_strategy": "steps", "save_steps": 4, "num_train_epochs": 1}

load = AutoModelForQuestionAnswering.from_pretrained


def packed_values(folder: Path) -> set[str]:
    """Types of the values of the packed tensors in ``folder``."""
    tensors = load_file(folder / "model.safetensors").values()
    return {packed_header(tensor).values for tensor in tensors if is_packed(tensor)}


def same(left: PreTrainedModel, right: PreTrainedModel) -> bool:
    states = left.state_dict(), right.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(t, states[1][n]) for n, t in states[0].items())


def wide_model(kind: str = "albert", seed: int = 0) -> PreTrainedModel:
    return tiny_model(kind, hidden_size=32, seed=seed)


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "roberta"])
def test_the_end_is_packed_and_the_way_is_dense(kind: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=wide_model(kind), **CHECKPOINTS)
    trainer.train()
    trainer.save_model(str(tmp_path / "final"))
    assert packed_values(tmp_path / "final") == {"float32"}
    assert not packed_values(tmp_path / "checkpoint-4")
    assert not packed_values(tmp_path / "checkpoint-8")
    assert "quantization_config" not in (tmp_path / "checkpoint-8" / "config.json").read_text()
    assert same(load(tmp_path / "final"), trainer.model)
    report = inspect_checkpoint(tmp_path / "final")
    assert report.encoder.density == pytest.approx(0.3, abs=0.01)
    assert report.encoder.stored_bytes is not None
    assert report.encoder.stored_bytes < 0.5 * report.encoder.bytes


@pytest.mark.parametrize("values", ["float16", "int8"])
def test_what_is_evaluated_is_what_is_saved(values: str, tmp_path: Path) -> None:
    callback = MovementPruningCallback(0.7, save_sparse=StorageConfig(values))
    trainer = make_trainer(tmp_path, model=wide_model(), callback=callback, max_steps=6)
    trainer.train()
    loss = trainer.evaluate()["eval_loss"]
    trainer.save_model(str(tmp_path / "final"))
    assert packed_values(tmp_path / "final") == {values}
    loaded = load(tmp_path / "final")
    assert same(loaded, trainer.model)
    assert make_trainer(tmp_path, model=loaded).evaluate()["eval_loss"] == loss


def test_dense_on_request(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, callback=MovementPruningCallback(0.7, save_sparse=False), max_steps=6)
    trainer.train()
    trainer.save_model()
    assert not packed_values(tmp_path)


def test_nothing_packed_where_nothing_was_pruned(tmp_path: Path) -> None:
    trainer = Trainer(model=wide_model(), args=training_arguments(tmp_path, max_steps=2), train_dataset=qa_rows(8))
    trainer.train()
    trainer.save_model()
    assert not packed_values(tmp_path)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A pruned model's packed folder."""
    trainer = make_trainer(tmp_path / "first", model=wide_model(), max_steps=6)
    trainer.train()
    trainer.save_model(str(tmp_path / "packed"))
    return tmp_path / "packed"


def test_pruning_goes_on_from_a_packed_model(packed: Path, tmp_path: Path) -> None:
    """Its checkpoints are dense, and resuming from one ends where the uninterrupted run does."""
    options: dict[str, Any] = {**CHECKPOINTS, "callback": None}

    def trainer(folder: str) -> Trainer:
        return make_trainer(
            tmp_path / folder, model=load(packed), **{**options, "callback": MovementPruningCallback(0.9)}
        )

    whole = trainer("whole")
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    assert not packed_values(checkpoint)
    resumed = trainer("resumed")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert same(resumed.model, whole.model)
    resumed.save_model(str(tmp_path / "final"))
    assert packed_values(tmp_path / "final")


def freeze_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """Leave the head to train, so that the zeros stay, and checkpoints are packed."""
    model.albert.requires_grad_(False)
    return model


@pytest.mark.parametrize("shards", ["", "2KB"])
@pytest.mark.parametrize("frozen", [True, False])
def test_stock_training_of_a_packed_model_resumes(packed: Path, tmp_path: Path, frozen: bool, shards: str) -> None:
    def trainer(folder: str) -> Trainer:
        model = load(packed)
        arguments = training_arguments(tmp_path / folder, **CHECKPOINTS)
        return Trainer(model=freeze_encoder(model) if frozen else model, args=arguments, train_dataset=qa_rows(32))

    whole = trainer("whole")
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    assert bool(packed_values(checkpoint)) == frozen
    if shards:
        model = load(checkpoint)
        (checkpoint / "model.safetensors").unlink()
        model.save_pretrained(checkpoint, max_shard_size=shards)
        assert len(list(checkpoint.glob("model-*.safetensors"))) > 1
    resumed = trainer("resumed")
    with torch.no_grad():
        resumed.model.albert.embeddings.word_embeddings.weight.zero_()  # must come from the checkpoint
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert same(resumed.model, whole.model)


def test_the_best_of_packed_checkpoints_is_loaded(packed: Path, tmp_path: Path) -> None:
    losses = iter([1.0, 0.1, 0.5])
    trainer = Trainer(
        model=freeze_encoder(load(packed)),
        args=training_arguments(
            tmp_path / "run",
            max_steps=3,
            save_strategy="steps",
            save_steps=1,
            eval_strategy="steps",
            eval_steps=1,
            load_best_model_at_end=True,
            metric_for_best_model="score",
            greater_is_better=False,
        ),
        train_dataset=qa_rows(16),
        eval_dataset=qa_rows(4),
        compute_metrics=lambda _: {"score": next(losses)},
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint == str(tmp_path / "run" / "checkpoint-2")
    assert packed_values(tmp_path / "run" / "checkpoint-2")
    assert same(trainer.model, load(tmp_path / "run" / "checkpoint-2"))
    assert not same(trainer.model, load(tmp_path / "run" / "checkpoint-3"))


def test_a_dense_checkpoint_into_a_packed_model(packed: Path, tmp_path: Path) -> None:
    first = Trainer(
        model=wide_model(seed=2), args=training_arguments(tmp_path / "dense", **CHECKPOINTS), train_dataset=qa_rows(32)
    )
    first.train()
    second = Trainer(
        model=load(packed), args=training_arguments(tmp_path / "on", **CHECKPOINTS), train_dataset=qa_rows(32)
    )
    second.train(resume_from_checkpoint=str(tmp_path / "dense" / "checkpoint-4"))
    assert same(second.model, first.model)


def test_a_module_that_transformers_did_not_make(tmp_path: Path) -> None:
    """It cannot be saved packed, and is trained all the same."""

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = wide_model()

        def forward(self, **batch: Any) -> Any:
            return self.model(**batch)

    trainer = make_trainer(tmp_path, model=Wrapped(), max_steps=6, remove_unused_columns=False)
    trainer.train()
    trainer.save_model()
    assert not packed_values(tmp_path)


# -- two processes -----------------------------------------------------------------------------------------------------


def run_distributed(folder: Path) -> None:
    callback = MovementPruningCallback(0.7, save_sparse=StorageConfig("int8"))
    trainer = make_trainer(folder, model=wide_model(), callback=callback, max_steps=4, ddp_backend="gloo")
    trainer.train()
    trainer.save_model(str(folder / "final"))
    torch.save(trainer.model.state_dict(), folder / f"{trainer.args.process_index}.pt")


def test_two_processes_save_one_packed_model(tmp_path: Path) -> None:
    with two_processes(__file__, tmp_path, timeout=180):
        pass
    assert packed_values(tmp_path / "final") == {"int8"}
    loaded = load(tmp_path / "final").state_dict()
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.equal(tensor, loaded[name]) for name, tensor in state.items())


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_distributed(Path(sys.argv[1]))


@pytest.mark.parametrize("storage", [StorageConfig(), StorageConfig("int8")])
def test_masks_that_are_not_baked_in_are_refused(storage: StorageConfig, tmp_path: Path) -> None:
    """What would be written has scores and masks beside the weights, and could not be loaded."""
    config = PruningConfig(0.7)
    model = prepare_pruning(wide_model(), config)
    before = raw_state(model)
    with pytest.raises(StorageError, match=r"6 layers of Albert.* masks are not baked in.*Call bake_masks\(model\)"):
        enable_sparse_saving(model, storage)
    assert_same(raw_state(model), before)
    enable_sparse_saving(bake_masks(model), storage)
    model.save_pretrained(tmp_path)
    assert same(load(tmp_path), model)


@pytest.mark.parametrize("granularity", ["head", "ffn_unit"])
@pytest.mark.parametrize("method", ["movement", "sensitivity"])
def test_gates_of_each_application_that_are_not_baked_in_are_refused(granularity: str, method: str) -> None:
    config = PruningConfig(0.5, method=method, granularity=granularity, applications="each")
    model = prepare_pruning(wide_model("palbert"), config)
    with pytest.raises(StorageError, match=r"1 layers of PalBert.* masks are not baked in"):
        enable_sparse_saving(model)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "dense"])
@pytest.mark.parametrize("part", ["everything", "one matrix", "the head"])
def test_a_pruned_model_that_is_trained_on_says_how_dense_it_is(part: str, packed: bool, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=wide_model("bert"), max_steps=4)
    trainer.train()
    trainer.save_model(str(tmp_path / "pruned"))
    model = load(tmp_path / "pruned")
    learns = {"everything": "", "one matrix": "layer.1.intermediate.dense.weight", "the head": "qa_outputs"}[part]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(learns in name)
    if not packed:
        disable_sparse_saving(model)
    Trainer(model, training_arguments(tmp_path / "on", max_steps=2), train_dataset=qa_rows(8)).train()
    model.save_pretrained(tmp_path / "grown")
    pruning = AutoConfig.from_pretrained(tmp_path / "grown").pruning
    if part == "everything":
        assert pruning is None
    else:
        counts = [load(tmp_path / "grown").get_submodule(name).weight for name in pruning["targets"]]
        density = sum(int(w.count_nonzero()) for w in counts) / sum(w.numel() for w in counts)
        assert pruning["density"] == pytest.approx(density, abs=0.001)
        assert (pruning["density"] == 0.3) is (part == "the head")
        assert pruning["status"] == "final"


def test_a_run_on_the_way_says_so(tmp_path: Path) -> None:
    """Its weights may be dense still, and it is pruned all the same; also where it began with a pruned model."""
    first = make_trainer(tmp_path / "first", model=wide_model("bert"), max_steps=4)
    first.train()
    first.save_model(str(tmp_path / "pruned"))
    trainer = make_trainer(tmp_path, model=load(tmp_path / "pruned"), **CHECKPOINTS)
    trainer.train()
    pruning = AutoConfig.from_pretrained(tmp_path / "checkpoint-4").pruning
    assert pruning["status"] == "training"
    model = prepare_pruning(load(tmp_path / "pruned"), PruningConfig(0.7))
    before = copy.deepcopy(model.config.pruning)
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path / "prepared")
    assert model.config.pruning == before


@pytest.mark.parametrize(("method", "each"), [("sensitivity", 17), ("movement", 13), ("magnitude", 9)])
def test_what_a_weight_takes_in_a_checkpoint_on_the_way(method: str, each: int, tmp_path: Path) -> None:
    callback = MovementPruningCallback(0.7, method=method)
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    trainer = make_trainer(tmp_path, model=wide_model("bert"), callback=callback, **options)
    plan = pruning_plan(trainer.model, callback.config)
    trainer.train()
    with safe_open(tmp_path / "checkpoint-1" / "model.safetensors", framework="pt") as reader:
        found = sum(reader.get_tensor(name).nbytes for name in reader.keys())  # noqa: SIM118 (not a dict)
    assert found == each * plan.weights + 4 * (plan.parameters - plan.weights)


def test_a_packed_model_that_is_prepared_by_hand_is_saved_as_in_the_middle_of_a_run(tmp_path: Path) -> None:
    model = wide_model("bert")
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight[:, ::2] = 0.0
    enable_sparse_saving(model)
    model.save_pretrained(tmp_path / "packed")
    loaded = prepare_pruning(load(tmp_path / "packed"), PruningConfig(0.7, method="magnitude"))
    loaded.save_pretrained(tmp_path / "on-the-way")
    assert same(load(tmp_path / "on-the-way"), load(tmp_path / "packed"))
    bake_masks(loaded)
