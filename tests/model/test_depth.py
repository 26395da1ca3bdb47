"""Fewer layers: the hidden states of the model that skips the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.model.test_removal import HEADS, UNITS, logits, random_model
from tests.model.test_structure import DEPTH, KINDS
from transformers_palbert import ConfigurationError
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.depth import keep_layers
from transformers_palbert.model.pruning_state import PruningState
from transformers_palbert.model.removal import KeptUnits, keep_units, layer_sizes, read_layer_sizes
from transformers_palbert.model.structure import STRUCTURES, encoder_layers, structure_of

UNSHARED = [kind for kind in KINDS if not STRUCTURES[kind].shared]
SHARED = [kind for kind in KINDS if STRUCTURES[kind].shared]


def skipping(model: PreTrainedModel, skipped: list[int]) -> torch.Tensor:
    """Logits where layers hand on what they are given."""
    layers = [encoder_layers(model)[index].module for index in skipped]
    handles = [layer.register_forward_hook(lambda _, args, __: args[0]) for layer in layers]
    found = logits(model)
    for handle in handles:
        handle.remove()
    return found


def depth_of(model: PreTrainedModel) -> int:
    return int(getattr(model.config, structure_of(model).depth))


@pytest.mark.parametrize("kind", UNSHARED)
def test_the_others_are_skipped(kind: str) -> None:
    model = random_model(kind)
    expected = skipping(model, [0, 2])
    keep_layers(model, [1, 3])
    assert depth_of(model) == 2
    torch.testing.assert_close(logits(model), expected)
    again = type(model)(model.config)
    again.load_state_dict(model.state_dict())
    assert torch.equal(logits(again), logits(model))
    assert {module.layer_idx for module in model.modules() if hasattr(module, "layer_idx")} <= {0, 1}


@pytest.mark.parametrize("kind", SHARED)
def test_shared_layers_are_applied_less_often(kind: str) -> None:
    model, other = random_model(kind), random_model(kind, num_hidden_layers=3)
    other.load_state_dict(model.state_dict())
    keep_layers(model, [0, 1, 3])
    assert depth_of(model) == 3
    assert torch.equal(logits(model), logits(other))


def test_what_applications_keep_goes_with_them() -> None:
    generator = torch.Generator().manual_seed(0)
    masks: dict[str, Any] = {
        field: [mask_to_text(torch.rand(count, generator=generator) < 0.6) for _ in range(DEPTH)]
        for field, count in (("application_heads", HEADS), ("application_units", UNITS))
    }
    model = random_model("palbert", **masks)
    left = {field: [texts[1], texts[3]] for field, texts in masks.items()}
    other = random_model("palbert", num_hidden_layers=2, **left)
    other.load_state_dict(model.state_dict())
    logits(model)  # so that slices are cut
    keep_layers(model, [1, 3])
    assert {field: getattr(model.config, field) for field in left} == left
    assert torch.equal(logits(model), logits(other))


def test_groups_of_layers() -> None:
    model = random_model("palbert", num_hidden_groups=2)
    with pytest.raises(ConfigurationError, match=r"\[0, 1, 1\] would be applied .* as \[0, 0, 1\]"):
        keep_layers(model, [0, 2, 3])
    assert depth_of(model) == DEPTH
    keep_layers(model, [1, 2])
    assert (depth_of(model), model.config.num_hidden_groups) == (2, 2)
    other = random_model("palbert", num_hidden_groups=2, num_hidden_layers=2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(model), logits(other))
    keep_layers(model, [1])
    assert (depth_of(model), model.config.num_hidden_groups, len(encoder_layers(model))) == (1, 1, 1)
    assert logits(model).isfinite().all()


def test_layers_that_the_head_reads() -> None:
    model = random_model("palbert", qa_layers=[-1, 1], qa_layer_pooling="mean")
    with pytest.raises(ConfigurationError, match="the question-answering head reads layer 1"):
        keep_layers(model, [0, 3])
    keep_layers(model, [1, 3])
    assert sorted(model.config.qa_layers) == [0, 1]
    assert logits(model).isfinite().all()


def test_sizes_of_layers_are_renumbered() -> None:
    model = random_model("bert")
    keep_units(model, {f"encoder.layer.{index}": KeptUnits(None, range(10 + index)) for index in range(DEPTH)})
    keep_layers(model, [1, 2])
    assert read_layer_sizes(model.config) == layer_sizes(model)
    assert [size.units for size in layer_sizes(model).values()] == [11, 12]
    keep_layers(model, [1])  # one layer alone is a stock one
    assert read_layer_sizes(model.config) is None
    assert model.config.intermediate_size == 12


def test_names_of_pruned_modules_are_renumbered() -> None:
    model = random_model("bert")
    targets = tuple(f"bert.encoder.layer.{index}.output.dense" for index in range(DEPTH))
    PruningState(targets=(*targets, "bert.embeddings.word_embeddings"), density=0.5).write(model)
    keep_layers(model, [0, 3])
    found = PruningState.of(model)
    assert found is not None
    assert found.targets == (*targets[:2], "bert.embeddings.word_embeddings")


@pytest.mark.parametrize("kept", [[], [1, 0], [0, 0], [-1], [0, DEPTH]])
@pytest.mark.parametrize("kind", ["albert", "bert"])
def test_wrong_layers(kind: str, kept: list[int]) -> None:
    model = random_model(kind)
    with pytest.raises(ConfigurationError, match=r"layers to keep must be different, ascending, in \[0, 4\)"):
        keep_layers(model, kept)
    assert depth_of(model) == DEPTH
