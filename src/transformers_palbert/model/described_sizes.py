"""How large the layers of a model are, as its configuration says it: no weights are read, and no model is built."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .applications import mask_from_text
from .removal import LayerSize, read_layer_sizes
from .structure import known_structure, layer_applications

__all__ = ["described_sizes"]


def described_sizes(config: Any) -> dict[str, LayerSize]:
    """Path of each layer -> its numbers of heads and feed-forward units; empty for an architecture without a row.

    Where applications of shared layers keep units of their own, there is one row for each of them, in the order in
    which they are applied, as in ``"encoder.albert_layer_groups.0.albert_layers.0 (application 3)"``.

    Raises:
        ConfigurationError: if the configuration is damaged.
    """
    if (structure := known_structure(config)) is None:
        return {}
    plain = LayerSize(getattr(config, structure.heads), getattr(config, structure.units))
    applied = layer_applications(config)
    sizes = read_layer_sizes(config) or dict.fromkeys(applied, plain)
    masks = [getattr(config, field, None) for field in ("application_heads", "application_units")]
    if masks == [None, None]:
        return sizes
    heads, units = (
        [count] * len(applied) if texts is None else [sum(mask_from_text(text, count)) for text in texts]
        for texts, count in zip(masks, (plain.heads, plain.units), strict=True)
    )
    seen, found = Counter[str](), {}
    for place, path in enumerate(applied):
        found[f"{path} (application {seen[path]})"] = LayerSize(heads[place], units[place])
        seen[path] += 1
    return found
