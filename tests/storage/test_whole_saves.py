"""Saves over an existing model: whole or not at all, wherever they end."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    PreTrainedModel,
)

from tests.storage.helpers import change_json, pruned_model, read_json, save_packed
from transformers_palbert import (
    ConfigurationError,
    PalBertConfig,
    PalBertForQuestionAnswering,
    StorageError,
    enable_sparse_saving,
)
from transformers_palbert.model.pruning_state import PruningState
from transformers_palbert.storage.files import weight_files
from transformers_palbert.storage.whole_saves import replaced_model

load = AutoModelForQuestionAnswering.from_pretrained
CALLS = ("replace", "link", "unlink")
WHOLE, SHARDS = "5GB", "6KB"


class KilledError(BaseException):
    """The process ends here: nothing that it would have done happens."""


def numbered(model: PreTrainedModel, number: float) -> PreTrainedModel:
    """``model`` with ``number`` for every weight that is not zero, and in its config."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.where(parameter != 0, number, parameter))
    model.config.hidden_dropout_prob = number / 8
    return model


def number_in(folder: Path) -> float:
    """The number of the model in ``folder``, after a look at every one of its weights."""
    loaded = load(folder)
    number = loaded.config.hidden_dropout_prob * 8
    assert all(bool(((tensor == 0) | (tensor == number)).all()) for tensor in loaded.state_dict().values())
    return number


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, call: Callable[[], Any]) -> bool:
    """Run ``call`` up to its ``step``-th change of the disk; whether it got there."""
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= step:
                raise KilledError
            return real(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(shutil, "rmtree", lambda *_, **__: None if count >= step else real_rmtree(*_, **__))
        try:
            call()
        except KilledError:
            return True
        return False


real_rmtree = shutil.rmtree


@pytest.mark.parametrize(
    ("before", "after"), [(WHOLE, WHOLE), (WHOLE, SHARDS), (SHARDS, WHOLE), (SHARDS, SHARDS)], ids=str
)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "dense"])
def test_a_save_that_ends_anywhere_leaves_the_old_model_or_the_new_one(
    before: str, after: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = saved_as(packed)
    numbered(model, 1).save_pretrained(tmp_path / "start", max_shard_size=before)
    numbered(model, 2).save_pretrained(tmp_path / "end", max_shard_size=after)
    assert [len(weight_files(tmp_path / name)) > 1 for name in ("start", "end")] == [before == SHARDS, after == SHARDS]
    found = []
    for step in range(1, 200):
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "start", folder)
        if not killed_at(monkeypatch, step, lambda f=folder: model.save_pretrained(f, max_shard_size=after)):
            break
        found.append(number_in(folder))
        if step % 4:
            continue
        model.save_pretrained(folder, max_shard_size=after)  # the next save puts everything right
        assert number_in(folder) == 2
        assert sorted(file.name for file in folder.iterdir()) == sorted(f.name for f in weights_and_config(folder))
    assert found == sorted(found)
    assert {1, 2} == set(found)
    assert len(found) > 3


def saved_as(packed: bool) -> PreTrainedModel:
    """A pruned model whose saves are packed, or dense."""
    model = pruned_model()
    model.config.pruning = PruningState(("encoder",), 0.3).to_dict()
    if packed:
        enable_sparse_saving(model)
    return model


def weights_and_config(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    return [folder / "config.json", *weight_files(folder), *([index] if index.exists() else [])]


def test_two_kills_in_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pruned_model()
    enable_sparse_saving(model)
    for step in range(1, 14, 2):
        folder = tmp_path / str(step)
        numbered(model, 1).save_pretrained(folder)
        numbered(model, 2)
        killed_at(monkeypatch, 5, lambda f=folder: model.save_pretrained(f, max_shard_size=SHARDS))
        assert number_in(folder) == 1
        numbered(model, 3)
        killed_at(monkeypatch, step, lambda f=folder: model.save_pretrained(f))
        assert number_in(folder) in (1, 3)


def test_stock_weights_are_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old model was saved without this package, and no digest tells its files from those of the new one."""
    model = pruned_model()
    numbered(model, 1).save_pretrained(tmp_path / "start")
    enable_sparse_saving(numbered(model, 2))
    found = []
    for step in range(1, 100):
        shutil.copytree(tmp_path / "start", tmp_path / str(step))
        if not killed_at(monkeypatch, step, lambda s=step: model.save_pretrained(tmp_path / str(s))):
            break
        found.append(number_in(tmp_path / str(step)))
    assert found == sorted(found)
    assert {1, 2} == set(found)


@pytest.mark.parametrize("links", [True, False])
def test_nothing_else_in_the_folder_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no hard links here")))
    model = pruned_model()
    enable_sparse_saving(model)
    for name in ("vocab.txt", "checkpoint-3/model.safetensors", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"kept")
    for number in (1, 2):
        numbered(model, number).save_pretrained(tmp_path)
        assert number_in(tmp_path) == number
    assert {file.name for file in tmp_path.iterdir()} == {
        "vocab.txt", "checkpoint-3", "notes.md", "config.json", "model.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "dense"])
def test_shards_over_a_single_file(packed: bool, tmp_path: Path) -> None:
    """transformers reads model.safetensors first, so an old one would hide the new shards."""
    model = saved_as(packed)
    numbered(model, 1).save_pretrained(tmp_path)
    numbered(model, 2).save_pretrained(tmp_path, max_shard_size=SHARDS)
    assert not (tmp_path / "model.safetensors").exists()
    assert number_in(tmp_path) == 2
    numbered(model, 3).save_pretrained(tmp_path, max_shard_size="4KB")
    shards = len(weight_files(tmp_path))
    assert len(list(tmp_path.glob("*.safetensors"))) == shards > 1
    numbered(model, 4).save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.glob("model*")] == ["model.safetensors"]
    assert number_in(tmp_path) == 4


def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pruned_model()
    folder = save_packed(tmp_path / "model", numbered(model, 1))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        numbered(model, 2).save_pretrained(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "dense"])
def test_a_file_is_no_folder(packed: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    model = saved_as(packed)
    with pytest.raises(StorageError, match="file is a file"):
        model.save_pretrained(tmp_path / "file")


def test_a_process_that_does_not_save_touches_nothing(tmp_path: Path) -> None:
    """As accelerate's examples call it, on every process."""
    model = pruned_model()
    folder = save_packed(tmp_path / "model", numbered(model, 1))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with replaced_model(folder) as staging:  # of the process that saves
        numbered(model, 2).save_pretrained(folder, is_main_process=False)
        assert staging.is_dir()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell which processes run")
def test_what_another_running_process_writes_is_left_alone(tmp_path: Path) -> None:
    model = pruned_model()
    enable_sparse_saving(model)
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    running, dead = (tmp_path / f".palbert-saving-{pid}-x" for pid in (os.getppid(), finished.pid))
    for folder in (running, dead):
        folder.mkdir()
    model.save_pretrained(tmp_path)
    assert running.is_dir()
    assert not dead.exists()


def test_variants_are_refused(tmp_path: Path) -> None:
    model = pruned_model()
    enable_sparse_saving(model)
    with pytest.raises(ConfigurationError, match=r"variant='fp16'.*folder of its own"):
        model.save_pretrained(tmp_path, variant="fp16")


def test_a_dense_variant_stands_beside_the_model(tmp_path: Path) -> None:
    """It is another set of weights under names of its own, which transformers reads when it is asked for."""
    model = saved_as(packed=False)
    numbered(model, 1).save_pretrained(tmp_path)
    numbered(model, 2).save_pretrained(tmp_path, variant="fp16")
    assert load(tmp_path).qa_outputs.weight.max() == 1
    assert load(tmp_path, variant="fp16").qa_outputs.weight.max() == 2


def test_other_models_are_saved_as_they_always_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("asked for")))
    BertForQuestionAnswering(BertConfig(**TINY)).save_pretrained(tmp_path / "stock")
    with pytest.raises(OSError, match="asked for"):
        PalBertForQuestionAnswering(PalBertConfig(**TINY, embedding_size=8)).save_pretrained(tmp_path / "own")


TINY: dict[str, int] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


class TestConfigs:
    """What is packed stands in the file, not in the config in memory, which other models may share."""

    def test_two_models_of_one_config(self, tmp_path: Path) -> None:
        first = pruned_model()
        second = type(first)(first.config)
        enable_sparse_saving(first)
        first.save_pretrained(tmp_path / "first")
        second.save_pretrained(tmp_path / "second")
        assert "quantization_config" not in read_json(tmp_path / "second" / "config.json")
        for model, folder in ((first, "first"), (second, "second")):
            loaded = load(tmp_path / folder).state_dict()
            assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())

    def test_a_model_from_the_values_of_a_packed_one_s_config(self, tmp_path: Path) -> None:
        loaded = load(save_packed(tmp_path / "packed", pruned_model()))
        model = type(loaded)(type(loaded.config)(**loaded.config.to_dict()))
        model.save_pretrained(tmp_path / "new")
        assert torch.equal(load(tmp_path / "new").qa_outputs.weight, model.qa_outputs.weight)

    def test_a_model_from_the_config_in_the_file_of_a_process_without_the_package(self, tmp_path: Path) -> None:
        """transformers alone keeps the description; the error tells what happened."""
        packed = save_packed(tmp_path / "packed", pruned_model())
        AutoModelForQuestionAnswering.from_config(AutoConfig.from_pretrained(packed)).save_pretrained(tmp_path / "new")
        description = read_json(packed / "config.json")["quantization_config"]
        change_json(tmp_path / "new" / "config.json", lambda config: config.update(quantization_config=description))
        with pytest.raises(StorageError, match=r"made from the config of a packed one.*not imported: then delete"):
            load(tmp_path / "new")
        change_json(tmp_path / "new" / "config.json", lambda config: config.pop("quantization_config"))
        load(tmp_path / "new")


SAVE_FOREVER = """
import json, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from transformers_palbert.storage.whole_saves import replaced_model

number, folder = int(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while True:
    number += 1
    with replaced_model(folder) as staging:
        (staging / "config.json").write_text(json.dumps({"number": number}))
        save_file({"weight": np.full(1000, number)}, staging / "model.safetensors")
"""


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    folder, choose = tmp_path / "model", random.Random(0)
    with replaced_model(folder) as staging:
        (staging / "config.json").write_text(json.dumps({"number": 0}))
        save_numbers(staging, 0)
    number = 0
    for _ in range(4):
        command = [sys.executable, "-c", SAVE_FOREVER, str(number), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(choose.uniform(0.05, 0.3))
            process.kill()
        reached = read_json(folder / "config.json")["number"]
        (file,) = weight_files(folder)
        assert set(load_file(file)["weight"].tolist()) == {reached}
        assert reached >= number
        number = reached
    assert number > 4


def save_numbers(folder: Path, number: int) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.full((1000,), number)}, folder / "model.safetensors")
