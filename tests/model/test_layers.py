from __future__ import annotations

import pytest
import torch

from tests.references.unshared import naive_pool
from transformers_palbert.model.layers import LayerPool, scale_gradient


def states(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return [torch.randn(2, 5, 3, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(n)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_scale_gradient_is_the_identity_forward_and_scales_backward(dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, dtype=dtype, requires_grad=True)
    y = scale_gradient(x, 0.25)
    assert torch.equal(y, x)
    upstream = torch.randn(4, 3, dtype=dtype)
    y.backward(upstream)
    assert torch.equal(x.grad, upstream * 0.25)
    assert x.grad.dtype == dtype


def test_scale_gradient_scales_second_derivatives_once_per_differentiation() -> None:
    x = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(scale_gradient(x, 0.5) ** 3, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert first == 0.5 * 3 * 2.0**2
    assert second == 0.5**2 * 6 * 2.0


def test_scale_gradient_adds_no_operation_where_it_changes_nothing() -> None:
    leaf = torch.ones(2, requires_grad=True)
    assert scale_gradient(leaf, 1.0) is leaf
    constant = torch.ones(2)
    assert scale_gradient(constant, 0.5) is constant
    with torch.no_grad():
        assert scale_gradient(leaf, 0.5) is leaf


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("mode", LayerPool.MODES)
def test_layer_pool_equals_the_naive_formula_in_values_and_gradients(mode: str, n: int) -> None:
    pool = LayerPool(n, mode).double()
    if pool.layer_weights is not None:
        torch.nn.init.normal_(pool.layer_weights, generator=torch.Generator().manual_seed(1))
    fast, slow = states(n), states(n)
    weights = None if pool.layer_weights is None else pool.layer_weights.detach().clone().requires_grad_()
    got, expected = pool(fast), naive_pool(slow, mode, weights)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    assert got.shape[-1] == pool.output_size(3)
    upstream = torch.randn(got.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    got.backward(upstream)
    expected.backward(upstream)
    for a, b in zip(fast, slow, strict=True):
        if b.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)
    if weights is not None:
        torch.testing.assert_close(pool.layer_weights.grad, weights.grad, rtol=1e-12, atol=1e-14)


def test_weighted_sum_starts_as_the_mean_and_only_it_has_weights() -> None:
    layers = states(4)
    torch.testing.assert_close(LayerPool(4, "weighted_sum").double()(layers), LayerPool(4, "mean")(layers))
    assert [mode for mode in LayerPool.MODES if list(LayerPool(2, mode).parameters())] == ["weighted_sum"]


def test_layer_pool_refuses_what_it_cannot_pool() -> None:
    with pytest.raises(ValueError, match="mode='median' is not allowed; allowed: 'last', 'mean', 'max', 'concat'"):
        LayerPool(2, "median")
    with pytest.raises(ValueError, match="num_layers=0"):
        LayerPool(0, "mean")
    with pytest.raises(ValueError, match="hidden states of 3 layers, got 2"):
        LayerPool(3, "mean")(states(2))


def test_layer_pool_prints_its_settings() -> None:
    assert repr(LayerPool(2, "max")) == "LayerPool(num_layers=2, mode='max')"
