"""What goes over the wire: requests, answers, errors; their fields, ranges and examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from ..errors import ConfigurationError
from ..text.surrogates import lone_surrogate
from .limits import Limits

__all__ = ["AnswerRequest", "AnswerResponse", "ErrorResponse", "HealthResponse", "checked_examples", "complaint"]

_MAX_QUESTION_CHARS = 10_000
_MAX_MESSAGE = 500
_OPTIONS = (
    "top_k",
    "max_answer_len",
    "handle_impossible_answer",
    "align_to_words",
    "normalize_over",
    "max_seq_len",
    "doc_stride",
    "max_question_len",
)
_SAVED = "by default what is saved with the model"
_SPECIAL_TOKENS = 4  # of a pair of texts, at most

_TEXT = "My name is Wolfgang and I live in Berlin."
_EXAMPLES: list[JsonValue] = [
    {"question": "Where do I live?", "context": _TEXT},
    {"question": ["Where do I live?", "What is my name?"], "context": _TEXT, "top_k": 3},
    {"question": "谁写了《红楼梦》?", "context": "《红楼梦》的作者是曹雪芹。", "handle_impossible_answer": True},
]
_ANSWERED: JsonValue = {"results": [{"answers": [{"score": 0.9191, "start": 34, "end": 40, "answer": "Berlin"}]}]}


class AnswerRequest(BaseModel):
    """One or several questions, and the options of the question-answering pipeline."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": _EXAMPLES})

    question: str | list[str] = Field(description="The question, or a list of questions.")
    context: str | list[str] = Field(
        description="The text to look for the answers in: one for all questions, or a list with one for each."
    )
    top_k: int | None = Field(None, ge=1, le=100, description="Answers to each question, best first; 1 by default.")
    max_answer_len: int | None = Field(None, ge=1, le=512, description=f"Longest answer in tokens; {_SAVED}, else 15.")
    handle_impossible_answer: bool | None = Field(
        None,
        description=f'Whether the empty answer "" is a candidate, for "the text does not say"; {_SAVED}, else not.',
    )
    align_to_words: bool | Literal["auto"] | None = Field(
        None, description='Whether answers are extended to whole words; by default "auto", not in Chinese and Japanese.'
    )
    normalize_over: Literal["window", "document"] | None = Field(
        None,
        description='What scores are shares of: the "window" that an answer was found in, by default; or the whole'
        ' "document", whose windows then compete.',
    )
    max_seq_len: int | None = Field(None, ge=16, description=f"Tokens of a window; {_SAVED}, else 384.")
    doc_stride: int | None = Field(None, ge=0, description="Tokens that neighbouring windows share; needs max_seq_len.")
    max_question_len: int | None = Field(
        None,
        ge=1,
        description="Longer questions lose their last tokens; needs max_seq_len, and is 64 by default, or what it has"
        " room for.",
    )

    @model_validator(mode="after")
    def _windows_advance(self) -> AnswerRequest:
        """Refuse windows that overlap so far that a text becomes a window for every few tokens."""
        if self.max_seq_len is None:
            if self.doc_stride is not None or self.max_question_len is not None:
                raise ValueError("doc_stride and max_question_len need max_seq_len beside them")
            return self
        stride = min(self.max_seq_len // 2, 128) if self.doc_stride is None else self.doc_stride
        room = self.max_seq_len - _SPECIAL_TOKENS - stride - self.max_seq_len // 8
        if self.max_question_len is None:
            self.max_question_len = max(min(64, room), 1)  # the question gives way, not the request
        longest = self.max_question_len
        if longest > room:
            raise ValueError(
                f"windows of {self.max_seq_len} tokens with doc_stride {stride} and max_question_len {longest} hardly"
                " advance; lower doc_stride or max_question_len, or raise max_seq_len"
            )
        return self

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The options that were given, in a fixed order: requests with equal ones can be answered together."""
        given = ((name, getattr(self, name)) for name in _OPTIONS)
        return tuple((name, value) for name, value in given if value is not None)


class Answer(BaseModel):
    """A slice of the context."""

    score: float = Field(
        description="Probability of the answer, a share of what normalize_over names. Those of equal answers are added"
        " up, so that the sum may exceed 1 where several windows are sure of the same."
    )
    start: int = Field(description="Index of its first character in the context, counted in Unicode code points.")
    end: int = Field(description="Index behind its last character.")
    answer: str = Field(description='Its text, context[start:end]; "" if the text does not hold the answer.')


class Result(BaseModel):
    """What was found for one question."""

    answers: list[Answer] = Field(description="Best first; fewer than top_k where the text holds fewer.")


class AnswerResponse(BaseModel):
    """A result for every question, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ANSWERED]})

    results: list[Result]


class ErrorResponse(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "question: it is empty"}]})

    detail: str


class HealthResponse(BaseModel):
    """Whether the server answers, and with which model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready", "model": "my-model"}]})

    status: Literal["ready", "starting", "stopping"]
    model: str


def checked_examples(asked: AnswerRequest, limits: Limits) -> list[dict[str, str]]:
    """The questions of a request, each with its context.

    Raises:
        ConfigurationError: naming the field that is empty, too long or does not fit the other.
    """
    questions = [asked.question] if isinstance(asked.question, str) else asked.question
    contexts = [asked.context] * len(questions) if isinstance(asked.context, str) else asked.context
    if not 0 < len(questions) <= limits.max_questions:
        raise ConfigurationError(
            f"question: 1 to {limits.max_questions} are allowed in a request, not {len(questions)}"
        )
    if len(questions) != len(contexts):
        raise ConfigurationError(
            f"context: there are {len(contexts)} for {len(questions)} questions; give one for all, or one for each"
        )
    for name, texts, longest in (
        ("question", questions, _MAX_QUESTION_CHARS),
        ("context", contexts[:1] if isinstance(asked.context, str) else contexts, limits.max_context_chars),
    ):
        for text in texts:
            if not text.strip():
                raise ConfigurationError(f"{name}: it is empty")
            if len(text) > longest:
                raise ConfigurationError(f"{name}: {len(text):,} characters are more than the {longest:,} allowed")
            if half := lone_surrogate(text):
                raise ConfigurationError(f"{name}: it holds {half}")
    if (asked.max_seq_len or 0) > limits.max_seq_len:
        raise ConfigurationError(f"max_seq_len: this server allows {limits.max_seq_len} at most")
    return [{"question": question, "context": context} for question, context in zip(questions, contexts, strict=True)]


def complaint(errors: list[Mapping[str, Any]]) -> str:
    """One line on what pydantic found wrong with a request; it repeats names of fields, never their texts."""
    found = []
    for error in errors:
        place = ".".join(str(part)[:40] for part in error["loc"] if part != "body")
        found.append(f"{place}: {error['msg']}" if place else str(error["msg"]))
    text = "; ".join(found)
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]} …"
