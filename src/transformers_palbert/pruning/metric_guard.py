"""Prune, evaluate, continue (Zheng et al., PAL-BERT, Fig. 1): remember the last state whose metric was good enough."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import ConfigurationError, NoEffectWarning, PruningError

__all__ = ["LAST_GOOD_FILE", "MetricGuard"]

logger = logging.getLogger(__name__)

LAST_GOOD_FILE = "_pruning_last_good.safetensors"
"""A dense copy of the model in the output folder; ``Trainer`` pushes no file whose name begins with an underscore."""


class MetricGuard:
    """Compares each evaluation with the dense baseline and keeps the last good state.

    A state is good when ``baseline - metric <= max_drop`` (``metric - baseline`` for a loss). The good state is held in
    memory and, when a file is given, on disk, so that a resumed run still has it; what is known beside it is for the
    run's checkpoints, see :meth:`known`.

    Args:
        max_drop: Allowed loss of the metric against the dense baseline, in the metric's own unit, at least 0.
        metric: Key in the metrics of an evaluation, with or without the prefix ``eval_``; of several evaluation sets,
            with the name of one: ``"dev_f1"``.
        baseline: The dense model's metric; None takes the best evaluation at density 1, as a model that is fine-tuned
            in the same run is still learning then.
        greater_is_better: None takes it from the name, as ``Trainer`` does for ``metric_for_best_model``: less is
            better where it ends with ``loss``.

    Raises:
        ConfigurationError: if ``max_drop`` is negative.
    """

    def __init__(
        self, max_drop: float, metric: str = "f1", baseline: float | None = None, greater_is_better: bool | None = None
    ) -> None:
        if not max_drop >= 0:  # so that NaN is refused too
            raise ConfigurationError(f"max_metric_drop={max_drop} must be a number of at least 0.")
        self.max_drop, self.baseline = max_drop, baseline
        self._follows = baseline is None  # the best dense evaluation
        self.greater_is_better = not metric.endswith("loss") if greater_is_better is None else greater_is_better
        self.metric = metric if metric.startswith("eval_") else f"eval_{metric}"
        self.step: int | None = None
        self.density = 1.0
        self.value: float | None = None  # of the metric, when it was last compared
        self._recalled: Mapping[str, Any] = {}  # what the checkpoint says that the run goes on from
        self._state: dict[str, Tensor] = {}
        self._before: Mapping[str, float] = {}  # metrics of an evaluation before the run
        self._heard, self._unheard = False, set[str]()  # the watched metric in this run, others since the last step
        self._warned = False

    def known(self) -> dict[str, Any] | None:
        """What a run that goes on from here must know beside the last good state, as plain values; None if nothing."""
        if self.baseline is None:
            return None
        facts = {"step": self.step, "density": self.density, "value": self.value}
        return {"metric": self.metric, "baseline": self.baseline, **facts}

    def know(self, facts: Mapping[str, Any]) -> None:
        """Take what :meth:`known` said in a run that goes on; nothing of another metric."""
        if facts["metric"] == self.metric:
            self.baseline = facts["baseline"] if self.baseline is None else self.baseline
            self.value, self._recalled = facts["value"], facts

    @property
    def fell_too_far(self) -> bool:
        """Whether the last evaluation was not good: the run has stopped, or is about to."""
        return self.baseline is not None and self.value is not None and not self._is_within(self.value, self.baseline)

    def _is_within(self, value: float, baseline: float) -> bool:
        return (baseline - value if self.greater_is_better else value - baseline) <= self.max_drop

    def hears_before(self, metrics: Mapping[str, float]) -> None:
        """Take an evaluation before the run as that of the dense model, if the watched metric is a number in it."""
        if not math.isnan(metrics.get(self.metric, math.nan)):
            self._before = dict(metrics)

    def hears(self, metrics: Mapping[str, float]) -> bool:
        """Whether the watched metric is among ``metrics``; if not, they may be those of another evaluation set.

        What has another prefix than ``eval_`` is no evaluation of the Trainer's, but one that a user's code makes.
        """
        if self.metric in metrics:
            self._heard = True
        else:
            self._unheard |= {name for name in metrics if name.startswith("eval_")}
        return self.metric in metrics

    def require_heard(self) -> None:
        """Raise if there was an evaluation since the last call, and the watched metric was in none of this run.

        Raises:
            PruningError: naming the metrics that there were.
        """
        unheard = set() if self._heard else self._unheard
        self._unheard = set()
        if unheard:
            raise self._missing_in(unheard)

    def _missing_in(self, names: Iterable[str]) -> PruningError:
        return PruningError(
            f"max_metric_drop watches {self.metric!r}, and the evaluation returned {sorted(names)}. Name one of"
            " them with metric=…, or give Trainer a compute_metrics that returns it."
        )

    def is_good(self, metrics: Mapping[str, float], density: float) -> bool:
        """Whether an evaluation at ``density`` stayed within the allowed loss.

        One of the dense model that is not good is no reason to stop: :attr:`fell_too_far` stays False.

        Raises:
            PruningError: if the metric is missing, or nothing is known to compare with.
        """
        if self.metric not in metrics:
            raise self._missing_in(metrics)
        value = metrics[self.metric]
        if self.baseline is None:
            if density < 1:
                raise PruningError(
                    f"max_metric_drop needs the dense model's {self.metric}, but the first evaluation came at density"
                    f" {density:.3f}. Set eval_on_start=True in TrainingArguments, or give dense_metric=…."
                )
            if math.isnan(value):
                raise PruningError(f"The dense model's {self.metric} is nan, so there is nothing to compare with.")
            self.baseline = value
        if density == 1 and self._follows:
            self.baseline = (max if self.greater_is_better else min)(self.baseline, value)
        else:
            self._warn_if_idle(self.baseline)
        good = self._is_within(value, self.baseline)
        self.value = value if good or density < 1 else None  # a dense model may wobble: nothing was lost by pruning
        return good

    def _warn_if_idle(self, baseline: float) -> None:
        """Once, where the metric could fall to zero and would still be good enough."""
        if self.greater_is_better and 0 <= baseline <= self.max_drop and not self._warned:
            warnings.warn(
                f"max_metric_drop={self.max_drop:g} can stop nothing: the dense model's {self.metric} is {baseline:g},"
                " and may fall to zero. The drop is in the unit of the metric: where that lies between 0 and 1, a point"
                " of a hundred is 0.01.",
                NoEffectWarning,
                stacklevel=2,
            )
        self._warned = True

    def remember(self, model: nn.Module, step: int, density: float, file: Path | None = None) -> None:
        """Keep a copy of ``model`` as the last good state; ``file`` gets one too, whole or not at all."""
        self.step, self.density = step, density
        # clones, so that tied weights have memory of their own: safetensors refuses two names for one memory
        self._state = {key: value.detach().cpu().clone().contiguous() for key, value in model.state_dict().items()}
        if file is not None:
            facts = {"step": step, "density": density, "baseline": self.baseline}
            partial = file.with_suffix(".partial")
            save_file(self._state, partial, metadata={"last_good": json.dumps(facts)})
            partial.replace(file)

    def start(self, model: nn.Module, file: Path, step: int, owns_file: bool = True) -> None:
        """Begin a run at ``step``: go on with what ``file`` holds, or remove what another run left there.

        A new run begins with what was heard before it; one that goes on has other weights than those.
        """
        self._heard, self._unheard = False, set()
        if step > 0:
            self.recall(file, step)
            if self.step is None and self._recalled.get("step") == step:  # the checkpoint itself is the last good state
                self.remember(model, step, self._recalled["density"], file if owns_file else None)
            return
        if owns_file:
            file.unlink(missing_ok=True)
        if self._before and self.is_good(self._before, 1.0):
            self.remember(model, 0, 1.0, file if owns_file else None)

    def finish(self, file: Path, owns_file: bool = True) -> None:
        """End a run: ``file``, which is as large as the dense model, stays where a run may go on from beyond its state.

        That is from a checkpoint beside it: a finished run that is started again goes on from its last one.
        """
        steps = [int(path.name.rpartition("-")[2]) for path in file.parent.glob("checkpoint-*[0-9]")]
        if owns_file and (self.step is None or max(steps, default=-1) < self.step):
            file.unlink(missing_ok=True)

    def recall(self, file: Path, step: int) -> None:
        """Take baseline and last good state of an interrupted run from ``file``; no state from after ``step``."""
        if not file.is_file():
            return
        with safe_open(file, framework="pt") as reader:
            facts = json.loads((reader.metadata() or {})["last_good"])
            self.baseline = facts["baseline"] if self.baseline is None else self.baseline
            if facts["step"] <= step:
                self.step, self.density = facts["step"], facts["density"]
                self._state = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118 (not a dict)

    def go_back(self, model: nn.Module, step: int, final_density: float) -> float:
        """Put the last good state back into ``model`` if that is not what it is; the density of that state.

        Args:
            model: The model at the end of the run.
            step: Optimizer steps of the run.
            final_density: The density that the run was to end with.

        Raises:
            PruningError: if no evaluation was ever good enough, or the metric was in none.
        """
        self.require_heard()
        if self.step != step:
            self.restore(model)
        facts = (
            f"The last state within {self.max_drop} of the dense {self.metric} is that of step {self.step}, at density"
            f" {self.density:.3f} instead of {final_density:.3f}."
        )
        if self.density == 1:
            cure = "Allow a larger max_metric_drop, evaluate more often, or train longer."
            warnings.warn(f"{facts} No weight is removed. {cure}", NoEffectWarning, stacklevel=4)
        elif self.density > final_density:
            logger.warning(facts)
        return self.density

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Put the last good state back into ``model``.

        Raises:
            PruningError: if no evaluation was ever good enough.
        """
        if self.step is None:
            raise PruningError(self._why_nothing_is_good())
        model.load_state_dict(self._state, strict=False)

    def _why_nothing_is_good(self) -> str:
        if self.baseline is None:
            return (
                f"max_metric_drop needs the dense model's {self.metric}, which is not known where this run went on."
                " Give dense_metric=…, or start anew in another output_dir."
            )
        if self._recalled.get("step") is not None:
            return (
                f"The last state within max_metric_drop={self.max_drop} is that of step {self._recalled['step']}, and"
                f" {LAST_GOOD_FILE} is not in the output folder, where it was kept. Put it back, go on from an earlier"
                " checkpoint, or start anew in another output_dir."
            )
        return (
            f"No evaluation came within max_metric_drop={self.max_drop} of the dense {self.metric}={self.baseline}, so"
            " there is no state to go back to. Allow more, prune later (warmup=…) or evaluate more often."
        )
