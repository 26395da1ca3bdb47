"""Applications that keep units of their own, against a network with one set of weights per application."""

from __future__ import annotations

import copy
import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import qa_batch, tiny_config, tiny_model
from tests.references.unshared import unshare
from transformers_palbert import ConfigurationError, PalBertForQuestionAnswering
from transformers_palbert.export.stock import export_stock
from transformers_palbert.model.applications import SlicedLinear, mask_from_text, mask_to_text

HEADS = [[True, False], [False, True], [False, False]]
UNITS = [[unit % 3 == application for unit in range(32)] for application in range(2)] + [[False] * 32]
KEPT: dict[str, Any] = {
    "application_heads": [mask_to_text(mask) for mask in HEADS],
    "application_units": [mask_to_text(mask) for mask in UNITS],
}


@pytest.mark.parametrize("count", [1, 7, 8, 9, 4096])
def test_masks_as_text(count: int) -> None:
    torch.manual_seed(count)
    mask = torch.rand(count) < 0.5
    text = mask_to_text(mask)
    assert len(text) == 2 * -(-count // 8)
    assert mask_from_text(text, count) == mask.tolist()
    assert mask_to_text(mask.tolist()) == text


def test_the_bits_are_as_the_configuration_documents_them() -> None:
    assert mask_to_text([True, False, False, False, False, False, False, False, False, True]) == "0102"


@pytest.mark.parametrize("text", ["", "0", "xy", "04", "0001", None, 3])
def test_no_mask_of_two_units(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="no mask of 2 units"):
        mask_from_text(text, 2)


@pytest.mark.parametrize(("changes", "message"), [
    ({"application_heads": ["03", "03"]}, "3 masks, one for each application"),
    ({"application_units": ["03"] * 3}, "no mask of 32 units"),
    ({"application_heads": "03"}, "application_heads"),
])  # fmt: skip
def test_wrong_fields(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tiny_config("palbert", **changes)


def sliced(seed: int = 0, **changes: Any) -> PalBertForQuestionAnswering:
    model = tiny_model("palbert", seed=seed, **{**KEPT, **changes})
    for linear in (module for module in model.modules() if isinstance(module, SlicedLinear)):
        torch.nn.init.normal_(linear.bias)
    return model.eval()  # type: ignore[return-value]


def naive_logits(model: PalBertForQuestionAnswering, heads: Any = HEADS, units: Any = UNITS) -> Tensor:
    """Logits of the unshared network, whose pruned units have no way out."""
    naive = unshare(model)
    for layer, head, unit in zip(naive.encoder.albert_layer_groups, heads, units, strict=True):
        inner = layer.albert_layers[0]
        with torch.no_grad():
            if head is not None:
                inner.attention.dense.weight[:, ~torch.tensor(head).repeat_interleave(8)] = 0
            if unit is not None:
                inner.ffn_output.weight[:, ~torch.tensor(unit)] = 0
    inputs = {name: tensor for name, tensor in qa_batch().items() if "positions" not in name}
    return model.qa_outputs(naive(**inputs).last_hidden_state)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("grad", [True, False])
def test_logits_are_those_of_the_unshared_network(attention: str, grad: bool) -> None:
    model = sliced(attn_implementation=attention)
    with torch.set_grad_enabled(grad):
        for _ in range(2):  # the second time with the slices of the first
            outputs = model(**qa_batch())
            found = torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
            torch.testing.assert_close(found, naive_logits(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("field", sorted(KEPT))
def test_either_field_alone(field: str) -> None:
    other = next(name for name in KEPT if name != field)
    model = sliced(**{other: None})
    none = [None] * 3
    expected = naive_logits(model, *(HEADS, none) if field == "application_heads" else (none, UNITS))
    outputs = model(**qa_batch())
    torch.testing.assert_close(torch.stack([outputs.start_logits, outputs.end_logits], -1), expected)


def test_gradients_reach_the_shared_weights_through_what_each_application_uses() -> None:
    model = sliced()
    model(**qa_batch()).loss.backward()
    found = model.albert.encoder.albert_layer_groups[0].albert_layers[0]
    naive = tiny_model("palbert", **{**KEPT, "application_heads": None, "application_units": None})
    naive.load_state_dict(model.state_dict())
    rows = iter(range(3))

    def gate(_: Any, args: tuple[Tensor, ...], masks: list[list[bool]], width: int) -> tuple[Tensor]:
        return (args[0] * torch.tensor(masks[next(rows)]).repeat_interleave(width),)

    layer = naive.albert.encoder.albert_layer_groups[0].albert_layers[0]
    handle = layer.attention.dense.register_forward_pre_hook(lambda _, args: gate(_, args, HEADS, 8))
    of_units = iter(range(3))
    layer.ffn_output.register_forward_pre_hook(lambda _, args: (args[0] * torch.tensor(UNITS[next(of_units)]),))
    naive(**qa_batch()).loss.backward()
    handle.remove()
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter.grad, layer.get_parameter(name).grad, rtol=1e-4, atol=1e-6)


def test_slices_follow_the_weights() -> None:
    model = sliced()
    with torch.no_grad():
        model(**qa_batch())
        for parameter in model.parameters():
            parameter.mul_(1.1)
        found = model(**qa_batch()).start_logits
        torch.testing.assert_close(found, naive_logits(model)[..., 0], rtol=1e-5, atol=1e-5)
        model.double()
        torch.testing.assert_close(model(**qa_batch()).start_logits, naive_logits(model)[..., 0])
        for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(copied(**qa_batch()).start_logits, model(**qa_batch()).start_logits)


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": True}, {}])
def test_slices_follow_every_optimizer(options: dict[str, bool]) -> None:
    """A fused step leaves no trace in the counter that tells of changes in place."""
    model = sliced()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **options)
    for _ in range(2):
        with torch.no_grad():
            model.eval()(**qa_batch())
        model.train()(**qa_batch()).loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = model.eval()(**qa_batch()).start_logits
        torch.testing.assert_close(found, naive_logits(model)[..., 0], rtol=1e-4, atol=1e-4)


def test_biases_alone_can_be_trained() -> None:
    model = sliced().train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    for _ in range(2):
        model(**qa_batch()).loss.backward()
    model.eval()
    with torch.no_grad():
        model(**qa_batch())
        for layer in model.modules():
            if isinstance(layer, SlicedLinear):
                layer.bias.add_(0.5)
        torch.testing.assert_close(model(**qa_batch()).start_logits, naive_logits(model)[..., 0], rtol=1e-4, atol=1e-4)


def test_inference_and_then_a_gradient() -> None:
    model = sliced()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("embeddings" in name)
    with torch.inference_mode():
        model(**qa_batch())
    with torch.no_grad():
        model(**qa_batch())
    model(**qa_batch()).loss.backward()


@pytest.mark.parametrize("kept", [KEPT, {}])
def test_compiles_in_one_graph(kept: dict[str, Any]) -> None:
    model = tiny_model("palbert", **kept).eval()
    with torch.no_grad():
        expected = model(**qa_batch()).start_logits
        found = torch.compile(model, backend="eager", fullgraph=True)(**qa_batch()).start_logits
    torch.testing.assert_close(found, expected)


def test_threads_do_not_take_each_others_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers answer from several threads with one model; here each gives way wherever that could hurt."""
    model, batches = sliced(), [qa_batch(seed=seed) for seed in range(4)]
    forward = SlicedLinear.forward

    def slowly(self: SlicedLinear, states: Tensor) -> Tensor:
        time.sleep(1e-3)
        return forward(self, states)

    def answer(batch: dict[str, Any]) -> Tensor:
        with torch.inference_mode():
            return model(**batch).start_logits

    expected = list(map(answer, batches))
    monkeypatch.setattr(SlicedLinear, "forward", slowly)
    with ThreadPoolExecutor(len(batches)) as threads:
        for found, alone in zip(threads.map(answer, batches), expected, strict=True):
            torch.testing.assert_close(found, alone)
    assert copy.deepcopy(model)(**batches[0]).start_logits.shape == expected[0].shape


def test_with_inference_mode() -> None:
    model = sliced()
    with torch.inference_mode():
        found = model(**qa_batch()).start_logits
    torch.testing.assert_close(found, naive_logits(model)[..., 0], rtol=1e-5, atol=1e-5)


def test_layers_in_groups_have_applications_of_their_own() -> None:
    """Two groups of two layers, three applications: the first group runs twice."""
    torch.manual_seed(1)
    masks = [torch.rand(32) < 0.5 for _ in range(6)]
    model = sliced(
        num_hidden_groups=2,
        inner_group_num=2,
        application_heads=None,
        application_units=[mask_to_text(mask) for mask in masks],
    )
    expected = copy.deepcopy(model)
    for layer in expected.modules():
        if isinstance(layer, SlicedLinear):
            layer.kept = [torch.arange(32)] * len(layer.kept)
    order = iter(masks)

    def gate(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (args[0] * next(order),)

    for group in expected.albert.encoder.albert_layer_groups:
        for layer in group.albert_layers:
            layer.ffn_output.register_forward_pre_hook(gate)
    found = model(**qa_batch()).start_logits
    torch.testing.assert_close(found, expected(**qa_batch()).start_logits, rtol=1e-5, atol=1e-5)


def test_reloads_as_it_was_saved(tmp_path: Path) -> None:
    model = sliced()
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["application_heads"] == KEPT["application_heads"]
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**qa_batch()).start_logits, model(**qa_batch()).start_logits)
    assert dict(loaded.named_parameters()).keys() == dict(tiny_model("palbert").named_parameters()).keys()


@pytest.mark.parametrize("field", sorted(KEPT))
def test_stock_albert_cannot_say_it(field: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}=.* no place in stock ALBERT"):
        export_stock(tiny_model("palbert", **{field: KEPT[field]}), tmp_path)
