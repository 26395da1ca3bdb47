"""Which tokens a tokenizer must keep so that a corpus is tokenized as before and other text still can be.

Each kind of tokenizer has its reason why leaving out unused tokens changes nothing where they do not occur:

============  ==========================================================================================================
kind          why the corpus keeps its tokens
============  ==========================================================================================================
WordPiece     At each place the longest token that fits is taken; it occurs, so it stays, and nothing longer comes.
Unigram       The best path through the tokens of a text consists of tokens that occur; with fewer others it stays best.
              An unknown character costs as much as the worst token of the vocabulary, so that one stays too.
BPE           A token is made by merges of parts; with the token stay the merges that make it, and their parts.
              Whatever is never merged in the corpus has no part in it.
============  ==========================================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import Tokenizer

from ..errors import TokenizerError

__all__ = ["merge_pair", "merged", "tokens_to_keep"]


def tokens_to_keep(settings: Mapping[str, Any], used: Iterable[int], *, characters: bool = True) -> set[int]:
    """Ids of the tokens that must stay.

    Args:
        settings: A fast tokenizer as ``tokenizer.json`` has it.
        used: Ids of the tokens that occur.
        characters: Keep a token for every character that the tokenizer knows, with which it can spell words whose
            tokens go, and all tokens that hold a character without one. Then text outside of the corpus has unknown
            tokens where it had them before. Without, characters that the corpus lacks become unknown. BPE keeps
            its alphabet in any case: it may have no unknown token, and would lose text without a word.

    Raises:
        TokenizerError: if a tokenizer of this kind cannot be cut.
    """
    model = settings["model"]
    kept = set(used) | {token["id"] for token in settings.get("added_tokens") or ()}
    match model.get("type") or ("WordPiece" if "continuing_subword_prefix" in model else None):
        case "WordPiece":
            return kept | _wordpiece(settings, characters)
        case "Unigram":
            return kept | _unigram(model, characters)
        case "BPE":
            return kept | _bpe(model, kept)
        case kind:
            raise TokenizerError(
                f"A vocabulary of the kind {kind!r} cannot be shrunk: words without a token of their own could no"
                " longer be spelled. The kinds that can are WordPiece, Unigram and BPE."
            )


def _wordpiece(settings: Mapping[str, Any], characters: bool) -> set[int]:
    model = settings["model"]
    vocab, prefix = model["vocab"], model.get("continuing_subword_prefix", "##")
    kept = {vocab[model["unk_token"]]} if model.get("unk_token") in vocab else set()
    if not characters:
        return kept
    reachable = _Reachable(settings)

    def spelled(token: str) -> bool:
        """Whether the token may go: it cannot occur at all, or each of its characters has a token of its own."""
        continues = token.startswith(prefix) and token != prefix
        places = [(c, continues or at > 0) for at, c in enumerate(token[len(prefix) :] if continues else token)]
        if any(not reachable(character, inside) for character, inside in places):
            return True
        return len(places) > 1 and all((prefix if inside else "") + c in vocab for c, inside in places)

    return kept | {index for token, index in vocab.items() if not spelled(token)}


def _unigram(model: Mapping[str, Any], characters: bool) -> set[int]:
    vocab = model["vocab"]
    unknown = model.get("unk_id")
    # Some classes of transformers have the place of the unknown token in their code; what is before it stays as well.
    kept = set(range(0 if unknown is None else unknown + 1))
    kept.add(min(range(len(vocab)), key=lambda index: vocab[index][1]))
    if model.get("byte_fallback"):
        kept |= {index for index, (piece, _) in enumerate(vocab) if _is_byte(piece)}
    if characters:
        single = {piece for piece, _ in vocab if len(piece) == 1}
        kept |= {index for index, (piece, _) in enumerate(vocab) if len(piece) == 1 or not single.issuperset(piece)}
    return kept


def _bpe(model: Mapping[str, Any], used: set[int]) -> set[int]:
    vocab, prefix = model["vocab"], model.get("continuing_subword_prefix") or ""
    parts: dict[int, set[int]] = {}
    for left, right in map(merge_pair, model["merges"]):
        made = vocab.get(merged(left, right, prefix))
        if made is not None and left in vocab and right in vocab:
            parts.setdefault(made, set()).update((vocab[left], vocab[right]))
    kept = {index for index in vocab.values() if index not in parts}  # the alphabet
    waiting = [index for index in used if index in parts]
    while waiting:
        if (index := waiting.pop()) not in kept:
            kept.add(index)
            waiting.extend(parts.get(index, ()))
    return kept


def merge_pair(merge: str | list[str]) -> tuple[str, str]:
    """The two parts of a merge, which older files write as one text with a blank between."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def merged(left: str, right: str, prefix: str) -> str:
    """The token that a merge makes; a part that continues a word loses its ``prefix``."""
    return left + (right.removeprefix(prefix) if prefix else right)


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


class _Reachable:
    """Whether a character can stand at the beginning of a word, or inside of one, as the tokenizer sees words.

    Chinese characters and punctuation are words of their own to BERT, so the vocabularies' tokens for them inside of
    words never occur; nor do capitals where text becomes lower case.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        empty = {"type": "WordPiece", "vocab": {}, "unk_token": "", "continuing_subword_prefix": "##"}
        bare = {**settings, "added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
        backend = Tokenizer.from_str(json.dumps({**bare, "model": {**empty, "max_input_chars_per_word": 100}}))
        self._normalizer, self._words = backend.normalizer, backend.pre_tokenizer
        self._known: dict[tuple[str, bool], bool] = {}

    def __call__(self, character: str, inside: bool) -> bool:
        key = character, inside
        if key not in self._known:
            texts = (f"a{character}", character * 2) if inside else (character,)
            self._known[key] = any(
                character in word[1 if inside else 0 :] for text in texts for word in self._split(text)
            )
        return self._known[key]

    def _split(self, text: str) -> list[str]:
        text = text if self._normalizer is None else self._normalizer.normalize_str(text)
        return [text] if self._words is None else [word for word, _ in self._words.pre_tokenize_str(text)]
