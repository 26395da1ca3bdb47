from __future__ import annotations

import pytest

from transformers_palbert import ConfigurationError, StorageConfig


@pytest.mark.parametrize(
    ("field", "value"), [("values", "int4"), ("embeddings", "fp16"), ("values", None), ("entropy", "yes")]
)
def test_wrong_values_are_named(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}={value!r} is not allowed"):
        StorageConfig(**{field: value})


@pytest.mark.parametrize(
    ("name", "is_embedding"),
    [
        ("albert.embeddings.word_embeddings.weight", True),
        ("bert.embeddings.position_embeddings.weight", True),
        ("embeddings.token_type_embeddings.weight", True),
        ("model.embed_tokens.weight", True),
        ("albert.encoder.embedding_hidden_mapping_in.weight", False),
        ("bert.embeddings.LayerNorm.weight", False),
        ("bert.encoder.layer.0.output.dense.weight", False),
    ],
)
def test_embedding_tables_have_values_of_their_own(name: str, is_embedding: bool) -> None:
    assert StorageConfig(values="int8", embeddings="float16").values_for(name) == (
        "float16" if is_embedding else "int8"
    )
    assert StorageConfig(values="int8").values_for(name) == "int8"
