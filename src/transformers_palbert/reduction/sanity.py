"""Whether attributions depend on what a model has learnt: the sanity check of Adebayo et al. (arXiv 1810.03292).

The weights of a model are made random part by part, from the answer head down, and the attributions of the same tokens
are computed anew after each part. If they hardly change, they show the texts or the architecture, not the model. The
measure is Spearman's rank correlation with the attributions of the trained model, from -1 to 1: it must fall.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..model.structure import encoder_layers, part_of, structure_of
from .fusion import ranks
from .scorers.integrated_gradients import IntegratedGradientsScorer

__all__ = ["Randomized", "randomization_check", "rank_correlation"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Randomized:
    """One step of the check.

    Attributes:
        part: What was made random last, as a path in the model: the head, a layer, or the embeddings.
        correlation: Mean over the questions of the rank correlation with the trained model's attributions.
    """

    part: str
    correlation: float


def rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation of two arrays ``(tokens,)``, from -1 to 1; 0 where one of them is constant."""
    table = np.stack([ranks(first), ranks(second)])
    if np.any(table.std(axis=1) == 0):
        return 0.0
    return float(np.asarray(np.corrcoef(table))[0, 1])


def randomization_check(
    scorer: IntegratedGradientsScorer, questions: Sequence[str], contexts: Sequence[str], *, seed: int = 0
) -> list[Randomized]:
    """Make the model random from the top, and compare the attributions at each step with the trained model's.

    Each model is asked for the attributions of the answer that it predicts itself. The parts are the head, every layer
    from the last to the first (a layer that ALBERT shares between depths is one part), and the embeddings; a part that
    was made random stays so. The scorer's model is not changed.

    Args:
        scorer: The trained model, and how its attributions are computed.
        questions: Questions to compare on.
        contexts: One context per question.
        seed: Seed of the random weights.

    Raises:
        ConfigurationError: if the architecture is not in the table of :mod:`~transformers_palbert.model.structure`.
    """
    before = [found.values for found in scorer.attribute(questions, contexts)]
    own = replace(scorer, model=copy.deepcopy(scorer.model))
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for part, parameters in _parts(own.model):
        _randomize(parameters, getattr(own.model.config, "initializer_range", 0.02), generator)
        after = [found.values for found in own.attribute(questions, contexts)]
        correlations = [rank_correlation(old, new) for old, new in zip(before, after, strict=True)]
        steps.append(Randomized(part, float(np.mean(correlations))))
    return steps


def _parts(model: nn.Module) -> list[tuple[str, dict[str, nn.Parameter]]]:
    """The parts of a model from its head to its embeddings, with the parameters of each by name."""
    structure = structure_of(model)
    named = dict(model.named_parameters())

    def of(part: str) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in named.items() if part_of(name, structure) == part}

    layers = [
        (layer.name, {name: parameter for name, parameter in named.items() if name.startswith(f"{layer.name}.")})
        for layer in reversed(encoder_layers(model))
    ]
    return [("head", of("head")), *layers, ("embeddings", of("embeddings"))]


@torch.no_grad()
def _randomize(parameters: dict[str, nn.Parameter], deviation: float, generator: torch.Generator) -> None:
    """As before any training: matrices normal, biases 0, scales of LayerNorms 1."""
    for name, parameter in parameters.items():
        if parameter.dim() > 1:
            parameter.copy_(torch.empty(parameter.shape).normal_(std=deviation, generator=generator))
        else:
            parameter.fill_(1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0)
