from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.references.pruning import naive_density
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.pruning.schedules import SCHEDULES, density_at, last_update, schedule_progress

PLANS = [(0.0, 0.0), (0.1, 0.3), (0.5, 0.0), (0.0, 0.9), (0.05, 0.05)]


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("total", [1, 2, 7, 40])
@pytest.mark.parametrize(("warmup", "cooldown"), PLANS)
def test_density_is_the_naive_one_at_every_step(schedule: str, total: int, warmup: float, cooldown: float) -> None:
    for step in range(total + 1):
        density = density_at(step, total, final_density=0.3, schedule=schedule, warmup=warmup, cooldown=cooldown)
        assert density == pytest.approx(naive_density(step, total, 0.3, schedule, warmup, cooldown), abs=1e-12)


@given(
    total=st.integers(1, 300),
    final=st.floats(0.01, 1.0),
    warmup=st.floats(0, 0.6),
    cooldown=st.floats(0, 0.39),
    schedule=st.sampled_from(sorted(SCHEDULES)),
)
def test_density_never_rises_and_ends_exactly(
    total: int, final: float, warmup: float, cooldown: float, schedule: str
) -> None:
    plan = {"final_density": final, "warmup": warmup, "cooldown": cooldown, "schedule": schedule}
    densities = [density_at(step, total, **plan) for step in range(total + 1)]
    assert all(after <= before + 1e-12 for before, after in itertools.pairwise(densities))
    assert all(final - 1e-12 <= density <= 1 for density in densities)
    assert densities[-1] == final


def test_cool_down_is_at_the_final_density_exactly() -> None:
    densities = [density_at(step, 100, final_density=0.3, warmup=0.1, cooldown=0.3) for step in range(101)]
    assert densities[:11] == [1.0] * 11
    assert densities[11] < 1
    assert densities[69] > 0.3
    assert densities[70:] == [0.3] * 31


def test_fractions_and_not_step_counts_shape_the_run() -> None:
    """The classic silent failure: a run too short for an absolute warm-up is never pruned."""
    for total in (1, 2, 3, 5):
        assert density_at(total, total, final_density=0.1, warmup=0.5, cooldown=0.4) == 0.1


def test_initial_density_is_where_the_ramp_starts() -> None:
    plan = {"final_density": 0.2, "initial_density": 0.6, "warmup": 0.5, "schedule": "linear"}
    assert [density_at(step, 4, **plan) for step in range(5)] == pytest.approx([0.6, 0.6, 0.6, 0.4, 0.2])


def test_progress_counts_from_the_end_of_the_warm_up() -> None:
    progress = [schedule_progress(step, 10, warmup=0.2, cooldown=0.4) for step in (0, 2, 4, 6, 9, 10)]
    assert progress[0] < 0
    assert progress[1:] == pytest.approx([0, 0.5, 1, 1, 1])


@pytest.mark.parametrize("total", [0, -3])
def test_a_run_needs_a_step(total: int) -> None:
    with pytest.raises(ConfigurationError, match=f"total_steps={total}"):
        schedule_progress(0, total)


@pytest.mark.parametrize(("warmup", "cooldown"), [(-0.1, 0), (1.0, 0), (0, 1.0), (0.5, 0.5), (0, -1)])
def test_fractions_must_leave_room(warmup: float, cooldown: float) -> None:
    with pytest.raises(ConfigurationError, match="fractions of the run"):
        schedule_progress(0, 10, warmup=warmup, cooldown=cooldown)


def test_unknown_schedule_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'sigmoid'.*cubic"):
        density_at(0, 10, final_density=0.5, schedule="sigmoid")


def test_masks_change_at_multiples_and_where_the_cool_down_begins() -> None:
    changes = [last_update(step, 20, 6, cooldown=0.25) for step in range(21)]
    assert changes == [0] * 6 + [6] * 6 + [12] * 3 + [15] * 3 + [18] * 3
    assert [last_update(step, 5) for step in range(6)] == [0, 1, 2, 3, 4, 5]
    assert last_update(10, 10, 7) == 10  # without a cool-down the last step has the final density
