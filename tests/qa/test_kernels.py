from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import AlbertConfig, AlbertForQuestionAnswering
from transformers.activations import FastGELUActivation, NewGELUActivation

from transformers_palbert.qa import kernels
from transformers_palbert.qa.kernels import fast_linear, fuse_activations

CPU = torch.device("cpu")


@pytest.fixture
def onednn(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """oneDNN counts as faster; the inputs that it gets are recorded."""
    calls: list[torch.Tensor] = []
    real = kernels._onednn_linear

    def recorded(inputs: torch.Tensor, *args: Any) -> torch.Tensor:
        calls.append(inputs)
        return real(inputs, *args)

    monkeypatch.setattr(kernels, "_onednn_is_faster", lambda: True)
    monkeypatch.setattr(kernels, "_onednn_linear", recorded)
    return calls


def albert() -> AlbertForQuestionAnswering:
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=50,
        embedding_size=8,
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_act="gelu_new",
        initializer_range=0.5,
    )
    return AlbertForQuestionAnswering(config).eval()


@pytest.mark.parametrize("activation", [NewGELUActivation, FastGELUActivation])
def test_fused_activation_is_the_same_function(activation: type) -> None:
    model = torch.nn.Sequential(activation(), torch.nn.Sequential(torch.nn.ReLU(), activation()))
    inputs = torch.linspace(-9, 9, 1001)
    expected = model(inputs)
    fuse_activations(model)
    assert [type(module).__name__ for module in (model[0], *model[1])] == ["GELU", "ReLU", "GELU"]
    torch.testing.assert_close(model(inputs), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12), (2, 4, 3, 12), (0, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layer_is_the_same_function(shape: tuple[int, ...], bias: bool, onednn: list[torch.Tensor]) -> None:
    layer, inputs = torch.nn.Linear(12, 7, bias=bias), torch.randn(*shape)
    with fast_linear(layer, CPU):
        found, strided = layer(inputs), layer(inputs.mT.contiguous().mT)
    assert len(onednn) == 2
    torch.testing.assert_close(found, layer(inputs))
    torch.testing.assert_close(strided, layer(inputs))


@torch.no_grad()
def test_a_model_gives_the_same_logits(onednn: list[torch.Tensor]) -> None:
    model, tokens = albert(), torch.randint(50, (3, 17))
    expected = model(tokens).start_logits
    with fast_linear(model, CPU):
        found = model(tokens).start_logits
    assert len(onednn) > 12 * 6
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    count = len(onednn)
    model(tokens)
    assert len(onednn) == count  # outside the context, nothing has changed


class Marked(torch.Tensor):
    """A tensor that knows its own way to multiply, as quantized ones do."""


@torch.no_grad()
@pytest.mark.parametrize("kind", ["half", "double", "subclass", "named"])
def test_other_tensors_keep_their_way(kind: str, onednn: list[torch.Tensor]) -> None:
    inputs, weight = torch.randn(3, 12), torch.randn(7, 12)
    with fast_linear(torch.nn.Module(), CPU):
        if kind == "subclass":
            functional.linear(inputs, weight.as_subclass(Marked))
        elif kind == "named":
            functional.linear(inputs, weight=weight)
        else:
            dtype = {"half": torch.bfloat16, "double": torch.float64}[kind]
            assert functional.linear(inputs.to(dtype), weight.to(dtype)).dtype == dtype
    assert not onednn


@torch.no_grad()
def test_autocast_compilation_and_other_devices_keep_their_way(onednn: list[torch.Tensor]) -> None:
    layer, inputs = torch.nn.Linear(12, 7), torch.randn(3, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16), fast_linear(layer, CPU):
        assert layer(inputs).dtype == torch.bfloat16
    compiled = torch.compile(layer, backend="eager")
    with fast_linear(compiled, CPU):
        compiled(inputs)
    with fast_linear(layer, torch.device("cuda")):
        layer(inputs)
    layer.compile(backend="eager")
    with fast_linear(layer, CPU):
        layer(inputs)
    assert not onednn


@torch.no_grad()
def test_the_default_stays_where_it_is_not_slower(onednn: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_onednn_is_faster", lambda: False)
    with fast_linear(torch.nn.Module(), CPU):
        functional.linear(torch.randn(3, 12), torch.randn(7, 12))
    assert not onednn


@pytest.mark.parametrize(("default", "other", "faster"), [(1.0, 0.7, True), (1.0, 0.9, False), (1.0, 1.1, False)])
def test_the_faster_kernel_is_chosen(
    default: float, other: float, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_seconds", lambda function, *_: default if function is functional.linear else other)
    assert kernels._onednn_is_faster.__wrapped__() is faster
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert kernels._onednn_is_faster.__wrapped__() is False


def test_shortest_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 5.0, 5.0, 6.0, 6.0, 9.0])
    monkeypatch.setattr(kernels.time, "perf_counter", lambda: next(clock))
    assert kernels._seconds(lambda: None, repetitions=3) == 1.0
