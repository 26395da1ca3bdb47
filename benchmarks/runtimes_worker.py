"""What answers in `benchmarks/runtimes.py`: a model in a process of its own, and the peers that it is compared with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pipeline import System

from transformers_palbert.analysis.latency_worker import Case, load_case
from transformers_palbert.analysis.turns import serve_tasks

__all__ = ["PLAIN", "OldPipeline", "PlainOnnxRuntime", "Settings", "Task", "answer", "load_asker", "serve_questions"]

PLAIN = "plain onnxruntime"

Task = tuple[int, int, int]
"""First question, the one behind the last, and windows of a batch."""

Settings = Mapping[str, int]
"""How windows are cut and answers decoded, as the pipeline's arguments; the defaults of the peers are others."""

Ask = Callable[..., Any]


def serve_questions(connection: Connection, case: Case, questions: Path, settings: Settings) -> None:
    """Load a model and answer tasks until None comes.

    Args:
        connection: Gets for each :data:`Task` what :func:`answer` gives.
        case: What answers; its runtime may be :data:`PLAIN` too.
        questions: JSON: a list of objects with ``question`` and ``context``.
        settings: How to answer.
    """

    def load() -> tuple[Ask, list[dict[str, str]]]:
        return load_asker(case), json.loads(questions.read_text(encoding="utf-8"))

    serve_tasks(connection, load, lambda loaded, task: answer(*loaded, task, settings))


def answer(ask: Ask, examples: Sequence[Mapping[str, str]], task: Task, settings: Settings) -> dict[str, Any]:
    """Let ``ask`` answer the questions of a task in one call: ``seconds``, and ``answers``, a text for each."""
    first, behind, batch_size = task
    columns = {name: [example[name] for example in examples[first:behind]] for name in ("question", "context")}
    start = time.perf_counter()
    found = ask(**columns, batch_size=batch_size, **settings)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "answers": [one["answer"] for one in (found if isinstance(found, list) else [found])]}


def load_asker(case: Case) -> Ask:
    """What is called as the question-answering pipeline is: the pipeline, the runtime, or a peer."""
    if case.runtime == PLAIN:
        return PlainOnnxRuntime(Path(case.folder), case.threads)
    if case.runtime in ("onnx", "openvino"):
        from transformers_palbert.runtime import load

        return load(case.folder, threads=case.threads)
    from transformers import AutoTokenizer

    from transformers_palbert import QuestionAnsweringPipeline

    model, tokenizer = load_case(case, dynamic=True), AutoTokenizer.from_pretrained(case.folder)
    return QuestionAnsweringPipeline(model=model, tokenizer=tokenizer, device="cpu")


class PlainOnnxRuntime:
    """onnxruntime as one uses it without a package around: a request in each thread, one window in each call.

    Args:
        folder: An exported model.
        threads: How many requests are under way at once; each computes in one thread.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.threads = threads

    def __call__(
        self,
        *,
        question: Sequence[str],
        context: Sequence[str],
        batch_size: int,
        max_seq_len: int,
        doc_stride: int,
        max_answer_len: int,
        max_question_len: int,
    ) -> list[dict[str, Any]]:
        """Answer questions; ``batch_size`` and ``max_question_len`` have no effect."""
        self.tokenizer.enable_truncation(max_seq_len, stride=doc_stride, strategy="only_second")

        def one(asked: str, text: str) -> dict[str, Any]:
            first = self.tokenizer.encode(asked.strip(), text)
            found = [self._best(window, max_answer_len) for window in (first, *first.overflowing)]
            _, start, end = max(found)
            return {"answer": text[start:end]}

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(one, question, context))

    def _best(self, window: Any, max_answer_len: int) -> tuple[float, int, int]:
        """Sum of the logits, first character and the one behind the last of the best span of a window."""
        columns = {"input_ids": window.ids, "attention_mask": window.attention_mask, "token_type_ids": window.type_ids}
        inputs = {name: np.array([columns[name]]) for name in self.inputs}
        start, end = (logits[0] for logits in self.session.run(["start_logits", "end_logits"], inputs))
        of_context = np.array(window.sequence_ids, dtype=float) == 1  # None, of special tokens, becomes NaN
        places = np.arange(len(start))
        length = places - places[:, None] + 1
        allowed = of_context[:, None] & of_context & (length >= 1) & (length <= max_answer_len)
        sums = np.where(allowed, start[:, None] + end, -np.inf)
        first, last = np.unravel_index(int(sums.argmax()), sums.shape)
        return float(sums[first, last]), window.offsets[first][0], window.offsets[last][1]


class OldPipeline:
    """A pipeline of an environment of its own; takes turns with the others.

    Args:
        system: Which one, as the worker of `benchmarks/pipeline.py` calls it.
        python: The interpreter of its environment.
        folder: Model, tokenizer and ``examples.json``.
        threads: How many it uses.
        settings: How to answer.
    """

    def __init__(self, system: str, python: Path, folder: Path, threads: int, settings: Settings) -> None:
        self._arguments, self.settings = (system, python, folder, threads), settings
        self._system: System | None = None

    def __enter__(self) -> OldPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        if self._system is not None:
            self._system.stop()

    def receive(self) -> str | None:
        """Wait until it is ready; text where it failed."""
        try:
            self._system = System(*self._arguments)
        except RuntimeError as error:
            return str(error)
        return None

    def ask(self, task: Task) -> Any:
        """What :func:`answer` gives; text where it failed."""
        assert self._system is not None
        first, behind, batch_size = task
        try:
            said = self._system.answer(indices=list(range(first, behind)), batch_size=batch_size, **self.settings)
        except (RuntimeError, OSError) as error:
            self._system = None
            return str(error)
        return {"seconds": said["seconds"], "answers": [one["answer"] for one in said["answers"]]}
