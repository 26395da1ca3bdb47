from __future__ import annotations

from typing import Any

import pytest

from transformers_palbert.pruning.collapse import Collapse, LossWatch


def history(losses: list[float], dense: int = 3, every: int = 10) -> list[dict[str, Any]]:
    """Training logs every ``every`` steps, the first ``dense`` of them before pruning, with an evaluation between."""
    logs: list[dict[str, Any]] = []
    for index, loss in enumerate(losses):
        density = 1.0 if index < dense else max(0.3, 1 - 0.1 * (index - dense + 1))
        logs.append({"step": every * (index + 1), "loss": loss, "density_encoder": density})
        logs.append({"step": every * (index + 1), "eval_loss": 9.0, "eval_density_encoder": density})
    return logs


def dense_loss(logs: list[dict[str, Any]]) -> float | None:
    return LossWatch.of(logs, 100).dense


def find_collapse(logs: list[dict[str, Any]], total_steps: int) -> Collapse | None:
    """What the last training log of ``logs`` makes certain."""
    *before, last = [entry for entry in logs if "loss" in entry] or [None]
    if last is None:
        return None
    return LossWatch.of(before, total_steps).add(last["step"], last["density_encoder"], last["loss"])


STEADY = [1.2, 1.0, 1.1]


def test_the_dense_loss_is_the_mean_before_the_first_cut() -> None:
    assert dense_loss(history([*STEADY, 4.0, 5.0])) == pytest.approx(1.1)
    assert dense_loss(history([4.0, 5.0], dense=0)) is None
    assert dense_loss([]) is None


def test_a_loss_that_rises_and_stays() -> None:
    logs = history([*STEADY, 1.2, 4.0, 5.0, 5.1, 5.2, 5.1, 5.2])
    collapse = find_collapse(logs, 100)
    assert collapse is not None
    assert (collapse.step, collapse.density) == (60, pytest.approx(0.7))  # the mean of 1.2, 4.0 and 5.0 is above 2.2
    assert collapse.before == pytest.approx(1.1)
    assert collapse.now == pytest.approx((5.1 + 5.2 + 5.2) / 3, abs=0.05)
    assert "rose from 1.10 to 5.1" in str(collapse)
    assert "density 0.70" in str(collapse)


@pytest.mark.parametrize(
    ("what", "losses"),
    [
        ("rises a little", [*STEADY, 1.4, 1.6, 1.8, 2.0, 2.1, 2.1, 2.1, 2.0, 1.9]),
        ("comes back", [*STEADY, 4.0, 4.0, 1.2, 1.1, 1.1, 1.2, 1.1, 1.1, 1.1, 1.1, 1.1]),
        ("one bad batch", [*STEADY, 1.1, 1.0, 4.0, 1.1, 1.0, 1.1, 1.1, 1.1, 1.1]),
        ("falls from the start", [5.5, 4.8, 4.0, 3.0, 2.6, 2.4, 2.5, 2.6, 2.8, 3.0, 3.0]),
        ("short", [1.0]),
        ("nothing", []),
    ],
)
def test_no_false_alarm(what: str, losses: list[float]) -> None:
    assert find_collapse(history(losses), 100) is None, what


def test_a_loss_that_rises_while_nothing_is_removed_is_not_pruning() -> None:
    losses = [1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    assert find_collapse(history(losses, dense=len(losses)), 90) is None


def test_it_waits_before_it_warns() -> None:
    losses = [*STEADY, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    warned = [find_collapse(history(losses[: count + 1]), 300) is not None for count in range(len(losses))]
    assert warned == [False] * 6 + [True] * 4  # 10 % of 300 steps after step 40
