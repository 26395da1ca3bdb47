"""A compiled student learns what it would learn without a compiler, whatever was compiled before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.pruning.helpers import qa_batch, tiny_model
from transformers_palbert import with_teacher
from transformers_palbert.training.distillation import without_teacher
from transformers_palbert.training.distillation.teaching import lesson_of


def model(seed: int = 0, **changes: Any) -> Any:
    """One whose attention differs between its tokens, and from that of another seed."""
    return tiny_model("bert", seed=seed, initializer_range=0.5, layers=2, **changes).train()


def learnt(student: Any, called: Any) -> dict[str, float]:
    """The parts of the loss of one batch, and the size of the gradient that it gives."""
    student.zero_grad()
    called(**qa_batch()).loss.backward()
    lesson = lesson_of(student)
    parts = {} if lesson is None else {name: float(part) for name, part in lesson.losses.take()[0].items()}
    gradients = [parameter.grad.norm() for parameter in student.parameters() if parameter.grad is not None]
    return {**parts, "gradient": float(torch.stack(gradients).norm())}


@pytest.mark.parametrize("settings", [{"attention": 10.0}, {"hidden_states": 0.5}])
def test_a_student_that_was_compiled_before_it_had_a_teacher(settings: dict[str, float]) -> None:
    teacher = model(1, hidden_size=24, num_attention_heads=3)
    plain, student = model(), model()
    compiled = torch.compile(student, backend="eager")
    alone = learnt(plain, plain)
    assert learnt(student, compiled) == pytest.approx(alone, rel=1e-4)
    compiled.eval()
    with torch.no_grad():
        compiled(**qa_batch())
    compiled.train()
    for one in (plain, student):
        with_teacher(one, teacher, **settings)
    for _ in range(2):
        found = learnt(student, compiled)
        assert found == pytest.approx(learnt(plain, plain), rel=1e-4)
        assert set(found) == {"task", "logits", *({"hidden_states": "hidden"}.get(name, name) for name in settings)} | {
            "gradient"
        }
        assert min(found.values()) > 1e-3
    for one in (plain, student):
        without_teacher(one)
    assert learnt(student, compiled) == pytest.approx(alone, rel=1e-4)
