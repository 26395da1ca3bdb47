"""Packing and unpacking of folders."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import KINDS
from tests.references.small_tokenizers import wordpiece
from tests.storage.helpers import (
    CONFIGS,
    change_json,
    change_weights,
    packed_names,
    pruned_model,
    read_json,
    save_packed,
    state_of,
)
from transformers_palbert import PruningConfig, StorageConfig, StorageError, enable_sparse_saving, prepare_pruning
from transformers_palbert.sizes import inspect_checkpoint
from transformers_palbert.storage import folders
from transformers_palbert.storage.files import weight_files
from transformers_palbert.storage.folders import compress_folder, decompress_folder
from transformers_palbert.storage.tensors import is_packed

load = AutoModelForQuestionAnswering.from_pretrained
FLOAT16, INT8 = CONFIGS["float16"], CONFIGS["int8"]


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    pruned_model().save_pretrained(tmp_path / "dense")
    return tmp_path / "dense"


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def listing(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_packed_as_a_model_is(kind: str, config: StorageConfig, tmp_path: Path) -> None:
    model = pruned_model(kind)
    model.save_pretrained(tmp_path / "dense")
    compress_folder(tmp_path / "dense", tmp_path / "folder", config)
    save_packed(tmp_path / "model", model, config)
    folder, saved = (tmp_path / name / "model.safetensors" for name in ("folder", "model"))
    assert folder.read_bytes() == saved.read_bytes()
    assert read_json(tmp_path / "folder" / "config.json") == read_json(tmp_path / "model" / "config.json")
    assert size(tmp_path / "folder") < size(tmp_path / "dense")


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_unpacked_is_what_loading_gives(config: StorageConfig, dense: Path, tmp_path: Path) -> None:
    compress_folder(dense, tmp_path / "packed", config)
    decompress_folder(tmp_path / "packed", tmp_path / "plain")
    loaded = load(tmp_path / "packed").state_dict()
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    assert plain.keys() == loaded.keys()
    assert all(torch.equal(tensor, loaded[name]) and tensor.dtype == torch.float32 for name, tensor in plain.items())
    assert read_json(tmp_path / "plain" / "config.json") == read_json(dense / "config.json")


def test_shards_stay_shards(tmp_path: Path) -> None:
    model = pruned_model("bert")
    model.save_pretrained(tmp_path / "dense", max_shard_size="20KB")
    compress_folder(tmp_path / "dense", tmp_path / "packed", FLOAT16)
    assert listing(tmp_path / "packed") == listing(tmp_path / "dense")
    assert len(weight_files(tmp_path / "packed")) > 2
    index = read_json(tmp_path / "packed" / "model.safetensors.index.json")
    files = weight_files(tmp_path / "packed")
    assert index["metadata"]["total_size"] == sum(t.nbytes for file in files for t in load_file(file).values())
    decompress_folder(tmp_path / "packed", tmp_path / "plain")
    assert read_json(tmp_path / "plain" / "model.safetensors.index.json")["weight_map"] == index["weight_map"]
    enable_sparse_saving(model, FLOAT16)
    for folder in ("packed", "plain"):
        loaded = load(tmp_path / folder).state_dict()
        assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def test_packing_what_is_packed(dense: Path, tmp_path: Path) -> None:
    compress_folder(dense, tmp_path / "first", FLOAT16)
    compress_folder(tmp_path / "first", tmp_path / "again", FLOAT16)
    compress_folder(tmp_path / "first", tmp_path / "smaller", INT8)
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "first/model.safetensors").read_bytes()
    assert size(tmp_path / "smaller") < size(tmp_path / "first")
    assert read_json(tmp_path / "smaller" / "config.json")["quantization_config"]["values"] == "int8"
    assert load(tmp_path / "smaller").dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_16_bits_stays_one(dtype: torch.dtype, tmp_path: Path) -> None:
    model = pruned_model().to(dtype)
    model.save_pretrained(tmp_path / "dense")
    change_json(tmp_path / "dense" / "config.json", lambda config: config.pop("dtype"))  # as older files are
    compress_folder(tmp_path / "dense", tmp_path / "packed")
    loaded = load(tmp_path / "packed")
    assert loaded.dtype == dtype
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_model_without_zeros_is_copied_plainly(tmp_path: Path) -> None:
    pruned_model(sparsity=0.0).save_pretrained(tmp_path / "dense")
    compress_folder(tmp_path / "dense", tmp_path / "out")
    assert "quantization_config" not in read_json(tmp_path / "out" / "config.json")
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tmp_path / "dense/model.safetensors").read_bytes()


def test_what_is_copied_and_what_is_not(dense: Path, tmp_path: Path) -> None:
    wordpiece().save_pretrained(dense)
    copied = {"README.md", "density.png", "modeling_own.py", "vocab.txt", "spiece.model", *listing(dense)}
    left = {"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin", "tf_model.h5"}
    left |= {"other.safetensors", "trainer_state.json", "state.pkl", ".env"}
    left |= {"eval_results.json", "eval_nbest_predictions.json", "eval_null_odds.json"}
    for name in copied | left:
        if not (dense / name).exists():
            (dense / name).write_bytes(pickle.dumps({"token": "secret"}))
    (dense / "runs").mkdir()
    (dense / "checkpoint-4").mkdir()
    compress_folder(dense, tmp_path / "lossy", FLOAT16)
    assert set(listing(tmp_path / "lossy")) == copied - {"README.md", "density.png"}  # results of other weights
    compress_folder(dense, tmp_path / "out")
    assert set(listing(tmp_path / "out")) == copied
    decompress_folder(tmp_path / "out", tmp_path / "plain")
    assert set(listing(tmp_path / "plain")) == copied


def test_the_code_of_a_folder_is_not_run(dense: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (dense / "evil.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    change_json(dense / "config.json", lambda c: c.update(auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"}))
    compress_folder(dense, tmp_path / "out", FLOAT16)
    decompress_folder(tmp_path / "out", tmp_path / "plain")
    assert not marker.exists()


class TestTarget:
    def test_the_same_folder(self, dense: Path) -> None:
        before = (dense / "model.safetensors").read_bytes()
        (dense.parent / "link").symlink_to(dense)
        for target in (dense, dense / ".." / "dense", dense.parent / "link"):
            with pytest.raises(StorageError, match="is the checkpoint itself"):
                compress_folder(dense, target)
        assert (dense / "model.safetensors").read_bytes() == before

    def test_a_folder_with_something_in_it(self, dense: Path, tmp_path: Path) -> None:
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("precious")
        (tmp_path / "file").write_text("precious")
        for name in ("full", "file"):
            with pytest.raises(StorageError, match=f"{name} exists and is not empty"):
                compress_folder(dense, tmp_path / name)
        assert listing(tmp_path / "full") == ["thesis.txt"]

    def test_an_empty_or_a_new_folder(self, dense: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for target in (tmp_path / "empty", tmp_path / "new" / "deep", Path("relative")):
            compress_folder(dense, target, FLOAT16)
            assert packed_names(target)
            assert target.stat().st_mode & 0o777 == (tmp_path / "dense").stat().st_mode & 0o777
            assert not [name for name in os.listdir(target.absolute().parent) if name.startswith(".")]

    @pytest.mark.parametrize("existed", [False, True])
    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
    def test_a_failure_leaves_nothing(
        self, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, existed: bool
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise error

        if existed:
            (tmp_path / "out").mkdir()
        before = listing(tmp_path)
        monkeypatch.setattr(folders, "_copy_the_rest", fail)
        with pytest.raises(type(error)):
            compress_folder(dense, tmp_path / "out", FLOAT16)
        assert listing(tmp_path) == before
        assert not existed or not listing(tmp_path / "out")


class TestSource:
    @pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
    def test_a_file_is_missing(self, dense: Path, tmp_path: Path, name: str) -> None:
        (dense / name).unlink()
        with pytest.raises(StorageError, match=f"{name} does not exist"):
            compress_folder(dense, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
    def test_a_damaged_config(self, dense: Path, tmp_path: Path, content: bytes) -> None:
        (dense / "config.json").write_bytes(content)
        with pytest.raises(StorageError, match=r"config\.json is damaged"):
            compress_folder(dense, tmp_path / "out")

    def test_damaged_weights(self, dense: Path, tmp_path: Path) -> None:
        raw = (dense / "model.safetensors").read_bytes()
        (dense / "model.safetensors").write_bytes(raw[:-5])
        with pytest.raises(StorageError, match=r"model\.safetensors is damaged"):
            compress_folder(dense, tmp_path / "out")
        assert listing(tmp_path) == ["dense"]

    def test_a_damaged_packed_tensor(self, dense: Path, tmp_path: Path) -> None:
        compress_folder(dense, tmp_path / "packed", FLOAT16)
        name = packed_names(tmp_path / "packed")[0]
        change_weights(tmp_path / "packed" / "model.safetensors", lambda tensors: tensors[name][-1:].bitwise_not_())
        with pytest.raises(StorageError, match=name):
            decompress_folder(tmp_path / "packed", tmp_path / "out")
        assert listing(tmp_path) == ["dense", "packed"]

    def test_only_a_pickle(self, dense: Path, tmp_path: Path) -> None:
        (dense / "model.safetensors").rename(dense / "pytorch_model.bin")
        with pytest.raises(StorageError, match=r"model\.safetensors does not exist.*no pickle"):
            compress_folder(dense, tmp_path / "out")

    def test_another_quantization(self, dense: Path, tmp_path: Path) -> None:
        change_json(dense / "config.json", lambda c: c.update(quantization_config={"quant_method": "gptq"}))
        with pytest.raises(StorageError, match="quantized in another way"):
            compress_folder(dense, tmp_path / "out")

    def test_a_newer_version(self, dense: Path, tmp_path: Path) -> None:
        compress_folder(dense, tmp_path / "packed", FLOAT16)
        change_json(tmp_path / "packed" / "config.json", lambda c: c["quantization_config"].update(format_version=9))
        with pytest.raises(StorageError, match="version 9"):
            decompress_folder(tmp_path / "packed", tmp_path / "out")

    def test_a_checkpoint_in_the_middle_of_pruning(self, tmp_path: Path) -> None:
        """Its scores are no weights: what was made of it could not be loaded."""
        model = pruned_model("palbert")
        prepare_pruning(model, PruningConfig(0.5))
        model.config.pruning = {"status": "training"}  # as MovementPruningCallback writes it
        model.save_pretrained(tmp_path / "checkpoint")
        with pytest.raises(StorageError, match="from the middle of pruning"):
            compress_folder(tmp_path / "checkpoint", tmp_path / "out")
        assert listing(tmp_path) == ["checkpoint"]

    def test_unpacking_what_is_plain(self, dense: Path, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="no packed checkpoint"):
            decompress_folder(dense, tmp_path / "out")

    def test_a_value_that_cannot_be_stored_is_named(self, tmp_path: Path) -> None:
        model = pruned_model()
        with torch.no_grad():
            model.qa_outputs.weight[0, 0] = torch.nan
        model.save_pretrained(tmp_path / "dense")
        with pytest.raises(StorageError, match=r"qa_outputs\.weight: .*NaN"):
            compress_folder(tmp_path / "dense", tmp_path / "out", INT8)
        assert listing(tmp_path) == ["dense"]
        compress_folder(tmp_path / "dense", tmp_path / "out", FLOAT16)
        assert bool(load(tmp_path / "out").qa_outputs.weight[0, 0].isnan())


def test_nothing_is_packed_that_is_no_weight(tmp_path: Path) -> None:
    """A file whose model nobody knows, with integers, empty tensors and three dimensions."""
    from safetensors.torch import save_file

    shutil.rmtree(tmp_path / "odd", ignore_errors=True)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "nobody-knows", "dtype": "float32"}')
    tensors = {
        "ids": torch.arange(64).reshape(8, 8),
        "empty": torch.empty(0, 4),
        "conv": torch.zeros(4, 4, 4),
        "bytes": torch.zeros(50, dtype=torch.uint8),
        "double": torch.zeros(8, 8, dtype=torch.float64),
        "matrix": torch.zeros(32, 32),
    }
    save_file(tensors, tmp_path / "odd" / "model.safetensors", {"format": "pt"})
    compress_folder(tmp_path / "odd", tmp_path / "packed", StorageConfig())
    stored = load_file(tmp_path / "packed" / "model.safetensors")
    assert packed_names(tmp_path / "packed") == ["matrix"]
    assert is_packed(stored["matrix"])
    decompress_folder(tmp_path / "packed", tmp_path / "plain")
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    assert all(
        torch.equal(tensor, plain[name]) and tensor.dtype == plain[name].dtype for name, tensor in tensors.items()
    )


def test_the_model_stays_as_it_is(dense: Path, tmp_path: Path) -> None:
    before = {name: (dense / name).read_bytes() for name in listing(dense)}
    compress_folder(dense, tmp_path / "out", INT8)
    assert {name: (dense / name).read_bytes() for name in listing(dense)} == before
    assert state_of(load(dense)).keys() == state_of(load(tmp_path / "out")).keys()


def test_a_claim_beyond_the_memory_is_refused_before_it_is_spent(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compress_folder(dense, tmp_path / "small")
    monkeypatch.setattr("transformers_palbert.storage.files._memory_bytes", lambda: 1000)
    for convert in (compress_folder, decompress_folder):
        with pytest.raises(StorageError, match="claim to unpack to"):
            convert(tmp_path / "small", tmp_path / "out")
    with pytest.raises(StorageError, match="claim to unpack to"):
        inspect_checkpoint(tmp_path / "small")
    assert not (tmp_path / "out").exists()
