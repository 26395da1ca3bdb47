"""Which files are a checkpoint's weights, and what their headers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.storage.helpers import change_json, pruned_model, save_packed
from transformers_palbert import StorageError
from transformers_palbert.storage.files import read_headers, require_inside, weight_files
from transformers_palbert.storage.tensors import pack_tensor

INDEX = "model.safetensors.index.json"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(2, 3), "b": pack_tensor(torch.zeros(40, 30))}, folder / "one.safetensors")
    save_file({"c": torch.ones(5, dtype=torch.bfloat16)}, folder / "two.safetensors")
    write_index(folder, {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"})
    return folder


def write_index(folder: Path, weight_map: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_headers(shards: Path) -> None:
    headers = read_headers(weight_files(shards))
    assert {name: (t.file.name, t.dtype, t.bytes) for name, t in headers.items()} == {
        "a": ("one.safetensors", "F32", 24),
        "b": ("one.safetensors", "U8", headers["b"].shape[0]),
        "c": ("two.safetensors", "BF16", 10),
    }
    assert headers["a"].packed is None
    assert headers["b"].packed is not None
    assert (headers["b"].packed.shape, headers["b"].packed.nnz) == ((40, 30), 0)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.int32, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.complex64], ids=str
)
def test_bytes_of_every_type(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.zeros(3, 4).to(dtype)
    save_file({"x": tensor}, tmp_path / "model.safetensors")
    (header,) = read_headers(weight_files(tmp_path)).values()
    assert (header.bytes, header.packed) == (tensor.nbytes, None)


@pytest.mark.parametrize("size", [0, 3, 4, 60, 500])
def test_bytes_that_are_not_packed(size: int, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(size, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    assert read_headers(weight_files(tmp_path))["x"].packed is None


def test_one_file_comes_before_an_index_as_in_transformers(shards: Path) -> None:
    save_file({"x": torch.ones(1)}, shards / "model.safetensors")
    assert weight_files(shards) == [shards / "model.safetensors"]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "sub/x.safetensors",
        "..",
        "",
        "/etc/passwd",
        "/tmp/x.safetensors",
        "..\\x.safetensors",
        "sub\\x.safetensors",
        "pytorch_model.bin",
        "one.safetensors/../two.safetensors",
    ],
)
def test_an_index_that_leads_elsewhere(shards: Path, name: str) -> None:
    save_file({"a": torch.ones(1)}, shards.parent / "secret.safetensors")
    write_index(shards, {"a": name, "b": "one.safetensors", "c": "two.safetensors"})
    with pytest.raises(StorageError, match="which is no safetensors file beside it"):
        weight_files(shards)


@pytest.mark.parametrize("weight_map", [None, [], {}, {"a": 1}, {"a": None}, "one.safetensors"])
def test_a_damaged_index(shards: Path, weight_map: Any) -> None:
    write_index(shards, weight_map)
    with pytest.raises(StorageError, match="no readable `weight_map`"):
        weight_files(shards)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}'])
def test_an_unreadable_index(shards: Path, text: str) -> None:
    (shards / INDEX).write_text(text)
    with pytest.raises(StorageError, match=r"index\.json is damaged"):
        weight_files(shards)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"a": "two.safetensors"}, "a"),
        ({"d": "two.safetensors"}, "d"),
    ],
    ids=["wrong shard", "not there"],
)
def test_an_index_that_does_not_fit(shards: Path, change: dict[str, str], name: str) -> None:
    change_json(shards / INDEX, lambda index: index["weight_map"].update(change))
    with pytest.raises(StorageError, match=f"is damaged: it has {name} in two"):
        weight_files(shards)


def test_a_tensor_that_the_index_forgets(shards: Path) -> None:
    change_json(shards / INDEX, lambda index: index["weight_map"].pop("a"))
    with pytest.raises(StorageError, match="is damaged: it has a in None"):
        weight_files(shards)


def test_a_tensor_twice(shards: Path) -> None:
    save_file({"a": torch.ones(1), "c": torch.ones(1)}, shards / "two.safetensors")
    with pytest.raises(StorageError, match="a is both in"):
        weight_files(shards)


def test_a_missing_shard(shards: Path) -> None:
    (shards / "two.safetensors").unlink()
    with pytest.raises(StorageError, match=r"two\.safetensors is missing"):
        weight_files(shards)


@pytest.mark.parametrize("file", ["/models/mine/../other.safetensors", "/models/other/x.safetensors", "/x.safetensors"])
def test_files_outside_of_a_folder(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.isdir", lambda _: True)
    require_inside(["/models/mine/x.safetensors", "/models/mine/sub/x.safetensors"], "/models/mine")
    require_inside(["/models/mine/..x.safetensors"], "/models/mine/")
    with pytest.raises(StorageError, match="lies outside of"):
        require_inside([file], "/models/mine")


def test_links_are_followed(tmp_path: Path) -> None:
    """The Hub's cache is made of them."""
    save_packed(tmp_path / "blobs", pruned_model())
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / "model.safetensors")
    require_inside([str(tmp_path / "snapshot" / "model.safetensors")], str(tmp_path / "snapshot"))
    assert read_headers(weight_files(tmp_path / "snapshot"))
