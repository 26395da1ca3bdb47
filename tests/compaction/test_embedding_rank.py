from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForQuestionAnswering,
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    ElectraConfig,
    ElectraForQuestionAnswering,
)

import transformers_palbert as palbert
from transformers_palbert.compaction.embedding_rank import _mean_free_basis, reduce_embedding_rank
from transformers_palbert.errors import ConfigurationError, PruningError
from transformers_palbert.pruning import PruningConfig, prepare_pruning

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "embedding_size": 16,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 12,
    "initializer_range": 0.5,
}
CLASSES = [
    (AlbertForQuestionAnswering, AlbertConfig),
    (palbert.PalBertForQuestionAnswering, palbert.PalBertConfig),
    (ElectraForQuestionAnswering, ElectraConfig),
]


def make(model_class: Any = AlbertForQuestionAnswering, config_class: Any = AlbertConfig, directions: int = 16) -> Any:
    """A model whose three tables lie in so many directions, and whose LayerNorm has learned something."""
    torch.manual_seed(0)
    model = model_class(config_class(**SIZES)).eval()
    embeddings = getattr(model, model.base_model_prefix).embeddings
    space = torch.linalg.qr(torch.randn(16, directions)).Q
    with torch.no_grad():
        for name in ("word_embeddings", "token_type_embeddings", "position_embeddings"):
            weight = getattr(embeddings, name).weight
            weight.copy_(weight @ space @ space.T + 0.3)  # the mean of each row is for LayerNorm to take away
        embeddings.LayerNorm.weight.uniform_(0.5, 1.5)
        embeddings.LayerNorm.bias.normal_()
    return model


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (4, 12), generator=generator)
    return {"input_ids": ids, "token_type_ids": (torch.arange(12) >= 5).long().repeat(4, 1)}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack(tuple(model(**inputs())[:2]))


@pytest.mark.parametrize(("model_class", "config_class"), CLASSES)
def test_nothing_is_lost_where_few_directions_occur(model_class: Any, config_class: Any, tmp_path: Path) -> None:
    model = make(model_class, config_class, directions=5)
    before = logits(model)
    found = reduce_embedding_rank(model, 7)
    assert found.error < 1e-5
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)
    assert (found.before, found.after, model.config.embedding_size) == (16, 7, 7)
    assert found.parameters_after == sum(p.numel() for p in model.parameters()) < found.parameters_before
    model.save_pretrained(tmp_path)
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert type(again) is model_class
    torch.testing.assert_close(logits(again), logits(model))


def test_the_error_is_that_of_what_enters_the_layers() -> None:
    """The same figure, over every token at every position with every type."""
    model = make()
    embeddings, projection = model.albert.embeddings, model.albert.encoder.embedding_hidden_mapping_in
    grid = torch.cartesian_prod(torch.arange(50), torch.arange(2), torch.arange(12))

    def entering() -> torch.Tensor:
        tables = (embeddings.word_embeddings, embeddings.token_type_embeddings, embeddings.position_embeddings)
        rows = sum(table.weight[grid[:, column]] for column, table in enumerate(tables))
        return model.albert.encoder.embedding_hidden_mapping_in(embeddings.LayerNorm(rows)).detach()

    before = entering()
    assert projection.in_features == 16
    found = reduce_embedding_rank(model, 9)
    error = (entering() - before).norm() / (before - before.mean(0)).norm()
    assert found.error == pytest.approx(float(error), rel=0.03)
    assert 0.05 < found.error < 0.9


def test_more_numbers_are_nearer_and_each_is_used() -> None:
    errors = [reduce_embedding_rank(make(), rank).error for rank in (3, 6, 9, 12, 15)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 1.1
    assert errors[-1] < 0.15


def test_it_is_near_the_best_of_its_rank() -> None:
    """No map of this rank from directions to outputs can do better than the truncated decomposition of the product."""
    model = make()
    embeddings, projection = model.albert.embeddings, model.albert.encoder.embedding_hidden_mapping_in
    chance = torch.Generator().manual_seed(3)
    rows = [torch.randint(table.weight.shape[0], (5000,), generator=chance) for table in _tables(embeddings)]
    with torch.no_grad():
        summed = sum(table.weight[index] for table, index in zip(_tables(embeddings), rows, strict=True))
        centred = summed - summed.mean(1, keepdim=True)
        outputs = (
            4 * (centred / centred.norm(dim=1, keepdim=True)) @ (projection.weight * embeddings.LayerNorm.weight).T
        )
        values = torch.linalg.svdvals(outputs)
        best = values[8:].square().sum().sqrt() / (outputs - outputs.mean(0)).norm()
    found = reduce_embedding_rank(model, 10)
    assert float(best) * 0.97 < found.error < float(best) * 1.5


def _tables(embeddings: Any) -> list[Any]:
    return [embeddings.word_embeddings, embeddings.token_type_embeddings, embeddings.position_embeddings]


def test_frequent_tokens_are_nearer_where_frequencies_are_known() -> None:
    counts = np.zeros(50, dtype=np.int64)
    counts[5:9] = 100
    counts[20] = 1
    known, all_alike = make(), make()
    for model in (known, all_alike):
        model.albert.embeddings.position_embeddings.weight.data *= 0.1
    assert reduce_embedding_rank(known, 6, counts=counts).error < 0.5 * reduce_embedding_rank(all_alike, 6).error


def test_gradients_flow_and_flags_stay() -> None:
    model = make().train()
    model.albert.encoder.embedding_hidden_mapping_in.weight.requires_grad_(False)
    reduce_embedding_rank(model, 8)
    model(**inputs())[0].sum().backward()
    assert model.albert.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    assert model.albert.encoder.embedding_hidden_mapping_in.weight.grad is None
    assert model.albert.embeddings.word_embeddings.padding_idx == 0


def test_half_precision_stays() -> None:
    model = make().to(torch.bfloat16)
    assert reduce_embedding_rank(model, 15).error < 0.2
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("size", [3, 8])
def test_a_basis_without_mean(size: int) -> None:
    basis = _mean_free_basis(size)
    torch.testing.assert_close(basis.T @ basis, torch.eye(size - 1, dtype=torch.float64))
    torch.testing.assert_close(basis.sum(0), torch.zeros(size - 1, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("rank", [2, 16, 40])
def test_ranks_that_cannot_be(rank: int) -> None:
    with pytest.raises(
        ConfigurationError, match=f"embedding rank {rank} must be at least 3 and below the embedding_size 16"
    ):
        reduce_embedding_rank(make(), rank)


def test_models_that_cannot_be() -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
    with pytest.raises(ConfigurationError, match=r"BertForQuestionAnswering \(bert\).*albert, electra, palbert"):
        reduce_embedding_rank(BertForQuestionAnswering(BertConfig(**small)), 8)
    same = ElectraForQuestionAnswering(ElectraConfig(embedding_size=16, **small))
    with pytest.raises(ConfigurationError, match="no projection"):
        reduce_embedding_rank(same, 8)
    with pytest.raises(ConfigurationError, match="predicts tokens"):
        reduce_embedding_rank(AlbertForMaskedLM(AlbertConfig(**SIZES)), 8)
    with pytest.raises(ConfigurationError, match="None of the model's tokens"):
        reduce_embedding_rank(make(), 8, counts=np.zeros(50, dtype=np.int64))
    model = prepare_pruning(make(), PruningConfig(0.5))
    with pytest.raises(PruningError, match="bake_masks"):
        reduce_embedding_rank(model, 8)
