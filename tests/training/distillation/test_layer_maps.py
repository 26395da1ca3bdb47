from __future__ import annotations

from typing import Any

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.training.distillation.layer_maps import (
    parse_layer_map,
    resolve_layer_map,
    uniform_layer_map,
)


@pytest.mark.parametrize(("layers", "expected"), [
    ((3, 3), [(1, 1), (2, 2), (3, 3)]),
    ((3, 12), [(1, 4), (2, 8), (3, 12)]),
    ((2, 5), [(1, 3), (2, 5)]),
    ((4, 2), [(1, 1), (2, 1), (3, 2), (4, 2)]),
    ((1, 24), [(1, 24)]),
])  # fmt: skip
def test_uniform_maps_end_with_the_last_layer(layers: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert uniform_layer_map(*layers) == expected
    assert resolve_layer_map(None, *layers) == expected


def test_layers_are_counted_from_either_end() -> None:
    assert resolve_layer_map([(0, 0), (1, -2), [-1, -1]], 2, 6) == [(0, 0), (1, 5), (2, 6)]  # type: ignore[list-item]
    assert resolve_layer_map([(-3, -7)], 2, 6) == [(0, 0)]


@pytest.mark.parametrize(("layer_map", "message"), [
    ([], "names no layers"),
    ("1:1", "names no layers|no pair of layers"),
    ([(1, 7)], "layer 7 of the teacher, which has 6: choose 1 to 6"),
    ([(3, 1)], "layer 3 of the student, which has 2"),
    ([(-4, 1)], "layer -4 of the student"),
    ([(1,)], "no pair of layers"),
    ([(1, 2.0)], "no pair of layers"),
    ([(True, 1)], "no pair of layers"),
    ([(2, 6), (-1, -1)], r"the pair \(2, 6\) twice"),
])  # fmt: skip
def test_bad_maps(layer_map: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolve_layer_map(layer_map, 2, 6)


def test_maps_on_the_command_line() -> None:
    assert parse_layer_map("1:2,2:4, -1:-1") == [(1, 2), (2, 4), (-1, -1)]
    for text in ("", "1", "1:2:3", "1:a", "1:2,"):
        with pytest.raises(ConfigurationError, match="student's layer, colon, teacher's layer"):
            parse_layer_map(text)
