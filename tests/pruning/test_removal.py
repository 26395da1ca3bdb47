"""Models with layers of different sizes: removed, saved, loaded, trained on, packed."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForQuestionAnswering, PreTrainedModel

from tests.model.test_removal import WIDTH, logits, naive_removed, random_kept, random_model
from tests.model.test_structure import KINDS
from tests.pruning.helpers import make_trainer, qa_batch, tiny_model
from transformers_palbert import (
    bake_masks,
    disable_sparse_saving,
    drop_layers,
    enable_sparse_saving,
    prepare_pruning,
    remove_units,
)
from transformers_palbert.errors import ConfigurationError, NoEffectWarning, PalBertError, PruningError, StorageError
from transformers_palbert.export.stock import export_stock
from transformers_palbert.model.removal import (
    KeptUnits,
    LayerSize,
    keep_units,
    layer_sizes,
    read_layer_sizes,
    resize_layers,
)
from transformers_palbert.model.structure import encoder_layers
from transformers_palbert.pruning import MovementPruningCallback, PruningConfig
from transformers_palbert.storage.config import StorageConfig
from transformers_palbert.storage.folders import compress_folder, decompress_folder


def removed(kind: str) -> PreTrainedModel:
    """Layers with different numbers of heads and units; one without heads, one with nothing at all."""
    model = random_model(kind)
    *paths, last = layer_sizes(model)
    return remove_units(model, random_kept(model) | ({last: KeptUnits([], [])} if paths else {}))


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    model = removed(kind)
    model.save_pretrained(tmp_path)
    loaded, info = AutoModelForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is type(model)
    assert not any(info.values())
    assert layer_sizes(loaded) == layer_sizes(model)
    assert torch.equal(logits(loaded), logits(model))
    base = AutoModel.from_pretrained(tmp_path)
    assert layer_sizes(base) == layer_sizes(model)
    loaded.save_pretrained(tmp_path / "again")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_block_it_loads_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    model = random_model(kind)
    remove_units(model, dict.fromkeys(layer_sizes(model), KeptUnits([], [])))
    for name, switch in (("packed", enable_sparse_saving), ("dense", disable_sparse_saving)):
        switch(model)  # type: ignore[operator]
        model.save_pretrained(tmp_path / name)
        loaded, info = AutoModelForQuestionAnswering.from_pretrained(tmp_path / name, output_loading_info=True)
        assert not any(info.values())
        assert layer_sizes(loaded) == layer_sizes(model) == dict.fromkeys(layer_sizes(model), LayerSize(0, 0))
        assert torch.equal(logits(loaded), logits(model))


@pytest.mark.parametrize("granularity", ["head", "ffn_unit", "element", "row"])
def test_what_lost_a_block_is_pruned_further(granularity: str, tmp_path: Path) -> None:
    model = tiny_model("bert")
    first, second, third = layer_sizes(model)
    remove_units(model, {first: KeptUnits([], None), second: KeptUnits(None, []), third: KeptUnits([0], [1, 2])})
    callback = MovementPruningCallback(0.5, method="magnitude", granularity=granularity)
    trainer = make_trainer(tmp_path, model=model, callback=callback, max_steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoEffectWarning)  # what is gone is not left out
        trainer.train()
    trainer.save_model()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert layer_sizes(loaded) == layer_sizes(model)
    assert torch.equal(loaded.eval()(**qa_batch()).start_logits, trainer.model.eval()(**qa_batch()).start_logits)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_with_every_storage(kind: str, tmp_path: Path) -> None:
    model = removed(kind)
    for number, config in enumerate([StorageConfig("float16"), StorageConfig("int8", entropy=True)]):
        enable_sparse_saving(model, config)
        model.save_pretrained(tmp_path / str(number))
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / str(number))
        assert torch.equal(logits(loaded), logits(model))
    compress_folder(tmp_path / "0", tmp_path / "packed")
    decompress_folder(tmp_path / "0", tmp_path / "dense")
    expected = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "0")
    for name in ("packed", "dense"):
        loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / name)
        assert torch.equal(logits(loaded), logits(expected))


def test_dense_saving_keeps_the_sizes(tmp_path: Path) -> None:
    model = removed("bert")
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight.zero_()  # worth packing
    disable_sparse_saving(model)
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(logits(AutoModelForQuestionAnswering.from_pretrained(tmp_path)), logits(model))


@pytest.mark.parametrize("kind", ["albert", "bert", "distilbert"])
def test_sizes_are_saved_whoever_cut_the_layers(kind: str, tmp_path: Path) -> None:
    model = random_model(kind)
    keep_units(model, random_kept(model))
    model.save_pretrained(tmp_path / "one")
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "one")
    assert torch.equal(logits(loaded), logits(model))
    loaded.dequantize()
    loaded.save_pretrained(tmp_path / "two")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "two")
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("packs", [True, False, None])
def test_a_new_model_of_its_config_needs_the_sizes(packs: bool | None, tmp_path: Path) -> None:
    """A class knows nothing of them; what it makes could be saved, and not be loaded."""
    config = removed("bert").config
    model = AutoModelForQuestionAnswering.from_config(config)
    if packs is not None:
        (enable_sparse_saving if packs else disable_sparse_saving)(model)
    with pytest.raises(StorageError, match=r"layer_sizes .* gives encoder\.layer\.\d LayerSize.*resize_layers"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())
    resize_layers(model, read_layer_sizes(config))
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(AutoModelForQuestionAnswering.from_pretrained(tmp_path)), logits(model))


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_the_config_of_a_model_in_memory_does_not_load_it(packed: bool, ignore: bool, tmp_path: Path) -> None:
    model = removed("bert")
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight.zero_()  # worth packing
    (enable_sparse_saving if packed else disable_sparse_saving)(model)
    model.save_pretrained(tmp_path)
    with pytest.raises(StorageError, match="Leave the argument `config` out"):
        AutoModelForQuestionAnswering.from_pretrained(tmp_path, config=model.config, ignore_mismatched_sizes=ignore)


def test_without_the_package_it_does_not_load(tmp_path: Path) -> None:
    removed("bert").save_pretrained(tmp_path)
    script = (
        "from transformers import AutoModelForQuestionAnswering\n"
        f"AutoModelForQuestionAnswering.from_pretrained({str(tmp_path)!r})"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode != 0


def test_uniform_feed_forward_layers_are_stock(tmp_path: Path) -> None:
    model = random_model("bert")
    remove_units(model, {path: KeptUnits(None, [1, 2, 5]) for path in layer_sizes(model)}).save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    script = (
        "import sys\nfrom transformers import AutoModelForQuestionAnswering\n"
        f"model = AutoModelForQuestionAnswering.from_pretrained({str(tmp_path)!r})\n"
        "assert model.config.intermediate_size == 3\nassert 'transformers_palbert' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert torch.equal(logits(AutoModelForQuestionAnswering.from_pretrained(tmp_path)), logits(model))


def test_a_smaller_model_is_trained_on_and_pruned_further(tmp_path: Path) -> None:
    model = tiny_model("bert")
    remove_units(
        model, {path: KeptUnits([number % 2], range(number, 32, 2)) for number, path in enumerate(layer_sizes(model))}
    )
    options = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    trainer = make_trainer(tmp_path, model=model, callback=MovementPruningCallback(0.5), **options)
    trainer.train()
    trainer.save_model()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert layer_sizes(loaded) == layer_sizes(model)
    assert torch.equal(loaded.eval()(**qa_batch()).start_logits, trainer.model.eval()(**qa_batch()).start_logits)
    on_the_way = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "checkpoint-3")
    assert layer_sizes(on_the_way) == layer_sizes(model)
    path, size = next(iter(layer_sizes(loaded).items()))
    remove_units(loaded, {path: KeptUnits([0], range(size.units - 1))})
    loaded.save_pretrained(tmp_path / "further")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "further")
    assert layer_sizes(again)[path].units == size.units - 1


@pytest.mark.parametrize("granularity", ["head", "ffn_unit"])
def test_what_a_baked_mask_left_dead_is_found(granularity: str) -> None:
    model = random_model("bert")
    config = PruningConfig(0.5, method="magnitude", granularity=granularity)
    prepare_pruning(model, config)
    with pytest.raises(PruningError, match="is being pruned"):
        remove_units(model)
    from transformers_palbert.pruning import apply_density

    apply_density(model, config, 0.5)
    bake_masks(model)
    expected, before = logits(model), layer_sizes(model)
    remove_units(model)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    after = layer_sizes(model)
    if granularity == "head":
        assert sum(size.heads for size in after.values()) == sum(size.heads for size in before.values()) // 2
    else:
        assert sum(size.units for size in after.values()) == sum(size.units for size in before.values()) // 2


def test_the_values_of_the_weights_stay(tmp_path: Path) -> None:
    model = random_model("roberta")
    kept = random_kept(model)
    naive = naive_removed(model, kept)
    remove_units(model, kept)
    for small, whole in zip(encoder_layers(model), encoder_layers(naive), strict=True):
        stays = kept[small.name.removeprefix("roberta.")]
        rows = [head * WIDTH + place for head in stays.heads or () for place in range(WIDTH)]
        assert torch.equal(small.query.weight, whole.query.weight[rows])
        assert torch.equal(small.ffn_out.weight, whole.ffn_out.weight[:, list(stays.units or ())])
    model.save_pretrained(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_layers_are_a_stock_file(kind: str, tmp_path: Path) -> None:
    model = random_model(kind)
    assert drop_layers(model, [1, 3]) is model
    model.save_pretrained(tmp_path)
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    loaded, info = AutoModelForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(logits(loaded), logits(model))


def test_fewer_layers_of_different_sizes(tmp_path: Path) -> None:
    model = drop_layers(removed("bert"), [0, 1])
    model.save_pretrained(tmp_path)
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert layer_sizes(loaded) == layer_sizes(model)
    assert torch.equal(logits(loaded), logits(model))


class TestFailsLoudly:
    @pytest.mark.parametrize("entries", [("quantization_config",), ("quantization_config", "transformers_weights")])
    def test_without_the_entries_that_lead_to_the_sizes(self, entries: tuple[str, ...], tmp_path: Path) -> None:
        removed("bert").save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        config = json.loads(file.read_text())
        for name in entries:
            del config[name]
        file.write_text(json.dumps(config))
        with pytest.raises((PalBertError, ValueError), match=r"sizes that the config's|packed by transformers-palbert"):
            AutoModelForQuestionAnswering.from_pretrained(tmp_path)

    def test_layers_that_cannot_be_dropped(self) -> None:
        model = random_model("bert")
        with pytest.raises(ConfigurationError, match=r"layers to keep"):
            drop_layers(model, [4])
        prepare_pruning(model, PruningConfig(0.5))
        with pytest.raises(PruningError, match="is being pruned"):
            drop_layers(model, [0])

    def test_stock_export(self, tmp_path: Path) -> None:
        with pytest.raises(PalBertError, match="layers of different sizes"):
            export_stock(removed("bert"), tmp_path)

    @pytest.mark.parametrize("damage", [
        {"encoder.layer.0": [99, 4]}, {"encoder.layer.0": [1, 4]}, {"encoder.layer.0": [0, 4]}, "nonsense",
        {"encoder.layer.0": ["1", 4]},
    ])  # fmt: skip
    def test_a_damaged_configuration(self, damage: object, tmp_path: Path) -> None:
        removed("bert").save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        config = json.loads(file.read_text())
        entry = {**config["layer_sizes"], **damage} if isinstance(damage, dict) else damage
        file.write_text(json.dumps({**config, "layer_sizes": entry}))
        with pytest.raises((PalBertError, RuntimeError)):
            AutoModelForQuestionAnswering.from_pretrained(tmp_path)
