"""Sparse saving of a model in memory, through everything that is done with models."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForQuestionAnswering, BertForMaskedLM

from tests.pruning.helpers import qa_batch, tiny_model
from tests.storage.helpers import CONFIGS, change_weights, packed_names, pruned_model, read_json, save_packed, state_of
from transformers_palbert import (
    ConfigurationError,
    StorageConfig,
    StorageError,
    disable_sparse_saving,
    enable_sparse_saving,
)
from transformers_palbert.storage.saving import dense_saving
from transformers_palbert.storage.state import round_tensor
from transformers_palbert.storage.tensors import is_packed, packed_header

load = AutoModelForQuestionAnswering.from_pretrained
FLOAT16, INT8 = CONFIGS["float16"], CONFIGS["int8"]


def is_packed_folder(folder: Path) -> bool:
    """Whether config and weights agree that something, or else nothing, is packed."""
    packed = any(is_packed(tensor) for tensor in load_file(folder / "model.safetensors").values())
    assert packed == ("quantization_config" in read_json(folder / "config.json"))
    return packed


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_is_in_memory_is_what_is_saved(config: StorageConfig, tmp_path: Path) -> None:
    model = pruned_model()
    parameters = dict(model.named_parameters())
    before = state_of(model)
    enable_sparse_saving(model, config)
    after = state_of(model)
    assert (
        dict(model.named_parameters()).items() == parameters.items()
    )  # changed in place, or an optimizer would miss it
    assert (config.values == "auto") == all(torch.equal(before[name], after[name]) for name in before)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in after.items())


def test_nothing_is_changed_where_something_cannot_be_stored() -> None:
    model = pruned_model()
    with torch.no_grad():
        model.qa_outputs.bias[0] = 1e6
    before = state_of(model)
    with pytest.raises(StorageError, match=r"qa_outputs\.bias"):
        enable_sparse_saving(model, FLOAT16)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert getattr(model, "hf_quantizer", None) is None


def test_it_can_be_switched_off_and_changed(tmp_path: Path) -> None:
    model = pruned_model()
    enable_sparse_saving(model, INT8)
    enable_sparse_saving(model, StorageConfig())
    model.save_pretrained(tmp_path / "lossless")
    assert read_json(tmp_path / "lossless" / "config.json")["quantization_config"]["values"] == "auto"
    with dense_saving(model):
        model.save_pretrained(tmp_path / "inside")
    model.save_pretrained(tmp_path / "after")
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path / "off")
    disable_sparse_saving(model)  # again
    kinds = {name: is_packed_folder(tmp_path / name) for name in ("lossless", "inside", "after", "off")}
    assert kinds == {"lossless": True, "inside": False, "after": True, "off": False}
    assert not hasattr(model.config, "quantization_config")


def test_a_dense_save_over_a_packed_one_leaves_no_trace(tmp_path: Path) -> None:
    model = pruned_model()
    save_packed(tmp_path, model)
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path)
    assert not is_packed_folder(tmp_path)


def test_transformers_own_way_to_switch_it_off(tmp_path: Path) -> None:
    model = load(save_packed(tmp_path / "packed", pruned_model()))
    model.dequantize()
    model.save_pretrained(tmp_path / "dense")
    assert not is_packed_folder(tmp_path / "dense")


def test_a_new_model_from_the_config_of_a_packed_one(tmp_path: Path) -> None:
    save_packed(tmp_path / "packed", pruned_model())
    model = AutoModelForQuestionAnswering.from_config(AutoConfig.from_pretrained(tmp_path / "packed"))
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path / "new")
    assert not is_packed_folder(tmp_path / "new")


@pytest.mark.parametrize("duplicate", [lambda config: config, copy.deepcopy])
def test_a_new_model_from_the_config_of_a_loaded_one(duplicate: Any, tmp_path: Path) -> None:
    loaded = load(save_packed(tmp_path / "packed", pruned_model()))
    model = type(loaded)(duplicate(loaded.config))
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path / "new")
    assert not is_packed_folder(tmp_path / "new")
    loaded.save_pretrained(tmp_path / "again")
    assert is_packed_folder(tmp_path / "again")


@pytest.mark.parametrize(("values", "embeddings"), [("int8", "float16"), ("float16", "int8")])
def test_tied_weights_have_one_encoding(values: str, embeddings: str, tmp_path: Path) -> None:
    """That of the embeddings, under whose name they are stored."""
    model = BertForMaskedLM(pruned_model("bert").config)
    table = model.bert.embeddings.word_embeddings.weight
    name = "bert.embeddings.word_embeddings.weight"
    expected = round_tensor(name, table, StorageConfig(embeddings)).detach()
    save_packed(tmp_path, model, StorageConfig(values, embeddings))
    assert torch.equal(table, expected)
    assert packed_header(load_file(tmp_path / "model.safetensors")[name]).values == embeddings


def test_flattened_parameters_are_no_checkpoint(tmp_path: Path) -> None:
    class FullyShardedDataParallel(torch.nn.Linear):
        """Stands for FSDP's, which needs several processes."""

    model = pruned_model()
    enable_sparse_saving(model)
    model.qa_outputs = FullyShardedDataParallel(32, 2)
    with pytest.raises(StorageError, match=r"sharded by FSDP.*disable_sparse_saving"):
        model.save_pretrained(tmp_path)


def test_a_quantized_model_is_refused() -> None:
    class Other:
        quantization_config = StorageConfig()

    Other.quantization_config = type("Config", (), {"quant_method": "gptq"})()
    model = pruned_model()
    model.hf_quantizer = Other()
    with pytest.raises(ConfigurationError, match="quantized with gptq"):
        enable_sparse_saving(model)


def test_an_adapter_is_not_packed() -> None:
    """transformers marks a model with an adapter, and takes the adapter's own tensors where it is given none."""
    model = pruned_model()
    enable_sparse_saving(model)
    assert model.hf_quantizer.get_state_dict_and_metadata(model)[0] is not None
    model._hf_peft_config_loaded = True
    assert model.hf_quantizer.get_state_dict_and_metadata(model) == (None, {})


@pytest.mark.parametrize("values", ["auto", "float16", "int8"])
def test_a_model_without_zeros(values: str, tmp_path: Path) -> None:
    """Losslessly there is nothing to gain: an ordinary file, which everybody can read."""
    save_packed(tmp_path, tiny_model(hidden_size=32), StorageConfig(values))
    assert is_packed_folder(tmp_path) == (values != "auto")
    assert load(tmp_path).dtype == torch.float32


def test_training_makes_the_next_file_lossless(tmp_path: Path) -> None:
    model = load(save_packed(tmp_path / "first", pruned_model(), INT8)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(**qa_batch()).loss.backward()
    for parameter in model.parameters():
        parameter.grad = None if parameter.grad is None else parameter.grad * (parameter != 0)  # the zeros stay
    optimizer.step()
    model.save_pretrained(tmp_path / "second")
    assert packed_names(tmp_path / "second")
    loaded = load(tmp_path / "second").state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_casts(dtype: torch.dtype, tmp_path: Path) -> None:
    model = load(save_packed(tmp_path / "first", pruned_model())).to(dtype)
    model.half() if dtype == torch.float16 else model.float() if dtype == torch.float32 else model.bfloat16()
    model.save_pretrained(tmp_path / "second")
    loaded = load(tmp_path / "second")
    assert loaded.dtype == dtype
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_on_their_own(duplicate: Any, tmp_path: Path) -> None:
    model = pruned_model()
    enable_sparse_saving(model, FLOAT16)
    other = duplicate(model)
    disable_sparse_saving(model)
    with torch.no_grad():
        other.qa_outputs.bias.add_(1.0)
    other.save_pretrained(tmp_path / "copy")
    model.save_pretrained(tmp_path / "original")
    assert is_packed_folder(tmp_path / "copy")
    assert not is_packed_folder(tmp_path / "original")
    bias = model.qa_outputs.bias.detach().clone()
    other.load_state_dict(load_file(tmp_path / "copy" / "model.safetensors"))
    assert torch.equal(model.qa_outputs.bias, bias)


def test_save_pretrained_of_shards_over_a_whole(tmp_path: Path) -> None:
    model = pruned_model()
    save_packed(tmp_path, model)
    model.save_pretrained(tmp_path / "shards", max_shard_size="2KB")
    loaded = load(tmp_path / "shards")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


class TestLoadStateDict:
    """What ``Trainer`` calls to resume, and to load the best model."""

    def test_packed_weights(self, tmp_path: Path) -> None:
        saved = pruned_model()
        save_packed(tmp_path, saved)
        model = pruned_model(seed=5)
        enable_sparse_saving(model)
        disable_sparse_saving(model)  # reading is kept
        weight = model.qa_outputs.weight
        result = model.load_state_dict(load_file(tmp_path / "model.safetensors"))
        assert not result.missing_keys
        assert not result.unexpected_keys
        assert model.qa_outputs.weight is weight
        assert all(torch.equal(tensor, saved.state_dict()[name]) for name, tensor in model.state_dict().items())

    def test_inside_of_another_module(self, tmp_path: Path) -> None:
        saved = pruned_model()
        save_packed(tmp_path, saved)
        outer = torch.nn.Sequential(copy.deepcopy(saved))
        state = {f"0.{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
        torch.nn.init.zeros_(outer[0].qa_outputs.weight)
        outer.load_state_dict(state)
        assert torch.equal(outer[0].qa_outputs.weight, saved.qa_outputs.weight)

    def test_the_caller_s_state_dict_stays_packed(self, tmp_path: Path) -> None:
        model = pruned_model()
        save_packed(tmp_path, model)
        state = load_file(tmp_path / "model.safetensors")
        model.load_state_dict(state)
        assert all(is_packed(state[name]) for name in packed_names(tmp_path))

    def test_damage_is_named(self, tmp_path: Path) -> None:
        model = pruned_model()
        save_packed(tmp_path, model)
        name = packed_names(tmp_path)[0]
        change_weights(tmp_path / "model.safetensors", lambda tensors: tensors[name][-1:].bitwise_not_())
        with pytest.raises(StorageError, match=name):
            model.load_state_dict(load_file(tmp_path / "model.safetensors"))

    def test_a_model_that_does_not_know_the_format_fails(self, tmp_path: Path) -> None:
        save_packed(tmp_path, pruned_model())
        with pytest.raises(RuntimeError, match="size mismatch"):
            pruned_model().load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)


@pytest.mark.parametrize("values", ["float16", "int8"])
def test_compiled_models(values: str, tmp_path: Path) -> None:
    model = load(save_packed(tmp_path / "first", pruned_model(), StorageConfig(values)))
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(**qa_batch()).start_logits, model(**qa_batch()).start_logits)
    compiled.save_pretrained(tmp_path / "second")
    assert (tmp_path / "second" / "model.safetensors").read_bytes() == (
        tmp_path / "first" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("sparsity", [0.5, 0.7, 0.95])
def test_zeros_take_no_more_than_a_bit(sparsity: float, tmp_path: Path) -> None:
    model = pruned_model("bert", sparsity)
    stored = load_file(save_packed(tmp_path, model) / "model.safetensors")
    for name, tensor in model.state_dict().items():
        if "encoder" in name and tensor.dim() == 2:
            limit = tensor.numel() / 8 + 2 * int(tensor.count_nonzero()) + 100
            assert stored[name].nbytes <= limit < tensor.nbytes
