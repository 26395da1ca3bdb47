"""The drawing of what the layers of a model kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .output import make_table

if TYPE_CHECKING:
    from ..model.removal import LayerSize

__all__ = ["draw_layers", "layer_facts"]

_BAR = 20
"""Characters of the longest bar."""


def draw_layers(sizes: Mapping[str, LayerSize]) -> Any:
    """A row for each layer, or each application of a shared one: a dot for each head, and a bar of the units."""
    most_heads = max((size.heads for size in sizes.values()), default=0)
    most_units = max((size.units for size in sizes.values()), default=0) or 1
    scale = 1 if most_heads <= _BAR else _BAR / most_heads
    rows = [
        (name, str(size.heads), "●" * round(scale * size.heads), str(size.units), _bar(size.units, most_units))
        for name, size in zip(_short(list(sizes)), sizes.values(), strict=True)
    ]
    return make_table(["layer", "heads", "", "units", ""], rows)


def layer_facts(sizes: Mapping[str, LayerSize]) -> dict[str, dict[str, int]]:
    """The same for JSON."""
    return {path: {"heads": size.heads, "units": size.units} for path, size in sizes.items()}


def _bar(count: int, most: int) -> str:
    return "█" * round(_BAR * count / most)


def _short(paths: list[str]) -> list[str]:
    """What tells the rows apart: of applications of one layer their numbers alone."""
    split = [path.partition(" (") for path in paths]
    if len(paths) > 1 and len({layer for layer, _, _ in split}) == 1:
        return [application.rstrip(")") for _, _, application in split]
    return paths
