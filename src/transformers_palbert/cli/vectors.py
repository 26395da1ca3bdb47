"""``palbert vectors``: word vectors for the word-level baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .command_line import Command
from .inputs import data_file
from .output import JsonOption, format_bytes, format_count, make_table, show, write_json, written

vectors_app = typer.Typer(help="Make word vectors.", no_args_is_help=True, rich_markup_mode=None)


@vectors_app.callback()
def vectors() -> None:
    """Make word vectors."""


@vectors_app.command(cls=Command)
def train(
    files: Annotated[
        list[Path],
        typer.Argument(
            parser=data_file,
            metavar="FILE",
            help="SQuAD, CMRC 2018, DRCD, JSONL, CSV or Parquet; - for standard input; or names on the Hub.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; .bin is binary, .gz compressed.")],
    method: Annotated[
        Literal["word2vec", "glove"], typer.Option(help="How vectors are learnt; word2vec is skip-gram.")
    ] = "word2vec",
    dimensions: Annotated[int, typer.Option(min=1, help="How many numbers each vector has.")] = 300,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="How often all texts are read; by default 10 (word2vec), 15 (glove).")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or Hub name of a word tokenizer, whose words get vectors.")
    ] = None,
    segmentation: Annotated[
        Literal["jieba", "whitespace"], typer.Option(help="How text is cut into words without --tokenizer.")
    ] = "jieba",
    user_dictionary: Annotated[
        Path | None, typer.Option(exists=True, help="File with words to add to jieba's dictionary.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers that vectors start from.")] = 42,
    json: JsonOption = False,
) -> None:
    """Train word vectors on the contexts and questions of data files.

    Words are those that a reader trained on the same files has: see `--model_type` of palbert train, whose
    `--word_vectors` takes the file.

    Example: palbert vectors train train.json -o vectors.txt.gz --method glove
    """
    from ..baselines.building import training_texts, words_of
    from ..baselines.tokenization import WordTokenizer, build_word_tokenizer
    from ..baselines.vector_training import train_vectors
    from ..baselines.vectors import save_word_vectors
    from ..qa.datasets import load_qa_dataset
    from ..text.segmentation import read_user_dictionary

    texts = [text for file in files for text in training_texts(load_qa_dataset(file))]
    if tokenizer is not None:
        cutter = WordTokenizer.from_pretrained(tokenizer)
    else:
        words = read_user_dictionary(user_dictionary) if user_dictionary else ()
        cutter = build_word_tokenizer(texts, segmentation=segmentation, user_dictionary=words)
    sentences = words_of(cutter, texts)
    trained = train_vectors(method, sentences, dimensions=dimensions, epochs=epochs, seed=seed)
    save_word_vectors(trained, output)
    summary: dict[str, Any] = {
        "output": str(output),
        "method": method,
        "texts": len(texts),
        "tokens": sum(map(len, sentences)),
        "words": len(trained.words),
        "dimensions": dimensions,
        "bytes": output.stat().st_size,
    }
    if json:
        write_json(summary)
        return
    counts = [(name, format_count(summary[name])) for name in ("texts", "tokens", "words", "dimensions")]
    next_command = f"palbert train --model_type bilstm --word_vectors {output} --train_file train.json --do_train …"
    show(
        make_table(["", output.name], [*counts, ("size", format_bytes(summary["bytes"]))]),
        written(output, next_command),
    )
