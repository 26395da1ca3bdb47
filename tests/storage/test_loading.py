"""``from_pretrained`` of packed folders: plain dense models, or an error."""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AlbertForQuestionAnswering,
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from tests.pruning.helpers import KINDS, qa_batch
from tests.storage.helpers import (
    CONFIGS,
    as_version_1,
    change_json,
    change_weights,
    packed_names,
    pruned_model,
    read_json,
    safetensors_header,
    save_packed,
    state_of,
)
from transformers_palbert import PalBertForQuestionAnswering, StorageConfig, StorageError
from transformers_palbert.storage.packed_saves import describe_packed
from transformers_palbert.storage.tensors import pack_tensor

load = AutoModelForQuestionAnswering.from_pretrained


def same(left: PreTrainedModel | dict[str, Tensor], right: PreTrainedModel | dict[str, Tensor]) -> bool:
    left, right = (state if isinstance(state, dict) else state.state_dict() for state in (left, right))
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_packed(tmp_path_factory.mktemp("packed"), pruned_model())


@pytest.fixture
def copied(packed: Path, tmp_path: Path) -> Path:
    """A packed folder to damage."""
    return Path(shutil.copytree(packed, tmp_path / "copied"))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A packed folder of several shards, to damage."""
    return save_packed(tmp_path / "sharded", pruned_model(), max_shard_size="2KB")


# -- what comes back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_weights_come_back_bit_for_bit_and_are_saved_the_same(
    kind: str, config: StorageConfig, tmp_path: Path
) -> None:
    model = pruned_model(kind)
    save_packed(tmp_path / "first", model, config)
    assert (tmp_path / "first" / "model.safetensors").stat().st_size < sum(t.nbytes for t in state_of(model).values())
    loaded = load(tmp_path / "first")
    assert type(loaded) is type(model)
    assert same(loaded, model)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.is_quantized
    loaded.save_pretrained(tmp_path / "second")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_the_config_says_what_is_packed(packed: Path) -> None:
    settings = read_json(packed / "config.json")["quantization_config"]
    names, digests = settings.pop("tensors"), settings.pop("digests")
    assert settings == {
        "quant_method": "palbert_sparse",
        "format_version": 2,
        "dequantize": True,
        "values": "float16",
        "embeddings": "auto",
        "entropy": False,
    }
    header = safetensors_header(packed / "model.safetensors")
    assert header.pop("__metadata__") == {"format": "pt"}
    assert names == sorted(name for name, entry in header.items() if entry["dtype"] == "U8")
    assert list(digests) == sorted(header)
    data = (packed / "model.safetensors").read_bytes()
    data = data[8 + int.from_bytes(data[:8], "little") :]
    for name, entry in header.items():
        described = " ".join([entry["dtype"], *map(str, entry["shape"])]) + "\n"
        content = described.encode() + data[slice(*entry["data_offsets"])]
        assert digests[name] == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight" in names
    assert read_json(packed / "config.json")["dtype"] == "float32"  # in which it computes, not what the file holds


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, "auto"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dtypes(packed: Path, dtype: Any) -> None:
    reference = load(packed).to(dtype if isinstance(dtype, torch.dtype) else torch.float32)
    loaded = load(packed, dtype=dtype)
    assert loaded.dtype == reference.dtype
    assert same(loaded, reference)


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}], ids=str)
def test_device_maps(packed: Path, device_map: Any) -> None:
    assert same(load(packed, device_map=device_map), load(packed))


def test_offloading_to_the_disk(packed: Path, tmp_path: Path) -> None:
    device_map = {"albert.embeddings": "cpu", "albert.encoder": "disk", "qa_outputs": "cpu"}
    loaded = load(packed, device_map=device_map, offload_folder=tmp_path / "offload")
    assert loaded.state_dict()["albert.encoder.embedding_hidden_mapping_in.weight"].is_meta
    with torch.no_grad():
        assert torch.equal(loaded(**qa_batch()).start_logits, load(packed)(**qa_batch()).start_logits)
    with pytest.warns(UserWarning, match="offloaded modules"):
        loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (packed / "model.safetensors").read_bytes()


def test_shards(sharded: Path, packed: Path) -> None:
    assert len(list(sharded.glob("*.safetensors"))) > 3
    loaded = load(sharded)
    assert same(loaded, load(packed))


def test_the_encoder_alone(packed: Path) -> None:
    whole, encoder = load(packed), AutoModel.from_pretrained(packed)
    expected = {name: t for name, t in whole.albert.state_dict().items() if not name.startswith("pooler")}
    assert same({name: tensor for name, tensor in encoder.state_dict().items() if name in expected}, expected)


def test_an_encoder_under_another_head(tmp_path: Path) -> None:
    bert = pruned_model("bert").bert
    encoder = AutoModel.from_config(bert.config)  # with a pooler, which question answering lacks
    encoder.load_state_dict(bert.state_dict(), strict=False)
    save_packed(tmp_path, encoder)
    assert "pooler.dense.weight" in packed_names(tmp_path)
    loaded = load(tmp_path)
    assert same(loaded.bert, {name: t for name, t in encoder.state_dict().items() if not name.startswith("pooler")})


def test_an_albert_as_palbert_and_back(packed: Path, tmp_path: Path) -> None:
    loaded = PalBertForQuestionAnswering.from_pretrained(packed)
    assert same(loaded, load(packed))
    loaded.save_pretrained(tmp_path)
    assert same(load(tmp_path), loaded)
    assert same(AlbertForQuestionAnswering.from_pretrained(packed), loaded)


def test_a_head_of_another_size_is_never_made_up(tmp_path: Path) -> None:
    config = pruned_model().config
    config.num_labels = 30
    save_packed(tmp_path, AutoModelForSequenceClassification.from_config(config), StorageConfig("int8"))
    assert "classifier.weight" in packed_names(tmp_path)
    with pytest.raises((RuntimeError, StorageError)):  # transformers 5.23 finds the vector before
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=7)
    with pytest.raises(StorageError, match=r"classifier\.weight: .*\[30, 32\]"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=7, ignore_mismatched_sizes=True)


def test_from_a_state_dict(packed: Path) -> None:
    config = AutoConfig.from_pretrained(packed)
    loaded = AlbertForQuestionAnswering.from_pretrained(
        None, config=config, state_dict=load_file(packed / "model.safetensors")
    )
    assert same(loaded, load(packed))


def test_a_model_of_16_bits(tmp_path: Path) -> None:
    model = pruned_model().bfloat16()
    save_packed(tmp_path, model, StorageConfig())
    loaded = load(tmp_path)
    assert loaded.dtype == torch.bfloat16
    assert same(loaded, model)


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    model = BertForMaskedLM(pruned_model("bert").config)
    save_packed(tmp_path, model, StorageConfig("int8"))
    assert "bert.embeddings.word_embeddings.weight" in packed_names(tmp_path)
    assert "cls.predictions.decoder.weight" not in packed_names(tmp_path)
    loaded = BertForMaskedLM.from_pretrained(tmp_path)
    assert same(loaded, model)
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight


# -- what is refused ---------------------------------------------------------------------------------------------------

FFN = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"

BIAS = FFN.replace("weight", "bias")


def rename(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FFN[:-7]}x.weight"] = tensors.pop(FFN)


def transpose(tensors: dict[str, Tensor]) -> None:
    tensors[FFN] = pack_tensor(torch.zeros(32, 16))


def break_header(tensors: dict[str, Tensor]) -> None:
    tensors[FFN][20] ^= 0xFF


def break_values(tensors: dict[str, Tensor]) -> None:
    tensors[FFN][-1] ^= 0xFF


def cut(tensors: dict[str, Tensor]) -> None:
    tensors[FFN] = tensors[FFN][:-3].clone()


DAMAGE: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "a listed tensor is missing": (lambda t: t.pop(FFN), "listed as packed but missing"),
    "a listed tensor is dense": (lambda t: t.update({FFN: torch.ones(32, 32)}), "listed as packed but dense"),
    "an unlisted tensor is packed": (lambda t: t.update(new=pack_tensor(torch.ones(8, 8))), "packed but not listed"),
    "renamed": (rename, "listed as packed but missing"),
    "damaged header": (break_header, "ffn.weight in .*model.safetensors: "),
    "damaged values": (break_values, "ffn.weight: .*checksum"),
    "cut off": (cut, "ffn.weight in .*model.safetensors: "),
    "a vector is missing": (lambda t: t.pop(BIAS), "1 tensors are missing .*ffn.bias"),
    "a vector is renamed": (lambda t: t.update(renamed=t.pop(BIAS)), "1 tensors are missing .*ffn.bias"),
    "a vector of the head is missing": (lambda t: t.pop("qa_outputs.bias"), "1 tensors are missing .*qa_outputs.bias"),
}
BY_DIGEST = {
    "damaged values": "are not as they were saved.*ffn.weight",
    "a vector is missing": "1 tensors in the checkpoint are missing: .*ffn.bias",
    "a vector is renamed": "1 tensors in the checkpoint are missing: .*ffn.bias",
    "a vector of the head is missing": "1 tensors in the checkpoint are missing: qa_outputs.bias",
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights(copied: Path, damage: str, version: int) -> None:
    change, message = DAMAGE[damage]
    if version == 1:
        as_version_1(copied)
    else:
        message = BY_DIGEST.get(damage, message)
    change_weights(copied / "model.safetensors", change)
    with pytest.raises(StorageError, match=message):
        load(copied)


def test_the_older_version_is_read(copied: Path, packed: Path) -> None:
    assert same(load(as_version_1(copied)), load(packed))


def test_every_flipped_bit_of_a_plain_tensor_is_found(copied: Path) -> None:
    """LayerNorms and biases have no checksum of their own, and any bits are valid numbers."""
    file, raw = copied / "model.safetensors", (copied / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    plain = [entry["data_offsets"] for entry in safetensors_header(file).values() if entry.get("dtype") == "F16"]
    assert len(plain) > 10
    for first, end in plain:
        damaged = bytearray(raw)
        damaged[start + (first + end) // 2] ^= 4
        file.write_bytes(damaged)
        with pytest.raises(StorageError, match="not as they were saved"):
            load(copied)
    file.write_bytes(raw)
    load(copied)


def test_another_type_or_shape_for_the_same_bytes_is_found(copied: Path) -> None:
    for change in (lambda t: t.view(torch.bfloat16), lambda t: t.reshape(1, -1)):
        shutil.copyfile(copied / "model.safetensors", copied / "kept")
        change_weights(copied / "model.safetensors", lambda t, change=change: t.update({BIAS: change(t[BIAS])}))
        with pytest.raises(StorageError, match=r"not as they were saved.*ffn\.bias"):
            load(copied)
        shutil.move(copied / "kept", copied / "model.safetensors")


@pytest.mark.parametrize("file", ["model-00001-of-00002.safetensors", "config.json"])
def test_files_of_two_saves_are_found(tmp_path: Path, file: str) -> None:
    """Two states of one model: same names, same shapes, other values."""
    model = pruned_model()
    size = sum(
        tensor.nbytes for tensor in load_file(save_packed(tmp_path / "whole", model) / "model.safetensors").values()
    )
    for folder in ("first", "second"):
        save_packed(tmp_path / folder, model, max_shard_size=size * 2 // 3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)
    shutil.copyfile(tmp_path / "second" / file, tmp_path / "first" / file)
    with pytest.raises(StorageError, match=r"not as they were saved|are missing|packed but"):
        load(tmp_path / "first")


def test_several_damaged_tensors_are_all_named(copied: Path) -> None:
    def damage(tensors: dict[str, Tensor]) -> None:
        for name in packed_names(copied)[:2]:
            tensors[name][-1] ^= 0xFF

    change_weights(copied / "model.safetensors", damage)
    first, second = packed_names(copied)[:2]
    with pytest.raises(StorageError, match=f"(?s){first}.*{second}"):
        load(copied)
    with pytest.raises(StorageError, match=f"(?s){first}: .*checksum.*{second}: .*checksum"):
        load(as_version_1(copied))


def test_a_packed_tensor_that_no_parameter_wants(copied: Path) -> None:
    change_weights(copied / "model.safetensors", rename)
    change_json(
        copied / "config.json",
        lambda c: c["quantization_config"].update(tensors=[n.replace("ffn.w", "ffnx.w") for n in packed_names(copied)]),
    )
    describe_packed(copied, CONFIGS["float16"])
    with pytest.raises(StorageError, match=r"1 of \d+ packed tensors have no parameter .*ffnx\.weight"):
        load(copied)
    with pytest.raises(StorageError, match=r"ffnx\.weight"):
        AutoModel.from_pretrained(copied)


def test_a_vector_that_is_missing_for_another_class(copied: Path, tmp_path: Path) -> None:
    change_weights(as_version_1(copied) / "model.safetensors", lambda tensors: tensors.pop(BIAS))
    with pytest.raises(StorageError, match=r"1 tensors are missing .*ffn\.bias"):
        AutoModel.from_pretrained(copied)
    encoder = save_packed(tmp_path / "encoder", pruned_model().albert)
    change_weights(encoder / "model.safetensors", lambda t: t.pop(BIAS.removeprefix("albert.")))
    describe_packed(encoder, CONFIGS["float16"])
    for kind in (AutoModel, AutoModelForQuestionAnswering):
        with pytest.raises(StorageError, match=r"1 tensors are missing .*ffn\.bias"):
            kind.from_pretrained(encoder)


def test_older_names_are_no_damage(tmp_path: Path) -> None:
    """transformers reads ``LayerNorm.gamma`` as ``LayerNorm.weight``; ``palbert compress`` leaves such names alone."""
    folder = save_packed(tmp_path, pruned_model("bert"))
    reference, old = load(folder), {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def age(tensors: dict[str, Tensor]) -> None:
        for new, name in old.items():
            for key in [key for key in tensors if key.endswith(new)]:
                tensors[key.replace(new, name)] = tensors.pop(key)

    change_weights(folder / "model.safetensors", age)
    describe_packed(folder, CONFIGS["float16"])
    loaded = load(folder)
    assert same(loaded, reference)
    loaded.save_pretrained(folder)
    assert same(load(folder), reference)


def test_another_shape(copied: Path) -> None:
    change_weights(copied / "model.safetensors", transpose)
    describe_packed(copied, CONFIGS["float16"])
    with pytest.raises(StorageError, match=r"ffn\.weight: .*\[32, 16\]"):
        load(copied)


def test_no_tensor_is_reserved_for_an_absurd_shape(copied: Path) -> None:
    def inflate(tensors: dict[str, Tensor]) -> None:
        packed = bytearray(pack_tensor(torch.zeros(32, 32)).numpy().tobytes())
        packed[24:40] = struct.pack("<2Q", 2**40, 2**22)  # the shape
        tensors[FFN] = torch.frombuffer(packed, dtype=torch.uint8)

    change_weights(copied / "model.safetensors", inflate)
    with pytest.raises(StorageError, match=r"ffn\.weight in"):
        load(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "version 3 of the packed format.*Upgrade"),
        ({"format_version": True}, "version True of the packed format"),
        ({"digests": None}, "not described by config.json"),
        ({"digests": {}}, "not described by config.json"),
        ({"digests": {FFN: "0"}}, "32 hexadecimal digits"),
        ({"digests": [FFN]}, "32 hexadecimal digits"),
        ({"tensors": 7}, "must be a list of names"),
        ({"tensors": [FFN, FFN]}, "names a tensor twice"),
        ({"tensors": []}, "packed but not listed"),
        ({"values": "int3"}, "values='int3' is not allowed"),
    ],
)
def test_a_damaged_config(copied: Path, change: dict[str, Any], message: str) -> None:
    change_json(copied / "config.json", lambda config: config["quantization_config"].update(change))
    with pytest.raises(StorageError, match=message):
        load(copied)


def test_without_its_entry_in_the_config(copied: Path) -> None:
    change_json(copied / "config.json", lambda config: config.pop("quantization_config"))
    with pytest.raises(ValueError, match="pip install transformers-palbert"):
        load(copied, ignore_mismatched_sizes=True)


def test_a_truncated_file(copied: Path) -> None:
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StorageError, match=r"model\.safetensors is damaged"):
        load(copied)


def test_a_missing_shard(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises((StorageError, OSError), match=shard.name):
        load(sharded)


def test_a_truncated_shard(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(StorageError, match=f"{shard.name} is damaged"):
        load(sharded)


def test_a_name_in_two_shards(sharded: Path) -> None:
    first, second = sorted(sharded.glob("*.safetensors"))[:2]
    name = next(iter(load_file(first)))
    change_weights(second, lambda tensors: tensors.update({name: load_file(first)[name]}))
    with pytest.raises(StorageError, match=f"{name} is both in .*{first.name} and in .*{second.name}"):
        load(sharded)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_shard_outside_of_the_folder(sharded: Path, tmp_path: Path, absolute: bool) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[0]
    outside = tmp_path / "outside" / shard.name
    outside.parent.mkdir()
    shard.rename(outside)
    target = str(outside) if absolute else f"../outside/{shard.name}"

    def point_outside(index: Any) -> None:
        index["weight_map"] = {n: target if f == shard.name else f for n, f in index["weight_map"].items()}

    change_json(sharded / "model.safetensors.index.json", point_outside)
    with pytest.raises(StorageError, match="lies outside of"):
        load(sharded)


def test_a_packed_model_with_other_quantization_arguments(packed: Path) -> None:
    from transformers import BitsAndBytesConfig

    with pytest.raises((ValueError, ImportError)):
        load(packed, quantization_config=BitsAndBytesConfig(load_in_8bit=True))


# -- what is never run -------------------------------------------------------------------------------------------------


class Bomb:
    """A pickle that creates a file where it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def test_a_pickle_is_not_opened(copied: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (copied / "model.safetensors").unlink()
    torch.save(Bomb(marker), copied / "pytorch_model.bin")
    with pytest.raises(StorageError, match=r"pytorch_model\.bin is no safetensors file"):
        load(copied)
    assert not marker.exists()


def test_a_pickle_beside_the_weights_is_not_opened(copied: Path, packed: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        torch.save(Bomb(marker), copied / name)
    assert same(load(copied), load(packed))
    assert not marker.exists()


@pytest.mark.parametrize("own_config", [False, True])
def test_code_in_the_folder_is_not_run(
    copied: Path, packed: Path, tmp_path: Path, own_config: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    (copied / "evil.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    auto_map = {"AutoModelForQuestionAnswering": "evil.Model"}
    if own_config:
        auto_map["AutoConfig"] = "evil.Config"
    change_json(copied / "config.json", lambda config: config.update(auto_map=auto_map))
    monkeypatch.setattr("builtins.input", lambda *_: "n")
    assert same(load(copied, trust_remote_code=False), load(packed))
    assert same(PalBertForQuestionAnswering.from_pretrained(copied), load(packed))
    assert not marker.exists()


def test_the_bomb_works(tmp_path: Path) -> None:
    """Or the tests above would show nothing."""
    torch.save(Bomb(tmp_path / "marker"), tmp_path / "bomb.pt")
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert (tmp_path / "marker").exists()


def test_two_damaged_formats_in_one(copied: Path) -> None:
    """Weights of another model under the config of a packed one."""
    dense = pruned_model(seed=3)
    save_file(
        {name: t.clone() for name, t in dense.state_dict().items()}, copied / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(StorageError, match=r"config\.json and weights do not belong together"):
        load(copied)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch warns of itself
def test_onnx_export(packed: Path, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    model, batch = load(packed), qa_batch()
    inputs = (batch["input_ids"], batch["attention_mask"])
    with torch.no_grad():
        expected = model(*inputs).start_logits
    file = tmp_path / "model.onnx"
    torch.onnx.export(model, inputs, file, dynamo=True, verbose=False, input_names=["input_ids", "attention_mask"])
    feeds = dict(zip(("input_ids", "attention_mask"), (tensor.numpy() for tensor in inputs), strict=True))
    logits = torch.from_numpy(ReferenceEvaluator(str(file)).run(None, feeds)[0])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
