"""Packing and unpacking of folders."""

from __future__ import annotations

import os
import pickle
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import KINDS
from tests.references.small_tokenizers import wordpiece
from tests.storage.helpers import (
    CONFIGS,
    as_version_1,
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
from transformers_palbert.storage.embeddings import tables_in_file, tables_of
from transformers_palbert.storage.files import weight_files
from transformers_palbert.storage.folders import compress_folder, decompress_folder
from transformers_palbert.storage.integrity import read_checked_headers
from transformers_palbert.storage.packed_saves import describe_packed
from transformers_palbert.storage.tensors import is_packed, pack_tensor

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


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_packing_again_without_a_wish_keeps_the_values_as_they_are(
    config: StorageConfig, dense: Path, tmp_path: Path
) -> None:
    compress_folder(dense, tmp_path / "first", config)
    compress_folder(tmp_path / "first", tmp_path / "again", StorageConfig(entropy=config.entropy))
    first, again = (read_json(tmp_path / name / "config.json") for name in ("first", "again"))
    assert first == again
    load(tmp_path / "again").save_pretrained(tmp_path / "saved")
    for name in ("again", "saved"):
        assert (tmp_path / name / "model.safetensors").read_bytes() == (
            tmp_path / "first" / "model.safetensors"
        ).read_bytes()


def test_narrow_weights_of_a_wider_model_are_not_stored_wider(tmp_path: Path) -> None:
    """Whose config says float32 loads them as such; the file need not."""
    pruned_model().half().save_pretrained(tmp_path / "half")
    change_json(tmp_path / "half" / "config.json", lambda config: config.update(dtype="float32"))
    compress_folder(tmp_path / "half", tmp_path / "packed")
    stored = read_checked_headers(tmp_path / "packed").values()
    assert {tensor.packed.values for tensor in stored if tensor.packed is not None} == {"float16"}
    before, after = (load(tmp_path / name).state_dict() for name in ("half", "packed"))
    assert all(
        torch.equal(tensor, after[name]) and after[name].dtype == tensor.dtype for name, tensor in before.items()
    )


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
    copied = {"README.md", "training.png", "vocab.txt", "spiece.model", "LICENSE", *listing(dense)}
    left = {"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "pytorch_model.bin", "tf_model.h5"}
    left |= {"other.safetensors", "trainer_state.json", "state.pkl", ".env", "id_rsa", "nohup.out", "notes.txt"}
    left |= {"eval_results.json", "eval_nbest_predictions.json", "eval_null_odds.json", "secrets.json", "script.py"}
    for name in copied | left:
        if not (dense / name).exists():
            (dense / name).write_bytes(pickle.dumps({"token": "secret"}))
    (dense / "runs").mkdir()
    (dense / "checkpoint-4").mkdir()
    compress_folder(dense, tmp_path / "lossy", FLOAT16)
    assert set(listing(tmp_path / "lossy")) == copied - {"README.md", "training.png"}  # results of other weights
    compress_folder(dense, tmp_path / "out")
    assert set(listing(tmp_path / "out")) == copied
    decompress_folder(tmp_path / "out", tmp_path / "plain")
    assert set(listing(tmp_path / "plain")) == copied


def test_the_code_of_a_model_is_copied_where_its_config_names_some(dense: Path, tmp_path: Path) -> None:
    for name in ("modeling_own.py", "layers_of_it.py"):
        (dense / name).write_text("")
    change_json(dense / "config.json", lambda config: config.update(auto_map={"AutoModel": "modeling_own.Model"}))
    compress_folder(dense, tmp_path / "out", FLOAT16)
    assert {"modeling_own.py", "layers_of_it.py"} <= set(listing(tmp_path / "out"))


def test_links_that_lead_elsewhere_are_not_followed(dense: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("precious")
    (dense / "vocab.txt").symlink_to(tmp_path / "secret")
    (dense / "tokens").write_text("a b c")
    (dense / "merges.txt").symlink_to(dense / "tokens")
    compress_folder(dense, tmp_path / "out")
    assert "vocab.txt" not in listing(tmp_path / "out")
    assert (tmp_path / "out" / "merges.txt").read_text() == "a b c"


def test_the_hub_s_cache_is_made_of_links(dense: Path, tmp_path: Path) -> None:
    (dense / "vocab.txt").write_text("a b c")
    cache = tmp_path / "models--me--model"
    (cache / "snapshots" / "4711").mkdir(parents=True)
    shutil.copytree(dense, cache / "blobs")
    for name in listing(dense):
        (cache / "snapshots" / "4711" / name).symlink_to(cache / "blobs" / name)
    compress_folder(cache / "snapshots" / "4711", tmp_path / "out")
    assert listing(tmp_path / "out") == listing(dense)


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

    @pytest.mark.parametrize("kind", ["here", "there", "link"])
    def test_an_empty_folder_stays_the_one_that_it_was(
        self, kind: str, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Such as a mounted volume, which cannot be replaced."""
        target = tmp_path / "place"
        target.mkdir()
        (target / ".palbert-saving-4194305-killed").mkdir()  # no process has this number
        number = target.stat().st_ino
        given = {"here": Path(), "there": target, "link": tmp_path / "link"}[kind]
        (tmp_path / "link").symlink_to(target)
        if kind == "here":
            monkeypatch.chdir(target)
        compress_folder(dense, given, FLOAT16)
        assert packed_names(target)
        assert load(target).dtype == torch.float32
        assert target.stat().st_ino == number
        assert not [name for name in (*os.listdir(target), *os.listdir(tmp_path)) if name.startswith(".")]

    def test_the_config_comes_last(self, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever is killed in the middle leaves a folder that nothing loads."""
        (tmp_path / "out").mkdir()
        moved, rename = [], Path.rename
        monkeypatch.setattr(Path, "rename", lambda path, target: moved.append(path.name) or rename(path, target))
        compress_folder(dense, tmp_path / "out", FLOAT16)
        assert moved[-1] == "config.json"
        assert "model.safetensors" in moved

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
        "scalar": torch.tensor(2.5),
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


def test_narrow_plain_tensors_become_what_the_config_says(tmp_path: Path) -> None:
    """That is exact, and what from_pretrained does; wider ones stay."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"model_type": "nobody-knows", "dtype": "float32"}')
    types = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float32, torch.float64]
    tensors = {str(dtype): torch.tensor([0.5, -2.0, 3.0]).to(dtype) for dtype in types}
    save_file({**tensors, "matrix": pack_tensor(torch.zeros(32, 32))}, tmp_path / "odd" / "model.safetensors")
    describe_packed(tmp_path / "odd", StorageConfig())
    decompress_folder(tmp_path / "odd", tmp_path / "plain")
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    for name, tensor in tensors.items():
        wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        assert plain[name].dtype == wide
        assert torch.equal(plain[name], tensor.to(wide))


def test_the_model_stays_as_it_is(dense: Path, tmp_path: Path) -> None:
    before = {name: (dense / name).read_bytes() for name in listing(dense)}
    compress_folder(dense, tmp_path / "out", INT8)
    assert {name: (dense / name).read_bytes() for name in listing(dense)} == before
    assert state_of(load(dense)).keys() == state_of(load(tmp_path / "out")).keys()


class TestRoom:
    """What a file claims to unpack to is held against what there is, before it is spent."""

    def test_memory(self, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compress_folder(dense, tmp_path / "small")
        monkeypatch.setattr(folders, "memory_limit", lambda: 1000)
        for convert in (compress_folder, decompress_folder):
            with pytest.raises(StorageError, match=r"claims to unpack to .* this process may use"):
                convert(tmp_path / "small", tmp_path / "out")
        inspect_checkpoint(tmp_path / "small")  # unpacks nothing
        monkeypatch.setattr(folders, "memory_limit", lambda: None)  # a system that does not tell
        decompress_folder(tmp_path / "small", tmp_path / "out")

    def test_disk(self, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        compress_folder(dense, tmp_path / "small")
        monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 20_000))
        with pytest.raises(StorageError, match=r"claim to unpack to .* free: the checkpoint"):
            decompress_folder(tmp_path / "small", tmp_path / "new" / "out")
        assert not (tmp_path / "new").exists()

    def test_one_tensor_at_a_time(self, tmp_path: Path) -> None:
        """64 matrices of 4 MB, all zeros: unpacked one by one they take no more than two of them."""
        (tmp_path / "vast").mkdir()
        names = [f"layer.{number}.weight" for number in range(64)]
        packed = pack_tensor(torch.zeros(1024, 1024), layout="gaps")
        save_file({name: packed.clone() for name in names}, tmp_path / "vast" / "model.safetensors")
        (tmp_path / "vast" / "config.json").write_text('{"dtype": "float32"}')
        describe_packed(tmp_path / "vast", StorageConfig())
        tracemalloc.start()
        try:
            decompress_folder(tmp_path / "vast", tmp_path / "plain")
            assert tracemalloc.get_traced_memory()[1] < 12_000_000
        finally:
            tracemalloc.stop()
        assert (tmp_path / "plain" / "model.safetensors").stat().st_size > 64 * 2**22


class TestDamage:
    """The same checks as in loading: what is damaged is not made into a checkpoint that looks whole."""

    @pytest.mark.parametrize(
        "name", ["albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "qa_outputs.bias"]
    )
    @pytest.mark.parametrize("damage", ["deleted", "flipped", "renamed"])
    @pytest.mark.parametrize("use", [decompress_folder, compress_folder, lambda source, _: inspect_checkpoint(source)])
    def test_damage_is_an_error(self, dense: Path, tmp_path: Path, name: str, damage: str, use: Any) -> None:
        compress_folder(dense, tmp_path / "packed", FLOAT16)

        def spoil(tensors: dict[str, torch.Tensor]) -> None:
            tensor = tensors.pop(name)
            if damage == "flipped":
                tensor.view(torch.uint8)[-1] ^= 1
            if damage != "deleted":
                tensors[name if damage == "flipped" else f"{name}s"] = tensor

        change_weights(tmp_path / "packed" / "model.safetensors", spoil)
        with pytest.raises(StorageError, match=name):
            use(tmp_path / "packed", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_deleted_matrix_of_the_older_version(self, dense: Path, tmp_path: Path) -> None:
        compress_folder(dense, tmp_path / "packed", FLOAT16)
        name = packed_names(as_version_1(tmp_path / "packed"))[3]
        change_weights(tmp_path / "packed" / "model.safetensors", lambda tensors: tensors.pop(name))
        for use in (decompress_folder, compress_folder, lambda source, _: inspect_checkpoint(source)):
            with pytest.raises(StorageError, match=f"listed as packed but missing: {name}"):
                use(tmp_path / "packed", tmp_path / "out")

    def test_json_that_is_nested_without_end(self, dense: Path, tmp_path: Path) -> None:
        save_packed(tmp_path / "shards", pruned_model(), max_shard_size="2KB")
        for folder, file in ((dense, "config.json"), (tmp_path / "shards", "model.safetensors.index.json")):
            (folder / file).write_text('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")
            with pytest.raises(StorageError, match=f"{file} is damaged: it is nested too deeply"):
                compress_folder(folder, tmp_path / "out")
            with pytest.raises(StorageError, match=f"{file} is damaged: it is nested too deeply"):
                inspect_checkpoint(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_and_a_model_have_the_same_embedding_tables(kind: str) -> None:
    model = pruned_model(kind)
    matrices = [name for name, tensor in model.state_dict().items() if tensor.dim() == 2]
    assert tables_of(model) == tables_in_file(matrices, model.config.model_type)
    assert any("word_embeddings" in name for name in tables_of(model))


def test_embedding_tables_of_an_unknown_architecture() -> None:
    names = ["model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight", "embeddings.bias"]
    assert tables_in_file(names, "nobody-knows") == {"model.embed_tokens.weight"}
