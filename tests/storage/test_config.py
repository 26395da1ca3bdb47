from __future__ import annotations

import pytest

from transformers_palbert import ConfigurationError, StorageConfig
from transformers_palbert.storage.config import value_kind


@pytest.mark.parametrize(
    ("field", "value"), [("values", "int4"), ("embeddings", "fp17"), ("values", None), ("entropy", "yes")]
)
def test_wrong_values_are_named(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{field}={value!r} is not allowed"):
        StorageConfig(**{field: value})


def test_embedding_tables_have_values_of_their_own() -> None:
    assert StorageConfig(values="int8", embeddings="float16").values_for(is_table=True) == "float16"
    assert StorageConfig(values="int8", embeddings="float16").values_for(is_table=False) == "int8"
    assert StorageConfig(values="int8").values_for(is_table=True) == "int8"


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("fp16", "float16"), ("FP16", "float16"), ("half", "float16"), ("torch.float16", "float16"),
        ("bf16", "bfloat16"), ("bfloat-16", "bfloat16"), ("fp32", "float32"), ("float", "float32"),
        ("int8", "int8"), ("INT_8", "int8"), ("8bit", "int8"), ("auto", "auto"), ("lossless", "auto"),
    ],
)  # fmt: skip
def test_values_however_they_are_spelled(spelling: str, kind: str) -> None:
    assert value_kind(spelling) == kind
    assert StorageConfig(values=spelling, embeddings=spelling) == StorageConfig(kind, kind)


@pytest.mark.parametrize("spelling", ["int3", "fp8", "", "none"])
def test_what_is_no_kind_of_values(spelling: str) -> None:
    with pytest.raises(ConfigurationError, match="auto, float32, float16, bfloat16, int8"):
        value_kind(spelling)
