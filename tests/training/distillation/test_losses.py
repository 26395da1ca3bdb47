"""Every loss against its naive reference in float64: values and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tests.references.distillation import (
    naive_attention,
    naive_attention_distance,
    naive_divergence,
    naive_state_distance,
)
from transformers_palbert.training.distillation.batches import mean_over_rows, scaled_to_step
from transformers_palbert.training.distillation.losses import (
    ATTENTION_LOSSES,
    attention_distance,
    attention_log_probabilities,
    class_divergence,
    label_divergence,
    position_divergence,
    state_distance,
    token_mean,
    value_distance,
)

LENGTHS = [5, 3, 1]
MASK = torch.tensor([[1] * n + [0] * (5 - n) for n in LENGTHS])
KEPT = [list(range(n)) for n in LENGTHS]


def random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(2).requires_grad_()


def assert_same_values_and_gradients(found: Tensor, expected: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    wanted = torch.stack(list(expected))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    weights = torch.arange(1, len(wanted) + 1, dtype=torch.float64)
    gradients = [torch.autograd.grad((values * weights).sum(), inputs, retain_graph=True) for values in (found, wanted)]
    for own, naive in zip(*gradients, strict=True):
        torch.testing.assert_close(own, naive, rtol=1e-9, atol=1e-12)
        assert own.any()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_divergence_of_positions_leaves_padding_out(temperature: float) -> None:
    student, teacher = random(3, 5, seed=0), random(3, 5, seed=1)
    found = position_divergence(student, teacher, MASK, temperature)
    expected = [naive_divergence(s, t, k, temperature) for s, t, k in zip(student, teacher, KEPT, strict=True)]
    assert_same_values_and_gradients(found, expected, [student])
    (gradient,) = torch.autograd.grad(found.sum(), student)
    assert not gradient[MASK == 0].any()
    changed = student.detach().masked_fill(MASK == 0, 1e9)
    assert torch.equal(position_divergence(changed, teacher, MASK, temperature), found)
    everywhere = position_divergence(student, teacher, None, temperature)
    torch.testing.assert_close(everywhere, class_divergence(student, teacher, temperature))
    assert not torch.allclose(everywhere[1:], found[1:])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_divergence_of_classes(temperature: float) -> None:
    student, teacher = random(2, 4, seed=0), random(2, 4, seed=1)
    expected = [naive_divergence(s, t, [0, 1, 2, 3], temperature) for s, t in zip(student, teacher, strict=True)]
    assert_same_values_and_gradients(class_divergence(student, teacher, temperature), expected, [student])


def test_divergence_of_labels_that_are_questions_of_their_own() -> None:
    student, teacher = random(2, 3, seed=0), random(2, 3, seed=1)
    expected = []
    for s, t in zip(student, teacher, strict=True):
        answers = [(torch.sigmoid(t[i] / 2), torch.sigmoid(s[i] / 2)) for i in range(3)]
        each = [p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log() for p, q in answers]
        expected.append(4 * sum(each) / 3)
    assert_same_values_and_gradients(label_divergence(student, teacher, 2.0), expected, [student])


def test_distance_of_values() -> None:
    student, teacher = random(3, 1, seed=0), random(3, 1, seed=1)
    expected = [(s[0] - t[0]) ** 2 for s, t in zip(student, teacher, strict=True)]
    assert_same_values_and_gradients(value_distance(student, teacher), expected, [student])


def test_distance_of_hidden_states_token_by_token() -> None:
    student, teacher = random(3, 5, 4, seed=0), random(3, 5, 4, seed=1)
    expected = [naive_state_distance(s, t, k) for s, t, k in zip(student, teacher, KEPT, strict=True)]
    found = state_distance(student, teacher, MASK)
    assert_same_values_and_gradients(found, expected, [student])
    whole = [naive_state_distance(s, t, KEPT[0]) for s, t in zip(student, teacher, strict=True)]
    assert_same_values_and_gradients(state_distance(student, teacher, None), whole, [student])


@pytest.mark.parametrize("kind", ATTENTION_LOSSES)
@pytest.mark.parametrize("heads", [(2, 2), (2, 3), (1, 3)])
def test_distance_of_attention(heads: tuple[int, int], kind: str) -> None:
    width = 2
    tensors = [random(3, 5, width * count, seed=seed) for seed, count in enumerate((*heads[:1] * 2, *heads[1:] * 2))]
    own, target = (attention_log_probabilities(q, k, width, MASK) for q, k in (tensors[:2], tensors[2:]))
    assert own.shape == (3, heads[0], 5, 5)
    expected = []
    for row, kept in enumerate(KEPT):
        q, k, tq, tk = (tensor[row] for tensor in tensors)
        maps = naive_attention(q, k, heads[0], kept), naive_attention(tq, tk, heads[1], kept)
        expected.append(naive_attention_distance(*maps, kind))
    assert_same_values_and_gradients(attention_distance(own, target, MASK, kind), expected, tensors[:2])
    unmasked = [attention_log_probabilities(q, k, width, None) for q, k in (tensors[:2], tensors[2:])]
    torch.testing.assert_close(
        attention_distance(*unmasked, None, kind)[0], attention_distance(own, target, MASK, kind)[0]
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype: torch.dtype) -> None:
    student, teacher = (random(3, 5, 4, seed=seed).detach().to(dtype) for seed in (0, 1))
    losses: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda s, t: class_divergence(s, t, 2.0).mean(dim=1),
        lambda s, t: position_divergence(s[..., 0], t[..., 0], MASK, 2.0),
        lambda s, t: state_distance(s, t, MASK),
        lambda s, t: attention_distance(*(attention_log_probabilities(x, x, 2, MASK) for x in (s, t)), MASK, "kl"),
    ]
    for loss in losses:
        found = loss(student, teacher)
        assert found.dtype == torch.float32
        assert torch.equal(found, loss(student.float(), teacher.float()))


def test_a_student_that_is_its_teacher_loses_nothing() -> None:
    tensor = random(3, 5, 4, seed=0).detach().float()
    maps = attention_log_probabilities(tensor, tensor, 2, MASK)
    for found in (
        position_divergence(tensor[..., 0], tensor[..., 0], MASK, 2.0),
        state_distance(tensor, tensor, MASK),
        attention_distance(maps, maps, MASK, "mse"),
        attention_distance(maps, maps, MASK, "kl"),
    ):
        assert torch.equal(found, torch.zeros(3))


def test_a_row_of_padding_alone_counts_for_nothing() -> None:
    mask = torch.tensor([[1, 1], [0, 0]])
    assert token_mean(torch.ones(2, 2), mask).tolist() == [1.0, 0.0]
    logits = random(2, 2, seed=0)
    assert position_divergence(logits, random(2, 2, seed=1), mask).isfinite().all()


def test_rows_count_as_their_labels_do() -> None:
    values = torch.tensor([1.0, 10.0, 100.0])
    assert mean_over_rows(values, None) == 37.0
    assert mean_over_rows(values, torch.tensor([0, 1, -100])) == 5.5
    assert mean_over_rows(values, torch.tensor([[1, -100, -100], [0, 0, -100], [-100, -100, -100]])) == 7.0
    assert mean_over_rows(values, torch.full((3,), -100)) == 0.0


def test_the_share_of_a_batch_in_its_step() -> None:
    loss, labels = torch.tensor(6.0), torch.tensor([[1, 2, -100]])
    assert scaled_to_step(loss, labels, torch.tensor(8)) == 1.5
    assert scaled_to_step(loss, labels, 8) == 1.5
    assert scaled_to_step(loss, labels, None) is loss
    assert scaled_to_step(loss, None, 8) is loss
