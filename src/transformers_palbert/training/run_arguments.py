"""Arguments that only `palbert train` has: what else is measured and pushed, and how much memory the run may take.

What is measured is checked here as well, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError, DatasetFormatError
from ..qa.metrics import METRICS, compute_metric

__all__ = ["RunArguments", "further_scores", "require_scorable"]


@dataclass
class RunArguments:
    """What is measured beside --metric, a limit on the memory, and whether logs are pushed."""

    further_metrics: str | None = field(
        default=None,
        metadata={
            "help": "Metrics to report beside --metric, comma-separated, such as palbert_qa, the paper's; the model is"
            " chosen by --metric alone."
        },
    )
    memory_limit_gb: float | None = field(
        default=None,
        metadata={
            "help": "Let the run fail as out of memory where it takes more than this many 10^9 bytes: of the GPU, or"
            " without one of main memory (Linux)."
        },
    )
    push_logs: bool = field(
        default=False,
        metadata={
            "help": "Let --push_to_hub push TensorBoard's and Trackio's logs as well. They name the host and hold"
            " absolute paths, so they stay at home without this."
        },
    )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.metrics) - set(METRICS)):
            raise ConfigurationError(
                f"further_metrics={self.further_metrics!r} names {', '.join(unknown)}; known are {', '.join(METRICS)}."
            )
        if self.memory_limit_gb is not None and self.memory_limit_gb <= 0:
            raise ConfigurationError(f"memory_limit_gb={self.memory_limit_gb} must be above 0.")

    @property
    def metrics(self) -> list[str]:
        """The names of the further metrics."""
        return [name.strip() for name in (self.further_metrics or "").split(",") if name.strip()]


def further_scores(
    metrics: Iterable[str], predictions: Mapping[str, str], questions: Any, prefix: str
) -> dict[str, float]:
    """The figures of each metric, called ``{prefix}_{metric}_{figure}``.

    Args:
        metrics: Names of :func:`~transformers_palbert.qa.metrics.compute_metric`.
        predictions: Id of a question -> the answer given.
        questions: The questions with their references (SQuAD schema).
        prefix: The part that was answered: ``eval`` or ``test``.
    """
    return {
        f"{prefix}_{metric}_{figure.lower()}": float(value)
        for metric in metrics
        for figure, value in compute_metric(metric, predictions, questions).items()
    }


def require_scorable(part: str, questions: Any, metric: str, further: Iterable[str]) -> None:
    """Find out before the training whether a question without an answer is one that a metric cannot score.

    Args:
        part: validation or test; test questions are not scored where none of them has an answer.
        questions: The questions of that part (SQuAD schema).
        metric: The main metric.
        further: The further ones.

    Raises:
        ConfigurationError: naming the question and the option that helps.
    """
    answered = [bool(answers["text"]) for answers in questions["answers"]]
    if all(answered) or (part == "test" and not any(answered)):
        return
    record = questions[answered.index(False)]
    cures = {name: f"Leave {name} out of --further_metrics." for name in further}
    cures[metric] = "Give --version_2_with_negative, without another --metric."
    for name, cure in cures.items():
        try:
            compute_metric(name, {record["id"]: ""}, [record])
        except DatasetFormatError as error:
            raise ConfigurationError(f"The {part} questions cannot be scored by {name}: {error} {cure}") from error
