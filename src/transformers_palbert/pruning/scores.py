"""Scores: what makes a weight worth keeping. One small class per method, all of the same shape.

=============  ======  ===================================================  =========================================
method         order   score of a weight                                    strong where
=============  ======  ===================================================  =========================================
``magnitude``  zeroth  ``|W|``                                              30 % and more of the weights are kept
``movement``   first   ``S``, learned: ``-Σ_t η_t · (∂L/∂W)_t · W_t``       less than 30 % is kept, while fine-tuning
=============  ======  ===================================================  =========================================

The advice is from the results of Sanh et al. (arXiv 2005.07683, Table 2 and Figure 2) on BERT-base and SQuAD 1.1.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from ..errors import PruningError

__all__ = ["SCORES", "MagnitudeScore", "MovementScore", "Score"]


class Score(Protocol):
    """A method of scoring: whether it learns a tensor of its own, and the scores it gives to a weight."""

    learned: bool

    def initial(self, weight: Tensor) -> nn.Parameter | None:
        """The tensor to learn for ``weight``, or None where nothing is learned."""
        ...

    def __call__(self, weight: Tensor, learned: Tensor | None) -> Tensor:
        """Scores of the entries of ``weight``, float32, of its shape; higher means keep."""
        ...


class MagnitudeScore:
    """Zeroth order: the larger the weight, the more it matters."""

    learned = False

    def initial(self, weight: Tensor) -> None:
        return None

    def __call__(self, weight: Tensor, learned: Tensor | None) -> Tensor:
        return weight.detach().abs()


class MovementScore:
    """First order: the more a weight moves away from zero during fine-tuning, the more it matters.

    The scores start at zero and are updated by the model's own optimizer with the gradient of
    :func:`~transformers_palbert.pruning.masks.mask_weight`. Only their order is used, and Adam's step does not depend
    on the scale of the gradient, so they need no learning rate of their own.
    """

    learned = True

    def initial(self, weight: Tensor) -> nn.Parameter:
        return nn.Parameter(torch.zeros_like(weight, dtype=torch.float32))

    def __call__(self, weight: Tensor, learned: Tensor | None) -> Tensor:
        if learned is None:
            raise PruningError(
                "Movement scores are learned, and this layer holds none: it was prepared for another method. Call"
                " prepare_pruning(model, config) with the config that prunes."
            )
        return learned.detach()


SCORES: dict[str, Score] = {"magnitude": MagnitudeScore(), "movement": MovementScore()}
