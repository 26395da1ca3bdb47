"""Arguments that shorten contexts before they are cut into windows; nothing is shortened without --reduce."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from datasets import Dataset

from ..errors import ConfigurationError
from ..reduction.building import score_dataset
from ..reduction.limits import Limit, MaxTokens
from ..reduction.settings import ReductionSettings, limit_of, parse_unit, parse_weights, split_names
from ..reduction.shortened_datasets import curriculum, shorten_dataset

__all__ = ["ReductionArguments", "shorten_questions"]

PARTS = ("train", "validation", "test")
WHOLE = "all"
"""The stage of a curriculum that learns from whole contexts."""


def _option(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass
class ReductionArguments:
    """How contexts are shortened to the passages that matter for their questions (IDS-Extract)."""

    reduce: str | None = _option(
        None,
        "Shorten contexts to the passages that matter, scored by any of bm25,sbert,dpr,ig,lead; by default they stay.",
    )
    reduce_max_tokens: int | None = _option(None, "Keep the best passages that fit into this many tokens.")
    reduce_share: float | None = _option(None, "Keep the best passages that fit into this share of the tokens.")
    reduce_threshold: float | None = _option(
        None, "Keep the passages of at least this relevance: 0 keeps all, 1 the best alone."
    )
    reduce_curriculum: str | None = _option(
        None,
        "Learn from short contexts first: numbers of tokens, as in 128,256,all. Every epoch goes through all of them in"
        " this order.",
    )
    reduce_parts: str = _option("train", "Which parts of the data are shortened: any of train,validation,test.")
    reduce_keep_answer: bool = _option(
        True, "Keep what holds an answer in training contexts, whatever its score; or else set such questions aside."
    )
    reduce_neighbours: int = _option(0, "How many passages on either side of a kept one are kept with it.")
    reduce_passages: str = _option("sentence", "What a passage is: sentence, or so many tokens.")
    reduce_fusion: str = _option("min-max", "How scores become one: min-max, z or rrf (reciprocal ranks).")
    reduce_weights: str | None = _option(None, "Weights of the scorers, as in bm25=1,sbert=2; by default all the same.")
    reduce_sbert_model: str | None = _option(None, "For sbert: folder or Hub id of a sentence encoder.")
    reduce_dpr_question_model: str | None = _option(None, "For dpr: folder or Hub id of its question encoder.")
    reduce_dpr_passage_model: str | None = _option(None, "For dpr: folder or Hub id of its context encoder.")
    reduce_ig_model: str | None = _option(None, "For ig: folder or Hub id of a question-answering model.")
    reduce_ig_steps: int = _option(20, "For ig: points that gradients are taken at.")
    reduce_ig_baseline: str = _option("padding", "For ig: where the path begins, padding or zero.")
    reduce_processes: int = _option(1, "How many processes score passages at the same time.")

    def __post_init__(self) -> None:
        if self.reduce is None:
            given = [f.name for f in fields(ReductionArguments) if getattr(self, f.name) != f.default]
            if given:
                raise ConfigurationError(f"--{given[0]} has no effect without --reduce, which names the scorers.")
            return
        if unknown := sorted(set(self.reduced_parts) - set(PARTS)):
            raise ConfigurationError(
                f"reduce_parts={self.reduce_parts!r} names {', '.join(unknown)}; known are {PARTS}."
            )
        self.reduction_settings()
        if (self.reduction_limit is None) == (not self.curriculum_stages):
            raise ConfigurationError(
                "--reduce needs one of --reduce_max_tokens, --reduce_share, --reduce_threshold and --reduce_curriculum,"
                " which say how much is kept."
            )
        if self.curriculum_stages and "train" not in self.reduced_parts:
            raise ConfigurationError("--reduce_curriculum has no effect: train is not among the --reduce_parts.")

    @property
    def reduced_parts(self) -> list[str]:
        """The parts whose contexts are shortened."""
        return list(split_names(self.reduce_parts)) if self.reduce else []

    @property
    def reduction_limit(self) -> Limit | None:
        """How much is kept, where it is the same all the time."""
        return limit_of(threshold=self.reduce_threshold, max_tokens=self.reduce_max_tokens, share=self.reduce_share)

    @property
    def curriculum_stages(self) -> list[Limit | None]:
        """How much is kept at each stage of a curriculum, None for everything; empty without a curriculum.

        Raises:
            ConfigurationError: if a stage is no number of tokens.
        """
        stages = split_names(self.reduce_curriculum or "")
        if wrong := [stage for stage in stages if stage != WHOLE and not stage.isdecimal()]:
            raise ConfigurationError(
                f"reduce_curriculum={self.reduce_curriculum!r} may hold numbers and {WHOLE!r}, not {wrong[0]!r}."
            )
        return [None if stage == WHOLE else MaxTokens(int(stage)) for stage in stages]

    def reduction_settings(self) -> ReductionSettings:
        """How passages are scored.

        Raises:
            ConfigurationError: if a value is not allowed, or a scorer lacks its model.
        """
        return ReductionSettings(
            scorers=split_names(self.reduce or ""),
            fusion=self.reduce_fusion,
            weights=parse_weights(self.reduce_weights or ""),
            passages=parse_unit(self.reduce_passages),
            neighbours=self.reduce_neighbours,
            sbert_model=self.reduce_sbert_model,
            dpr_question_model=self.reduce_dpr_question_model,
            dpr_passage_model=self.reduce_dpr_passage_model,
            ig_model=self.reduce_ig_model,
            ig_steps=self.reduce_ig_steps,
            ig_baseline=self.reduce_ig_baseline,
        )


def shorten_questions(
    questions: Dataset, options: ReductionArguments, part: str, tokenizer: Any | None = None, seed: int = 42
) -> Dataset:
    """The questions of a part with shortened contexts, where the options ask for it: a data set in, a data set out.

    A curriculum gives every training question once per stage, the shortest first.

    Args:
        questions: Questions of the SQuAD schema.
        options: How contexts are shortened.
        part: train, validation or test.
        tokenizer: Counts the tokens; None: they are words.
        seed: Seed of the order of questions within a stage.
    """
    if part not in options.reduced_parts:
        return questions
    settings = options.reduction_settings()
    training = part == "train"
    scored = score_dataset(questions, settings, tokenizer=tokenizer, processes=options.reduce_processes)

    def shorter(limit: Limit | None) -> Dataset:
        if limit is None:
            return questions
        keep = training and options.reduce_keep_answer
        return shorten_dataset(scored, settings, limit, training=training, keep_answer=keep)

    stages = options.curriculum_stages
    if not stages:
        return shorter(options.reduction_limit)
    if training:
        return curriculum([shorter(stage) for stage in stages], seed)
    return shorter(stages[-1])
