"""A model and its tokenizer without the tokens that never occur in a corpus.

In a small ALBERT most parameters are embeddings: 70 % in albert-tiny-zh. The tokens that the texts at hand never need
can go from the table and from the tokenizer together. What is left is an ordinary checkpoint, whose ``vocab_size`` is
a smaller number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import ConfigurationError, NoEffectWarning, PruningError, TokenizerError
from ..model.structure import known_structure
from ..pruning.convert import is_prepared
from .corpus import Counts, count_tokens
from .token_choice import tokens_to_keep
from .tokenizer_cutting import cut_tokenizer, new_ids, tokenizer_settings

__all__ = ["ShrunkVocabulary", "keep_tokens", "shrink_vocabulary"]


@dataclass(frozen=True)
class ShrunkVocabulary:
    """What :func:`shrink_vocabulary` did.

    Attributes:
        tokenizer: The smaller tokenizer.
        ids: Old id -> new id of every token that stayed.
        tokens_before, tokens_after: How many tokens the tokenizer knows.
        parameters_before, parameters_after: Of the whole model, tied ones counted once.
        bytes_before, bytes_after: Of these parameters in memory.
        corpus_tokens: How many tokens the corpus has.
        unknown_before, unknown_after: Share of them that is unknown, from 0 to 1. The two are equal, if characters are
            kept or not: what occurs stays.
    """

    tokenizer: Any
    ids: dict[int, int]
    tokens_before: int
    tokens_after: int
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    corpus_tokens: int
    unknown_before: float
    unknown_after: float


def shrink_vocabulary(
    model: PreTrainedModel,
    tokenizer: Any,
    texts: Callable[[], Iterable[str]],
    *,
    keep_characters: bool = True,
    counts: Counts | None = None,
) -> ShrunkVocabulary:
    """Drop the tokens that never occur in ``texts`` from the embeddings of ``model`` and from its tokenizer.

    Special and added tokens stay, and so does what spells words that lose their token, see
    :func:`~.token_choice.tokens_to_keep`. A text whose tokens all stay is tokenized as before, and the model gives the
    same logits for it, bit for bit. Output embeddings (of masked language models), tied or not, shrink with the table,
    and the ids in the configuration are changed. Afterwards the corpus is tokenized once more to prove all that.

    Args:
        model: Any model with input embeddings; changed in place.
        tokenizer: Its fast tokenizer; stays as it is.
        texts: Returns the texts of the corpus from their beginning, each time that it is called.
        keep_characters: See :func:`~.token_choice.tokens_to_keep`.
        counts: What :func:`~.corpus.count_tokens` said of these texts, if that is known.

    Raises:
        ConfigurationError: if the corpus is empty, or the tokenizer does not fit the model.
        PruningError: if the model is in the middle of being pruned.
        TokenizerError: if the tokenizer cannot be shrunk, or the corpus is not tokenized as before.

    Warns:
        NoEffectWarning: if every token stays.

    Example:
        >>> found = shrink_vocabulary(model, tokenizer, lambda: open("corpus.txt"))  # doctest: +SKIP
        >>> found.tokenizer.save_pretrained("small"); model.save_pretrained("small")  # doctest: +SKIP
    """
    _require_finished(model)
    settings = tokenizer_settings(tokenizer)
    if counts is None:
        counts = count_tokens(tokenizer, texts())
    if not counts.any():
        raise ConfigurationError("The corpus holds no text, so no token would be left. Give texts of the kind to read.")
    used = counts.nonzero()[0].tolist()
    kept = tokens_to_keep(settings, used, characters=keep_characters) | _in_front_of_padding(model, tokenizer)
    ids = new_ids(settings, kept)
    _require_rows(model, ids)
    small = cut_tokenizer(tokenizer, ids)
    again = count_tokens(small, texts())
    _require_same_counts(counts, again, ids)
    before = _size(model)
    keep_tokens(model, ids, tokenizer)
    after = _size(model)
    if len(ids) == len(tokenizer) and before == after:
        warnings.warn(
            f"All {len(ids)} tokens stay: the corpus needs them, or they spell words outside of it.",
            NoEffectWarning,
            stacklevel=2,
        )
    return ShrunkVocabulary(
        tokenizer=small,
        ids=ids,
        tokens_before=len(tokenizer),
        tokens_after=len(small),
        parameters_before=before[0],
        parameters_after=after[0],
        bytes_before=before[1],
        bytes_after=after[1],
        corpus_tokens=int(counts.sum()),
        unknown_before=_share(tokenizer, counts),
        unknown_after=_share(small, again),
    )


def keep_tokens(model: PreTrainedModel, ids: Mapping[int, int], tokenizer: Any = None) -> None:
    """Keep the rows of the embeddings whose old ids are in ``ids``, in the order of the new ones; in place.

    Args:
        model: A model with input embeddings; what is tied to them stays tied.
        ids: Old id -> new id, the latter from 0 without gaps.
        tokenizer: The tokenizer of the old ids. Its padding, its beginning and its end replace the ids in the
            configuration that point at a token which went, such as ALBERT's defaults in a model with a Chinese
            vocabulary. Without one, and where it has no such token, they become None.

    Raises:
        ConfigurationError: if the model has no row for an id.
        PruningError: if the model is in the middle of being pruned.
    """
    _require_finished(model)
    _require_rows(model, ids)
    table: Any = model.get_input_embeddings()
    order = sorted(ids, key=lambda old: ids[old])
    _keep_rows(model, table, torch.tensor(order, device=table.weight.device))
    config: Any = model.config
    config.vocab_size = len(order)
    for settings in (config, getattr(model, "generation_config", None)):
        if settings is not None:
            _move_ids(settings, ids, tokenizer)


def _require_finished(model: PreTrainedModel) -> None:
    if is_prepared(model):
        raise PruningError(
            "The model is being pruned; finish the training, or call bake_masks(model), before tokens are dropped."
        )


def _require_rows(model: PreTrainedModel, ids: Mapping[int, int]) -> None:
    """Raise unless the model has an embedding for each token."""
    table: Any = model.get_input_embeddings()
    if max(ids) >= (rows := table.weight.shape[0]):
        raise ConfigurationError(
            f"The tokenizer knows token {max(ids)}, and {type(model).__name__} has embeddings for {rows}: they do not"
            " belong together."
        )


def _in_front_of_padding(model: PreTrainedModel, tokenizer: Any) -> set[int]:
    """The tokens up to padding, where positions are counted from its id, as RoBERTa does: it must not change."""
    structure = known_structure(model)
    tables = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    padded = any(getattr(table, "padding_idx", None) is not None for table in tables)
    counts_from_padding = padded if structure is None else structure.base == "roberta"
    padding = tokenizer.pad_token_id
    return set(range(padding + 1)) if counts_from_padding and padding is not None else set()


def _keep_rows(model: PreTrainedModel, table: nn.Embedding, order: Tensor) -> None:
    """Cut the table, the output embeddings and their bias, wherever they are used, so that what is tied stays so."""
    output: Any = model.get_output_embeddings()
    whole = [table.weight]
    if output is not None:
        # Heads hold the bias a second time beside the output embeddings, tied or not.
        biases = [getattr(module, "bias", None) for module in _with_parents(model, output)]
        whole += [output.weight, *(b for b in biases if isinstance(b, nn.Parameter) and len(b) == len(output.weight))]
    smaller = {
        id(old): nn.Parameter(old.detach().index_select(0, order.to(old.device)), requires_grad=old.requires_grad)
        for old in whole
    }
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if (new := smaller.get(id(parameter))) is not None:
                setattr(module, name, new)
        if isinstance(module, nn.Embedding) and id(module.weight) in {id(new) for new in smaller.values()}:
            module.num_embeddings = len(order)
            if module.padding_idx is not None:
                found = (order == module.padding_idx).nonzero()
                module.padding_idx = int(found[0]) if len(found) else None
    if isinstance(output, nn.Linear):
        output.out_features = len(order)


def _with_parents(model: nn.Module, module: nn.Module) -> list[nn.Module]:
    """The module, and those that hold it directly."""
    return [module, *(other for other in model.modules() if any(child is module for child in other.children()))]


def _move_ids(settings: Any, ids: Mapping[int, int], tokenizer: Any) -> None:
    """Give the fields of a configuration whose names end in ``token_id`` the new ids."""
    for name, value in list(vars(settings).items()):
        if not name.endswith("token_id") or value is None:
            continue
        if isinstance(value, list):
            setattr(settings, name, [ids[old] for old in value if old in ids])
        else:
            old = value if value in ids else getattr(tokenizer, name, None)
            setattr(settings, name, ids.get(old) if old is not None else None)


def _require_same_counts(before: Counts, after: Counts, ids: Mapping[int, int]) -> None:
    """Raise unless the corpus has the same tokens as before, each as often."""
    wrong = [(old, new) for old, new in ids.items() if before[old] != after[new]]
    if wrong or before.sum() != after.sum():
        raise TokenizerError(
            f"With fewer tokens the corpus would be tokenized in another way: {before.sum()} tokens became"
            f" {after.sum()}, and {len(wrong)} of them occur more or less often. Did its files change meanwhile? If"
            " not, this tokenizer cannot be shrunk."
        )


def _share(tokenizer: Any, counts: Counts) -> float:
    unknown: int | None = tokenizer.unk_token_id
    return 0.0 if unknown is None else float(counts[unknown] / counts.sum())


def _size(model: nn.Module) -> tuple[int, int]:
    """Parameters of a model, tied ones once, and their bytes."""
    parameters: Sequence[Tensor] = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)
