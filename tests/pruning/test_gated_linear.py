"""Gates on units of inputs against loops over units, in float64, values and gradients."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from tests.references.pruning import naive_gated_linear
from transformers_palbert.pruning.gated_linear import GatedLinear

GATES = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 2.0]])


def make_layer(applications: int = 1, *, dtype: torch.dtype = torch.float32, bias: bool = True) -> GatedLinear:
    """A layer of three units with two inputs each."""
    torch.manual_seed(0)
    linear = nn.Linear(6, 4, bias=bias, dtype=dtype)
    layer = GatedLinear(linear, 3, applications, {"scores": torch.zeros(applications, 3)})
    layer.set_mask(GATES[:applications])
    return layer


@pytest.mark.parametrize("application", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients(application: int, bias: bool) -> None:
    layer = make_layer(2, dtype=torch.float64, bias=bias)
    inputs = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, 5, 4, dtype=torch.float64)
    gates = GATES[application].double()
    expected = naive_gated_linear(inputs.detach(), layer.weight.detach(), gates, layer.bias, upstream)
    layer.application = application
    output = layer(inputs)
    output.backward(upstream)
    assert layer.scores is not None
    found = {"output": output.detach(), "inputs": inputs.grad, "weight": layer.weight.grad}
    found["scores"] = layer.scores.grad[application]
    for name, value in expected.items():
        tolerance = 1e-6 if name == "scores" else 1e-12  # the scores are float32
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, check_dtype=False)
    assert not layer.scores.grad[1 - application].any()  # the other application did not run


def test_the_gradient_of_a_score_is_that_of_all_weights_of_its_unit() -> None:
    """``∂L/∂z_u = Σ G ⊙ W`` over the columns of the unit, where every gate is open."""
    layer = make_layer()
    layer.set_mask(torch.ones(1, 3))
    layer(torch.randn(7, 6)).square().sum().backward()
    assert layer.scores is not None
    by_weight = (layer.weight.grad * layer.weight).detach().view(4, 3, 2).sum((0, 2))
    torch.testing.assert_close(layer.scores.grad[0], by_weight)


def test_a_closed_gate_goes_on_being_scored() -> None:
    layer = make_layer()
    layer(torch.randn(7, 6)).square().sum().backward()
    assert layer.scores is not None
    assert layer.mask[0, 1] == 0
    assert layer.scores.grad[0, 1] != 0
    assert not layer.weight.grad.view(4, 3, 2)[:, 1].any()


def test_applications_of_one_forward_share_one_build() -> None:
    layer = make_layer(2)
    inputs = torch.randn(7, 6)
    total = torch.zeros(())
    for application in (0, 1, 0):
        layer.application = application
        built = layer.built()
        total = total + layer(inputs).sum()
        assert layer.built() is built
    total.backward()
    assert layer.scores is not None
    assert layer.scores.grad.ne(0).all()
    layer(inputs).sum().backward()  # the graph of the first build is gone


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_lower_precision(dtype: torch.dtype) -> None:
    layer, inputs = make_layer(), torch.randn(3, 6)
    expected = layer(inputs)
    with torch.autocast("cpu", dtype=dtype):
        output = layer(inputs.to(dtype))
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)
    cast = make_layer().to(dtype)
    assert cast.mask.dtype == torch.float32
    torch.testing.assert_close(cast(inputs.to(dtype)).float(), expected, rtol=0.05, atol=0.05)


def effective(layer: GatedLinear) -> Tensor:
    return layer.weight.detach() * layer.mask[0].repeat_interleave(2)


class TestCheckpoints:
    def test_one_set_of_gates_is_in_the_weight(self) -> None:
        layer = make_layer()
        plain = nn.Linear(6, 4)
        plain.load_state_dict({name: layer.state_dict()[name] for name in ("weight", "bias")})
        assert torch.equal(plain.weight, effective(layer))
        inputs = torch.randn(5, 6)
        torch.testing.assert_close(plain(inputs), layer(inputs))

    @pytest.mark.parametrize("applications", [1, 2])
    def test_they_come_back_bit_for_bit(self, applications: int) -> None:
        layer, other = make_layer(applications), make_layer(applications)
        layer.weight.data[0] = torch.tensor([0.0, -0.0, 1e-40, 1e30, -3.0, 7.0])
        with torch.no_grad():
            other.weight.normal_()
            other.mask.fill_(1)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other.weight, layer.weight)
        assert torch.equal(other.mask, layer.mask)

    def test_gates_of_each_application_leave_the_weight_whole(self) -> None:
        layer = make_layer(2)
        state = layer.state_dict()
        assert torch.equal(state["weight"], layer.weight)
        assert "pruned_weight" not in state

    def test_a_dense_checkpoint_loads_with_open_gates(self) -> None:
        layer = make_layer()
        layer.load_state_dict({**nn.Linear(6, 4).state_dict(), "scores": layer.scores})
        assert layer.mask.eq(1).all()

    def test_copies_and_pickles(self) -> None:
        layer = make_layer()
        inputs = torch.randn(2, 6)
        output = layer(inputs)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(inputs), output)

    def test_baking_writes_the_gates_into_the_weight(self) -> None:
        layer = make_layer()
        expected, parameter = effective(layer), layer.weight
        baked = layer.bake()
        assert type(baked) is nn.Linear
        assert baked.weight is parameter
        assert torch.equal(parameter, expected)
        assert not torch.signbit(parameter[:, 2:4]).any()  # zeros, and no negative ones
