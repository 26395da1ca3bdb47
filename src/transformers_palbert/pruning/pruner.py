"""Pruning in a training loop of your own, without a Trainer: plain PyTorch, or accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..errors import ConfigurationError, PruningError
from .config import PruningConfig
from .convert import is_prepared
from .finishing import finish_pruning, warn_of_early_end, warn_of_late_cut, write_state
from .loaded_masks import take_loaded_masks
from .optimizer import ScoreStep, require_in_optimizer, warn_of_one_rate
from .refusals import require_config, require_prunable
from .resuming import changed_settings
from .selection import Selection, require_same_preparation, run_costs

__all__ = ["Pruner"]


class Pruner:
    """Prune a model in a training loop of your own; the loop itself does not change.

    The scores are kept out of weight decay, the masks follow the schedule after each step of the optimizer, and the
    model's config says how far it is pruned::

        config = PruningConfig(target_sparsity=0.7)
        prepare_pruning(model, config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)  # made after the model is prepared
        pruner = Pruner(model, optimizer, config, total_steps=len(batches))
        for batch in batches:
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        pruner.finish()
        model.save_pretrained("pruned")

    With accelerate, make it before or after ``accelerator.prepare``, of the model that is not wrapped. It counts the
    steps that the optimizer takes, so it works with gradient accumulation and with a ``GradScaler`` that skips steps.
    ``accelerator.register_for_checkpointing(pruner)`` saves its place in the schedule.

    Args:
        model: A prepared model.
        optimizer: What steps over its parameters, the scores included.
        config: The settings that the model was prepared with.
        total_steps: Optimizer steps of the whole run, at least 1.

    Attributes:
        step: Optimizer steps so far.
        density: Share that is kept now of what the target counts.

    Raises:
        ConfigurationError: if ``total_steps`` is not a whole number of at least 1.
        PruningError: if the model is not prepared, or was prepared with other settings, or the optimizer was made
            before that.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, config: PruningConfig, total_steps: int) -> None:
        require_config(config)
        if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
            raise ConfigurationError(f"total_steps={total_steps!r} must be a whole number of at least 1.")
        if not is_prepared(model):
            raise PruningError(
                "The model is not prepared for pruning. Call prepare_pruning(model, config) first, then make the"
                " optimizer, then Pruner(model, optimizer, config, total_steps=…)."
            )
        require_prunable(model)
        require_same_preparation(model, config)
        require_in_optimizer(optimizer, model)
        warn_of_one_rate(model, optimizer)
        self.model, self.config, self.total_steps = model, config, total_steps
        self.step, self.density = 0, 1.0
        self._select({})
        layers = self._selection.layers.values()
        self._loaded = not all(bool(layer.mask.all()) for layer in layers)  # masks that nobody has looked at yet
        stepping = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper has no hooks of its own
        self._hooks = [
            stepping.register_step_pre_hook(self._before_step),
            stepping.register_step_post_hook(self._after_step),
        ]
        self._update()
        warn_of_late_cut(config, total_steps)

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._take_loaded()
        self._scores.before(optimizer, self.step)

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        # fused optimizers divide by a GradScaler's factor and skip steps themselves, and these attributes tell them to
        overflow, scale = getattr(optimizer, "found_inf", None), getattr(optimizer, "grad_scale", None)
        skipped = overflow is not None and bool(overflow)
        self._scores.after(optimizer, skipped, scale)
        if not skipped:
            self.step += 1
            self._update()

    def _take_loaded(self) -> None:
        """Look at what was loaded, as late as possible: model, optimizer and this object may be loaded in any order."""
        if self._loaded:
            take_loaded_masks(self._selection, self.density)
            self._kept = self._selection.kept()
            self._loaded = False

    def _update(self) -> None:
        self.density = self.config.density_at(self.step, self.total_steps)
        if self.config.updates_at(self.step, self.total_steps) and not self._loaded:
            self._kept = self._selection.apply(self.density)
        self._scores.draw(self.step)
        self._write_state()

    def _select(self, stored: Mapping[str, Any]) -> None:
        """Find the units and what they cost, or go on with what is ``stored`` of an interrupted run."""
        self._costs = run_costs(self.model, self.config, stored.get("costs"))
        self._selection = Selection(self.model, self.config, self._costs)
        self._selection.require_reachable()
        self._kept = self._selection.kept()
        self._scores = ScoreStep(self._selection, self.total_steps)
        self._scores.go_on(stored.get("multiplier"))

    def _write_state(self) -> None:
        write_state(self._selection, self._selection.density_of(self._kept, self.density), "training")

    def finish(self) -> nn.Module:
        """Keep exactly the share that was asked for, bake the masks in, and let go of the optimizer; the model.

        Of a model of transformers, heads and feed-forward units that are gone are cut out: its matrices become smaller,
        and the optimizer then knows parameters that are no longer there.

        Raises:
            PruningError: if the optimizer has taken no step since this object was made, or the masks that were loaded
                are not those of :attr:`step`.
        """
        if self.step == 0:
            raise PruningError(
                "The optimizer that the Pruner watches has taken no step, so nothing was learned about the weights."
                " Give it the optimizer that your loop steps with, and call finish() after the loop."
            )
        warn_of_early_end(
            f"The loop ended after {self.step} of total_steps={self.total_steps}",
            self.density,
            self.config.final_density,
            cure="Give total_steps as many optimizer steps as the loop takes.",
        )
        for hook in self._hooks:
            hook.remove()
        self._take_loaded()
        self.density = self.config.final_density
        finish_pruning(self._selection, self.density)
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """The place in the schedule and the settings, as plain values, and what the run has measured and learned."""
        own = {
            "costs": None if self._costs is None else self._costs.to_dict(),
            "multiplier": self._scores.multiplier,
        }
        return {
            "step": self.step,
            "settings": {**self.config.to_dict(), "total_steps": self.total_steps},
            **{key: value for key, value in own.items() if value is not None},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at the place of ``state``; load the state of model and optimizer as well, before or after.

        The next step of the optimizer raises a :class:`PruningError` if the model's masks are not those of that place.

        Raises:
            PruningError: if it was saved with other settings.
        """
        if changed := changed_settings(state["settings"], self.state_dict()["settings"]):
            raise PruningError(f"The state is that of a run with other settings: {'; '.join(changed)}.")
        self.step, self._loaded = state["step"], True
        self.density = self.config.density_at(self.step, self.total_steps)
        self._select(state)
        self._scores.draw(self.step)
        self._write_state()
