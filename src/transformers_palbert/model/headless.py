"""Attention of which no head is left: it adds a constant to the hidden states, and takes no time.

The module of the architecture stays where it is, with all names of its parameters, some of which are empty now. Only
what it computes is replaced, since the ``forward`` of the stock classes cannot divide nothing into heads.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn

from .structure import Structure

__all__ = ["HeadlessAttention", "constant_states", "no_weights", "take_heads_off"]

_PROJECTIONS = ("query", "key", "value")


class HeadlessAttention:
    """Comes before the class of an attention module, and replaces its ``forward``.

    Attributes:
        headless_names: Names in the module of query, key and value; of what comes behind the heads, in its order; and
            of the LayerNorm at the end, or None. What is outside of the module does its part as always.
        headless_kind: The class that the module had.
    """

    headless_names: tuple[tuple[str, ...], tuple[str, ...], str | None]
    headless_kind: type[nn.Module]

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor | None]:
        """What the block adds to ``hidden_states``, ``[batch, length, hidden]``, and attention weights of no head."""
        module: Any = self
        projections, behind, norm = self.headless_names
        states = constant_states(hidden_states, [getattr(module, name) for name in projections])
        for name in behind:
            states = getattr(module, name)(states)
        if norm is not None:
            states = getattr(module, norm)(hidden_states + states)
        return states, no_weights(hidden_states, module.config)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let copies and pickles be made, which cannot find a class that has no name in a module."""
        return _new, (self.headless_kind, self.headless_names), self.__dict__


def constant_states(hidden_states: Tensor, projections: list[nn.Module]) -> Tensor:
    """What no head gives, ``[batch, length, 0]``.

    In training it comes from the empty ``projections``, so that a distributed training, which waits for the gradient of
    every parameter, gets theirs.
    """
    if not projections[0].training:
        return hidden_states[..., :0]
    query, key, value = (projection(hidden_states) for projection in projections)
    return query + key + value  # type: ignore[no-any-return] # modules return anything


def no_weights(hidden_states: Tensor, config: Any) -> Tensor | None:
    """Attention weights of no head, ``[batch, 0, length, length]``; None where the attention returns no weights."""
    if config._attn_implementation != "eager":
        return None
    batch, length, _ = hidden_states.shape
    return hidden_states.new_zeros(batch, 0, length, length)


def take_heads_off(attention: nn.Module, structure: Structure) -> None:
    """Let ``attention``, whose projections have no head left, compute without them. Twice is once."""
    if isinstance(attention, HeadlessAttention):
        return
    projections = tuple(_inside(structure, part) or "" for part in _PROJECTIONS)
    behind = (_inside(structure, part) for part in ("attention_output", "attention_dropout"))
    names = projections, tuple(name for name in behind if name), _inside(structure, "attention_norm")
    attention.__class__ = _headless(type(attention), names)


def _inside(structure: Structure, part: str) -> str | None:
    """The name in the attention module of a part of a layer; None if the part is outside of it."""
    prefix, path = f"{structure.attention}.", getattr(structure, part)
    return path.removeprefix(prefix) if path.startswith(prefix) else None


@cache
def _headless(kind: type[nn.Module], names: Any) -> type[nn.Module]:
    fields = {"headless_names": names, "headless_kind": kind, "__module__": __name__}
    return type(f"Headless{kind.__name__}", (HeadlessAttention, kind), fields)


def _new(kind: type[nn.Module], names: Any) -> nn.Module:
    return _headless(kind, names).__new__(_headless(kind, names))
