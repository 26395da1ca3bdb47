"""What a packed checkpoint stores: the choice between size and exactness. No torch, no transformers."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigurationError
from ..spelling import did_you_mean

__all__ = ["LOSSLESS", "VALUES", "VECTOR_DTYPES", "StorageConfig", "value_kind"]

VALUES = ("auto", "float32", "float16", "bfloat16", "int8")
"""Kinds of stored values. "auto" is the tensor's own dtype, so nothing is lost."""

_SPELLINGS = {
    "float32": ("fp32", "f32", "float", "single", "full", "32bit"),
    "float16": ("fp16", "f16", "half", "16bit"),
    "bfloat16": ("bf16", "brainfloat16"),
    "int8": ("i8", "q8", "w8", "8bit", "integer8"),
    "auto": ("lossless", "same"),
}
_KIND_OF = {spelling: kind for kind in VALUES for spelling in (kind, *_SPELLINGS[kind])}

VECTOR_DTYPES = {"float16": "float16", "bfloat16": "bfloat16", "int8": "float16"}
"""``values`` -> dtype of biases, LayerNorms and whatever else is no matrix; the others leave them as they are."""


def value_kind(spelling: str) -> str:
    """The kind of values that somebody means: "fp16", "half", "Float-16" and "torch.float16" are float16.

    Raises:
        ConfigurationError: if it is none of :data:`VALUES`, however spelled.
    """
    plain = spelling.lower().removeprefix("torch.")
    for separator in "-_ ":
        plain = plain.replace(separator, "")
    if plain not in _KIND_OF:
        raise ConfigurationError(
            f"{spelling!r} is no kind of values; there are {', '.join(VALUES)}, and short names such as fp16 and bf16."
            + did_you_mean(plain, _KIND_OF)
        )
    return _KIND_OF[plain]


@dataclass(frozen=True)
class StorageConfig:
    """How the tensors of a checkpoint are stored.

    Args:
        values: The matrices' values: "auto" (their own dtype, lossless), "float32", "float16", "bfloat16" or "int8"
            (one scale per row; a weight moves by at most half a scale, a zero stays a zero). With 16 bits, vectors
            (biases, LayerNorms) are stored in that dtype too; with "int8", in float16. Other spellings, such as "fp16",
            become these.
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
            given = getattr(self, name)
            try:
                object.__setattr__(self, name, value_kind(str(given)))
            except ConfigurationError as error:
                raise ConfigurationError(f"StorageConfig: {name}={given!r} is not allowed: {error}") from error
        if not isinstance(self.entropy, bool):
            raise ConfigurationError(f"StorageConfig: entropy={self.entropy!r} is not allowed; allowed: True, False.")

    def values_for(self, is_table: bool) -> str:
        """The stored values of a matrix, which is an embedding table or not."""
        return self.embeddings if is_table and self.embeddings != "auto" else self.values


LOSSLESS = StorageConfig()
"""Every tensor in its own dtype; the default."""
