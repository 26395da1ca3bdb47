from __future__ import annotations

import pytest

from transformers_palbert import ConfigurationError, StorageConfig


@pytest.mark.parametrize(
    ("field", "value"), [("values", "int4"), ("embeddings", "fp16"), ("values", None), ("entropy", "yes")]
)
def test_wrong_values_are_named(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}={value!r} is not allowed"):
        StorageConfig(**{field: value})


def test_embedding_tables_have_values_of_their_own() -> None:
    assert StorageConfig(values="int8", embeddings="float16").values_for(is_table=True) == "float16"
    assert StorageConfig(values="int8", embeddings="float16").values_for(is_table=False) == "int8"
    assert StorageConfig(values="int8").values_for(is_table=True) == "int8"
