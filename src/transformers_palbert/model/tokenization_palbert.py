"""The right tokenizer for an ALBERT checkpoint: WordPiece or SentencePiece, by what the folder holds.

Chinese ALBERT checkpoints ship a WordPiece ``vocab.txt`` and no SentencePiece model. The tokenizer that transformers
picks for the model type then has a vocabulary of its five special tokens and turns every sentence into one unknown
token, without a word of warning. :func:`load_albert_tokenizer` looks at the files instead of the model type.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import TokenizerError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PROBE", "PalBertTokenizer", "check_tokenizer", "load_albert_tokenizer"]

PROBE = "我 们 今 天 的 一 是 在 了 年 。 The answer to this is a b c 0 1 2 ."
"""Text of which every usable Chinese or English vocabulary knows something."""

_HUB_ARGUMENTS = (
    "cache_dir",
    "force_download",
    "local_files_only",
    "proxies",
    "revision",
    "subfolder",
    "token",
)
_FILES = ("tokenizer.json", "spiece.model", "vocab.txt")
_ALBERT_CLASSES = ("AlbertTokenizer", "BertTokenizer", "PalBertTokenizer")


def load_albert_tokenizer(
    pretrained_model_name_or_path: str | os.PathLike[str], *inputs: Any, **kwargs: Any
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an ALBERT or PAL-BERT checkpoint.

    A ``tokenizer.json`` says itself what it is; else a ``spiece.model`` is read by
    :class:`~transformers.AlbertTokenizer`, and a ``vocab.txt`` by :class:`~transformers.BertTokenizer`. Settings in
    ``tokenizer_config.json``, such as ``do_lower_case``, hold. A checkpoint that names a tokenizer class of another
    family gets that.

    Args:
        pretrained_model_name_or_path: Folder, or model id on the Hub.
        *inputs: Passed to ``from_pretrained`` of the tokenizer.
        **kwargs: Likewise: ``revision``, ``token``, ``do_lower_case`` …

    Raises:
        TokenizerError: if there is no tokenizer file, or the tokenizer knows no word of :data:`PROBE`.

    Example:
        >>> tokenizer = load_albert_tokenizer("voidful/albert_chinese_large")  # doctest: +SKIP
    """
    path = os.fspath(pretrained_model_name_or_path)
    hub = {name: kwargs[name] for name in _HUB_ARGUMENTS if name in kwargs}
    tokenizer = _tokenizer_class(path, hub).from_pretrained(path, *inputs, **kwargs)
    return check_tokenizer(tokenizer)


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, probe: str = PROBE) -> PreTrainedTokenizerBase:
    """Return ``tokenizer``, unless it maps ``probe`` to nothing but unknown tokens.

    Args:
        tokenizer: Any tokenizer of transformers.
        probe: A sentence of the language that the tokenizer is for.

    Raises:
        TokenizerError: if no token of ``probe`` is known.
    """
    # `tokenize` may show unknown text as it is. Nothing is fed to a model, so the probe may be of any length.
    tokens = tokenizer(probe, add_special_tokens=False, verbose=False)["input_ids"]
    if any(token != tokenizer.unk_token_id for token in tokens):
        return tokenizer
    shown = sorted(set(tokenizer.convert_ids_to_tokens(tokens)))
    raise TokenizerError(
        f"{type(tokenizer).__name__} with {len(tokenizer)} tokens knows nothing of {probe!r}: it all becomes {shown}."
        " Its vocabulary is that of another language, or its class does not fit the folder's files (an ALBERT folder"
        " with a vocab.txt needs BertTokenizer). Load it with transformers_palbert.load_albert_tokenizer(folder), after"
        " deleting a tokenizer.json and tokenizer_config.json that were saved by the wrong class."
    )


class PalBertTokenizer:
    """What ``AutoTokenizer`` calls for a PAL-BERT folder. Not a tokenizer: it loads the one that fits the files."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *inputs: Any, **kwargs: Any
    ) -> PreTrainedTokenizerBase:
        """See :func:`load_albert_tokenizer`."""
        return load_albert_tokenizer(pretrained_model_name_or_path, *inputs, **kwargs)


def _tokenizer_class(path: str, hub: dict[str, Any]) -> Any:
    """The class whose ``from_pretrained`` reads the tokenizer files at ``path``."""
    import transformers

    declared = _declared_class(path, hub)
    if declared is not None and declared.removesuffix("Fast") not in _ALBERT_CLASSES:
        return _other_family(path, declared)
    tokenizer_json, spiece, vocab = (_find(path, name, hub) for name in _FILES)
    if tokenizer_json is not None:
        by_model = {"WordPiece": transformers.BertTokenizer, "Unigram": transformers.AlbertTokenizer}
        return by_model.get(_read_json(tokenizer_json)["model"].get("type"), transformers.PreTrainedTokenizerFast)
    if spiece is not None:
        if find_spec("sentencepiece") is None:  # transformers would ask for tiktoken
            raise TokenizerError(f"{spiece!r} can be read with sentencepiece only. Run: pip install sentencepiece")
        return transformers.AlbertTokenizer
    if vocab is not None:
        return transformers.BertTokenizer
    raise _nothing_found(path, hub)


def _nothing_found(path: str, hub: dict[str, Any]) -> TokenizerError:
    from transformers.utils import cached_file

    reason = ""
    if not os.path.isdir(path):
        try:
            cached_file(path, _FILES[-1], **hub)
        except OSError as error:  # it says whether the Hub, the repository or the file was not there
            reason = f" {error}"
    return TokenizerError(
        f"{path!r} holds no tokenizer: none of {', '.join(_FILES)} was found. Copy the vocabulary of the checkpoint"
        f" that the model was made from into the folder.{reason}"
    )


def _declared_class(path: str, hub: dict[str, Any]) -> str | None:
    """The ``tokenizer_class`` that ``tokenizer_config.json``, or else ``config.json``, names."""
    for name in ("tokenizer_config.json", "config.json"):
        file = _find(path, name, hub)
        if file is not None and (declared := _read_json(file).get("tokenizer_class")):
            return declared
    return None


def _other_family(path: str, declared: str) -> Any:
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    tokenizer_class = tokenizer_class_from_name(declared)
    if tokenizer_class is None:
        raise TokenizerError(
            f"{path!r} names the tokenizer class {declared!r}, which transformers does not have. If it is code of that"
            " checkpoint, load it with AutoTokenizer.from_pretrained(…, trust_remote_code=True)."
        )
    return tokenizer_class


def _read_json(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _find(path: str, name: str, hub: dict[str, Any]) -> str | None:
    """Local path of file ``name`` of a folder or Hub repository; None if it has no such file."""
    from transformers.utils import cached_file

    return cached_file(path, name, _raise_exceptions_for_missing_entries=False, **hub)
