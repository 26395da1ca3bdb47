"""Narrower embeddings by singular value decomposition, for architectures that project them to the hidden size.

ALBERT, PAL-BERT and ELECTRA look up a token, its type and its position in tables of ``E`` numbers, add the three,
normalise the sum ``x`` and project it::

    y = W (γ ∘ LN(x) + β) + b        LN(x) = √E · Px / ‖Px‖        P = I - 11ᵀ/E takes the mean away

Because of the norm in the middle, table times projection is no single product that could be decomposed. But LayerNorm
sees a vector without its mean up to rotation only: it divides by its length. So with ``M = √E · W diag(γ)``::

    y = M Px / ‖Px‖ + (W β + b)

and the product to decompose is ``M L``, where ``L Lᵀ`` is the mean of ``u uᵀ`` over the directions ``u = Px / ‖Px‖``
that occur, each as often as its token does: ``M L = V S Wᵀ``. Its ``k`` largest singular values give the best outputs
of rank ``k``, ``V Vᵀ M u``. They depend on ``k`` numbers ``Vᵀ M x`` alone, and what these tell of the whole vector is,
by least squares, ``x̂ = L W S⁻¹ Vᵀ M x``. The narrow tables hold the coordinates of ``x̂`` in an orthonormal basis, and
one number more, which gives the sum its old length, since the norm divides by that: for each token the root of the mean
of ``‖Px‖² - ‖x̂‖²`` over positions and types. For a single sum that is a little off, so what comes out is near the best
of rank ``k``, and :func:`reduce_embedding_rank` measures how near. Turned into vectors without mean, all of that fits
``r = k + 2`` numbers, in which the same classes compute the same formula. Nothing is lost where the sums that occur lie
in ``k`` directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import ConfigurationError, PruningError
from ..pruning.convert import is_prepared
from .corpus import Counts

__all__ = ["ReducedRank", "reduce_embedding_rank", "require_rank"]

_SMALLEST = 3  # one direction, the rest of the length, and the mean that LayerNorm takes away
_TINY = 1e-9  # nothing, in float64
_DRAWN = 1 << 14  # sums of token, type and position that stand for all of them
_PROJECTIONS = {
    "albert": "encoder.embedding_hidden_mapping_in",
    "palbert": "encoder.embedding_hidden_mapping_in",
    "electra": "embeddings_project",
}


@dataclass(frozen=True)
class ReducedRank:
    """What :func:`reduce_embedding_rank` did.

    Attributes:
        before, after: Numbers of an embedding.
        error: ``‖Y' - Y‖ / ‖Y - mean(Y)‖`` over embeddings that go into the layers, ``Y`` before and ``Y'`` after,
            tokens drawn as often as they occur, at random positions: 0 is exact, 1 as bad as one vector for all.
        parameters_before, parameters_after: Of the whole model.
    """

    before: int
    after: int
    error: float
    parameters_before: int
    parameters_after: int


@torch.no_grad()
def reduce_embedding_rank(
    model: PreTrainedModel, rank: int, *, counts: Counts | None = None, seed: int = 0
) -> ReducedRank:
    """Give ``model`` embeddings of ``rank`` numbers that come near its own after the projection; in place.

    The model loads with the same classes: ``embedding_size`` is a smaller number in its configuration. It can be
    trained on.

    Args:
        model: ALBERT, PAL-BERT or ELECTRA with or without a task head, but no language model, whose head reads the
            table.
        rank: New ``embedding_size``, from 3 to below the old one.
        counts: How often each token occurs, by id, from :func:`~.corpus.count_tokens`; None counts all tokens alike.
            A token that never occurs has no weight.
        seed: Of the sums of token, type and position that are drawn to stand for all.

    Raises:
        ConfigurationError: if the architecture does not project its embeddings, the model predicts tokens, or the rank
            is out of range.
        PruningError: if the model is in the middle of being pruned.
    """
    require_rank(model, rank)
    embeddings, projection = _parts(model)
    width = projection.in_features
    sums = _drawn_sums(embeddings, counts, seed)
    before, parameters = projection(_normalised(embeddings, sums)), _parameters(model)
    tables = {name: getattr(embeddings, name) for name in _TABLES}
    narrow = _Narrow.of(embeddings, projection, _vectors(tables, sums), rank)
    lengths = narrow.lengths(tables)
    for name, table in tables.items():
        table.weight = _like(table.weight, narrow.of_rows(table.weight, lengths if name == _WORDS else None))
        table.embedding_dim = rank
    projection.weight, projection.bias = _like(projection.weight, narrow.weight), _like(projection.bias, narrow.bias)
    projection.in_features = rank
    embeddings.LayerNorm = _plain_norm(embeddings.LayerNorm, rank)
    model.config.embedding_size = rank
    after = projection(_normalised(embeddings, sums))
    error = (after - before).double().norm() / (before - before.mean(0)).double().norm()
    return ReducedRank(width, rank, float(error), parameters, _parameters(model))


_WORDS = "word_embeddings"
_TABLES = (_WORDS, "token_type_embeddings", "position_embeddings")


def _parts(model: PreTrainedModel) -> tuple[Any, Any]:
    """The modules with the tables and with the projection."""
    kind = str(getattr(model.config, "model_type", None))
    base = getattr(model, model.base_model_prefix, model)
    path = _PROJECTIONS.get(kind)
    projection: Any = base
    for name in path.split(".") if path else ():
        projection = getattr(projection, name, None)
    if path is None or not isinstance(projection, nn.Linear):
        why = "has embeddings of the hidden size, with no projection behind them" if path else "cannot"
        raise ConfigurationError(
            f"The embeddings of {type(model).__name__} ({kind}) cannot be made narrower: it {why}. Architectures that"
            f" can are {', '.join(sorted(_PROJECTIONS))} with an embedding_size below the hidden_size. To make the"
            " embeddings of others smaller, drop tokens (--vocabulary)."
        )
    return base.embeddings, projection


def require_rank(model: PreTrainedModel, rank: int) -> None:
    """Raise what :func:`reduce_embedding_rank` would, before anything is computed."""
    width = _parts(model)[1].in_features
    if not _SMALLEST <= rank < width:
        raise ConfigurationError(
            f"The embedding rank {rank} must be at least {_SMALLEST} and below the embedding_size {width} of the model."
        )
    if model.get_output_embeddings() is not None:
        raise ConfigurationError(
            f"{type(model).__name__} predicts tokens with the table of its embeddings, whose size its head must have."
            " Make the embeddings of a model with another head narrower, such as one for question answering."
        )
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before its embeddings change."
        )


# --- samples ------------------------------------------------------------------------------------------------------


def _drawn_sums(embeddings: Any, counts: Counts | None, seed: int) -> dict[str, Tensor]:
    """Ids of tokens, drawn as often as they occur, beside random types and positions; on the tables' device."""
    generator = torch.Generator().manual_seed(seed)
    rows = {name: getattr(embeddings, name).weight.shape[0] for name in _TABLES}
    weights = torch.ones(rows[_WORDS], dtype=torch.float64)
    if counts is not None:
        weights = torch.zeros_like(weights)
        known = torch.as_tensor(counts[: len(weights)], dtype=torch.float64)
        weights[: len(known)] = known
    if not bool((weights > 0).any()):
        raise ConfigurationError("None of the model's tokens occurs in the corpus. Give texts of the kind to read.")
    ends = torch.cumsum(weights, 0)  # torch.multinomial takes no more than 2^24 categories, and float32 weights
    drawn = torch.searchsorted(ends, torch.rand(_DRAWN, generator=generator, dtype=torch.float64) * ends[-1])
    sums = {_WORDS: drawn.clamp_(max=len(weights) - 1)}
    for name in _TABLES[1:]:
        sums[name] = torch.randint(rows[name], (_DRAWN,), generator=generator)
    device = embeddings.word_embeddings.weight.device
    return {name: index.to(device) for name, index in sums.items()}


def _vectors(tables: dict[str, nn.Embedding], sums: dict[str, Tensor]) -> Tensor:
    return torch.stack([tables[name].weight.double()[index] for name, index in sums.items()]).sum(0)


def _normalised(embeddings: Any, sums: dict[str, Tensor]) -> Tensor:
    rows = [getattr(embeddings, name).weight[index] for name, index in sums.items()]
    return embeddings.LayerNorm(torch.stack(rows).sum(0))


# --- the decomposition --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Narrow:
    """The narrow embeddings, in float64.

    Attributes:
        read: From a vector without mean to the coordinates of ``x̂``: ``(E, k)``.
        turn: From these and the length to ``r`` numbers without mean, orthonormal: ``(r, k + 1)``.
        weight: Of the projection, ``(H, r)``.
        bias: Of the projection.
    """

    read: Tensor
    turn: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, embeddings: Any, projection: Any, vectors: Tensor, rank: int) -> _Narrow:
        """The best ``rank - 2`` directions, or as many as there are, for embeddings like ``vectors``, ``(n, E)``."""
        norm, old = embeddings.LayerNorm, projection.weight.double()
        matrix = _without_mean(old * norm.weight.double() * vectors.shape[1] ** 0.5)
        centred = _without_mean(vectors)
        directions = centred / centred.norm(dim=1, keepdim=True).clamp_min(_TINY)
        variances, axes = torch.linalg.eigh(directions.T @ directions / len(directions))
        root = axes * variances.clamp_min(0).sqrt()
        outputs, values, inputs = torch.linalg.svd(matrix @ root, full_matrices=False)
        count = min(rank - 2, int((values > _TINY * values[0]).sum()))
        outputs, values, inputs = outputs[:, :count], values[:count], inputs[:count]
        _, triangle = torch.linalg.qr(root @ inputs.T)
        turn = _mean_free_basis(rank)[:, : count + 1].to(matrix)
        read = matrix.T @ (outputs / values) @ triangle.T
        back = torch.linalg.solve_triangular(triangle, outputs * values, upper=True, left=False)
        weight = back @ turn[:, :count].T / rank**0.5
        return cls(read, turn, weight, projection.bias.double() + old @ norm.bias.double())

    def of_rows(self, rows: Tensor, lengths: Tensor | None) -> Tensor:
        """Rows of a table, ``(n, E)``, as rows of ``r`` numbers; ``lengths`` is the number that stands for the rest."""
        seen = self._coordinates(rows)
        last = seen.new_zeros(len(rows)) if lengths is None else lengths
        return torch.cat([seen, last[:, None]], 1) @ self.turn.T

    def lengths(self, tables: dict[str, nn.Embedding]) -> Tensor:
        """For each token the root of the mean of ``‖Px‖² - ‖x̂‖²`` over all positions and types."""
        whole = {name: _without_mean(table.weight.double()) for name, table in tables.items()}
        seen = {name: self._coordinates(rows) for name, rows in whole.items()}
        return (_mean_squares(whole) - _mean_squares(seen)).clamp_min(0).sqrt()

    def _coordinates(self, rows: Tensor) -> Tensor:
        return _without_mean(rows.double()) @ self.read


def _mean_squares(tables: dict[str, Tensor]) -> Tensor:
    """For each token, the mean of the squared length of its sum with a row of each other table."""
    words, others = tables[_WORDS], [rows for name, rows in tables.items() if name != _WORDS]
    means = [rows.mean(0) for rows in others]
    spread = sum((rows - mean).square().sum(1).mean() for rows, mean in zip(others, means, strict=True))
    return (words + sum(means)).square().sum(1) + spread


def _without_mean(rows: Tensor) -> Tensor:
    return rows - rows.mean(1, keepdim=True)


def _mean_free_basis(size: int) -> Tensor:
    """Orthonormal columns that span all vectors of ``size`` numbers whose mean is 0: ``(size, size - 1)``."""
    ones = torch.ones(size, 1, dtype=torch.float64)
    full, _ = torch.linalg.qr(torch.cat([ones, torch.eye(size, dtype=torch.float64)[:, : size - 1]], 1))
    return full[:, 1:]


def _plain_norm(norm: nn.LayerNorm, rank: int) -> nn.LayerNorm:
    return nn.LayerNorm(rank, eps=norm.eps).to(norm.weight).train(norm.training)


def _like(old: Tensor, new: Tensor) -> nn.Parameter:
    return nn.Parameter(new.to(old).contiguous(), requires_grad=old.requires_grad)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
