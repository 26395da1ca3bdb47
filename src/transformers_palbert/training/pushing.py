"""What makes a Trainer's pushes to the Hub whole, packed and described."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitInfo, HfApi
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy
from transformers.utils.hub import PushInProgress

from ..errors import ConfigurationError
from ..hub.callback import ModelCardCallback
from ..hub.card import PalBertCard
from ..hub.push import ensure_branch, finish_pushes, folder_operations, held, push, snapshot_operations
from ..storage.model_files import CHECKPOINT, LOGS, PUSHED

__all__ = ["PushingMixin", "keep_trackio_at_home", "require_push"]

if TYPE_CHECKING:
    from transformers import Trainer

    _Base = Trainer
else:
    _Base = object


def require_push(push_logs: bool, args: TrainingArguments) -> None:
    """Check that ``--push_logs`` has a push to add to.

    Raises:
        ConfigurationError: if nothing is pushed.
    """
    if push_logs and not args.push_to_hub:
        raise ConfigurationError("--push_logs has nothing to add to without --push_to_hub.")


def keep_trackio_at_home(args: TrainingArguments, push_logs: bool) -> None:
    """Let a push publish no metrics that Trackio has logged on this machine only.

    Trackio makes a Space of them at the first push, a public one by default, with the training arguments and the
    absolute paths in them. It still does where ``push_logs`` asks for it, or ``trackio_space_id`` or
    ``trackio_static_space_id`` names a Space.
    """
    if not push_logs and args.trackio_space_id is None and args.trackio_static_space_id is None:
        args.trackio_static_space_id = False


class PushingMixin(_Base):
    """Lets a ``Trainer`` push in one commit, leave pickles out, and write a card of what it measured.

    It comes before the Trainer in the bases: ``class MyTrainer(PushingMixin, Trainer)``.

    - What it pushes is a list: weights, config, tokenizer, card and results
      (:mod:`transformers_palbert.storage.model_files`). Other files in the output folder stay there, and nothing is
      pushed from behind a symbolic link. The folders of ``hub_strategy="checkpoint"`` and ``"all_checkpoints"`` also
      hold what training needs to go on, pickles among it.
    - TensorBoard's logs name the host, and hold the training arguments with the absolute paths in them. They are pushed
      only where ``push_logs=True`` asks for it, and so are those of Trackio, see :func:`keep_trackio_at_home`. The
      folders of W&B stay in any case.
    - Each push is one commit on top of the one it saw, or an error; see :mod:`transformers_palbert.hub.push`.
    - ``hub_revision`` and ``push_to_hub(revision=…)`` create the branch where it is missing.
    - A snapshot in the middle of training is the dense checkpoint, a model that loads and answers as it did then; what
      is pushed after training takes its place.

    Attributes:
        push_logs: Whether the logs of TensorBoard and Trackio are pushed, where there are any. It is an argument of the
            constructor too, and False by default.
        task: What the Trainer's models are for, as the Hub calls it; see :data:`~transformers_palbert.hub.card.TASKS`.
        model_card: The card so far, whose fields may be set; see :class:`~transformers_palbert.hub.PalBertCard`.
    """

    task = "question-answering"
    push_in_progress: Any

    def __init__(self, *args: Any, push_logs: bool = False, **kwargs: Any) -> None:
        self.push_logs = push_logs  # first: the constructor below may push
        super().__init__(*args, **kwargs)
        card_callback = ModelCardCallback(self, task=self.task)
        self.model_card: PalBertCard = card_callback.card
        self.add_callback(card_callback)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo:
        """Save model, tokenizer and card into the output folder, and push it; arguments as for ``Trainer``'s.

        Raises:
            HfHubHTTPError: see :func:`~transformers_palbert.hub.push.push`.
        """
        self._begin_push()
        token = token if token is not None else self.args.hub_token
        revision = revision if revision is not None else self.args.hub_revision
        if self.hub_model_id is None:
            if private is not None:  # not every supported transformers takes it as an argument
                self.args.hub_private_repo = private
            self.init_hf_repo(token=token)
        self.save_model(_internal_call=True)  # on every process: it may gather
        if not self.is_world_process_zero():
            return None  # type: ignore[return-value] # as Trainer's own does
        kwargs.setdefault("model_name", str(self.hub_model_id).rpartition("/")[2])
        self.create_model_card(**kwargs)
        ensure_branch(str(self.hub_model_id), revision, token)
        files = folder_operations(Path(str(self.args.output_dir)), (*PUSHED, *(LOGS if self.push_logs else ())))
        options = {"message": commit_message or "Push the model", "token": token, "revision": revision}
        if blocking:
            return push(str(self.hub_model_id), files, **options)  # type: ignore[arg-type]
        job: Any = HfApi().run_as_future(push, str(self.hub_model_id), files, **options)
        self.push_in_progress = PushInProgress([job])  # type: ignore[arg-type] # it takes a list
        return job

    def _begin_push(self) -> None:
        """Tell the callbacks that a push begins; Trackio's would publish what it has logged."""
        keep_trackio_at_home(self.args, self.push_logs)
        self.callback_handler.on_push_begin(self.args, self.state, self.control)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push a checkpoint in the background, as ``hub_strategy`` says; called after each save."""
        strategy = HubStrategy(self.args.hub_strategy)
        if not self.is_world_process_zero() or strategy == HubStrategy.END:
            return
        busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if busy and not self.args.hub_always_push:
            return
        self._begin_push()
        finish_pushes(self)
        checkpoint = Path(checkpoint_folder)
        folder = {HubStrategy.CHECKPOINT: "last-checkpoint", HubStrategy.ALL_CHECKPOINTS: checkpoint.name}.get(strategy)
        repo_id, token, revision = str(self.hub_model_id), self.args.hub_token, self.args.hub_revision
        ensure_branch(repo_id, revision, token)
        message = f"Training in progress, step {self.state.global_step}"
        keeping = ExitStack()
        kept = keeping.enter_context(held(checkpoint, PUSHED if folder is None else CHECKPOINT))
        files = snapshot_operations(kept, Path(str(self.args.output_dir)), folder, self.push_logs)

        def push_and_forget() -> CommitInfo:
            with keeping:
                return push(repo_id, files, message=message, token=token, revision=revision)

        job: Any = HfApi().run_as_future(push_and_forget)
        self.push_in_progress = PushInProgress([job])  # type: ignore[arg-type] # as above
