"""Scores: what makes a weight worth keeping. One small class per method, all of the same shape.

=================  ======  =====================================  =====================================================
method             order   score of a weight                      use it
=================  ======  =====================================  =====================================================
``sensitivity``    first   moving mean of ``|W · ∂L/∂W|``, times  by default, in short runs and long ones
                           its uncertainty
``magnitude``      zeroth  ``|W|``                                where half of the weights or more are kept: it learns
                                                                  nothing and needs no memory
``movement``       first   ``S₀ - Σ_t η_t · (∂L/∂W)_t · W_t``     to reproduce papers, in runs of tens of thousands of
                                                                  steps; from ``S₀ = |W|``, in shorter ones;
                                                                  ``η`` is constant where the scores are summed plainly
``fisher``         second  moving mean of ``½ · (W · ∂L/∂W)²``    for heads and feed-forward units that compete by what
                                                                  their removal costs the loss
``hard_concrete``  --      log-odds of gates that are drawn in    for heads and feed-forward units, in runs long enough
                           training and held to a budget (L0)     for gates to open and close
=================  ======  =====================================  =====================================================

In a PAL-BERT with layer-wise learning rates (ε below 1), ``∂L/∂W`` is the gradient that the shared weights learn from,
in which lower applications count less: so do they in scores of single weights. Scores of heads and units count all
alike.

Sources: Sanh et al., "Movement Pruning" (arXiv 2005.07683), for movement; Zhang et al., "PLATON" (ICML 2022, arXiv
2206.12562), for sensitivity; Kwon et al., "A Fast Post-Training Pruning Framework for Transformers" (NeurIPS 2022,
arXiv 2204.09656), for fisher; Louizos et al. (arXiv 1712.01312), for hard_concrete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..errors import PruningError
from ..model.pruning_state import SCORES_KEY, UNCERTAINTY_KEY
from .hard_concrete import START

if TYPE_CHECKING:
    from .config import PruningConfig

__all__ = [
    "SCORES",
    "SCORE_STARTS",
    "SCORE_UPDATES",
    "FisherScore",
    "HardConcreteScore",
    "MagnitudeScore",
    "MovementScore",
    "Score",
    "SensitivityScore",
]


class Score(Protocol):
    """A method of scoring: what it remembers of a weight, how that changes, and the scores it gives.

    Attributes:
        learned: Whether it keeps a tensor ``scores``, to which every backward pass brings the gradient ``G ⊙ W``, with
            ``G = ∂L/∂(W ⊙ M)``; accumulated, averaged over processes and unscaled like any other gradient.
        by_optimizer: Whether the model's optimizer updates that tensor; if not, :meth:`update` does.
        span: How far such a score may go in a whole run, if its gradient always points the same way: that and the
            number of steps give its learning rate where none is set. None: the rate of the model will do.
        stochastic: Whether the scores are odds by which gates are drawn in training, see :mod:`.stochastic_gates`.
        relative: Whether only the order of the scores says something, also between units of different cost. If not,
            scores add up as losses do, and units of different cost are compared by score per cost.
    """

    learned: bool
    by_optimizer: bool
    span: float | None
    stochastic: bool
    relative: bool

    def initial(self, weight: Tensor) -> dict[str, Tensor]:
        """What to remember of ``weight`` at the start, by name: float32, of its shape; empty where nothing is."""
        ...

    def update(self, state: Mapping[str, Tensor], gradient: Tensor, rate: float) -> None:
        """Change ``state`` in place after an optimizer step, by the ``gradient`` that ``scores`` received."""
        ...

    def __call__(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        """Scores of the entries of ``weight``, float32, of its shape; higher means keep."""
        ...


class MagnitudeScore:
    """Zeroth order: the larger the weight, the more it matters."""

    learned = by_optimizer = relative = stochastic = False
    span: float | None = None

    def initial(self, weight: Tensor) -> dict[str, Tensor]:
        return {}

    def update(self, state: Mapping[str, Tensor], gradient: Tensor, rate: float) -> None:
        raise PruningError("Magnitude pruning learns nothing, so it has nothing to update.")

    def __call__(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return weight.detach().abs()


class MovementScore:
    """First order, signed: the more a weight moves away from zero during fine-tuning, the more it matters.

    From zero, the paper's method, it ranks lowest what moves towards zero fastest. In a short run these are large
    weights that have not got there yet, and removing them destroys the model. From the size of the weights, movement
    refines an order that is already good and needs many steps to overturn it.

    Args:
        start: Where the scores start, a key of :data:`SCORE_STARTS`.
        update: Who sums them up, one of :data:`SCORE_UPDATES`. ``"optimizer"``: the model's own; Adam's step does not
            depend on the scale of the gradient, and of scores that start at zero only the order is used, so then the
            learning rate cancels. ``"sum"``: plainly, ``S ← S - η · G ⊙ W``, without momentum or state.
    """

    learned, stochastic = True, False

    def __init__(self, start: str = "zero", update: str = "optimizer") -> None:
        self.start = SCORE_STARTS[start]
        self.span: float | None = None if start == "zero" else 1.0  # the range of the ranks
        self.by_optimizer = self.relative = update == "optimizer"  # Adam's steps do not tell how large a gradient is

    def initial(self, weight: Tensor) -> dict[str, Tensor]:
        return {SCORES_KEY: self.start(weight.detach().float())}

    def update(self, state: Mapping[str, Tensor], gradient: Tensor, rate: float) -> None:
        state[SCORES_KEY].sub_(gradient, alpha=rate)

    def __call__(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return _require_state(state)[SCORES_KEY].detach()


class SensitivityScore:
    """First order, unsigned: how much the loss would change, to first order, if the weight were zero.

    With ``I_t = |G_t ⊙ W_t|`` after step ``t`` (PLATON, Eq. 3, 5-8)::

        Ī_t = β₁ · Ī_{t-1} + (1 - β₁) · I_t              sensitivity, a moving mean over batches
        Ū_t = β₂ · Ū_{t-1} + (1 - β₂) · |I_t - Ī_t|      its uncertainty
        S_t = Ī_t · Ū_t                                  or Ī_t alone

    A weight that is removed goes on being scored by the gradient that it would have, and may return.

    Args:
        decay: β₁, in [0, 1).
        uncertainty_decay: β₂, in [0, 1); None leaves the uncertainty out.
    """

    learned, by_optimizer, relative, stochastic = True, False, False, False
    span: float | None = None

    def __init__(self, decay: float = 0.85, uncertainty_decay: float | None = 0.95) -> None:
        self.decay, self.uncertainty_decay = decay, uncertainty_decay

    def initial(self, weight: Tensor) -> dict[str, Tensor]:
        names = [SCORES_KEY] if self.uncertainty_decay is None else [SCORES_KEY, UNCERTAINTY_KEY]
        return {name: torch.zeros_like(weight, dtype=torch.float32) for name in names}

    def update(self, state: Mapping[str, Tensor], gradient: Tensor, rate: float) -> None:
        now = gradient.abs()
        mean = state[SCORES_KEY].lerp_(now, 1.0 - self.decay)
        if self.uncertainty_decay is not None:
            state[UNCERTAINTY_KEY].lerp_(now.sub_(mean).abs_(), 1.0 - self.uncertainty_decay)

    def __call__(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        mean = _require_state(state)[SCORES_KEY].detach()
        return mean if self.uncertainty_decay is None else mean * state[UNCERTAINTY_KEY]


class FisherScore:
    """Second order, by the diagonal of the empirical Fisher information: what the loss rises by without the weight.

    At a minimum of the loss, setting ``w`` to zero raises it by about ``½ · w² · ∂²L/∂w²``, and the mean of squared
    gradients stands for the curvature. After step ``t``, with ``G_t ⊙ W_t`` as for the other scores::

        S_t = β · S_{t-1} + (1 - β) · ½ · (G_t ⊙ W_t)²

    For a head or a feed-forward unit that is ``½ · (∂L/∂z)²`` of its gate. The gradients are those of whole batches,
    whose noise falls with their size: values of runs with different batches do not compare, their order does.

    Args:
        decay: β, in [0, 1).
    """

    learned, by_optimizer, relative, stochastic = True, False, False, False
    span: float | None = None

    def __init__(self, decay: float = 0.95) -> None:
        self.decay = decay

    def initial(self, weight: Tensor) -> dict[str, Tensor]:
        return {SCORES_KEY: torch.zeros_like(weight, dtype=torch.float32)}

    def update(self, state: Mapping[str, Tensor], gradient: Tensor, rate: float) -> None:
        state[SCORES_KEY].lerp_(gradient.square() / 2, 1.0 - self.decay)

    def __call__(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return _require_state(state)[SCORES_KEY].detach()


class HardConcreteScore:
    """The log-odds of gates that are drawn in training, and that a constraint holds to the budget; see there.

    :mod:`.hard_concrete` says how gates are drawn, :mod:`.lagrangian` how they are held to the budget. The optimizer
    learns the odds; of the gates with the highest, as many stay as the budget buys.
    """

    learned, by_optimizer, relative, stochastic = True, True, True, True
    span: float | None = 40.0
    """Gates are as good as open at 5 and as good as closed at -5, and learning rates fall: enough to change sides."""

    def initial(self, weight: Tensor) -> dict[str, Tensor]:
        return {SCORES_KEY: torch.full_like(weight, START, dtype=torch.float32)}

    def update(self, state: Mapping[str, Tensor], gradient: Tensor, rate: float) -> None:
        raise PruningError("The odds of hard-concrete gates are updated by the optimizer alone.")

    def __call__(self, weight: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return _require_state(state)[SCORES_KEY].detach()


def _require_state(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if SCORES_KEY not in state:
        raise PruningError(
            "Scores of first order are learned, and this layer holds none: it was prepared for another method. Call"
            " prepare_pruning(model, config) with the config that prunes."
        )
    return state


def _rank(weight: Tensor) -> Tensor:
    """Share of the entries that are smaller than each, in [0, 1): the smallest has 0; of equals, the first is lower."""
    order = weight.abs().flatten().argsort(stable=True)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(order.numel(), device=order.device)
    shares = ranks.cpu().double() / max(1, order.numel())  # some devices have no float64
    return shares.to(weight.device, torch.float32).view_as(weight)


def _relative_magnitude(weight: Tensor) -> Tensor:
    """``|W|`` over its mean, so that one learning rate suits every matrix."""
    size = weight.abs()
    return size / size.mean().clamp_min(torch.finfo(size.dtype).tiny)


SCORE_STARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": torch.zeros_like,
    "rank": _rank,
    "magnitude": _relative_magnitude,
}
"""Where movement scores start: at zero (the papers), at the rank of ``|W|`` in its matrix as a share of it, in [0, 1),
or at ``|W|`` over its mean in the matrix."""

SCORE_UPDATES = ("optimizer", "sum")
"""How movement scores accumulate: by the model's optimizer, or plainly as the sum of ``-∂L/∂(W ⊙ M) ⊙ W``."""

SCORES: dict[str, Callable[[PruningConfig], Score]] = {
    "magnitude": lambda _: MagnitudeScore(),
    "movement": lambda config: MovementScore(config.score_start, config.score_update),
    "fisher": lambda config: FisherScore(config.fisher_decay),
    "hard_concrete": lambda _: HardConcreteScore(),
    "sensitivity": lambda config: SensitivityScore(config.sensitivity_decay, config.uncertainty_decay),
}
"""Name of a method -> what makes its score from the settings."""
