"""Units of every granularity against loops over weights, and what removing them changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from tests.pruning.helpers import make_trainer, qa_batch, tiny_model
from transformers_palbert.errors import ConfigurationError, PruningError
from transformers_palbert.model.structure import STRUCTURES, encoder_layers
from transformers_palbert.pruning import (
    MovementPruningCallback,
    PruningConfig,
    apply_density,
    bake_masks,
    masked_layers,
    prepare_pruning,
)
from transformers_palbert.pruning.granularity import GRANULARITIES, matrices, parse_granularity
from transformers_palbert.pruning.selection import Selection
from transformers_palbert.pruning.targets import prunable_layers

NAMES = [*(name for name in GRANULARITIES if name != "structure"), "block:4x8", "block:16x2"]
SPANNING = ("head", "ffn_unit")
KINDS = ("albert", "palbert", "bert", "roberta", "distilbert")


def prepared(kind: str, granularity: str, **settings: Any) -> tuple[PreTrainedModel, PruningConfig]:
    config = PruningConfig(0.5, method="movement", granularity=granularity, **settings)
    model = prepare_pruning(tiny_model(kind), config)
    for layer in masked_layers(model).values():
        layer.scores.data.normal_()
    return model, config


def naive_units(granularity: str, shape: tuple[int, int]) -> Tensor:
    """The number of the unit of every weight of a matrix that is divided by itself."""
    rows, columns = {"element": (1, 1), "row": (1, shape[1]), "column": (shape[0], 1)}.get(granularity) or [
        int(side) for side in granularity.removeprefix("block:").split("x")
    ]
    across = shape[1] // columns
    return torch.tensor([[(i // rows) * across + j // columns for j in range(shape[1])] for i in range(shape[0])])


@pytest.mark.parametrize("granularity", [name for name in NAMES if name not in SPANNING])
def test_units_of_one_matrix(granularity: str) -> None:
    weight = torch.randn(16, 32)
    (units,) = parse_granularity(granularity).units(nn.Module(), {"a": nn.Linear(32, 16)})
    assert units.gate is None
    numbers = naive_units(granularity, (16, 32))
    assert units.count == int(numbers.max()) + 1
    assert units.count * units.weights == weight.numel()
    means = torch.stack([weight[numbers == number].mean() for number in range(units.count)])
    torch.testing.assert_close(units.scores({"a": weight}).flatten(), means)
    kept = torch.randperm(units.count)[: units.count // 2]
    mask = torch.zeros(units.count, dtype=torch.bool).scatter(0, kept, True).view(units.shape)
    assert torch.equal(units.masks(mask)["a"], torch.isin(numbers, kept))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("granularity", SPANNING)
def test_units_that_span_matrices(kind: str, granularity: str) -> None:
    model, config = prepared(kind, granularity)
    sets, layers = Selection(model, config).sets, encoder_layers(model)
    assert len(sets) == len(layers)
    sizes = {name: module.weight.abs() for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    magnitude = Selection(model, PruningConfig(0.5, method="magnitude", granularity=granularity)).scores_by_matrix()
    for units, layer in zip(sets, layers, strict=True):
        count = 2 if granularity == "head" else 32
        gated = layer.attention_output if granularity == "head" else layer.ffn_out
        assert model.get_submodule(units.gate or "") is gated
        assert units.shape == gated.scores.shape == (1, count)  # one score for all the weights of a unit
        assert torch.equal(Selection(model, config).scores_by_matrix()[units.gate or ""], gated.scores)
        for number, found in enumerate(units.scores(sizes)[0]):
            values = naive_unit(layer, granularity, number, count)
            mean = torch.cat([linear.weight.abs()[where] for linear, where in values]).mean()
            torch.testing.assert_close(found, mean)
            torch.testing.assert_close(magnitude[units.gate or ""][0, number], mean)


def naive_unit(layer: Any, granularity: str, number: int, count: int) -> list[tuple[Any, Tensor]]:
    """The matrices of one unit, each with a mask of the weights that belong to it."""
    rows = (layer.query, layer.key, layer.value) if granularity == "head" else (layer.ffn_in,)
    output = layer.attention_output if granularity == "head" else layer.ffn_out
    found = []
    for linear, side in [*((linear, 0) for linear in rows), (output, 1)]:
        width = linear.weight.shape[side] // count
        where = torch.zeros_like(linear.weight, dtype=torch.bool)
        where.narrow(side, number * width, width).fill_(True)
        found.append((linear, where))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("granularity", NAMES)
def test_the_density_counts_whole_units(kind: str, granularity: str) -> None:
    model, config = prepared(kind, granularity)
    for density in (0.0, 0.3, 0.5, 1.0):
        apply_density(model, config, density)
        sets = Selection(model, config).sets
        masks = {name: layer.mask for name, layer in masked_layers(model).items()}
        kept = 0
        for units in sets:
            if units.gate is not None:
                shares = masks[units.gate]
            else:
                shares = units.scores({name: mask.float() for name, mask in masks.items()})
            assert set(shares.unique().tolist()) <= {0.0, 1.0}  # a unit lives or dies as one
            kept += int(shares.sum())
        assert kept == round(density * sum(units.count for units in sets))
        weights = Selection(model, config).kept()
        assert weights == Selection(model, config).kept_at(density)
        names = Selection(model, config).matrices
        bake_masks(model)
        assert names == pruned_matrices_of(model, granularity)
        baked = [model.get_submodule(name).weight for name in names]
        assert sum(int(torch.count_nonzero(weight)) for weight in baked) == weights
        model, config = prepared(kind, granularity)


def pruned_matrices_of(model: nn.Module, granularity: str) -> list[str]:
    """Names of the matrices that units of ``granularity`` lie in, for a model that is not prepared."""
    targets = prunable_layers(model, PruningConfig(0.5))
    return matrices(parse_granularity(granularity).units(model, targets))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("granularity", SPANNING)
def test_a_unit_that_is_gone_changes_nothing_whatever_its_biases_are(kind: str, granularity: str) -> None:
    model, config = prepared(kind, granularity)
    apply_density(model.eval(), config, 0.5)
    bake_masks(model)
    with torch.no_grad():
        expected = model(**qa_batch()).start_logits
        for layer in encoder_layers(model):
            for linear in (layer.query, layer.key, layer.value, layer.ffn_in):
                gone = ~linear.weight.any(1)
                linear.bias[gone] = torch.randn(int(gone.sum()))
        assert torch.allclose(model(**qa_batch()).start_logits, expected, atol=1e-6)
        for layer in encoder_layers(model):
            assert bool(layer.query.weight.any(1).all()) is (granularity != "head")


@pytest.mark.parametrize("granularity", ["row", "block:8x8", "head", "ffn_unit"])
@pytest.mark.parametrize("method", ["sensitivity", "magnitude", "movement"])
def test_in_a_trainer(granularity: str, method: str, tmp_path: Path) -> None:
    callback = MovementPruningCallback(0.5, method=method, granularity=granularity)
    trainer = make_trainer(tmp_path, model=tiny_model("bert"), callback=callback, max_steps=8, rows=32)
    trainer.train()
    state = trainer.model.config.pruning
    assert state["granularity"] == granularity
    names = state["targets"]
    assert all(("attention" in name) is (granularity == "head") for name in names) or granularity not in SPANNING
    whole = tiny_model("bert")
    left = sum(int(torch.count_nonzero(trainer.model.get_submodule(name).weight)) for name in names)
    size = sum(whole.get_submodule(name).weight.numel() for name in names)
    assert left == size // 2
    if granularity in SPANNING:  # the others are gone, not zero
        assert left == sum(trainer.model.get_submodule(name).weight.numel() for name in names)
    logged = [entry["density_encoder"] for entry in trainer.state.log_history if "loss" in entry][-1]
    everything = sum(p.numel() for n, p in whole.named_parameters() if ".layer." in n and p.ndim == 2)
    assert logged == pytest.approx((everything - size // 2) / everything)
    trainer.save_model()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, trainer.model.eval()(**qa_batch()).start_logits)


class TestFailsLoudly:
    @pytest.mark.parametrize("name", ["nonsense", "block", "block:0x4", "block:4", "block:4x", None, 3])
    def test_unknown(self, name: object) -> None:
        with pytest.raises(ConfigurationError, match=r"granularity=.* choose one of \['column', .*'block:32x32'"):
            PruningConfig(0.5, granularity=name)  # type: ignore[arg-type]

    def test_blocks_that_do_not_divide(self) -> None:
        with pytest.raises(PruningError, match=r"query has 16 × 16 weights, which blocks of 5 × 4 do not divide"):
            prepared("bert", "block:5x4")

    def test_half_a_head(self) -> None:
        with pytest.raises(PruningError, match=r"span query, key, value, attention_output, and key, .* not among"):
            prepared("bert", "head", targets=("query",))

    def test_no_units_at_all(self) -> None:
        with pytest.raises(PruningError, match="have no units of granularity='head'"):
            prepared("bert", "head", targets=("qa_outputs",))

    def test_an_architecture_without_a_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(STRUCTURES, "bert")
        with pytest.raises(ConfigurationError, match=r"'bert' has its heads.*granularity='element'"):
            prepared("bert", "head")
        prepared("bert", "element")

    def test_units_of_different_sizes_do_not_compete(self) -> None:
        with pytest.raises(PruningError, match=r"different sizes here \(16, 32 weights\)"):
            prepared("bert", "row", scope="global")
        prepared("bert", "head", scope="global")
