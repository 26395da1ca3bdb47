"""Which matrices are embedding tables: a model tells by the type of its modules, a file by its architecture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from ..model.structure import known_structure, part_of

__all__ = ["tables_in_file", "tables_of"]


def tables_of(model: nn.Module) -> frozenset[str]:
    """Names of the embedding tables of ``model``, as its ``state_dict`` has them."""
    return frozenset(
        f"{path}.weight" if path else "weight"
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    )


def tables_in_file(names: Iterable[str], model_type: Any) -> frozenset[str]:
    """Those of ``names`` that are embedding tables in the architecture ``model_type``.

    An unknown architecture is read by the customary names of :data:`~transformers_palbert.model.structure.CUSTOMARY`.
    """
    structure = known_structure(str(model_type))
    found = {name for name in names if name.endswith(".weight") and part_of(name, structure) == "embeddings"}
    if structure is None:
        return frozenset(found)
    projections = {f"{prefix}{path}.weight" for path in structure.embeddings for prefix in ("", f"{structure.base}.")}
    return frozenset(found - projections)
