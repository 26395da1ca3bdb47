"""What goes wrong while a model is loaded, in one line with the cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import PalBertError
from ..registration import EXPORTED_CLASS

__all__ = ["loading", "require_head"]

_REPORTED = re.compile(r"while loading with (\w+), an error is thrown:\n(.*?)(?=\nwhile loading with |\Z)", re.DOTALL)
"""Class and traceback, in the error of a pipeline of transformers that could load a model with no class."""

_CLASS = re.compile(r"^[\w.]+: ")
"""Name of an exception, before what it says in the last line of a traceback."""


@contextmanager
def loading(model: str) -> Iterator[None]:
    """Say of what goes wrong while a model is loaded which model it is, and the cause.

    Args:
        model: Folder or name on the Hub. The headers of a folder's weights are checked before anything else is done.

    Raises:
        PalBertError: if there is no such model, it is damaged, or it is of another kind.
    """
    from safetensors import SafetensorError

    if model.startswith((".", "/", "~")) and not Path(model).is_dir():  # do not go and look for it on the Hub
        raise PalBertError(
            f"{model} is not a folder; give one that save_pretrained or Trainer wrote, or a name on the Hub"
        )
    try:
        _check_headers(Path(model))
        yield
    except SafetensorError as error:  # of a file that the Hub's client has downloaded
        raise PalBertError(
            f"cannot load {model!r}: its weights are damaged or no safetensors file: {error}. Download them again."
        ) from error
    except (OSError, ValueError) as error:
        raise PalBertError(
            f"cannot load {model!r} as a question-answering model: {_cause(str(error), model)}"
        ) from error


def require_head(model: str, architectures: Sequence[str] | None) -> None:
    """Refuse a checkpoint of another task, whose head for questions would be random numbers.

    Args:
        model: Folder or name on the Hub.
        architectures: What its configuration says that it was saved as; nothing is said of one that does not.

    Raises:
        PalBertError: naming what it was saved as, and the cure.
    """
    if architectures and not any("QuestionAnswering" in name for name in architectures):
        raise PalBertError(
            f"{model} was saved as {', '.join(architectures)}, which has no question-answering head, so its answers"
            f" would be random. Fine-tune it first: palbert train takes it as --model_name_or_path."
        )


def _check_headers(folder: Path) -> None:
    from ..storage.files import INDEX_FILE, WEIGHTS_FILE, read_headers, weight_files

    if any((folder / name).is_file() for name in (WEIGHTS_FILE, INDEX_FILE)):
        read_headers(weight_files(folder))


def _cause(message: str, model: str) -> str:
    """Of the tracebacks that the pipeline of transformers reports, one for each class, what the last line says."""
    from ..runtime.answering import is_exported

    causes = {name: trace.rstrip().rpartition("\n")[2] for name, trace in _REPORTED.findall(message)}
    if not causes:
        return message
    name = EXPORTED_CLASS if is_exported(model) and EXPORTED_CLASS in causes else next(iter(causes))
    return _CLASS.sub("", causes[name])
