"""Stock models made from the config of a packed one, and packed folders read with a config from elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

from tests.storage.helpers import packed_names, pruned_model, read_json, save_packed
from transformers_palbert import StorageError, disable_sparse_saving, registration

load = AutoModelForQuestionAnswering.from_pretrained
KINDS = ("bert", "palbert")


@pytest.mark.parametrize("copied", [lambda config: config, copy.deepcopy, lambda c: type(c)(**c.to_dict())])
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_model_saves_itself_plain(kind: str, copied: Callable[[Any], Any], tmp_path: Path) -> None:
    packed = save_packed(tmp_path / "packed", pruned_model(kind))
    config = copied(AutoConfig.from_pretrained(packed))
    model = AutoModelForQuestionAnswering.from_config(config)
    model.save_pretrained(tmp_path / "new")
    settings = read_json(tmp_path / "new" / "config.json")
    assert not {"quantization_config", "transformers_weights"} & settings.keys()
    loaded = load(tmp_path / "new")
    assert getattr(loaded, "hf_quantizer", None) is None
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    load(packed, config=config)  # which still describes it


def test_of_a_class_made_by_hand_and_in_shards(tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(save_packed(tmp_path / "packed", pruned_model("bert")))
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "new", max_shard_size="2KB")
    assert len(list((tmp_path / "new").glob("*.safetensors"))) > 1
    load(tmp_path / "new")


def test_a_packed_save_of_it_describes_itself(tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(save_packed(tmp_path / "packed", pruned_model("bert")))
    model = BertForQuestionAnswering(config)
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.weight.zero_()
    save_packed(tmp_path / "new", model)
    assert load(tmp_path / "new").bert.encoder.layer[0].intermediate.dense.weight.count_nonzero() == 0
    assert packed_names(tmp_path / "new")


@pytest.mark.parametrize("options", [{}, {"ignore_mismatched_sizes": True}], ids=["", "ignore_mismatched_sizes"])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_weights_under_the_config_of_a_model_in_memory(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    packed = save_packed(tmp_path / "packed", pruned_model(kind))
    loaded = load(packed)
    for config in (loaded.config, copy.deepcopy(loaded.config)):
        with pytest.raises(StorageError, match=r"model\.safetensors are packed.*Leave the argument `config` out"):
            load(packed, config=config, **options)
    with pytest.raises(StorageError, match="tensors in the state dict are packed"):
        type(loaded).from_pretrained(
            None, config=loaded.config, state_dict=load_file(packed / "model.safetensors"), **options
        )


def test_a_head_of_another_size_is_still_the_user_s_choice(tmp_path: Path) -> None:
    model = pruned_model("bert")
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="mismatch"):
        load(tmp_path, num_labels=5)
    assert load(tmp_path, num_labels=5, ignore_mismatched_sizes=True).qa_outputs.out_features == 5


def test_the_methods_are_wrapped_once() -> None:
    save = BertForQuestionAnswering.save_pretrained
    registration.register()
    assert BertForQuestionAnswering.save_pretrained is save
