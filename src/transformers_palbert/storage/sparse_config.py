"""The entry ``quantization_config`` of a packed checkpoint's ``config.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformers.utils.quantization_config import QuantizationConfigMixin

from ..errors import ConfigurationError, StorageError
from .config import StorageConfig

__all__ = ["FORMAT_VERSION", "NEEDS_PACKAGE", "QUANT_METHOD", "SparseConfig", "is_packed_config", "sparse_config_in"]

QUANT_METHOD = "palbert_sparse"
FORMAT_VERSION = 2
"""Version 1 had no digests. It is read, and no longer written."""

NEEDS_PACKAGE = (
    "(none: the weights are packed by transformers-palbert. To load them, run `pip install transformers-palbert`, and"
    " `import transformers_palbert` before from_pretrained. ignore_mismatched_sizes=True would give random weights)"
)
"""Stands where transformers looks for the name of the weights' file: without the package it refuses such a name and
shows it, whatever other options it is given."""

_DIGEST = re.compile(r"[0-9a-f]{32}")


class SparseConfig(QuantizationConfigMixin):
    """``quantization_config`` in ``config.json``: the encoding, which tensors are packed, and the digests of all.

    Raises:
        StorageError: if a field is wrong, or a newer version of the package wrote it.
    """

    def __init__(
        self,
        *,
        values: str = "auto",
        embeddings: str = "auto",
        entropy: bool = False,
        tensors: list[str] | tuple[str, ...] = (),
        digests: Mapping[str, str] | None = None,
        format_version: int = FORMAT_VERSION,
        **_: Any,
    ) -> None:
        if isinstance(format_version, bool) or format_version not in range(1, FORMAT_VERSION + 1):
            raise StorageError(
                f"The checkpoint has version {format_version!r} of the packed format, and this package reads up to"
                f" {FORMAT_VERSION}. Upgrade it: pip install -U transformers-palbert."
            )
        _check_names(tensors)
        _check_digests(digests)
        try:
            storage = StorageConfig(values, embeddings, entropy)
        except ConfigurationError as error:
            raise StorageError(f"The checkpoint's quantization_config is damaged. {error}") from error
        self.quant_method: Any = QUANT_METHOD
        self.format_version = format_version
        self.dequantize = True  # for transformers: what is loaded is an ordinary model
        self.values, self.embeddings, self.entropy = storage.values, storage.embeddings, storage.entropy
        self.tensors = sorted(tensors)
        self.digests = dict(sorted((digests or {}).items()))

    @property
    def storage(self) -> StorageConfig:
        """The encoding in which the checkpoint is saved again."""
        return StorageConfig(self.values, self.embeddings, self.entropy)

    @classmethod
    def of(
        cls, storage: StorageConfig, tensors: list[str] | None = None, digests: Mapping[str, str] | None = None
    ) -> SparseConfig:
        """The description of a checkpoint that is stored as ``storage``."""
        encoding = {"values": storage.values, "embeddings": storage.embeddings, "entropy": storage.entropy}
        return cls(**encoding, tensors=tensors or (), digests=digests)  # type: ignore[arg-type]


def _check_names(tensors: Any) -> None:
    if not isinstance(tensors, list | tuple) or not all(isinstance(name, str) for name in tensors):
        raise StorageError("`tensors` in the checkpoint's quantization_config must be a list of names.")
    if len(set(tensors)) != len(tensors):
        raise StorageError("`tensors` in the checkpoint's quantization_config names a tensor twice.")


def _check_digests(digests: Any) -> None:
    if digests is None:
        return
    if not isinstance(digests, Mapping) or not all(
        isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in digests.values()
    ):
        raise StorageError(
            "`digests` in the checkpoint's quantization_config must map names to 32 hexadecimal digits each."
        )


def is_packed_config(settings: Mapping[str, Any]) -> bool:
    """Whether the fields of a model's config, in its file or in memory, say that its weights are packed."""
    quantization = settings.get("quantization_config")
    if isinstance(quantization, SparseConfig):  # in memory
        return True
    return isinstance(quantization, dict) and quantization.get("quant_method") == QUANT_METHOD


def sparse_config_in(settings: Mapping[str, Any]) -> SparseConfig:
    """What a model's config says of its packed tensors; that there are none where it says nothing.

    Raises:
        StorageError: if it is damaged, or of a newer version.
    """
    if not is_packed_config(settings):
        return SparseConfig(format_version=1)
    return SparseConfig.from_dict(dict(settings["quantization_config"]))
