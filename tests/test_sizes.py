from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForMaskedLM

from tests.pruning.helpers import KINDS, tiny_config, tiny_model
from transformers_palbert import StorageConfig, enable_sparse_saving
from transformers_palbert.errors import StorageError
from transformers_palbert.pruning import (
    PruningConfig,
    apply_density,
    bake_masks,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.sizes import inspect_checkpoint, pruning_report

CONFIG = PruningConfig(0.7)


def pruned(kind: str = "albert", density: float = 0.3) -> nn.Module:
    model = prepare_pruning(tiny_model(kind), CONFIG)
    for layer in masked_layers(model).values():
        for tensor in layer.score_state.values():
            tensor.normal_()
    apply_density(model, CONFIG, density)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_is_what_is_pruned_by_default(kind: str) -> None:
    model = pruned(kind)
    size = sum(layer.weight.numel() for layer in masked_layers(model).values())
    report = pruning_report(model)
    assert report.encoder.numel == size
    assert report.encoder.nonzero == round(0.3 * size)
    assert report.encoder.density == round(0.3 * size) / size


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_in_training_and_finished_report_the_same(kind: str) -> None:
    model = pruned(kind)
    training = pruning_report(model)
    finished = pruning_report(bake_masks(model))
    assert training.total == finished.total
    assert training.encoder == finished.encoder
    assert [m.name for m in training.matrices] == [m.name for m in finished.matrices]
    assert finished.total.numel == sum(parameter.numel() for parameter in model.parameters())
    assert finished.total.bytes == 4 * finished.total.numel


def test_counts_by_hand() -> None:
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"layer": nn.Linear(3, 2)}), "qa_outputs": nn.Linear(2, 2)})
    model = nn.ModuleDict({"bert": model}).half()
    with torch.no_grad():
        model["bert"]["encoder"]["layer"].weight.copy_(torch.tensor([[1.0, 0, 2], [0, 0, 3]]))
        for name in ("weight", "bias"):
            getattr(model["bert"]["qa_outputs"], name).fill_(1.0)
        model["bert"]["encoder"]["layer"].bias.zero_()
    report = pruning_report(model)
    assert (report.encoder.numel, report.encoder.nonzero, report.encoder.bytes) == (6, 3, 12)
    assert (report.total.numel, report.total.nonzero, report.total.bytes) == (14, 9, 28)
    assert report.encoder.density == 0.5
    assert [matrix.density for matrix in report.matrices] == [0.5, 0.0, 1.0, 1.0]
    assert report.file_bytes is None


def test_tied_weights_count_once() -> None:
    model = AutoModelForMaskedLM.from_config(tiny_config("bert"))
    names = [matrix.name for matrix in pruning_report(model).matrices]
    assert "cls.predictions.decoder.weight" not in names
    assert "bert.embeddings.word_embeddings.weight" in names


def test_dictionary_is_json() -> None:
    report = pruning_report(pruned())
    values = json.loads(json.dumps(report.to_dict()))
    assert values["encoder"]["density"] == report.encoder.density
    assert values["total"]["numel"] == report.total.numel
    assert values["matrices"][0]["shape"] == list(report.matrices[0].shape)
    assert values["file_bytes"] is None


def test_an_empty_model_is_dense() -> None:
    report = pruning_report(nn.ReLU())
    assert report.total.density == report.encoder.density == 1.0


class TestInspectCheckpoint:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_finished_checkpoint(self, kind: str, tmp_path: Path) -> None:
        model = bake_masks(pruned(kind))
        model.save_pretrained(tmp_path)
        report, expected = inspect_checkpoint(tmp_path), pruning_report(model)
        assert (report.encoder, report.total) == (expected.encoder, expected.total)
        assert report.file_bytes == (tmp_path / "model.safetensors").stat().st_size

    def test_a_checkpoint_from_the_middle_shows_what_is_effective(self, tmp_path: Path) -> None:
        model = pruned()
        model.save_pretrained(tmp_path)
        report, expected = inspect_checkpoint(str(tmp_path)), pruning_report(model)
        assert (report.encoder, report.total) == (expected.encoder, expected.total)
        assert report.file_bytes > report.total.bytes * 1.5  # the scores and what is masked are in the file as well

    def test_a_shard_that_an_older_save_left_does_not_count(self, tmp_path: Path) -> None:
        model = bake_masks(pruned("bert"))
        model.save_pretrained(tmp_path, max_shard_size="8KB")
        before = inspect_checkpoint(tmp_path).file_bytes
        (tmp_path / "model-00099-of-00099.safetensors").write_bytes(b"x" * 10**6)
        assert inspect_checkpoint(tmp_path).file_bytes == before

    def test_shards(self, tmp_path: Path) -> None:
        model = bake_masks(pruned())
        model.save_pretrained(tmp_path, max_shard_size="3KB")
        files = list(tmp_path.glob("*.safetensors"))
        assert len(files) > 1
        report = inspect_checkpoint(tmp_path)
        assert report.total == pruning_report(model).total
        assert report.file_bytes == sum(file.stat().st_size for file in files)

    def test_an_index_that_points_elsewhere_stays_in_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        save_file({"a": torch.ones(2)}, tmp_path / "secret.safetensors")
        index = {"weight_map": {"a": "../secret.safetensors"}}
        (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(StorageError, match=r"'\.\./secret\.safetensors', which is no safetensors file beside it"):
            inspect_checkpoint(tmp_path / "model")

    @pytest.mark.parametrize("values", ["auto", "float16", "int8"])
    @pytest.mark.parametrize("shards", ["1GB", "3KB"])
    def test_a_packed_checkpoint(self, values: str, shards: str, tmp_path: Path) -> None:
        model = bake_masks(pruned())
        enable_sparse_saving(model, StorageConfig(values))
        model.save_pretrained(tmp_path, max_shard_size=shards)
        report, expected = inspect_checkpoint(tmp_path), pruning_report(model)
        counts = {m.name: (m.shape, m.numel, m.nonzero) for m in report.matrices}
        assert counts == {m.name: (m.shape, m.numel, m.nonzero) for m in expected.matrices}
        assert report.encoder == expected.encoder
        assert report.file_bytes == sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
        assert report.encoder.stored_bytes is not None
        assert report.total.stored_bytes is not None
        assert report.encoder.stored_bytes < report.encoder.bytes
        assert report.total.stored_bytes < report.file_bytes

    def test_stored_bytes_of_a_dense_checkpoint(self, tmp_path: Path) -> None:
        bake_masks(pruned()).save_pretrained(tmp_path)
        assert all(matrix.stored_bytes == matrix.bytes for matrix in inspect_checkpoint(tmp_path).matrices)
        assert pruning_report(pruned()).total.stored_bytes is None

    def test_a_folder_without_weights(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match=r"model\.safetensors does not exist; give a folder"):
            inspect_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{"weight_map": 7}' if name.endswith("json") else b"\xff" * 40)
    with pytest.raises(StorageError, match="damaged"):
        inspect_checkpoint(tmp_path)
