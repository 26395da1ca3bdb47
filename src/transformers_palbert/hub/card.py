"""The model card as data: what is known about a model, and nothing that is not.

Every field may be missing, and what is missing does not appear. The text is made by ``template.md``, the metadata by
``huggingface_hub``, whose form the Hub reads (https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from ..errors import ConfigurationError
from ..hub_tokens import redact
from ..sizes import MatrixReport
from .examples import EXAMPLES

__all__ = ["HUB_METRICS", "TASKS", "CardSizes", "Evaluation", "PalBertCard", "code", "plain_text", "table"]

TASKS = ("question-answering", "fill-mask")
"""What a model may be for, as the Hub calls it; one for ``fill-mask`` was pre-trained, to be fine-tuned."""

TEMPLATE = Path(__file__).parent / "template.md"
HUB_METRICS = {
    "accuracy": "accuracy",
    "em": "exact_match",
    "exact": "exact_match",
    "exact_match": "exact_match",
    "f1": "f1",
    "precision": "precision",
    "recall": "recall",
}
"""Metric of ours -> its identifier on the Hub; the others stay out of the metadata."""

_BLANK_LINES = re.compile(r"\n{3,}")

BAR = 20
"""Characters of a full bar in the text picture of densities."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one state of a model.

    Attributes:
        name: Which state it was, in a few words.
        metrics: Values by name, in the metric's own unit.
    """

    name: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class CardSizes:
    """Sizes of a model: counts of parameters, shares in [0, 1], and bytes.

    Attributes:
        encoder: Weights in the encoder's matrices.
        encoder_density: Share of them that is not zero.
        parameters: All parameters.
        parameters_nonzero: Those that are not zero.
        dense_bytes: Bytes of all parameters written out, zeros included, in the dtype of the model in memory.
        file_bytes: Bytes of the weights' files on disk.
    """

    encoder: int | None = None
    encoder_density: float | None = None
    parameters: int | None = None
    parameters_nonzero: int | None = None
    dense_bytes: int | None = None
    file_bytes: int | None = None

    def rows(self) -> list[tuple[str, str]]:
        """List the facts that are known, as pairs of name and value."""
        known = [
            ("weights in the encoder's matrices", self.encoder, ","),
            ("share of the encoder's weights that is not zero", self.encoder_density, ".1%"),
            ("all parameters", self.parameters, ","),
            ("parameters that are not zero", self.parameters_nonzero, ","),
            ("bytes of all parameters, zeros written out", self.dense_bytes, ","),
            ("bytes of the weights' file", self.file_bytes, ","),
        ]
        return [(name, format(value, form)) for name, value, form in known if value is not None]


@dataclass
class PalBertCard:
    """Everything that a card can say.

    Attributes:
        task: One of :data:`TASKS`.
        model_name: Name of the model, without its owner.
        repo_id: ``owner/name`` on the Hub, for the lines that load it.
        base_model: Hub id of the checkpoint that was fine-tuned.
        language: Language code, or several.
        license: Identifier of the licence.
        tags: Tags beside those that the package sets.
        datasets: Hub ids of the data sets.
        dataset_name: Name of the first data set for readers.
        dataset_config: Its configuration on the Hub.
        dataset_split: The split that was evaluated.
        training_data: What was trained on, in a few words.
        evaluation_data: What was evaluated on, in a few words.
        description: Paragraphs that follow the title.
        example: Question and text for the lines that ask the model; by default some in the card's language.
        hyperparameters: Settings of the training, by name.
        pruning: Settings and state of the pruning, as :class:`~transformers_palbert.PruningConfig` has them.
        matrices: The encoder's matrices, for the densities.
        picture: Name of an image of the training beside the card.
        sizes: The model's sizes.
        evaluation: Metrics of exactly these weights.
        comparisons: Metrics of other states, such as the model before it was pruned.
        hardware: What it was trained on.
        versions: Versions by library.
        training_seconds: Wall-clock time of the training.
        resumed_at: The optimizer step at which the measured part of the training began, if not the first.
        command: The command that was run.
        loads_without_package: Whether stock transformers can read the weights; None if that is not known.
        is_recipe: Nothing was run: the card is of settings, and there are no weights.
    """

    task: str = TASKS[0]
    model_name: str | None = None
    repo_id: str | None = None
    base_model: str | None = None
    language: str | list[str] | None = None
    license: str | None = None
    tags: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    dataset_name: str | None = None
    dataset_config: str | None = None
    dataset_split: str | None = None
    training_data: str | None = None
    evaluation_data: str | None = None
    description: list[str] = field(default_factory=list)
    example: tuple[str, str] | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    pruning: dict[str, Any] = field(default_factory=dict)
    matrices: list[MatrixReport] = field(default_factory=list)
    picture: str | None = None
    sizes: CardSizes = field(default_factory=CardSizes)
    evaluation: Evaluation | None = None
    comparisons: list[Evaluation] = field(default_factory=list)
    hardware: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    training_seconds: float | None = None
    resumed_at: int | None = None
    command: str | None = None
    loads_without_package: bool | None = None
    is_recipe: bool = False

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigurationError(f"task={self.task!r} is not known to the cards; it must be {' or '.join(TASKS)}.")

    def metadata(self) -> ModelCardData:
        """The Hub's metadata; results only where both the metric and the data set have an identifier there."""
        name = self.model_name or (self.repo_id or "").rpartition("/")[2] or None
        results = self._results() if name else []
        pruned = ["pruning", "sparse"] if self.pruning else []
        return ModelCardData(
            model_name=name if results else None,
            language=self.language,
            license=self.license,
            library_name="transformers",
            pipeline_tag=self.task,
            base_model=self.base_model,
            datasets=self.datasets or None,
            metrics=sorted({result.metric_type for result in results}) or None,
            tags=list(dict.fromkeys(["transformers-palbert", *pruned, *self.tags])),
            eval_results=results or None,
        )

    def _results(self) -> list[EvalResult]:
        if self.evaluation is None or not self.datasets:
            return []
        return [
            EvalResult(
                task_type=self.task,
                dataset_type=self.datasets[0],
                dataset_name=self.dataset_name or self.datasets[0],
                dataset_config=self.dataset_config,
                dataset_split=self.dataset_split,
                metric_type=HUB_METRICS[name],
                metric_value=round(value, 4),
                metric_name=_metric_title(name),
            )
            for name, value in self.evaluation.metrics.items()
            if name in HUB_METRICS
        ]

    def render(self, tokens: Iterable[str | None] = ()) -> str:
        """The whole card: metadata between ``---`` lines, then Markdown; ``tokens`` are blotted out everywhere."""
        tokens = list(tokens)
        known = {entry.name: _without_tokens(getattr(self, entry.name), tokens) for entry in fields(self)}
        text = replace(self, **known)._text()  # blotted out before it is YAML, where `***` has to be quoted
        return redact(_BLANK_LINES.sub("\n\n", text), tokens)

    def _text(self) -> str:
        environment = jinja2.Environment(
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
        )
        template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
        return template.render(
            card=self,
            metadata=self.metadata().to_yaml(),
            title=plain_text(self.model_name or f"{self.task.capitalize()} model"),
            place=self.repo_id or "path/to/this/model",
            example=[json.dumps(text, ensure_ascii=False) for text in self.example or self._example()],
            densities=self._densities(),
            results=self._results_table(),
            sizes=table(("", ""), self.sizes.rows()) if self.sizes.rows() else "",
            hyperparameters=_settings(self.hyperparameters),
            pruning=_settings(self.pruning),
            versions=", ".join(f"{name} {version}" for name, version in self.versions.items()),
            time=_duration(self.training_seconds),
        )

    def _example(self) -> tuple[str, str]:
        languages = [self.language] if isinstance(self.language, str) else self.language or []
        return EXAMPLES["zh" if any(language.startswith("zh") for language in languages) else "en"]

    def _densities(self) -> str:
        """What each matrix kept: a sentence if all kept the same share, else a table with bars."""
        shares = {f"{matrix.density:.1%}" for matrix in self.matrices}
        if len(self.matrices) > 1 and len(shares) == 1:
            return f"Each of the {len(self.matrices)} matrices of the encoder keeps {shares.pop()} of its weights."
        rows = [
            (code(m.name.removesuffix(".weight")), "×".join(map(str, m.shape)), f"{m.density:.1%}", _bar(m.density))
            for m in self.matrices
        ]
        return table(("matrix", "shape", "not zero", ""), rows) if rows else ""

    def _results_table(self) -> str:
        states = [*self.comparisons, *([self.evaluation] if self.evaluation else [])]
        names = list(dict.fromkeys(name for state in states for name in state.metrics))
        if not names:
            return ""
        columns = [_even(name, [state.metrics.get(name) for state in states]) for name in names]
        rows = [[plain_text(state.name), *cells] for state, *cells in zip(states, *columns, strict=True)]
        return table(["", *map(_metric_title, names)], rows)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def code(value: object) -> str:
    """``value`` as Markdown code on one line, whatever it holds: settings can come from a stranger's config."""
    text = _one_line(str(value))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def plain_text(value: object) -> str:
    """``value`` as text on one line in which neither Markdown nor HTML means anything; underscores stay in words."""
    return re.sub(r"[\\`*\[\]<>#!~&]|(?<!\w)_|_(?!\w)", lambda found: f"\\{found[0]}", _one_line(str(value)))


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _without_tokens(value: Any, tokens: list[str | None]) -> Any:
    if isinstance(value, dict):
        return {name: _without_tokens(item, tokens) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_tokens(item, tokens) for item in value]
    return redact(value, tokens) if isinstance(value, str) else value


def _settings(values: Mapping[str, Any]) -> str:
    rows = [(plain_text(name), code(value)) for name, value in values.items() if value is not None]
    return table(("setting", "value"), rows) if rows else ""


def _bar(share: float) -> str:
    full = round(share * BAR)
    return "█" * full + "░" * (BAR - full)


def _metric_title(name: str) -> str:
    return {"em": "exact match", "f1": "F1"}.get(name, plain_text(name.replace("_", " ")))


def _even(name: str, values: Sequence[float | None]) -> list[str]:
    """Values of one metric, all with two decimals; with four if they are losses, or none is above 1."""
    in_percent = "loss" not in name and any(abs(value) > 1 for value in values if value is not None)
    digits = 2 if in_percent else 4
    return ["—" if value is None else f"{value:.{digits}f}" for value in values]


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{seconds:.0f} s"
