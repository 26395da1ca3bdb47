"""The ``palbert`` command: the commands of this folder, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from .answer import answer
from .command_line import Command, Commands
from .compare import compare
from .compress import compress, decompress
from .data import data_app
from .evaluate import evaluate
from .export import export
from .inspect import inspect
from .latency import latency
from .pass_on import PASS_ON
from .pretrain import pretrain
from .reduce import reduce
from .report import report
from .reproduce import reproduce
from .serve import serve
from .shrink import shrink
from .train import train
from .tune import tune
from .vectors import vectors_app

__all__ = ["app", "run"]


HELP = """Small question-answering models: pruned ALBERT, BERT and RoBERTa.

\b
Fine-tune a model and prune it on the way, from a recipe or from options:
  palbert train paper_cmrc2018.yaml --learning_rate 1e-5 --output_dir outputs/lr_1e-5

\b
Pre-train one on text; search for good settings; run the paper's experiments:
  palbert pretrain --train_file corpus.txt --tokenizer_name vocab.txt --do_train --output_dir outputs/pretrained
  palbert tune small_cmrc2018.yaml --trials 30     (after palbert train small_cloze.yaml)
  palbert reproduce table7 --scale small

\b
Ask a model:
  palbert answer ./my-model --question "谁写了《红楼梦》?" --context-file text.txt

\b
Ask it many questions, or let others ask it through HTTP and a page:
  palbert answer ./my-model --questions many.jsonl --out answers.jsonl
  palbert serve ./my-model --port 8000

\b
Score predictions (JSON: question id to text):
  palbert evaluate -p predictions.json -r cmrc2018_dev.json -m cmrc2018

\b
Compare models, and see what one gets right and wrong:
  palbert compare ./dense ./pruned --data dev.json
  palbert report ./my-model --data dev.json --out report.html

\b
See what pruning left of a checkpoint, and what a data set contains:
  palbert inspect ./my-model
  palbert data stats train.json dev.json
  palbert data split dev.json --fractions 0.5,0.5

\b
Make a trained model faster, or its vocabulary smaller, without training it:
  palbert shrink ./my-model ./fast --data train.json --speedup 1.5
  palbert shrink ./my-model ./small --vocabulary corpus.txt

\b
Make a checkpoint small on disk, and plain again:
  palbert compress ./my-model ./small --values fp16
  palbert decompress ./small ./plain

\b
Shorten the contexts of a data set to what matters for their questions:
  palbert reduce train.json shorter --max-tokens 256,128 --keep-answer

\b
Write a model that answers without torch, in int8 if asked to:
  palbert export ./my-model ./exported --format onnx --int8 --data dev.json

\b
Measure how fast models are here, in every runtime:
  palbert latency ./my-model ./exported

\b
Train word vectors for the BiLSTM and TextCNN baselines:
  palbert vectors train train.json -o vectors.txt.gz --method glove

Models and data sets may be folders and files, or names on the Hub; - is standard input where a file is read.
Every command takes --help, and those that show results take --json, for scripts.
"""

app = typer.Typer(
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    answer, compare, compress, decompress, evaluate, export, inspect, latency, reduce, report, serve, shrink,
):  # fmt: skip
    app.command(cls=Command)(command)
for passed_on in (pretrain, reproduce, train, tune):
    app.command(context_settings=PASS_ON)(passed_on)
app.add_typer(data_app, name="data")
app.add_typer(vectors_app, name="vectors")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"transformers-palbert {version('transformers-palbert')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Entry point of the console script."""
    app(prog_name="palbert")
