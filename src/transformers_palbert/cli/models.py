"""Loading of models and questions, for the commands that ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import track

from ..errors import ConfigurationError
from .inputs import data_file
from .loading import loading, require_head

if TYPE_CHECKING:
    from ..qa.answering import Reader
    from ..qa.evaluation_decoding import QAPredictions
    from ..qa.settings import AnsweringSettings

__all__ = [
    "BatchSizeOption",
    "DataOption",
    "DeviceOption",
    "ImpossibleOption",
    "LimitOption",
    "MaxAnswerOption",
    "MaxQuestionOption",
    "MaxSequenceOption",
    "Metric",
    "MetricOption",
    "NBestOption",
    "ReduceMaxTokensOption",
    "ReduceOption",
    "StrideOption",
    "ThresholdOption",
    "answer_all",
    "given_reduction",
    "load_asker",
    "load_model",
    "load_questions",
    "load_reader",
    "model_names",
    "probe_text",
    "watch",
]

PROBED = 20
"""Questions whose words a tokenizer must know something of."""

_ANY_LANGUAGE = "谁 who"
"""A probe for a tokenizer, where the language of the questions is not known yet."""

_DEFAULT = "by default what is saved with the model"

Metric = Literal["cmrc2018", "squad", "squad_v2", "palbert_qa"]

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        "-d",
        parser=data_file,
        metavar="FILE",
        help="Questions: SQuAD, CMRC 2018, DRCD, Natural Questions, MRQA, DPR, JSONL, CSV or Parquet; - for standard"
        " input; or owner/name of a data set on the Hub.",
    ),
]
MetricOption = Annotated[
    Metric | None,
    typer.Option(
        "--metric",
        "-m",
        help="Which metric to compute; by default squad_v2 if a question has no answer, else cmrc2018 for Chinese, else"
        " squad.",
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Use only the first so many questions.")]
BatchSizeOption = Annotated[
    int, typer.Option("--batch-size", "-b", min=1, help="How many windows go through the model at once.")
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, mps …; by default the fastest there is."),
]
MaxSequenceOption = Annotated[
    int | None, typer.Option("--max-seq-length", min=8, help=f"Tokens of a window; {_DEFAULT}, else 384.")
]
StrideOption = Annotated[
    int | None,
    typer.Option("--doc-stride", min=0, help=f"Tokens that neighbouring windows share; {_DEFAULT}, else 128."),
]
MaxQuestionOption = Annotated[
    int | None,
    typer.Option("--max-question-length", min=1, help=f"Longest question, in tokens; {_DEFAULT}, else 64."),
]
MaxAnswerOption = Annotated[
    int | None, typer.Option("--max-answer-length", min=1, help=f"Longest answer, in tokens; {_DEFAULT}, else 30.")
]
NBestOption = Annotated[
    int | None,
    typer.Option("--n-best-size", min=1, help=f"Candidates considered of each question; {_DEFAULT}, else 20."),
]
ImpossibleOption = Annotated[
    bool | None,
    typer.Option(
        "--impossible/--no-impossible",
        help=f"Whether the model may say that the text does not hold the answer; {_DEFAULT}, else no, but yes where the"
        " metric is squad_v2.",
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--null-score-diff-threshold",
        help=f"With --impossible: how far the score of no answer must exceed the best answer's; {_DEFAULT}, else 0.",
    ),
]

ReduceOption = Annotated[
    str | None,
    typer.Option(
        "--reduce", help="Read only the passages of a long text that matter, scored by any of bm25,sbert,dpr,ig,lead."
    ),
]
ReduceMaxTokensOption = Annotated[
    int | None,
    typer.Option("--reduce-max-tokens", min=1, help="With --reduce: how many tokens are read; by default 512."),
]


def load_reader(
    model: str, probe: str, given: Mapping[str, Any], *, may_be_impossible: bool = False, device: str | None = None
) -> Reader:
    """Load a model that answers with the settings saved with it.

    Args:
        model: Folder or name on the Hub.
        probe: Text in the language of the questions; an answer from unknown tokens alone would be noise.
        given: Settings that replace those of the model; None stands for one that was not given.
        may_be_impossible: Whether a question may have no answer, where the model does not say.
        device: Where to compute; None for the fastest device.

    Raises:
        PalBertError: if there is no such model, or it cannot answer questions.
        TokenizerError: if the tokenizer knows nothing of ``probe``.
        ConfigurationError: if the model's own settings, or those given, are not allowed, or the device is not there.
    """
    from ..qa.answering import Reader
    from ..qa.settings import settings_for

    pipe = _load_pipeline(model, probe, device)
    settings = settings_for(
        pipe.model.config,
        longest=pipe.tokenizer.model_max_length,
        fallback={"version_2_with_negative": may_be_impossible},
        given={name: value for name, value in given.items() if value is not None},
    )
    return Reader(pipe.model, pipe.tokenizer, settings)


def load_model(model: str, probe: str | None = None) -> tuple[Any, Any]:
    """A model in float32 on the CPU, and its tokenizer.

    Args:
        model: Folder or name on the Hub.
        probe: Text of which the tokenizer must know something; None if there is none.

    Raises:
        PalBertError: as :func:`load_reader`.
    """
    pipe = _load_pipeline(model, probe, "cpu", dtype="float32")
    return pipe.model, pipe.tokenizer


def load_asker(
    model: str, *, device: str | None = None, threads: int | None = None, reduce: Mapping[str, Any] | None = None
) -> Any:
    """What answers questions as the question-answering pipeline does; the one place where it is chosen.

    An exported model, in a folder or on the Hub, is read by the runtime, which needs no torch and less memory; but
    contexts are shortened by the pipeline alone.

    Args:
        model: Folder or name on the Hub.
        device: Where to compute; None for the fastest device.
        threads: Threads of the model on a CPU; None for one on each core.
        reduce: How contexts are shortened, see :func:`~transformers_palbert.reduction.settings.as_reducer`; None or
            nothing to read all of them.

    Raises:
        PalBertError: as :func:`load_reader`, or if ``reduce`` is wrong or needs something that is missing.
    """
    from ..runtime import load
    from ..runtime.answering import is_exported

    exported = is_exported(model)
    if exported and device not in (None, "cpu"):
        raise ConfigurationError(f"{model} is an exported model, which runs on the CPU and not on {device!r}.")
    if exported and not reduce:
        return load(model, threads=threads)
    options: dict[str, Any] = {"reduce": {**reduce, "device": device}} if reduce else {}
    if exported:
        return _load_pipeline(model, _ANY_LANGUAGE, "cpu", model_kwargs={"threads": threads}, **options)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return _load_pipeline(model, _ANY_LANGUAGE, device, **options)


def given_reduction(scorers: str | None, max_tokens: int | None, **models: str | None) -> dict[str, Any]:
    """What the options say of how contexts are shortened, for ``reduce`` of the pipeline; empty if they are not.

    Args:
        scorers: Of ``--reduce``.
        max_tokens: Of ``--reduce-max-tokens``.
        models: Of the options for models of scorers, by the name in
            :class:`~transformers_palbert.reduction.settings.ReductionSettings`.

    Raises:
        typer.BadParameter: if there is something for scorers, but none of these.
    """
    options: dict[str, tuple[str, Any]] = {"max_tokens": ("--reduce-max-tokens", max_tokens)}
    options |= {name: (f"--{name.replace('_', '-')}", value) for name, value in models.items()}
    given = {name: value for name, (_, value) in options.items() if value is not None}
    if scorers is not None:
        return {"scorers": scorers, **given}
    if given:
        raise typer.BadParameter(f"{options[next(iter(given))][0]} has no effect without --reduce")
    return {}


def load_questions(file: Path, limit: int | None, metric: str | None) -> tuple[list[dict[str, Any]], str]:
    """Questions of a file in the SQuAD schema, and the metric to count with.

    Raises:
        DatasetFormatError: if the file cannot be read, or holds a question that the metric cannot score.
        ConfigurationError: if no question has an answer.
    """
    from ..analysis.scores import default_metric, score_each
    from ..qa.datasets import load_qa_dataset

    dataset = load_qa_dataset(file)
    records = dataset.select(range(min(limit or len(dataset), len(dataset)))).to_list()
    if metric is None and not any(record["answers"]["text"] for record in records):
        raise ConfigurationError(
            f"{file}: none of the {len(records)} questions has an answer to compare with. If that is meant, pass"
            " --metric squad_v2."
        )
    chosen = metric or default_metric(records)
    unanswerable = [record for record in records if not record["answers"]["text"]][:1]
    score_each(chosen, [""] * len(unanswerable), unanswerable)  # what it cannot score is said now, not after the work
    return records, chosen


def model_names(models: Sequence[str]) -> list[str]:
    """Last parts of the models' paths; the whole paths where two end alike.

    Raises:
        ConfigurationError: if one is given twice.
    """
    if repeated := sorted({model for model in models if models.count(model) > 1}):
        raise ConfigurationError(f"{', '.join(repeated)} is given more than once; every row needs a model of its own.")
    names = [Path(model).resolve().name if Path(model).is_dir() else model for model in models]
    return [name if names.count(name) == 1 else model for name, model in zip(names, models, strict=True)]


def probe_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Words of the questions, for the ``probe`` of :func:`load_reader`."""
    return " ".join(record["question"] for record in records[:PROBED])


def watch(items: Iterable[Any], name: str) -> Iterable[Any]:
    """Pass ``items`` on, with a progress bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    return track(items, name, console=console, transient=True, disable=not console.is_terminal)


def answer_all(
    model: str, records: list[dict[str, Any]], *, impossible: bool, batch_size: int, device: str | None
) -> tuple[QAPredictions, AnsweringSettings]:
    """The answers of a model with the settings saved with it, with a progress bar; the model is let go afterwards.

    Args:
        model: Folder or name on the Hub.
        records: The questions.
        impossible: Whether a question may have no answer, where the model does not say.
        batch_size: Windows that pass through the model at once.
        device: Where to compute; None for the fastest device.
    """
    from ..qa.batches import question_blocks
    from ..qa.evaluation_decoding import QAPredictions

    reader = load_reader(model, probe_text(records), {}, may_be_impossible=impossible, device=device)
    found = QAPredictions({}, {}, {})
    for block in watch(question_blocks(records, batch_size), model):
        answers = reader.answer(block, batch_size=batch_size)
        for name, values in vars(answers).items():
            getattr(found, name).update(values)
    return found, reader.settings


def _load_pipeline(model: str, probe: str | None, device: str | None, **options: Any) -> Any:
    """Load a question-answering pipeline, which chooses the device where none is given; see :func:`load_reader`."""
    from transformers import pipeline
    from transformers.utils.logging import disable_progress_bar

    from ..model.tokenization_palbert import check_tokenizer

    disable_progress_bar()
    chosen = options if device is None else {"device": _checked_device(device), **options}
    task: Any = "question-answering"  # transformers' own types no longer list it
    with loading(model):
        pipe = pipeline(task, model=model, **chosen)
    require_head(model, pipe.model.config.architectures)
    if probe is not None:
        check_tokenizer(pipe.tokenizer, probe=probe)
    return pipe


def _checked_device(name: str) -> Any:
    """The device of this name, on which something has been computed."""
    import torch

    try:
        device = torch.device(name)
        torch.ones(1, device=device).add_(1)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch says of different devices
        raise ConfigurationError(f"--device {name} cannot be used: {error}") from error
    return device
