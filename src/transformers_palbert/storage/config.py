"""What a packed checkpoint stores: the choice between size and exactness. No torch, no transformers."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigurationError

__all__ = ["LOSSLESS", "VALUES", "VECTOR_DTYPES", "StorageConfig"]

VALUES = ("auto", "float32", "float16", "bfloat16", "int8")
"""Kinds of stored values. "auto" is the tensor's own dtype, so nothing is lost."""

VECTOR_DTYPES = {"float16": "float16", "bfloat16": "bfloat16", "int8": "float16"}
"""``values`` -> dtype of biases, LayerNorms and whatever else is no matrix; the others leave them as they are."""


@dataclass(frozen=True)
class StorageConfig:
    """How the tensors of a checkpoint are stored.

    Args:
        values: The matrices' values: "auto" (their own dtype, lossless), "float32", "float16", "bfloat16" or "int8"
            (one scale per row; a weight moves by at most half a scale, a zero stays a zero). With 16 bits, vectors
            (biases, LayerNorms) are stored in that dtype too; with "int8", in float16.
        embeddings: The values of embedding tables; "auto" is like ``values``.
        entropy: Compress each packed matrix further, with Zstandard: smaller, and slower to write.

    Raises:
        ConfigurationError: if a value is not allowed.
    """

    values: str = "auto"
    embeddings: str = "auto"
    entropy: bool = False

    def __post_init__(self) -> None:
        for name in ("values", "embeddings"):
            if getattr(self, name) not in VALUES:
                raise ConfigurationError(
                    f"StorageConfig: {name}={getattr(self, name)!r} is not allowed; allowed: {', '.join(VALUES)}."
                )
        if not isinstance(self.entropy, bool):
            raise ConfigurationError(f"StorageConfig: entropy={self.entropy!r} is not allowed; allowed: True, False.")

    def values_for(self, is_table: bool) -> str:
        """The stored values of a matrix, which is an embedding table or not."""
        return self.embeddings if is_table and self.embeddings != "auto" else self.values


LOSSLESS = StorageConfig()
"""Every tensor in its own dtype; the default."""
