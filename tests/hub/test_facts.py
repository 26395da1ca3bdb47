from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import TrainerState

from tests.hub.helpers import qa_trainer
from tests.pruning.helpers import tiny_model, training_arguments
from transformers_palbert.hub import facts
from transformers_palbert.pruning import PruningConfig, apply_density, bake_masks, prepare_pruning
from transformers_palbert.registration import BASELINES


def test_scores_are_what_says_how_good_a_model_is() -> None:
    metrics = {
        "eval_f1": 1, "eval_em": 0.5, "eval_loss": 2.0, "eval_runtime": 3.0, "eval_samples_per_second": 4.0,
        "eval_total": 5, "eval_skip": 0, "eval_hasans_total": 2, "eval_density_encoder": 0.3,
        "eval_pruning_progress": 1.0, "epoch": 2.0, "eval_name": "x", "eval_model_preparation_time": 0.1,
    }  # fmt: skip
    assert facts.scores(metrics) == {"f1": 1.0, "em": 0.5, "loss": 2.0}


def test_the_dense_evaluation_is_the_last_before_pruning() -> None:
    log = [
        {"eval_f1": 1.0, "eval_density_encoder": 1.0, "step": 0},
        {"eval_f1": 2.0, "eval_density_encoder": 1.0, "step": 5},
        {"loss": 1.0, "density_encoder": 1.0, "step": 6},
        {"eval_f1": 3.0, "eval_density_encoder": 0.9, "step": 10},
    ]
    dense = facts.dense_evaluation(log)
    assert dense is not None
    assert (dense.name, dense.metrics) == ("before pruning, step 5", {"f1": 2.0})
    assert facts.dense_evaluation(log[2:]) is None


def test_fingerprints_are_those_of_the_weights_that_compute() -> None:
    config = PruningConfig(0.5, method="magnitude")
    model = tiny_model()
    dense = facts.fingerprint(model)
    prepare_pruning(model, config)
    assert facts.fingerprint(model) == dense  # nothing is masked yet
    apply_density(model, config, 0.5)
    pruned = facts.fingerprint(model)
    assert pruned != dense
    bake_masks(model)
    assert facts.fingerprint(model) == pruned
    with torch.no_grad():
        model.qa_outputs.bias[0] += 1e-6
    assert facts.fingerprint(model) != pruned


def test_fingerprints_of_other_dtypes() -> None:
    assert facts.fingerprint(tiny_model().bfloat16()) != facts.fingerprint(tiny_model())


def test_sizes(tmp_path: Path) -> None:
    model = tiny_model("bert")
    assert facts.model_sizes(model, tmp_path).file_bytes is None
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    (tmp_path / "_pruning_last_good.safetensors").write_bytes(b"x" * 10**6)
    sizes = facts.model_sizes(model, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert sizes.file_bytes == sum(file.stat().st_size for file in tmp_path.glob("model-*.safetensors"))
    assert sizes.parameters == sum(weight.numel() for weight in model.parameters())
    assert sizes.dense_bytes == 4 * sizes.parameters


def test_a_base_model_is_named_only_if_it_may_be_on_the_hub(tmp_path: Path) -> None:
    model = tiny_model()
    for name, known in (
        ("user/model", True),
        ("bert-base", True),
        (str(tmp_path), False),
        ("", False),
        ("a/b/c", False),
    ):
        model.config._name_or_path = name
        assert (facts.base_model(model) == name) is known
    (tmp_path / "folder").mkdir()
    model.config._name_or_path = "."  # a folder that exists, by a name that could be an id
    assert facts.base_model(model) is None


def test_hyperparameters_are_those_of_the_run(tmp_path: Path) -> None:
    args = training_arguments(tmp_path, max_steps=7, gradient_accumulation_steps=3, per_device_train_batch_size=2)
    values = facts.hyperparameters(args, TrainerState(global_step=5))
    assert values["train_batch_size"] == 6
    assert values["optimizer_steps"] == 5
    assert values["num_train_epochs"] is None  # max_steps decides


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        ({"model_type": "bert"}, True),
        *(({"model_type": kind}, False) for kind in ("palbert", *BASELINES)),
        ({"quantization_config": {}}, False),
    ],
)
def test_what_loads_without_the_package(tmp_path: Path, config: dict[str, object], plain: bool) -> None:
    assert facts.is_plainly_stored(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert facts.is_plainly_stored(tmp_path) is plain


def test_results_are_claimed_only_for_the_weights_they_were_measured_on(tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "model")
    trainer.train()

    def card() -> str:
        trainer.create_model_card()
        return (tmp_path / "model" / "README.md").read_text(encoding="utf-8")

    assert "| this model |" in card()  # the last evaluation, at step 6 of 6, was of the final weights
    with torch.no_grad():
        trainer.model.qa_outputs.bias += 1
    assert "The finished weights themselves were not evaluated." in card()
    trainer.evaluate()
    assert "| this model |" in card()


def test_an_evaluation_alone_tells_no_training(tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "model")
    trainer.evaluate()
    trainer.create_model_card()
    text = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "learning_rate" not in text
    assert "Hardware" not in text


def test_what_the_user_says_stays(tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "model", max_steps=2)
    trainer.model_card.base_model, trainer.model_card.hardware = "user/base", "a machine"
    trainer.train()
    trainer.create_model_card(
        license="mit", tags="own", dataset="A set", dataset_tags=["user/set"], dataset_args="small"
    )
    text = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    for said in ("user/base", "a machine", "license: mit", "- own", "- user/set"):
        assert said in text


def test_a_model_that_was_trained_on_without_masks_is_not_called_pruned(tmp_path: Path) -> None:
    trainer = qa_trainer(tmp_path / "model")
    trainer.train()
    assert facts.pruning_settings(trainer.model)["density"] == 0.5
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(1e-3)
    assert facts.pruning_settings(trainer.model) == {}
    trainer.create_model_card()
    assert "were removed" not in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def test_precision_and_the_last_training_count(tmp_path: Path) -> None:
    values = facts.hyperparameters(training_arguments(tmp_path, bf16=True), TrainerState())
    assert values["precision"] == "bf16"
    assert facts.training_seconds([{"train_runtime": 5.0}, {"loss": 1.0}, {"train_runtime": 7.0}]) == 7.0
