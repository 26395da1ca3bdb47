"""``palbert export``: a model written for a runtime without torch."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import ConfigurationError
from .inputs import data_file
from .models import MetricOption, load_model, load_questions, probe_text
from .output import JsonOption, format_bytes, make_table, show, write_json, written

if TYPE_CHECKING:
    from datasets import Dataset

    from ..export.exporting import Exported

__all__ = ["export"]

Format = Literal["onnx", "openvino"]

_QUESTIONS = 200
"""Questions that both models answer, where nothing else is said."""


def export(
    model: Annotated[str, typer.Argument(help="Folder of a question-answering checkpoint, or its name on the Hub.")],
    out: Annotated[Path, typer.Argument(help="New folder to write; it must not exist, or be empty.")],
    format: Annotated[Format, typer.Option(help="What is to run it: ONNX Runtime or OpenVINO.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Make integers of 8 bits of its matrices.")] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            parser=data_file,
            metavar="FILE",
            help="With --int8: questions on which the ranges of activations are measured, once, instead of in every"
            " call. Not those of --data.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-d",
            parser=data_file,
            metavar="FILE",
            help="Questions that both models answer, to compare answers and scores; by default logits are compared on"
            " two sentences.",
        ),
    ] = None,
    metric: MetricOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help=f"Use only the first so many questions of --data; by default {_QUESTIONS}."
        ),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option("--push-to-hub", help="Push the folder to this repository, as owner/name, in one commit."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With --push-to-hub: a repository that does not exist yet is private.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Write a model as a folder that answers without torch and transformers, on ONNX Runtime or OpenVINO.

    Any model that AutoModelForQuestionAnswering loads and that reads tokens: pruned, packed, with fewer heads or units.
    Batches may have any size and length. In float32, the logits are checked to be those of the model; in int8, what
    the integers cost is measured with --data. Both figures are printed, and written into parity.json and the card.

    The folder is asked with transformers_palbert.runtime.load, with the pipeline, and with all commands that ask.

    Example: palbert export ./my-model ./exported --format openvino --int8 --calibrate train.json --data dev.json
    """
    if calibrate is not None and not int8:
        raise typer.BadParameter("--calibrate belongs to --int8")
    if private and push_to_hub is None:
        raise typer.BadParameter("--private belongs to --push-to-hub")
    if data is None and (metric is not None or limit is not None):
        raise typer.BadParameter(f"{'--limit' if metric is None else '--metric'} belongs to --data")
    from ..export.exporting import CALIBRATION_WINDOWS, SAMPLE, export_model
    from ..export.graphs import require_exporters
    from ..qa.datasets import load_qa_dataset
    from ..qa.settings import settings_for

    with redirect_stdout(sys.stderr):  # some keep the stdout that they find when they are imported
        require_exporters(format, int8)  # said now, not after the model is loaded
    records, chosen = (list(SAMPLE), None) if data is None else load_questions(data, limit or _QUESTIONS, metric)
    ranges = [] if calibrate is None else _first(load_qa_dataset(calibrate, training=True), CALIBRATION_WINDOWS)
    network, tokenizer = load_model(model, None if data is None else probe_text(records))
    settings = settings_for(
        network.config,
        longest=tokenizer.model_max_length,
        fallback={"version_2_with_negative": chosen == "squad_v2"},
        given={},
    )
    with redirect_stdout(sys.stderr):  # the exporters report what they do, and --json prints nothing else
        done = export_model(
            network, tokenizer, out, format=format, int8=int8, settings=settings, calibration=ranges, sample=records,
            metric=chosen, source=model,
        )  # fmt: skip
    if push_to_hub is not None:
        _push(out, push_to_hub, private)
    if json:
        write_json(done.to_dict())
    else:
        show(*_summary(done), written(out, f"palbert serve {out}", f"palbert latency {model} {out}"))


def _first(questions: Dataset, count: int) -> list[dict[str, Any]]:
    """The first questions of a data set, of which no others become objects."""
    found: list[dict[str, Any]] = questions.select(range(min(count, len(questions)))).to_list()
    return found


def _push(folder: Path, repo_id: str, private: bool) -> None:
    """Push an exported folder; weights of torch that the repository holds stay."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    from ..hub.push import REPLACED_EXPORT, folder_operations, push
    from ..storage.model_files import EXPORTED

    try:
        name = HfApi(library_name="transformers-palbert").create_repo(repo_id, private=private, exist_ok=True).repo_id
        push(name, folder_operations(folder, EXPORTED), message="Push an exported model", replaced=REPLACED_EXPORT)
    except (HfHubHTTPError, HFValidationError) as error:
        raise ConfigurationError(f"{folder} is written, but cannot be pushed to {repo_id!r}: {error}") from error


def _summary(done: Exported) -> list[Any]:
    parity, said = done.parity, done.description
    lines = [
        f"{done.folder}: {said.format}, {said.precision}, {format_bytes(done.file_bytes)}",
        f"{parity.same_answers} of {parity.questions} answers are the same; logits differ by"
        f" {parity.largest_difference:.2g} at most, and the largest is {parity.largest_logit:.2g}",
    ]
    if parity.metric is None:
        return ["\n".join(lines)]
    rows = [
        (name, f"{value:.2f}", f"{parity.after[name]:.2f}", f"{parity.after[name] - value:+.2f}")
        for name, value in parity.before.items()
    ]
    return ["\n".join(lines), "", make_table([parity.metric, "model", "exported", "difference"], rows)]
