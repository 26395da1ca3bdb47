from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from tests.references.pruning import naive_apportion, naive_masked_linear, naive_top_v
from transformers_palbert.errors import PruningError
from transformers_palbert.pruning import masks
from transformers_palbert.pruning.masks import apportion, mask_weight, top_v, top_v_global


def on_device(scores: Tensor, kept: int) -> Tensor:
    """The selection that runs on accelerators, on CPU tensors."""
    return masks._select_on_device(scores.reshape(-1).float(), kept).view(scores.shape)


SELECTIONS = pytest.mark.parametrize("select", [top_v, on_device])


@SELECTIONS
@pytest.mark.parametrize("kept", [1, 2, 5, 11, 12])
def test_top_v_is_the_sorted_one(select: object, kept: int) -> None:
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(select(scores, kept), naive_top_v(scores, kept))  # type: ignore[operator]


@SELECTIONS
@given(scores=arrays("float32", (4, 5), elements=st.sampled_from([-1.0, 0.0, -0.0, 1.0, 2.5])), kept=st.integers(1, 19))
def test_ties_are_broken_by_position_and_the_count_is_exact(select: object, scores: object, kept: int) -> None:
    tensor = torch.as_tensor(scores)
    mask = select(tensor, kept)  # type: ignore[operator]
    assert int(mask.sum()) == kept
    assert torch.equal(mask, naive_top_v(tensor, kept))


@SELECTIONS
def test_all_equal_scores_keep_the_first_entries(select: object) -> None:
    mask = select(torch.full((4, 5), -2.0), 7)  # type: ignore[operator]
    assert mask.flatten().tolist() == [True] * 7 + [False] * 13


@pytest.mark.parametrize(("kept", "expected"), [(0, False), (6, True)])
def test_none_and_all(kept: int, expected: bool) -> None:
    mask = top_v(torch.randn(2, 3), kept)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[expected] * 3] * 2


def test_no_scores_at_all() -> None:
    assert top_v(torch.empty(0, 3), 0).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    scores = torch.arange(20.0).flip(0).view(4, 5).to(dtype)
    assert torch.equal(top_v(scores, 6), naive_top_v(scores, 6))


def test_scores_with_gradient_and_with_strides() -> None:
    scores = torch.randn(4, 5, requires_grad=True)
    assert torch.equal(top_v(scores.T, 6), naive_top_v(scores.detach().T, 6))


def test_infinite_scores_are_ordered_too() -> None:
    scores = torch.tensor([1.0, float("inf"), float("-inf"), 2.0])
    assert top_v(scores, 2).tolist() == [False, True, False, True]


@pytest.mark.parametrize("kept", [-1, 7])
def test_kept_out_of_range(kept: int) -> None:
    with pytest.raises(PruningError, match=rf"kept={kept} is not in \[0, 6\]"):
        top_v(torch.randn(2, 3), kept)


@pytest.mark.parametrize("kept", [1, 3, 19])
@pytest.mark.parametrize("bad", [[0], [19], [3, 4, 5], list(range(20))])
def test_nan_is_an_error_wherever_it_hides(kept: int, bad: list[int]) -> None:
    scores = torch.arange(20.0)
    scores[bad] = float("nan")
    with pytest.raises(PruningError, match=f"{len(bad)} of 20 scores are NaN"):
        top_v(scores, kept)


def test_nan_among_ties_is_an_error_too() -> None:
    """There are enough equal scores to fill its place, so that a count alone would not give it away."""
    scores = torch.zeros(20)
    scores[7] = float("nan")
    with pytest.raises(PruningError, match="1 of 20 scores are NaN"):
        top_v(scores, 6)


def test_top_v_leaves_the_scores_alone() -> None:
    scores = torch.randn(50)
    before = scores.clone()
    top_v(scores, 10)
    assert torch.equal(scores, before)


@given(density=st.floats(0, 1), sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=30))
def test_apportion_adds_up_and_is_fair(density: float, sizes: list[int]) -> None:
    kept = apportion(density, sizes)
    assert sum(kept) == round(density * sum(sizes))
    assert kept == naive_apportion(density, sizes)
    assert all(0 <= count <= size for count, size in zip(kept, sizes, strict=True))
    assert all(abs(count - density * size) <= 1 for count, size in zip(kept, sizes, strict=True))


def test_apportion_does_not_add_up_rounding_errors() -> None:
    assert apportion(0.5, [1] * 10) == [0, 1, 1, 0, 0, 1, 1, 0, 0, 1]  # each alone would round to 0


def test_global_selection_is_the_selection_over_everything() -> None:
    scores = [torch.randn(3, 4), torch.randn(2, 5) + 1, torch.randn(6)]
    found = top_v_global(scores, 9)
    expected = naive_top_v(torch.cat([score.flatten() for score in scores]), 9)
    assert [mask.shape for mask in found] == [score.shape for score in scores]
    assert torch.equal(torch.cat([mask.flatten() for mask in found]), expected)


class TestMaskWeight:
    def test_values_and_gradients_are_the_papers(self) -> None:
        generator = torch.Generator().manual_seed(3)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        inputs, weight, bias, upstream = draw(5, 4), draw(3, 4), draw(3), draw(5, 3)
        scores = draw(3, 4)
        mask = top_v(scores, 5)
        expected = naive_masked_linear(inputs, weight, mask, bias, upstream)

        leaves = {"weight": weight, "scores": scores, "bias": bias, "inputs": inputs}
        for leaf in leaves.values():
            leaf.requires_grad_()
        output = inputs @ mask_weight(weight, mask, scores).T + bias
        output.backward(upstream)

        torch.testing.assert_close(output.detach(), expected["output"], rtol=1e-12, atol=1e-12)
        for name, leaf in leaves.items():
            # the gradient of the scores passes float32, as the scores do
            tolerance = 1e-6 if name == "scores" else 1e-12
            torch.testing.assert_close(leaf.grad, expected[name], rtol=tolerance, atol=tolerance)

    def test_a_pruned_weight_goes_on_being_scored_but_does_not_learn(self) -> None:
        weight = torch.tensor([[2.0, 3.0]], requires_grad=True)
        scores = torch.zeros(1, 2, requires_grad=True)
        mask_weight(weight, torch.tensor([[True, False]]), scores).backward(torch.tensor([[5.0, 7.0]]))
        assert weight.grad.tolist() == [[5.0, 0.0]]
        assert scores.grad.tolist() == [[10.0, 21.0]]

    @pytest.mark.parametrize("value", [2.0, -2.0])
    def test_moving_away_from_zero_raises_the_score(self, value: float) -> None:
        weight = torch.tensor([[value]], requires_grad=True)
        scores = torch.zeros(1, 1, requires_grad=True)
        mask_weight(weight, torch.tensor([[True]]), scores).backward(torch.tensor([[-value]]))
        with torch.no_grad():  # one step of gradient descent
            weight -= 0.1 * weight.grad
            scores -= 0.1 * scores.grad
        assert abs(weight.item()) > abs(value)
        assert scores.item() > 0

    def test_without_scores_only_the_weight_learns(self) -> None:
        weight = torch.randn(2, 3, requires_grad=True)
        mask = torch.tensor([[True, False, True], [False, True, True]])
        product = mask_weight(weight, mask)
        product.sum().backward()
        assert torch.equal(product, weight * mask)
        assert torch.equal(weight.grad, mask.float())

    @pytest.mark.parametrize(("learns", "scored"), [(True, False), (False, True)])
    def test_frozen_weights_or_scores_get_no_gradient(self, learns: bool, scored: bool) -> None:
        weight, scores = torch.randn(2, 2, requires_grad=learns), torch.zeros(2, 2, requires_grad=scored)
        mask_weight(weight, torch.ones(2, 2, dtype=torch.bool), scores).sum().backward()
        assert (weight.grad is not None, scores.grad is not None) == (learns, scored)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_weights_keep_float32_scores(self, dtype: torch.dtype) -> None:
        weight = torch.randn(2, 3).to(dtype).requires_grad_()
        scores = torch.zeros(2, 3, requires_grad=True)
        product = mask_weight(weight, torch.ones(2, 3, dtype=torch.bool), scores)
        product.sum().backward()
        assert (product.dtype, weight.grad.dtype, scores.grad.dtype) == (dtype, dtype, torch.float32)
        assert torch.equal(scores.grad, weight.detach().float())

    def test_small_half_precision_products_do_not_underflow(self) -> None:
        """1e-4 · 1e-4 is below float16's smallest number, so the product is taken in float32."""
        weight = torch.full((1, 1), 1e-4, dtype=torch.float16, requires_grad=True)
        scores = torch.zeros(1, 1, requires_grad=True)
        upstream = torch.full((1, 1), 1e-4, dtype=torch.float16)
        mask_weight(weight, torch.ones(1, 1, dtype=torch.bool), scores).backward(upstream)
        assert scores.grad.item() == pytest.approx(1e-8, rel=1e-2)
