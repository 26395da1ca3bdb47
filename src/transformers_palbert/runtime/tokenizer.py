"""A tokenizer without transformers: what cutting windows and padding batches ask of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..errors import StorageError
from .description import Description

__all__ = ["Encoded", "RuntimeTokenizer", "load_tokenizer"]


class Encoded(dict[str, Any]):
    """Model inputs by name, with the tokenizer's own record of each row in ``encodings``."""

    def __init__(self, values: dict[str, Any], encodings: list[Any]) -> None:
        super().__init__(values)
        self.encodings = encodings


class RuntimeTokenizer:
    """The rules in ``tokenizer.json``, called as a fast tokenizer of transformers is called to cut windows.

    Args:
        backend: A ``tokenizers.Tokenizer``.
        description: What else is known of it.
    """

    is_fast = True

    def __init__(self, backend: Any, description: Description) -> None:
        self._backend = backend
        self.model_input_names = description.model_inputs
        self.model_max_length = description.model_max_length
        self.padding_side = description.padding_side
        self.truncation_side = description.truncation_side
        self.cls_token_id = description.cls_token_id
        self.pad_token_id = description.pad_token_id
        self.pad_token_type_id = description.pad_token_type_id

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Number of special tokens around one text, or around a pair of texts."""
        return int(self._backend.num_special_tokens_to_add(pair))

    def __call__(
        self,
        first: Sequence[str],
        second: Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        truncation: str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding: Literal[False] = False,
        return_overflowing_tokens: bool = False,
        verbose: bool = True,
    ) -> Encoded:
        """Tokenize texts or pairs of texts; the arguments are those of transformers, as far as they are used here.

        Args:
            first: Texts.
            second: The text that follows each of them.
            add_special_tokens: Whether to add ``[CLS]`` and the like.
            truncation: ``"only_first"`` or ``"only_second"``: which text is cut to fit into ``max_length``.
            max_length: Tokens of a row, where one text is cut.
            stride: Tokens that a row shares with the next one of the same pair.
            padding: Never here; batches are padded later.
            return_overflowing_tokens: Whether what was cut off makes rows of its own.
            verbose: Without effect: nothing is logged.
        """
        if truncation is None:
            self._backend.no_truncation()
        else:
            self._backend.enable_truncation(
                max_length, stride=stride, strategy=truncation, direction=self.truncation_side
            )
        self._backend.no_padding()
        texts = list(first) if second is None else list(zip(first, second, strict=True))
        rows, sources = [], []
        for source, encoding in enumerate(self._backend.encode_batch(texts, add_special_tokens=add_special_tokens)):
            parts = [encoding, *encoding.overflowing] if return_overflowing_tokens else [encoding]
            rows += parts
            sources += [source] * len(parts)
        columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        values: dict[str, Any] = {
            name: [getattr(row, columns[name]) for row in rows] for name in self.model_input_names
        }
        return Encoded({**values, "overflow_to_sample_mapping": sources}, rows)


def load_tokenizer(folder: Path, description: Description) -> RuntimeTokenizer:
    """The tokenizer of an exported model.

    Raises:
        StorageError: if ``tokenizer.json`` is damaged.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        backend = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain exceptions
        raise StorageError(f"{file} is damaged: {error}. Export the model again.") from error
    return RuntimeTokenizer(backend, description)
