"""Fills a model card while a Trainer trains, and writes it where the Trainer would write its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..hub_tokens import hide_token
from . import facts
from .card import Evaluation, PalBertCard
from .card_on_push import CARD_FILE, attach_card
from .picture import draw_training, training_curves
from .push import finish_pushes

__all__ = ["ModelCardCallback"]

PICTURE_FILE = "training.png"


class ModelCardCallback(TrainerCallback):
    """Let a ``Trainer`` write a card that says what the run measured.

    With any Trainer (:class:`~transformers_palbert.training.trainer.QuestionAnsweringTrainer` does it by itself)::

        trainer = Trainer(…, callbacks=[MovementPruningCallback(target_sparsity=0.7)])
        trainer.add_callback(ModelCardCallback(trainer, datasets=["hfl/cmrc2018"], language="zh"))
        trainer.train()
        trainer.evaluate()      # the card gives results of exactly the weights that it describes
        trainer.push_to_hub()   # with README.md and training.png

    Two more things happen to the Trainer. The token in its arguments is kept out of their pickle
    (:class:`~transformers_palbert.hub_tokens.SecretToken`), and a push waits for the one before it, since that
    one still reads the files. A PAL-BERT model takes the card along when its own ``push_to_hub`` is called.

    Args:
        trainer: The Trainer, whose ``create_model_card`` is replaced.
        known: Fields of :class:`PalBertCard` that only you know, such as ``datasets``, ``language`` and ``license``.

    Attributes:
        card: The card so far; its fields may be set at any time.
    """

    def __init__(self, trainer: Trainer, **known: Any) -> None:
        self.trainer = trainer
        self.card = PalBertCard(**known)
        self._evaluations: list[tuple[str, Evaluation]] = []  # fingerprint of the weights, and their metrics
        self._finished = False
        hide_token(trainer.args)
        trainer.create_model_card = self.create_model_card  # type: ignore[method-assign]

    # -- events ------------------------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.card.resumed_at = state.global_step or None
        self._finished = False
        self._attach(None)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        scores = facts.scores(kwargs.get("metrics") or {})
        if not (scores and state.is_world_process_zero):
            return
        self._evaluations.append((facts.fingerprint(self._model()), Evaluation("this model", scores)))
        if self._finished:
            self._attach(self._fill().render(self._tokens()))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._finished = True
        if state.is_world_process_zero:
            self._attach(self._fill().render(self._tokens()))

    def on_push_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        finish_pushes(self.trainer)

    # -- the card ----------------------------------------------------------------------------------------------------

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write ``README.md``, and the picture, into the output folder; arguments as for ``Trainer``'s own.

        ``dataset_tags`` are Hub ids, ``dataset`` is the name for readers, ``dataset_args`` the configuration; ``tasks``
        is not looked at.
        """
        if not self.trainer.is_world_process_zero():
            return
        folder = Path(str(self.trainer.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        given = {
            "language": language,
            "license": license,
            "model_name": model_name or folder.absolute().name,
            "base_model": finetuned_from,
            "datasets": _listed(dataset_tags),
            "dataset_name": next(iter(_listed(dataset)), None),
            "dataset_config": next(iter(_listed(dataset_args)), None),
            "tags": _listed(tags),
        }
        for name, value in given.items():
            if value:
                setattr(self.card, name, value)
        card = self._fill(folder)
        if draw_training(training_curves(self.trainer.state.log_history), folder / PICTURE_FILE):
            card.picture = PICTURE_FILE
        text = card.render(self._tokens())
        (folder / CARD_FILE).write_text(text, encoding="utf-8")

    def _fill(self, folder: Path | None = None) -> PalBertCard:
        """A copy of the card with everything that can be read off the run; what the user set stays."""
        trainer, model = self.trainer, self._model()
        args, state = trainer.args, trainer.state
        pruning = facts.pruning_settings(model)
        dense = facts.dense_evaluation(state.log_history)
        trained = state.global_step > 0
        found: dict[str, Any] = {
            "repo_id": getattr(trainer, "hub_model_id", None) or args.hub_model_id,
            "base_model": facts.base_model(model) if trained else None,
            "hyperparameters": facts.hyperparameters(args, state, getattr(model, "config", None)) if trained else {},
            "comparisons": [dense] if dense else [],
            "hardware": facts.hardware(args) if trained else None,
            "versions": facts.versions(),
        }
        measured: dict[str, Any] = {
            "pruning": pruning,
            "matrices": facts.encoder_matrices(model) if pruning else [],
            "sizes": facts.model_sizes(model, folder),
            "evaluation": self._evaluation_of(facts.fingerprint(model)),
            "training_seconds": facts.training_seconds(state.log_history),
            "loads_without_package": None if folder is None else facts.is_plainly_stored(folder),
        }
        unset = {name: value for name, value in found.items() if not getattr(self.card, name)}
        return replace(self.card, **unset, **measured)

    def _evaluation_of(self, fingerprint: str) -> Evaluation | None:
        """The last evaluation of exactly these weights."""
        matching = [evaluation for other, evaluation in self._evaluations if other == fingerprint]
        return matching[-1] if matching else None

    def _model(self) -> Any:
        return self.trainer.accelerator.unwrap_model(self.trainer.model, keep_torch_compile=False)

    def _attach(self, text: str | None) -> None:
        if isinstance(model := self._model(), PreTrainedModel):
            attach_card(model, text)

    def _tokens(self) -> list[str | None]:
        return [self.trainer.args.hub_token]


def _listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
