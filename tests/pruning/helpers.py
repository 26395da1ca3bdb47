"""Tiny models, tiny data and short runs that the pruning tests share."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AutoModelForQuestionAnswering,
    BertConfig,
    DistilBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from transformers_palbert import PalBertConfig
from transformers_palbert.pruning import (
    MovementPruningCallback,
    Pruner,
    PruningConfig,
    masked_layers,
    prepare_pruning,
)

VOCABULARY, LENGTH = 40, 10
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
_DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
    "hidden_dropout_prob": "dropout",
    "attention_probs_dropout_prob": "attention_dropout",
}
KINDS = ("albert", "palbert", "bert", "roberta", "distilbert")
TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos")


def tiny_config(kind: str = "albert", *, layers: int = 3, dropout: float = 0.0, **changes: Any) -> Any:
    """A config of ``kind`` with ``layers`` layers, which are one set of weights in ALBERT."""
    values = {
        **_SIZES,
        "num_hidden_layers": layers,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if kind in ("albert", "palbert"):
        values |= {"embedding_size": 8, "initializer_range": 0.2}
    if kind == "roberta":
        values |= {"pad_token_id": 1}
    if kind == "distilbert":
        values = {_DISTILBERT_NAMES.get(name, name): value for name, value in values.items()}
    classes: dict[str, type[PreTrainedConfig]] = {
        "albert": AlbertConfig,
        "palbert": PalBertConfig,
        "bert": BertConfig,
        "roberta": RobertaConfig,
        "distilbert": DistilBertConfig,
    }
    return classes[kind](**{**values, **changes})


def tiny_model(kind: str = "albert", *, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A question-answering model of ``kind`` with random weights."""
    set_seed(seed)
    return AutoModelForQuestionAnswering.from_config(tiny_config(kind, **changes))


def qa_rows(count: int, seed: int = 0) -> list[dict[str, list[int] | int]]:
    """Questions of random tokens; the answer is where token 7 stands, so there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(8, VOCABULARY, (count, LENGTH), generator=generator)
    places = torch.randint(1, LENGTH, (count,), generator=generator)
    tokens[torch.arange(count), places] = 7
    return [
        {"input_ids": row, "attention_mask": [1] * LENGTH, "start_positions": place, "end_positions": place}
        for row, place in zip(tokens.tolist(), places.tolist(), strict=True)
    ]


def qa_batch(count: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """One batch of :func:`qa_rows`."""
    rows = qa_rows(count, seed)
    return {key: torch.tensor([row[key] for row in rows]) for key in rows[0]}


def training_arguments(folder: Path, **changes: Any) -> TrainingArguments:
    """Quiet arguments for a short run on the CPU that logs every step."""
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "learning_rate": 2e-3,
        "logging_steps": 1,
        "logging_strategy": "steps",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": 1,
    }
    return TrainingArguments(**{**values, **changes})


def make_trainer(
    folder: Path,
    *,
    model: nn.Module | None = None,
    callback: MovementPruningCallback | None = None,
    rows: int = 32,
    callbacks: list[Any] | None = None,
    metrics: Callable[[Trainer], Mapping[str, float]] | None = None,
    **arguments: Any,
) -> Trainer:
    """A stock ``Trainer`` with one pruning callback (70 % unless given) and ``callbacks`` behind it.

    ``metrics`` maps the trainer, when it evaluates, to the metrics that the evaluation is to return.
    """
    callback = callback or MovementPruningCallback(0.7, method="movement")

    def compute_metrics(_: object) -> Mapping[str, float]:
        return metrics(trainer)  # type: ignore[misc]

    trainer = Trainer(
        model=tiny_model() if model is None else model,
        args=training_arguments(folder, **arguments),
        train_dataset=qa_rows(rows),
        eval_dataset=qa_rows(8, seed=1),
        compute_metrics=compute_metrics if metrics else None,
        callbacks=[callback, *(callbacks or [])],
    )
    return trainer


class Recorder(TrainerCallback):
    """Copies weights, scores and masks after every step, and the logits that the model then has."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, Tensor]] = {}
        self.masks: dict[int, dict[str, Tensor]] = {}
        self.logits: dict[int, Tensor] = {}

    def on_step_end(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        self.states[state.global_step] = raw_state(model)
        self.masks[state.global_step] = masks_of(model)
        training = model.training
        with torch.no_grad():
            self.logits[state.global_step] = model.eval()(**qa_batch()).start_logits
        model.train(training)


def stopped_and_gone_on_with(
    config: PruningConfig, steps: int, meanwhile: Callable[[], object] = lambda: None
) -> tuple[Pruner, Pruner]:
    """Two loops of ``steps``: one without a break, and one that goes on from what the first saved halfway.

    The pruner's state goes through JSON, as a checkpoint would write it. ``meanwhile`` is called before the second
    loop is made. Both pruners are where their loops ended, and not finished.
    """

    def start() -> tuple[Any, torch.optim.Optimizer, Pruner]:
        model = prepare_pruning(tiny_model("bert"), config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        return model, optimizer, Pruner(model, optimizer, config, steps)

    def run(model: Any, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        for step in range(first, last + 1):
            model(**qa_batch(seed=step)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    model, optimizer, whole = start()
    run(model, optimizer, 1, steps // 2)
    place = json.loads(json.dumps(whole.state_dict()))
    weights, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    run(model, optimizer, steps // 2 + 1, steps)
    meanwhile()
    model, optimizer, resumed = start()
    resumed.load_state_dict(place)
    model.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    run(model, optimizer, steps // 2 + 1, steps)
    return whole, resumed


def pruning_callback(trainer: Trainer) -> MovementPruningCallback:
    """The callback of ``trainer``."""
    return next(c for c in trainer.callback_handler.callbacks if isinstance(c, MovementPruningCallback))


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every mask of ``model``, by layer."""
    return {name: layer.mask.clone() for name, layer in masked_layers(model).items()}


def raw_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter, as it is and not as checkpoints write it, and of what scores remember beside them."""
    state = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for name, layer in masked_layers(model).items():
        state |= {f"{name}.{key}": tensor.clone() for key, tensor in layer.score_state.items()}
    return state


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """The same names with the same tensors, bit for bit."""
    assert left.keys() == right.keys()
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different


def steady_logs(trainer: Trainer) -> list[dict[str, Any]]:
    """The log without what a clock wrote."""
    return [
        {
            key: value
            for key, value in entry.items()
            if key not in TIMES and "_runtime" not in key and "_per_" not in key
        }
        for entry in trainer.state.log_history
    ]


def nonzero(tensors: Mapping[str, Tensor], names: list[str]) -> int:
    """Number of weights in ``names`` that are not zero."""
    return sum(int(torch.count_nonzero(tensors[f"{name}.weight"])) for name in names)
