"""The teacher's part of the loss against the formula, and what a Trainer makes of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.pruning.helpers import Recorder, make_trainer, qa_batch, tiny_model
from transformers_palbert import with_teacher, without_teacher
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.pruning import MovementPruningCallback
from transformers_palbert.training.distillation import position_divergence


def naive_divergence(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Window by window, position by position."""
    total = torch.zeros(())
    for row, (s, t) in enumerate(zip(student, teacher, strict=True)):
        positions = [place for place in range(s.numel()) if mask[row, place]]
        p = torch.stack([(t[place] / temperature).exp() for place in positions])
        q = torch.stack([(s[place] / temperature).exp() for place in positions])
        p, q = p / p.sum(), q / q.sum()
        total = total + sum(a * (a / b).log() for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(student)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_divergence_is_the_formula(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 7, requires_grad=True), torch.randn(3, 7)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6])
    found = position_divergence(student, teacher, mask, temperature)
    (gradient,) = torch.autograd.grad(found, student)
    expected = naive_divergence(student, teacher, mask, temperature)
    (naive,) = torch.autograd.grad(expected, student)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, naive, rtol=1e-4, atol=1e-6)
    assert not gradient[mask == 0].any()


def test_divergence_from_itself_is_zero() -> None:
    logits = torch.randn(2, 5)
    assert position_divergence(logits, logits, None, 2.0) == pytest.approx(0.0, abs=1e-6)
    assert position_divergence(logits.half(), logits.half(), None).dtype == torch.float32


def losses(student: PreTrainedModel, teacher: PreTrainedModel, batch: dict[str, Tensor], temperature: float) -> Tensor:
    plain, answers = student(**batch), teacher.eval()(**batch)
    parts = [
        naive_divergence(plain[name], answers[name], batch["attention_mask"], temperature)
        for name in ("start_logits", "end_logits")
    ]
    return torch.stack([plain.loss, (parts[0] + parts[1]) / 2])


@pytest.mark.parametrize("kinds", [("albert", "albert"), ("palbert", "bert"), ("bert", "albert"), ("roberta", "bert")])
def test_the_loss_of_a_model_with_a_teacher(kinds: tuple[str, str]) -> None:
    student, teacher = tiny_model(kinds[0]), tiny_model(kinds[1], seed=1, layers=2)
    batch = qa_batch()
    batch["attention_mask"][0, -3:] = 0
    expected = losses(student.train(), teacher, batch, 2.0)
    with_teacher(student, teacher.train(), weight=0.3)
    outputs = student(**batch)
    torch.testing.assert_close(outputs.loss, 0.7 * expected[0] + 0.3 * expected[1])
    outputs.loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert not any(name.startswith("teacher") for name in student.state_dict())


def test_only_while_a_loss_is_trained_on() -> None:
    student, teacher = tiny_model(), tiny_model(seed=1)
    batch = qa_batch()
    plain = student.eval()(**batch).loss
    with_teacher(student, teacher)
    assert torch.equal(student.eval()(**batch).loss, plain)
    with torch.no_grad():
        assert torch.equal(student.train()(**batch).loss, plain)
    inputs = {name: tensor for name, tensor in batch.items() if "positions" not in name}
    assert student(**inputs).loss is None
    assert not torch.equal(student(**batch).loss, plain)
    without_teacher(student)
    assert torch.equal(student(**batch).loss, plain)
    with_teacher(student, teacher)  # and again


def test_a_copy_of_a_student_has_the_same_teacher() -> None:
    teacher = tiny_model(seed=1)
    student = with_teacher(tiny_model(), teacher)
    copied = copy.deepcopy(student)
    assert torch.equal(copied.train()(**qa_batch()).loss, student.train()(**qa_batch()).loss)
    assert not torch.equal(student(**qa_batch()).loss, student.eval()(**qa_batch()).loss)


def test_a_tuple_has_no_loss_to_add_to() -> None:
    student = with_teacher(tiny_model(), tiny_model(seed=1))
    with pytest.raises(ConfigurationError, match="return_dict=True"):
        student.train()(**qa_batch(), return_dict=False)


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    states = []
    for batch, accumulation in ((16, 1), (4, 4)):
        recorder = Recorder()
        make_trainer(
            tmp_path,
            model=with_teacher(tiny_model().double(), tiny_model(seed=1).double()),
            callback=MovementPruningCallback(0.5, warmup=0.3),
            callbacks=[recorder],
            rows=32,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=2,
        ).train()
        states.append(recorder.states[4])
    for name, tensor in states[0].items():
        tolerance = 1e-4 if name.endswith(("scores", "uncertainty")) else 1e-6  # the divergence is float32
        torch.testing.assert_close(states[1][name], tensor, rtol=tolerance, atol=tolerance)


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    student, teacher = tiny_model(), tiny_model(seed=1, layers=2)
    before = losses(student.eval(), teacher, qa_batch(), 2.0)[1]
    make_trainer(tmp_path, model=with_teacher(student, teacher, weight=1.0), max_steps=60, bf16=True).train()
    assert losses(student.eval(), teacher, qa_batch(), 2.0)[1] < before / 2


@pytest.mark.parametrize(("options", "message"), [
    ({"weight": 0.0}, "above 0 and at most 1"),
    ({"weight": 1.5}, "above 0 and at most 1"),
    ({"temperature": 0.0}, "must be above 0"),
])  # fmt: skip
def test_wrong_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        with_teacher(tiny_model(), tiny_model(), **options)


def test_teachers_that_do_not_suit() -> None:
    student = tiny_model()
    with pytest.raises(ConfigurationError, match="its own teacher"):
        with_teacher(student, student)
    with pytest.raises(ConfigurationError, match="40 tokens and the teacher one of 41"):
        with_teacher(student, tiny_model(vocab_size=41))
    with_teacher(student, tiny_model())
    with pytest.raises(ConfigurationError, match="has a teacher already"):
        with_teacher(student, tiny_model())
