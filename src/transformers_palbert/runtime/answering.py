"""Questions answered by an exported model, as the pipeline ``question-answering`` answers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ..errors import ConfigurationError, StorageError
from ..json_text import read_json
from ..qa.asking import answer_block, checked_settings, cut_block, require_known
from ..qa.batches import BATCHES_AHEAD, padded_arrays, window_batches
from ..qa.inputs import Example, blocks, parse_inputs
from ..qa.settings import AnsweringSettings, read_settings
from ..qa.window_decoding import require_positive
from .description import CONFIG_FILE, DESCRIPTION_FILE, RUNTIME_FILES, Description, read_description
from .sessions import Session, open_session
from .tokenizer import RuntimeTokenizer, load_tokenizer

__all__ = ["QuestionAnswerer", "exported_folder", "is_exported", "load"]


class QuestionAnswerer:
    """Finds answers to questions in contexts; takes and returns what the pipeline does.

    Args:
        session: The model's graph.
        tokenizer: Its tokenizer.
        description: What was exported.
        saved: The settings saved with the model, if there are any.
    """

    def __init__(
        self,
        session: Session,
        tokenizer: RuntimeTokenizer,
        description: Description,
        saved: AnsweringSettings | None = None,
    ) -> None:
        self.session, self.tokenizer, self.description, self.saved = session, tokenizer, description, saved

    def __call__(self, *args: Any, batch_size: int | None = None, num_workers: int | None = None, **kwargs: Any) -> Any:
        """Answer one or many questions.

        Args:
            *args: Instead of ``question`` and ``context``: both as two strings; one mapping with these keys, which may
                hold lists; a list of mappings for one question each; or a generator of those, read as needed.
            batch_size: How many windows go through the model at once, 1 by default.
            num_workers: Without effect, as in the pipeline.
            **kwargs: ``question`` and ``context``, and the settings of
                :meth:`~transformers_palbert.QuestionAnsweringPipeline.__call__`: ``top_k``, ``doc_stride``,
                ``max_answer_len``, ``max_seq_len``, ``max_question_len``, ``handle_impossible_answer``,
                ``align_to_words``, ``normalize_over`` and ``padding``, with the same defaults. ``reduce`` is the
                pipeline's alone.

        Returns:
            A dict with ``score``, ``start``, ``end`` and ``answer``; a list of them where ``top_k`` gives several. For
            several questions, a list of these; for a generator, an iterator over these.

        Raises:
            ConfigurationError: if arguments cannot be understood, or a question or context is empty.
            DatasetFormatError: if a question or context holds half of a surrogate pair.
        """
        if kwargs.pop("reduce", None) is not None:
            raise ConfigurationError(
                'The runtime reads all of a context. Texts are shortened by `pipeline("question-answering",'
                " model=folder)`, which takes exported folders too."
            )
        inputs = parse_inputs(args, kwargs)
        require_known(kwargs)
        settings = checked_settings(kwargs)
        batch_size = 1 if batch_size is None else batch_size
        require_positive(batch_size=batch_size)
        if not isinstance(inputs, list):
            return self._answers(inputs, batch_size, BATCHES_AHEAD if batch_size > 1 else 1, *settings)
        answers = list(self._answers(inputs, batch_size, BATCHES_AHEAD, *settings))
        return answers[0] if len(answers) == 1 else answers

    def _answers(
        self, inputs: Iterable[Example], batch_size: int, ahead: int, cutting: dict[str, Any], decoding: dict[str, Any]
    ) -> Iterator[Any]:
        """The answers to ``inputs`` in their order, read ``ahead`` batches at once."""
        for examples in blocks(inputs, batch_size * ahead):
            block = cut_block(self.tokenizer, examples, saved=self.saved, **cutting)
            logits = [
                (batch, self.session(padded_arrays(block.windows, batch, self.tokenizer, block.length)))
                for batch in window_batches(block.lengths, batch_size)
            ]
            yield from answer_block(block, logits, self.tokenizer, saved=self.saved, **decoding)


def load(model: str | Path, *, threads: int | None = None, revision: str | None = None) -> QuestionAnswerer:
    """Load an exported model.

    Args:
        model: Folder that ``palbert export`` wrote, or its name on the Hub.
        threads: How many threads a batch uses; by default all cores.
        revision: Branch, tag or commit on the Hub.

    Raises:
        StorageError: if there is no exported model, or it is damaged.
        MissingExtraError: if onnxruntime, or openvino, is not installed.
        ConfigurationError: if ``threads`` is below 1, or the settings saved with the model are not allowed.

    Example:
        >>> ask = load("exported")  # doctest: +SKIP
        >>> ask(question="Where do I live?", context="I live in Berlin.")  # doctest: +SKIP
    """
    folder = exported_folder(model, revision)
    description = read_description(folder)
    saved = read_settings(SimpleNamespace(**read_json(folder / CONFIG_FILE)))
    session, tokenizer = open_session(folder, description, threads), load_tokenizer(folder, description)
    return QuestionAnswerer(session, tokenizer, description, saved)


def is_exported(model: str) -> bool:
    """Whether a folder, or a repository on the Hub or in its cache, holds an exported model."""
    if Path(model).is_dir():
        return (Path(model) / DESCRIPTION_FILE).is_file()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        hf_hub_download(model, DESCRIPTION_FILE)
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError):
        return False
    return True


def exported_folder(model: str | Path, revision: str | None = None) -> Path:
    """The folder of an exported model, downloaded from the Hub where ``model`` is no folder on this machine.

    Raises:
        StorageError: if it is neither.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if isinstance(model, Path) or model.startswith((".", "/", "~")):  # do not go and look for it on the Hub
        raise StorageError(f"{model} is not a folder; give one that `palbert export` wrote, or a name on the Hub.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(RUNTIME_FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise StorageError(f"There is no exported model {model!r}, in a folder or on the Hub: {error}") from error
