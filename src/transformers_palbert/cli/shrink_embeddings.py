"""The options of ``palbert shrink`` that make embeddings smaller: fewer tokens, or fewer numbers for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from .inputs import corpus_file
from .loading import loading
from .output import format_bytes, format_count, show, write_json, written

if TYPE_CHECKING:
    from ..compaction.embedding_rank import ReducedRank
    from ..compaction.vocabulary import ShrunkVocabulary

__all__ = [
    "CharactersOption",
    "RankOption",
    "ShrunkEmbeddings",
    "VocabularyOption",
    "load_to_shrink",
    "require_shrinkable",
    "show_embeddings",
    "shrink_embeddings",
]

VocabularyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--vocabulary",
        parser=corpus_file,
        metavar="FILE",
        help="Drop the tokens that never occur in this corpus from embeddings and tokenizer: plain text, also .xz or"
        " .gz, or questions in any form that the package reads; - for standard input. Give the option several times for"
        " several files.",
    ),
]
CharactersOption = Annotated[
    bool,
    typer.Option(
        "--keep-characters/--drop-characters",
        help="With --vocabulary: keep a token for every character, so that other text has no more unknown tokens than"
        " before; or drop characters that the corpus lacks as well.",
    ),
]
RankOption = Annotated[
    int | None,
    typer.Option(
        "--embedding-rank",
        min=1,
        help="Give the embeddings so many numbers, as in 64, by singular value decomposition (ALBERT, PAL-BERT and"
        " ELECTRA); tokens count as often as they occur in --vocabulary, if that is given.",
    ),
]


@dataclass(frozen=True)
class ShrunkEmbeddings:
    """What was done, for those who asked."""

    vocabulary: ShrunkVocabulary | None = None
    rank: ReducedRank | None = None

    def facts(self, before: str, after: Path) -> dict[str, Any]:
        """Figures for ``--json``; the sizes of the weight files are those of the whole model."""
        found: dict[str, Any] = {}
        if (vocabulary := self.vocabulary) is not None:
            names = [name for name in vars(vocabulary) if name not in ("tokenizer", "ids")]
            found["vocabulary"] = {name: getattr(vocabulary, name) for name in names}
        if self.rank is not None:
            found["embedding_rank"] = dict(vars(self.rank))
        if found:
            found["file_bytes"] = _file_bytes(before, after)
        return found

    def summary(self, before: str, after: Path) -> Iterator[str]:
        """The same for people, line by line."""
        if (rank := self.rank) is not None:
            sizes = f"{format_count(rank.parameters_before)} → {format_count(rank.parameters_after)}"
            yield f"Embeddings: {rank.before} → {rank.after} numbers each, parameters {sizes}."
            yield f"Error of what enters the layers: {rank.error:.4f} of its spread (0 exact, 1 nothing left)."
        if (found := self.vocabulary) is not None:
            yield f"Tokens: {format_count(found.tokens_before)} → {format_count(found.tokens_after)}."
            yield (
                f"Parameters: {format_count(found.parameters_before)} → {format_count(found.parameters_after)}"
                f" ({format_bytes(found.bytes_before)} → {format_bytes(found.bytes_after)} in memory)."
            )
            yield (
                f"Unknown tokens in the corpus ({format_count(found.corpus_tokens)} tokens):"
                f" {found.unknown_before:.4%} before, {found.unknown_after:.4%} after."
            )
        files = _file_bytes(before, after)
        if (found or rank) and files["before"] and files["after"]:
            yield f"Weight files: {format_bytes(files['before'])} → {format_bytes(files['after'])}."


def load_to_shrink(model: str) -> tuple[Any, Any]:
    """A question-answering model in the precision that it was saved in, and its tokenizer.

    Raises:
        PalBertError: if there is no such model, it is damaged, or it is of another kind.
    """
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    with loading(model):
        return AutoModelForQuestionAnswering.from_pretrained(model, dtype="auto"), AutoTokenizer.from_pretrained(model)


def require_shrinkable(model: Any, tokenizer: Any, corpus: Sequence[Path], rank: int | None) -> None:
    """Say before minutes of other work what :func:`shrink_embeddings` would say behind it.

    Raises:
        ConfigurationError: if the embeddings cannot have this rank.
        TokenizerError: if the tokenizer cannot lose tokens.
    """
    from ..compaction.embedding_rank import require_rank
    from ..compaction.token_choice import tokens_to_keep
    from ..compaction.tokenizer_cutting import tokenizer_settings

    if rank is not None:
        require_rank(model, rank)
    if corpus:
        tokens_to_keep(tokenizer_settings(tokenizer), ())


def shrink_embeddings(
    model: Any, tokenizer: Any, out: Path, *, corpus: Sequence[Path], keep_characters: bool, rank: int | None
) -> ShrunkEmbeddings:
    """Shrink the embeddings of ``model``, in place, as the options ask; save it in ``out`` with its tokenizer."""
    tokenizer, found = _shrunk(model, tokenizer, corpus, keep_characters, rank)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return found


def show_embeddings(
    found: ShrunkEmbeddings, before: str, after: Path, scores: dict[str, dict[str, float]], json: bool
) -> None:
    """Show what was done where nothing else was, and the scores before and after."""
    if json:
        write_json({**found.facts(before, after), "scores": scores})
        return
    compared = [
        f"{name}: {value:.2f} before, {scores['after'][name]:.2f} after"
        for name, value in scores.get("before", {}).items()
    ]
    show(*found.summary(before, after), *compared, written(after, f"palbert inspect {after}"))


def _shrunk(
    model: Any, tokenizer: Any, corpus: Sequence[Path], keep_characters: bool, rank: int | None
) -> tuple[Any, ShrunkEmbeddings]:
    """The tokenizer to save with the model, and what was done."""
    if not corpus and rank is None:
        return tokenizer, ShrunkEmbeddings()
    from ..compaction.corpus import corpus_texts, count_tokens
    from ..compaction.embedding_rank import reduce_embedding_rank
    from ..compaction.vocabulary import shrink_vocabulary

    with _progress(corpus) as advance:
        counts = count_tokens(tokenizer, corpus_texts(corpus, advance)) if corpus else None
        reduced = None if rank is None else reduce_embedding_rank(model, rank, counts=counts)
        if counts is None:
            return tokenizer, ShrunkEmbeddings(None, reduced)
        found = shrink_vocabulary(
            model, tokenizer, lambda: corpus_texts(corpus, advance), keep_characters=keep_characters, counts=counts
        )
    return found.tokenizer, ShrunkEmbeddings(found, reduced)


@contextmanager
def _progress(corpus: Sequence[Path]) -> Iterator[Any]:
    """A bar over the bytes of the corpus, which is read twice, on stderr where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (corpus and console.is_terminal)) as progress:
        task = progress.add_task("Reading the corpus", total=2 * sum(file.stat().st_size for file in corpus))
        yield lambda read: progress.advance(task, read)


def _file_bytes(before: str, after: Path) -> dict[str, int | None]:
    from ..sizes import weight_bytes

    return {"before": weight_bytes(before) if Path(before).is_dir() else None, "after": weight_bytes(after)}
