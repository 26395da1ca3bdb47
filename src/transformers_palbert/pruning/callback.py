"""The one thing a Trainer script adds: :class:`MovementPruningCallback`.

The only module here that knows transformers.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import FrameType
from typing import Any

from torch import nn
from transformers import PreTrainedModel, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from ..errors import ConfigurationError, PruningError, PruningWarning
from ..model.pruning_state import TARGETS
from ..storage.config import StorageConfig
from ..storage.saving import enable_sparse_saving
from ..trainer_callback import PalBertCallback, put_first
from .advice import cure_of_collapse, warn_of_short_run, why_not_prepared
from .collapse import Collapse, LossWatch
from .config import PruningConfig
from .convert import is_prepared, prepare_pruning
from .finishing import finish_pruning, warn_of_early_end, warn_of_late_cut, write_state
from .loaded_masks import take_loaded_masks
from .metric_guard import LAST_GOOD_FILE, MetricGuard
from .optimizer import ScoreStep, require_in_optimizer, warn_of_one_rate
from .progress import RunSizes
from .refusals import require_config, require_prunable
from .resuming import require_same_settings
from .schedules import schedule_progress
from .selection import Selection, require_same_preparation, run_costs

__all__ = ["MovementPruningCallback"]

logger = logging.getLogger(__name__)


class MovementPruningCallback(PalBertCallback, ExportableState):
    """Prune a model while a stock ``Trainer`` fine-tunes it.

    The training loop, with what happens at each event::

        Trainer(model, args, callbacks=[MovementPruningCallback(target_sparsity=0.7)])
            on_init_end             # targeted Linears become maskable, scores join the model's parameters
        trainer.train(resume_from_checkpoint=...)
            create_optimizer(); load checkpoint
            on_train_begin          # masks for the step the run starts (or resumes) at; costs, where units compete
            for step in steps:
                for micro_batch in accumulation:
                    loss = model(**micro_batch).loss        # W ⊙ M built once per forward
                    loss.backward()                         # ∂L/∂W = G ⊙ M,  ∂L/∂S = G ⊙ W
                on_pre_optimizer_step                       # scores leave the decaying groups, or lose their gradient,
                optimizer.step()
                on_optimizer_step                           # and return; those without a gradient are updated here
                on_step_end         # density of this step, new masks
                on_log              # density, schedule position, loss against dense; collapsed? then warn
                on_evaluate         # max_metric_drop: good enough? else stop; best-model bookkeeping
            on_train_end            # the exact final density, zeros baked in, plain Linears and keys
        trainer.save_model()        # packed: the file is as small as the model

    Works with fp16, bf16, gradient accumulation, gradient checkpointing, ``resume_from_checkpoint``,
    ``load_best_model_at_end`` (only states at the final density compete) and DDP. FSDP and DeepSpeed shard parameters
    and are refused. With ``model_init``, call ``prepare_pruning(model, callback.config)`` inside it; then each
    ``train()`` and each trial of ``hyperparameter_search`` prunes anew. A checkpoint is gone on with only by the
    settings that wrote it, which stand in its ``trainer_state.json``. The gradients of the scores count in the gradient
    norm that is logged and clipped.

    Args:
        target_sparsity: Share of the targeted weights that are zero at the end, in [0, 1). Instead of it, ``settings``
            may hold another target: ``target_flops`` or ``target_speedup``.
        max_metric_drop: Prune, evaluate, continue (paper, Fig. 1): stop at the last density whose evaluation stayed
            within this loss of ``metric``, in its own unit, against the dense baseline, and restore that state. None:
            do not look.
        metric: The watched key of the evaluation's metrics; of several evaluation sets, with the name of one, such as
            ``"dev_f1"`` for ``eval_dataset={"dev": …, "test": …}``.
        stop_on_collapse: Stop as well when the training loss collapses, see
            :class:`~transformers_palbert.pruning.collapse.LossWatch`; needs ``max_metric_drop``, which has a state
            to go back to. A warning is given in any case.
        dense_metric: The baseline; None takes the best evaluation before pruning begins (``eval_on_start=True`` makes
            one at once). A model that is fine-tuned in the same run has learned little by then: give the figure of a
            fine-tuned dense one.
        greater_is_better: None takes it from the name of ``metric``, as Trainer does: less is better of a loss.
        save_sparse: How the finished model is saved, pushed to the Hub included: True packs it losslessly, a
            :class:`StorageConfig` in another way, rounding the weights right away; False leaves it dense, so that it
            loads without this package where its architecture does. Checkpoints on the way are always dense. Heads and
            feed-forward units that were pruned are cut out of the finished model, which makes it faster too; with
            False they stay, as zeros.
        change_on_resume: Go on with a checkpoint that was written with other settings, such as another sparsity or
            number of steps; without it they are an error. The targets, and what the method remembers of each weight,
            must be those of the checkpoint in any case.
        config: A whole :class:`PruningConfig` instead of ``target_sparsity`` and ``settings``.
        settings: The other fields of :class:`PruningConfig`.

    Raises:
        ConfigurationError: if a setting is wrong or the arguments contradict each other.
    """

    def __init__(
        self,
        target_sparsity: float | None = None,
        *,
        max_metric_drop: float | None = None,
        metric: str = "f1",
        dense_metric: float | None = None,
        greater_is_better: bool | None = None,
        stop_on_collapse: bool = False,
        save_sparse: bool | StorageConfig | Mapping[str, Any] = True,
        change_on_resume: bool = False,
        config: PruningConfig | None = None,
        **settings: Any,
    ) -> None:
        given = target_sparsity is not None or any(settings.get(name) is not None for name in TARGETS)
        if given == (config is not None) or (config is not None and settings):
            raise ConfigurationError(
                "Give either a target (target_sparsity, target_flops or target_speedup), with other settings beside it,"
                " or config=PruningConfig(…): MovementPruningCallback(target_sparsity=0.7)."
            )
        if config is not None:
            require_config(config)
        if isinstance(save_sparse, Mapping):  # as it comes back from a checkpoint's trainer_state.json
            save_sparse = StorageConfig(**save_sparse)
        if not isinstance(save_sparse, bool | StorageConfig):  # else it would be found out when training ends
            raise ConfigurationError(
                f"save_sparse={save_sparse!r} must be True, False or a StorageConfig, such as"
                " StorageConfig(values='float16')."
            )
        self.config = config or PruningConfig(target_sparsity, **settings)
        if stop_on_collapse and max_metric_drop is None:
            raise ConfigurationError(
                "stop_on_collapse=True needs a state to end with: give max_metric_drop as well, the loss of the metric"
                " up to which an evaluated state is worth keeping."
            )
        self.stop_on_collapse, self.change_on_resume = stop_on_collapse, change_on_resume
        self._given: dict[str, Any] = {
            "max_metric_drop": max_metric_drop,
            "metric": metric,
            "dense_metric": dense_metric,
            "greater_is_better": greater_is_better,
            "stop_on_collapse": stop_on_collapse,
            "save_sparse": asdict(save_sparse) if isinstance(save_sparse, StorageConfig) else save_sparse,
            "change_on_resume": change_on_resume,
        }
        self.storage = StorageConfig() if save_sparse is True else save_sparse or None
        counted = self.config.target_flops is not None and self.config.applications == "shared"
        if self.storage is None and (counted or self.config.target_speedup is not None):
            raise ConfigurationError(
                f"save_sparse=False leaves heads and units in the model as zeros, and {self.config.target} needs them"
                " cut out: leave save_sparse out."
            )
        self._start_anew()

    def _start_anew(self) -> None:
        """Forget the run before, for a model that has not been pruned yet."""
        given = self._given
        self.guard: MetricGuard | None = None
        if given["max_metric_drop"] is not None:
            self.guard = MetricGuard(
                given["max_metric_drop"], given["metric"], given["dense_metric"], given["greater_is_better"]
            )
        self.total_steps = 0  # of the run, as soon as it is known
        self.density = 1.0
        self._progress = -1.0
        self.costs: dict[str, Any] | None = None  # of heads and units, as plain values, where they compete
        self.multiplier: float | None = None  # of the constraint on gates that are drawn
        self._sizes: RunSizes | None = None
        self._selection: Selection
        self._kept = 0  # of the targeted weights
        self._losses = LossWatch(total_steps=1)
        self._scores: ScoreStep
        self._scale = 0.0  # of the loss, before the optimizer's step
        self._collapsed = self._finished = self._fell = False

    def state(self) -> dict[str, Any]:
        """What ``trainer_state.json`` keeps of this callback, so that a run that goes on can compare."""
        own = {"costs": self.costs, "multiplier": self.multiplier, "guarded": self.guarded}
        attributes = {
            "total_steps": self.total_steps,
            **{key: value for key, value in own.items() if value is not None},
        }
        return {"args": {**self.config.to_dict(), **self._given}, "attributes": attributes}

    @property
    def guarded(self) -> dict[str, Any] | None:
        """What ``max_metric_drop`` knows of the run, as a checkpoint keeps it."""
        return None if self.guard is None else self.guard.known()

    @guarded.setter
    def guarded(self, known: Mapping[str, Any] | None) -> None:
        if self.guard is not None and known is not None:
            self.guard.know(known)

    # -- preparing ---------------------------------------------------------------------------------------------------

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        _put_first(self, inspect.currentframe())
        if self._finished:
            raise PruningError(why_not_prepared(self._finished))
        self._require_compatible(args)
        super().on_init_end(args, state, control, **kwargs)
        model = kwargs.get("model")
        if model is not None:
            require_prunable(model)
            if not is_prepared(model):
                prepare_pruning(model, self.config)
            require_same_preparation(model, self.config)
            write_state(Selection(model, self.config), self.density, "training")

    def _require_compatible(self, args: TrainingArguments) -> None:
        if args.fsdp or args.deepspeed:
            raise PruningError(
                "Masks need whole parameters; FSDP and DeepSpeed shard them. Use DDP (accelerate launch)."
            )
        if self.guard is not None and args.load_best_model_at_end:
            raise ConfigurationError(
                "max_metric_drop and load_best_model_at_end both choose the state to end with; set one of them."
            )
        if self.guard is not None and args.eval_strategy == "no":
            raise ConfigurationError(
                "max_metric_drop compares evaluations, and eval_strategy='no' makes none. Set eval_strategy='steps' or"
                " 'epoch' in TrainingArguments."
            )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model = kwargs["model"]
        if not is_prepared(model):
            raise PruningError(why_not_prepared(self._finished))
        if state.max_steps < 1:
            raise ConfigurationError(
                f"The run has {state.max_steps} optimizer steps, so there is none to prune in. Raise num_train_epochs="
                f"{args.num_train_epochs} or max_steps={args.max_steps}, or take the callback away."
            )
        if self._finished or (self.total_steps and state.global_step == 0):
            self._start_anew()  # model_init has made a fresh model, as it does for each trial of a search
        require_same_preparation(model, self.config)
        require_in_optimizer(kwargs["optimizer"], model)
        warn_of_one_rate(model, kwargs["optimizer"])
        self.total_steps = state.max_steps
        stored = _stored(state).get(type(self).__name__) if state.global_step > 0 else None
        changed = self._changed_on_resume(stored) if state.global_step > 0 else False
        attributes = {} if stored is None else stored["attributes"]
        self._start(model, args, state, {} if changed else attributes)
        if self.guard is not None:
            self.guarded = attributes.get("guarded")
            self.guard.start(model, _last_good_file(args), state.global_step, args.should_save)
            # a run that has stopped stops again; Trainer takes a step before it looks
            self._fell = control.should_training_stop = self.guard.fell_too_far
        _stored(state)[type(self).__name__] = self.state()
        self._losses = LossWatch.of(state.log_history, state.max_steps)
        warn_of_short_run(self.config, state.max_steps)
        if self.guard is None:  # which ends with a state that was evaluated
            warn_of_late_cut(self.config, state.max_steps)
        self._update(state, resuming=True, anew=changed)
        logger.info("Pruning by %s.", self.config)

    def _start(self, model: nn.Module, args: TrainingArguments, state: TrainerState, stored: Mapping[str, Any]) -> None:
        """Find the units of ``model`` and what they cost, or go on with what is ``stored`` of an interrupted run."""
        costs = run_costs(model, self.config, stored.get("costs"))
        self.costs = None if costs is None else costs.to_dict()
        self._selection = Selection(model, self.config, costs)
        self._selection.require_reachable()
        self._sizes = RunSizes.of(self._selection)
        self._scores = ScoreStep(self._selection, state.max_steps, args.seed)
        self._scores.go_on(stored.get("multiplier"))
        self.multiplier = self._scores.multiplier

    def _changed_on_resume(self, stored: Mapping[str, Any] | None) -> bool:
        """Whether the checkpoint was written with other settings, and that is allowed."""
        there, here = (
            None if of is None else {**of["args"], "max_steps": of["attributes"]["total_steps"]}
            for of in (stored, self.state())
        )
        own = {name: (here or {})[name] for name in _COMPARED}
        return require_same_settings(there, own, allowed=self.change_on_resume, callback=type(self).__name__)

    # -- every step --------------------------------------------------------------------------------------------------

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        optimizer = kwargs["optimizer"]
        scaler = getattr(optimizer, "scaler", None)
        if scaler is not None:
            self._scale = scaler.get_scale()
            if not self.config.score.by_optimizer:
                _unscale(scaler, optimizer.optimizer)
        self._scores.before(optimizer, state.global_step)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        scaler = getattr(kwargs["optimizer"], "scaler", None)
        # a scale that falls says that the step was skipped; accelerate does not know where a fused optimizer skips it
        skipped = scaler is not None and scaler.get_scale() < self._scale
        self._scores.after(kwargs["optimizer"], skipped)
        self.multiplier = self._scores.multiplier

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.guard is not None:
            self.guard.require_heard()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._update(state)

    def _update(self, state: TrainerState, resuming: bool = False, anew: bool = False) -> None:
        """Masks for ``state.global_step``: a pure function of the step, the weights and the scores.

        Between two updates the masks stay; a run that goes on from there has them from its checkpoint, but makes them
        ``anew`` where the checkpoint's are those of other settings.
        """
        plan = {"warmup": self.config.warmup, "cooldown": self.config.cooldown}
        self._progress = schedule_progress(state.global_step, state.max_steps, **plan)
        self.density = self.config.density_at(state.global_step, state.max_steps)
        changes = anew or self.config.updates_at(state.global_step, state.max_steps)
        if changes:
            self._kept = self._selection.apply(self.density)
        elif resuming:
            take_loaded_masks(self._selection, self.density)
            self._kept = self._selection.kept()
        self._scores.draw(state.global_step)
        self._forget_denser_best(state)
        write_state(self._selection, self._selection.density_of(self._kept, self.density), "training")

    # -- logging and evaluation --------------------------------------------------------------------------------------

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add to training and evaluation logs: ``density_encoder``, ``density_total`` and ``pruning_progress``.

        Training logs get ``lost_since_dense`` as well: the loss, less its mean before the first cut; and, while gates
        are held to a budget, ``density_expected``: what the expected number of open gates costs, as a share.
        """
        logs: dict[str, Any] = kwargs.get("logs") or {}
        prefix = "eval_" if any(key.startswith("eval_") for key in logs) else ""
        if self._sizes is None or not (prefix or "loss" in logs):
            return
        facts = self._sizes.densities(self._kept, prefix) | {f"{prefix}pruning_progress": max(0.0, self._progress)}
        if not prefix and self._scores.expected is not None:
            facts["density_expected"] = self._scores.expected
        if not prefix and self._losses.dense is not None and self.density < 1:
            facts["lost_since_dense"] = logs["loss"] - self._losses.dense
        logs.update(facts)
        if state.log_history:
            state.log_history[-1].update(facts)
        if not prefix:
            self._watch(self._losses.add(state.global_step, facts["density_encoder"], logs["loss"]), control)

    def _watch(self, collapse: Collapse | None, control: TrainerControl) -> None:
        """Warn once if the loss says that the model is being destroyed."""
        if collapse is None or self._collapsed:
            return
        self._collapsed = True
        warnings.warn(f"{collapse} {cure_of_collapse(self.config)}", PruningWarning, stacklevel=2)
        if self.stop_on_collapse:
            control.should_training_stop = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.guard is None or self._finished or self._fell or not is_prepared(kwargs["model"]):
            return
        if self.total_steps == 0:
            self.guard.hears_before(kwargs["metrics"])
            return
        if not self.guard.hears(kwargs["metrics"]):
            return  # of several evaluation sets, another one
        if self.guard.is_good(kwargs["metrics"], self.density):
            file = _last_good_file(args) if args.should_save else None
            self.guard.remember(kwargs["model"], state.global_step, self.density, file)
        elif self.guard.fell_too_far:
            logger.warning("%s fell too far at density %.3f: stop.", self.guard.metric, self.density)
            control.should_training_stop = True

    def _forget_denser_best(self, state: TrainerState) -> None:
        """A state with more weights than asked for is no candidate for the best model, nor for early stopping."""
        best = state.best_global_step
        if best is None:  # where nothing is saved, Trainer does not say when it was, but it was before this step
            best = max(state.global_step - 1, 0)
        if self.config.density_at(best, state.max_steps) > self.config.final_density:
            state.best_metric = state.best_model_checkpoint = state.best_global_step = None

    # -- finishing ---------------------------------------------------------------------------------------------------

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model = kwargs["model"]
        self.density = self._final_density(model, state)
        self._kept = finish_pruning(self._selection, self.density, cut=self.storage is not None)
        self._finished = True
        if self.guard is not None:
            self.guard.finish(_last_good_file(args), args.should_save)
        if self.storage is not None and isinstance(model, PreTrainedModel):
            enable_sparse_saving(model, self.storage)
        logger.info("Pruned to %.4f of %s.", self.density, self.config.counted)

    def _final_density(self, model: nn.Module, state: TrainerState) -> float:
        if self.guard is not None:
            return self.guard.go_back(model, state.global_step, self.config.final_density)
        warn_of_early_end(
            f"Training stopped at step {state.global_step} of {state.max_steps}",
            self.density,
            self.config.final_density,
            cure="Train to the end, or use schedule='constant' with a short warmup.",
        )
        return self.config.final_density


_COMPARED = (*(field.name for field in fields(PruningConfig)), "max_steps")
"""What a checkpoint and the run that goes on from it must have in common."""


def _stored(state: TrainerState) -> dict[str, Any]:
    """What the run's state keeps of callbacks, by the name of their class: a dictionary, whatever its type says."""
    stored: Any = state.stateful_callbacks
    return stored


def _last_good_file(args: TrainingArguments) -> Path:
    return Path(str(args.output_dir)) / LAST_GOOD_FILE


def _unscale(scaler: Any, optimizer: Any) -> None:
    """Divide the gradients by the scale of the loss, unless the Trainer has, which does so to measure their norm."""
    try:
        scaler.unscale_(optimizer)
    except RuntimeError as error:
        if "already been called" not in str(error):
            raise


def _put_first(callback: PalBertCallback, event: FrameType | None) -> None:
    """As :func:`put_first`; a second callback that prunes is refused."""
    others = put_first(callback, event)
    if any(isinstance(other, MovementPruningCallback) for other in others):
        raise ConfigurationError("Two MovementPruningCallbacks would fight over the masks; leave one of them out.")
