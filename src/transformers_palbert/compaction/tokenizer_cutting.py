"""A tokenizer with fewer tokens: its file rewritten, and read again by its own class."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..baselines.tokenization import WordTokenizer
from ..errors import TokenizerError
from .token_choice import merge_pair, merged

__all__ = ["cut_tokenizer", "new_ids", "tokenizer_settings"]

_FILE = "tokenizer.json"


def tokenizer_settings(tokenizer: Any) -> dict[str, Any]:
    """A tokenizer as its file ``tokenizer.json`` has it.

    Raises:
        TokenizerError: if it has no such file, because it is written in Python, or if it is of a word-level reader.
    """
    if isinstance(tokenizer, WordTokenizer):
        raise TokenizerError(
            "The vocabulary of a BiLSTM or a TextCNN cannot be shrunk: the model itself spells each of its words."
        )
    if not getattr(tokenizer, "is_fast", False):
        raise TokenizerError(
            f"{type(tokenizer).__name__} is written in Python, and only the vocabularies of fast tokenizers, which have"
            f" a {_FILE}, can be shrunk. Load the fast tokenizer of the same vocabulary, if there is one."
        )
    settings: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return settings


def new_ids(settings: Mapping[str, Any], kept: Collection[int]) -> dict[int, int]:
    """Old id -> new id of every token that stays: from 0, without gaps, those of the model's own vocabulary first."""
    own = _own_tokens(settings["model"])
    order = sorted(kept & own.keys()) + sorted(set(kept) - own.keys())
    return {old: new for new, old in enumerate(order)}


def cut_tokenizer(tokenizer: Any, ids: Mapping[int, int]) -> Any:
    """A tokenizer of the same class and settings that knows the tokens in ``ids`` alone.

    Args:
        tokenizer: A fast tokenizer of transformers; it stays as it is.
        ids: What :func:`new_ids` says.

    Raises:
        TokenizerError: if the class does not read what it is given, so that ids and tokens would no longer agree.
    """
    settings = _cut_settings(tokenizer_settings(tokenizer), ids)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        Path(folder, _FILE).write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        small = type(tokenizer).from_pretrained(folder)
    small.name_or_path = tokenizer.name_or_path
    _require_same_tokens(tokenizer, small, ids)
    return small


def _cut_settings(settings: dict[str, Any], ids: Mapping[int, int]) -> dict[str, Any]:
    added = [{**token, "id": ids[token["id"]]} for token in settings.get("added_tokens") or ()]
    padding = settings.get("padding")
    return {
        **settings,
        "model": _cut_model(settings["model"], ids),
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "post_processor": _with_new_ids(settings.get("post_processor"), ids),
        "padding": {**padding, "pad_id": ids[padding["pad_id"]]} if padding else padding,
    }


def _own_tokens(model: Mapping[str, Any]) -> dict[int, str]:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return {index: piece for index, (piece, _) in enumerate(vocab)}
    return {index: token for token, index in vocab.items()}


def _cut_model(model: Mapping[str, Any], ids: Mapping[int, int]) -> dict[str, Any]:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        kept: Any = [entry for index, entry in enumerate(vocab) if index in ids]
        unknown = model.get("unk_id")
        return {**model, "vocab": kept, "unk_id": None if unknown is None else ids[unknown]}
    kept = {token: ids[index] for token, index in sorted(vocab.items(), key=lambda item: item[1]) if index in ids}
    if "merges" not in model:
        return {**model, "vocab": kept}
    prefix = model.get("continuing_subword_prefix") or ""
    pairs = [(merge, *merge_pair(merge)) for merge in model["merges"]]
    merges = [merge for merge, left, right in pairs if {left, right, merged(left, right, prefix)} <= kept.keys()]
    return {**model, "vocab": kept, "merges": merges}


def _with_new_ids(processor: Any, ids: Mapping[int, int]) -> Any:
    """A post-processor whose special tokens have their new ids."""
    if not processor:
        return processor
    match processor["type"]:
        case "Sequence":
            return {**processor, "processors": [_with_new_ids(inner, ids) for inner in processor["processors"]]}
        case "TemplateProcessing":
            tokens = processor["special_tokens"]
            moved = {name: {**token, "ids": [ids[old] for old in token["ids"]]} for name, token in tokens.items()}
            return {**processor, "special_tokens": moved}
        case "BertProcessing" | "RobertaProcessing":
            return {**processor, **{name: [processor[name][0], ids[processor[name][1]]] for name in ("sep", "cls")}}
    return processor


def _require_same_tokens(tokenizer: Any, small: Any, ids: Mapping[int, int]) -> None:
    """Raise unless every id of the small tokenizer is the token that it was."""
    old, new = list(ids), list(ids.values())
    before, after = tokenizer.convert_ids_to_tokens(old), small.convert_ids_to_tokens(new)
    wrong = [(index, then, now) for index, then, now in zip(new, before, after, strict=True) if then != now]
    if wrong or len(small) != len(ids):
        example = f"; token {wrong[0][0]} would be {wrong[0][2]!r} instead of {wrong[0][1]!r}" if wrong else ""
        raise TokenizerError(
            f"The vocabulary of {type(tokenizer).__name__} cannot be shrunk: with {len(ids)} of {len(tokenizer)} tokens"
            f" its class builds a tokenizer of {len(small)}{example}. Load the tokenizer as PreTrainedTokenizerFast,"
            " which takes its file as it is."
        )
