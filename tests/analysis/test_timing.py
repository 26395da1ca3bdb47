from __future__ import annotations

import numpy as np
import pytest

from transformers_palbert.analysis import timing
from transformers_palbert.analysis.timing import timed_in_turns


def test_all_functions_see_an_item_before_the_next_and_take_turns_to_begin():
    order = []
    functions = [lambda item, name=name: order.append((name, item)) or f"{name}{item}" for name in "ab"]
    results, seconds = timed_in_turns(functions, [1, 2, 3])
    assert order == [("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3)]
    assert results == [["a1", "a2", "a3"], ["b1", "b2", "b3"]]
    assert seconds.shape == (2, 3)


def test_seconds_belong_to_function_and_item(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def taking(seconds):
        def function(item):
            clock[0] += seconds * item

        return function

    _, seconds = timed_in_turns([taking(1), taking(10)], [1, 2])
    assert seconds == pytest.approx(np.array([[1, 2], [10, 20]]))
