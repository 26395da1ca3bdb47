"""What a teacher adds to a student's loss, against references; and what a Trainer makes of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    set_seed,
)

from tests.pruning.helpers import Recorder, make_trainer, qa_batch, tiny_config, tiny_model
from tests.references.distillation import naive_attention_distance, naive_divergence, naive_state_distance
from tests.references.small_tokenizers import wordpiece
from transformers_palbert import MovementPruningCallback, pruning_report, with_teacher, without_teacher
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.model.removal import KeptUnits, keep_units
from transformers_palbert.training.distillation.projection import PROJECTION, Projection
from transformers_palbert.training.distillation.teaching import lesson_of

LENGTHS = [10, 7, 4, 1]


def padded_batch() -> dict[str, Tensor]:
    batch = qa_batch()
    batch["attention_mask"] = (torch.arange(10) < torch.tensor(LENGTHS)[:, None]).long()
    for name in ("start_positions", "end_positions"):
        batch[name] = batch[name] % torch.tensor(LENGTHS)
    return batch


def insides(model: PreTrainedModel, batch: dict[str, Tensor]) -> Any:
    """Outputs with hidden states and attentions, as transformers returns them."""
    model.set_attn_implementation("eager")
    return model(**batch, output_hidden_states=True, output_attentions=True)


def expected_parts(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    batch: dict[str, Tensor],
    pairs: list[tuple[int, int]],
    temperature: float = 2.0,
    kind: str = "mse",
) -> dict[str, Tensor]:
    """The parts of the loss, row by row and layer by layer, from what the models return themselves."""
    own, target = insides(student, batch), insides(teacher, batch)
    projection: nn.Module = getattr(student, PROJECTION, nn.Identity())
    rows = range(len(batch["input_ids"]))
    kept = [batch["attention_mask"][row].nonzero()[:, 0].tolist() for row in rows]
    logits = [
        naive_divergence(own[name][row], target[name][row], kept[row], temperature)
        for row in rows
        for name in ("start_logits", "end_logits")
    ]
    hidden = [
        naive_state_distance(projection(own.hidden_states[s])[row], target.hidden_states[t][row], kept[row])
        for s, t in pairs
        for row in rows
    ]
    attention = [
        naive_attention_distance(
            own.attentions[s - 1][row][:, kept[row]][:, :, kept[row]],
            target.attentions[t - 1][row][:, kept[row]][:, :, kept[row]],
            kind,
        )
        for s, t in pairs
        if s
        for row in rows
    ]
    parts = {"logits": logits, "hidden": hidden, "attention": attention}
    return {"task": own.loss} | {name: torch.stack(values).mean() for name, values in parts.items()}


def gradients(loss: Tensor, model: nn.Module) -> dict[str, Tensor | None]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize(("kinds", "layers", "changes", "options", "pairs"), [
    (("albert", "albert"), (3, 3), {}, {}, [(1, 1), (2, 2), (3, 3)]),
    (("palbert", "bert"), (2, 4), {"layer_lr_decay": 0.5}, {}, [(1, 2), (2, 4)]),
    (("bert", "albert"), (4, 2), {"hidden_size": 24, "num_attention_heads": 3}, {}, [(1, 1), (2, 1), (3, 2), (4, 2)]),
    (("roberta", "bert"), (2, 2), {}, {"layer_map": [(1, 2), (0, 0)]}, [(1, 2), (0, 0)]),
    (("bert", "roberta"), (2, 2), {}, {"attention_loss": "kl", "layer_map": [(-1, 1)]}, [(2, 1)]),
    (("distilbert", "bert"), (2, 3), {"n_heads": 4, "qa_dropout": 0.0}, {"attention_loss": "kl"}, [(1, 2), (2, 3)]),
])  # fmt: skip
def test_the_loss_and_its_gradients(
    kinds: tuple[str, str],
    layers: tuple[int, int],
    changes: dict[str, Any],
    options: dict[str, Any],
    pairs: list[tuple[int, int]],
) -> None:
    student = tiny_model(kinds[0], layers=layers[0], **changes).double().train()
    teacher = tiny_model(kinds[1], seed=1, layers=layers[1]).double()
    batch = padded_batch()
    with_teacher(student, teacher.train(), weight=0.3, temperature=3.0, hidden_states=0.7, attention=5.0, **options)
    outputs = student(**batch)
    found = outputs.loss, gradients(outputs.loss, student)
    plain = copy.deepcopy(student)
    for handle in plain._palbert_teacher:  # the projection stays
        handle.remove()
    parts = expected_parts(plain, teacher, batch, pairs, 3.0, options.get("attention_loss", "mse"))
    expected = 0.7 * parts["task"] + 0.3 * parts["logits"] + 0.7 * parts["hidden"] + 5.0 * parts["attention"]
    torch.testing.assert_close(found[0], expected, rtol=1e-9, atol=1e-12)
    for name, gradient in gradients(expected, plain).items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-7, atol=1e-11, msg=name)
    assert outputs.hidden_states is None
    assert outputs.attentions is None
    assert (PROJECTION + ".weight" in found[1]) == ("hidden_size" in changes)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    logged = {name: value.item() for name, value in lesson_of(student).losses.take()[0].items()}
    assert logged == pytest.approx({name: value.item() for name, value in parts.items()}, rel=1e-6)


def test_attention_is_compared_before_dropout_and_in_every_implementation() -> None:
    losses = []
    for implementation, dropout in (("eager", 0.0), ("eager", 0.9), ("sdpa", 0.0)):
        student = tiny_model("bert", attention_probs_dropout_prob=dropout, layers=1).train()
        student.set_attn_implementation(implementation)
        with_teacher(student, tiny_model("bert", seed=1, layers=1), weight=0.0, attention=1.0)
        student(**padded_batch())
        losses.append(float(lesson_of(student).losses.take()[0]["attention"]))
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)


def test_only_while_a_loss_is_trained_on() -> None:
    student, teacher = tiny_model(), tiny_model(seed=1)
    batch = qa_batch()
    plain = student.eval()(**batch).loss
    with_teacher(student, teacher, hidden_states=1.0, attention=1.0)
    assert torch.equal(student.eval()(**batch).loss, plain)
    with torch.no_grad():
        assert torch.equal(student.train()(**batch).loss, plain)
    inputs = {name: tensor for name, tensor in batch.items() if "positions" not in name}
    assert student(**inputs).loss is None
    assert not torch.equal(student(**batch).loss, plain)
    hooks = [len(module._forward_hooks) for module in student.base_model.encoder.modules()]
    assert not any(hooks)  # nobody listens between two batches
    without_teacher(student)
    assert torch.equal(student(**batch).loss, plain)
    with_teacher(student, teacher)  # and again


def test_a_forward_that_fails_leaves_nothing_behind() -> None:
    student = with_teacher(tiny_model().train(), tiny_model(seed=1), hidden_states=1.0)
    batch = qa_batch()
    with pytest.raises(IndexError):
        student(**{**batch, "token_type_ids": torch.full_like(batch["input_ids"], 9)})
    before = student(**batch).loss
    assert torch.equal(student(**batch).loss, before)


def test_a_copy_of_a_student_has_the_same_teacher_and_a_projection_of_its_own() -> None:
    teacher = tiny_model(seed=1, hidden_size=24, num_attention_heads=3)
    student = with_teacher(tiny_model(), teacher, hidden_states=1.0)
    copied = copy.deepcopy(student)
    assert torch.equal(copied.train()(**qa_batch()).loss, student.train()(**qa_batch()).loss)
    assert not torch.equal(student(**qa_batch()).loss, student.eval()(**qa_batch()).loss)
    with torch.no_grad():
        copied.get_submodule(PROJECTION).weight.zero_()
    copied(**qa_batch()).loss.backward()
    assert copied.get_submodule(PROJECTION).weight.grad is not None
    assert lesson_of(copied).projection is copied.get_submodule(PROJECTION)
    assert lesson_of(copied).teacher is teacher
    assert student.get_submodule(PROJECTION).weight.any()
    assert all(parameter.grad is None for parameter in student.parameters())


def test_what_is_saved_holds_neither_teacher_nor_projection(tmp_path: Path) -> None:
    student = tiny_model("bert")
    before, size = set(student.state_dict()), pruning_report(student).total.numel
    teacher = tiny_model("bert", seed=1, hidden_size=24, num_attention_heads=3)
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    with_teacher(student, teacher, hidden_states=1.0)
    assert torch.equal(torch.rand(1), drawn)  # the training's random numbers are those of a run without a teacher
    assert any(PROJECTION in name for name, _ in student.named_parameters())
    assert set(student.state_dict()) == before
    assert pruning_report(student).total.numel == size
    student.save_pretrained(tmp_path)
    _, info = type(student).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    student.load_state_dict(student.state_dict())  # strictly
    with pytest.raises(RuntimeError, match=r"Missing key.*qa_outputs.bias"):
        student.load_state_dict({name: t for name, t in student.state_dict().items() if name != "qa_outputs.bias"})
    without_teacher(student)
    assert not any(PROJECTION in name for name, _ in student.named_parameters())


def test_a_projection_starts_as_one_that_loses_no_length() -> None:
    weight = Projection(4, 6).weight
    torch.testing.assert_close(weight.T @ weight, torch.eye(4))
    assert torch.equal(weight, Projection(4, 6).weight)


def test_a_tuple_has_no_loss_to_add_to() -> None:
    student = with_teacher(tiny_model(), tiny_model(seed=1))
    with pytest.raises(ConfigurationError, match="return_dict=True"):
        student.train()(**qa_batch(), return_dict=False)


def test_a_mask_that_is_no_padding() -> None:
    student = with_teacher(tiny_model(), tiny_model(seed=1))
    batch = qa_batch()
    with pytest.raises(ConfigurationError, match=r"\[batch, length\]"):
        student.train()(**{**batch, "attention_mask": torch.ones(4, 1, 10, 10)})


def test_a_teacher_that_knows_one_type_of_tokens() -> None:
    student, teacher = tiny_model("bert").train(), tiny_model("roberta", seed=1, type_vocab_size=1)
    batch = padded_batch()
    plain = with_teacher(student, teacher)(**batch).loss
    typed = student(**batch, token_type_ids=torch.ones_like(batch["input_ids"])).loss
    assert typed.isfinite()
    assert not torch.equal(typed, plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_teacher_in_half_precision(dtype: torch.dtype) -> None:
    teacher = tiny_model("bert", seed=1)
    options: dict[str, Any] = {"hidden_states": 1.0, "attention": 1.0}
    losses = []
    for precise in (teacher, copy.deepcopy(teacher).to(dtype)):
        student = with_teacher(tiny_model("bert").train(), precise, **options)
        losses.append(student(**padded_batch()).loss)
    assert losses[1].dtype == torch.float32
    assert lesson_of(student).teacher.dtype == dtype
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0.0)
    assert not torch.equal(losses[1], losses[0])


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing(use_reentrant: bool) -> None:
    student, teacher = tiny_model("bert").train(), tiny_model("bert", seed=1)
    with_teacher(student, teacher, hidden_states=1.0, attention=1.0)
    plain = gradients(student(**padded_batch()).loss, student)
    enable = getattr(student, "activation_checkpointing_enable", None) or student.gradient_checkpointing_enable
    enable({"use_reentrant": use_reentrant})
    if use_reentrant:
        with pytest.raises(ConfigurationError, match="'use_reentrant': False"):
            student(**padded_batch())
        return
    student(**padded_batch()).loss.backward()
    for name, parameter in student.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name], msg=name)


# -- other tasks -------------------------------------------------------------------------------------------------------


def classifier(auto: Any, kind: str = "bert", *, seed: int = 0, labels: int = 3, **changes: Any) -> PreTrainedModel:
    set_seed(seed)
    config = tiny_config(kind, **changes)
    config.num_labels = labels
    return auto.from_config(config).double()


def texts(labels: Tensor) -> dict[str, Tensor]:
    batch = padded_batch()
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression"])
def test_classification_of_texts(problem: str) -> None:
    labels = {
        "single_label_classification": torch.tensor([0, 2, 1, 1]),
        "multi_label_classification": torch.randint(0, 2, (4, 3)).double(),
        "regression": torch.randn(4).double(),
    }
    count = 1 if problem == "regression" else 3
    student, teacher = (
        classifier(AutoModelForSequenceClassification, seed=seed, labels=count, problem_type=problem) for seed in (0, 1)
    )
    batch = texts(labels[problem])
    own, target = student.train()(**batch), teacher.eval()(**batch)
    if problem == "regression":
        expected = ((own.logits - target.logits) ** 2).mean()
    elif problem == "single_label_classification":
        expected = torch.stack(
            [naive_divergence(s, t, [0, 1, 2], 2.0) for s, t in zip(own.logits, target.logits, strict=True)]
        ).mean()
    else:
        p, q = torch.sigmoid(target.logits / 2), torch.sigmoid(own.logits / 2)
        expected = (4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log())).mean()
    with_teacher(student, teacher, weight=0.25)
    torch.testing.assert_close(student(**batch).loss, 0.75 * own.loss + 0.25 * expected, rtol=1e-9, atol=0.0)


def token_labels() -> Tensor:
    labels = torch.randint(0, 3, (4, 10), generator=torch.Generator().manual_seed(0))
    labels[:, 0] = -100
    return labels.masked_fill(padded_batch()["attention_mask"] == 0, -100)  # the last row has none


def test_classification_of_tokens() -> None:
    student, teacher = (classifier(AutoModelForTokenClassification, seed=seed) for seed in (0, 1))
    batch = texts(token_labels())
    own, target = student.train()(**batch), teacher.eval()(**batch)
    places = (batch["labels"] != -100).nonzero().tolist()
    each = [naive_divergence(own.logits[i, j], target.logits[i, j], [0, 1, 2], 2.0) for i, j in places]
    with_teacher(student, teacher, weight=0.25)
    expected = 0.75 * own.loss + 0.25 * torch.stack(each).mean()
    torch.testing.assert_close(student(**batch).loss, expected, rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
def test_micro_batches_add_up_to_their_step(auto: Any) -> None:
    """With Trainer's count of labels, which these models themselves ignore."""
    labels = token_labels() if auto is AutoModelForTokenClassification else torch.tensor([0, 2, 1, 1])
    batch = texts(labels)
    student = classifier(auto).train()
    teacher = classifier(auto, seed=1, hidden_size=24, num_attention_heads=3)
    with_teacher(student, teacher, hidden_states=1.0, attention=1.0)
    whole = student(**batch).loss
    items = (labels != -100).sum()
    pieces = [{name: tensor[part] for name, tensor in batch.items()} for part in (slice(0, 1), slice(1, 4))]
    added = sum(student(**piece, num_items_in_batch=items).loss for piece in pieces)
    torch.testing.assert_close(added, whole, rtol=1e-9, atol=0.0)


# -- in a Trainer ------------------------------------------------------------------------------------------------------


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    states = []
    for batch, accumulation in ((16, 1), (4, 4)):
        recorder = Recorder()
        teacher = tiny_model(seed=1, hidden_size=24, num_attention_heads=3)
        make_trainer(
            tmp_path,
            model=with_teacher(tiny_model().double(), teacher.double(), hidden_states=1.0, attention=1.0),
            callback=MovementPruningCallback(0.5, warmup=0.3),
            callbacks=[recorder],
            rows=32,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=2,
        ).train()
        states.append(recorder.states[4])
    assert any(PROJECTION in name for name in states[0])
    for name, tensor in states[0].items():
        tolerance = 1e-4 if name.endswith(("scores", "uncertainty")) else 1e-9
        torch.testing.assert_close(states[1][name], tensor, rtol=tolerance, atol=tolerance)


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    student, teacher = tiny_model(), tiny_model(seed=1, layers=2)
    pairs, batch = [(1, 1), (2, 2), (3, 2)], padded_batch()
    before = expected_parts(student.eval(), teacher.eval(), batch, pairs)
    with_teacher(student, teacher, weight=1.0, hidden_states=1.0, attention=20.0)
    make_trainer(tmp_path, model=student, max_steps=60, bf16=True).train()
    after = expected_parts(student.eval(), teacher, batch, pairs)
    assert after["logits"] < before["logits"] / 2
    assert after["hidden"] < before["hidden"]
    assert after["attention"] < before["attention"]


@pytest.mark.parametrize("settings", [
    {"granularity": "element"},
    {"granularity": "head", "target_sparsity": 0.5},
    {"granularity": "ffn_unit"},
    {"granularity": "head", "target_sparsity": 0.5, "applications": "each"},
], ids=lambda settings: "-".join(map(str, settings.values())))  # fmt: skip
def test_a_teacher_joins_pruning_and_stays_for_what_comes_after(settings: dict[str, Any], tmp_path: Path) -> None:
    kind = "palbert" if "applications" in settings else "bert"
    student, teacher = tiny_model(kind, num_attention_heads=4), tiny_model("bert", seed=1)
    with_teacher(student, teacher, hidden_states=1.0, attention=1.0)
    callback = MovementPruningCallback(**{"target_sparsity": 0.6, "warmup": 0.0, **settings})
    make_trainer(tmp_path / "first", model=student, callback=callback, max_steps=6).train()
    batch = padded_batch()
    student.train()(**batch).loss.backward()
    assert student.base_model.embeddings.word_embeddings.weight.grad.any()
    student.save_pretrained(tmp_path / "pruned")
    again = type(student).from_pretrained(tmp_path / "pruned").train()
    with_teacher(again, teacher, hidden_states=1.0, attention=1.0)
    torch.testing.assert_close(again(**batch).loss, student(**batch).loss)


def test_a_student_with_fewer_heads_and_units() -> None:
    student, teacher = tiny_model("bert", num_attention_heads=4).double(), tiny_model("bert", seed=1).double()
    teacher.set_attn_implementation("eager")
    keep_units(student, {"encoder.layer.0": KeptUnits(heads=[1, 3]), "encoder.layer.1": KeptUnits([2], range(5))})
    with_teacher(student.train(), teacher, hidden_states=1.0, attention=1.0)
    loss = student(**padded_batch()).loss
    parts = expected_parts(without_teacher(student), teacher, padded_batch(), [(1, 1), (2, 2), (3, 3)])
    expected = (parts["task"] + parts["logits"]) / 2 + parts["hidden"] + parts["attention"]
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0.0)


def test_an_application_without_heads_attends_to_nothing() -> None:
    student = tiny_model("palbert", layers=2, application_heads=["03", "00"]).train()
    teacher = tiny_model("bert", seed=1, layers=2)
    with_teacher(student, teacher, weight=0.0, attention=1.0)
    both = student(**padded_batch()).loss
    without_teacher(student)
    with_teacher(student, teacher, weight=0.0, attention=1.0, layer_map=[(1, 1)])
    torch.testing.assert_close(student(**padded_batch()).loss, both)
    assert not lesson_of(student)._records[0].layers  # nothing is held beyond the loss
    without_teacher(student)
    with_teacher(student, teacher, weight=0.0, attention=1.0, layer_map=[(2, 2)])
    student(**padded_batch()).loss.backward()
    assert lesson_of(student).losses.take()[0]["attention"] == 0


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    ({"weight": 0.0}, "above 0 and at most 1; 0 only where"),
    ({"weight": 1.5}, "above 0 and at most 1"),
    ({"weight": -0.1, "attention": 1.0}, "above 0 and at most 1"),
    ({"temperature": 0.0}, "must be above 0"),
    ({"temperature": float("inf")}, "must be above 0"),
    ({"hidden_states": -1.0}, "hidden_states=-1.0 must be the weight of a loss"),
    ({"attention": float("nan")}, "attention=nan must be the weight of a loss"),
    ({"attention_loss": "cosine"}, "attention_loss='cosine' is not known; known are mse, kl"),
    ({"layer_map": [(1, 1)]}, "layer_map changes nothing"),
    ({"layer_map": [(1, 9)], "hidden_states": 1.0}, "layer 9 of the teacher, which has 3"),
    ({"layer_map": [(1, 1), (0, 2)], "attention": 1.0}, "maps embeddings, which have none, to a layer"),
    ({"layer_map": [(0, 0)], "attention": 1.0}, "leaves no layers to compare the attention of"),
])  # fmt: skip
def test_wrong_values(options: dict[str, Any], message: str) -> None:
    student = tiny_model()
    with pytest.raises(ConfigurationError, match=message):
        with_teacher(student, tiny_model(), **options)
    with_teacher(student, tiny_model())  # nothing was changed


def test_teachers_that_do_not_suit() -> None:
    student = tiny_model()
    with pytest.raises(ConfigurationError, match="its own teacher"):
        with_teacher(student, student)
    with pytest.raises(ConfigurationError, match="40 tokens and the teacher one of 41"):
        with_teacher(student, tiny_model(vocab_size=41))
    with pytest.raises(ConfigurationError, match="of a teacher that is cached there are logits alone"):
        with_teacher(student, None, hidden_states=1.0)
    with_teacher(student, tiny_model())
    with pytest.raises(ConfigurationError, match="has a teacher already"):
        with_teacher(student, tiny_model())


def test_a_teacher_for_another_task() -> None:
    student = with_teacher(tiny_model("bert").train(), classifier(AutoModelForTokenClassification))
    with pytest.raises(ConfigurationError, match=r"start_logits \[4, 10\], .* the teacher's logits \[4, 10, 3\]"):
        student(**qa_batch())


def test_ids_must_mean_the_same_tokens() -> None:
    own, other = wordpiece(), wordpiece()
    words = own.convert_ids_to_tokens(list(range(len(own))))
    words[7], words[8] = words[8], words[7]
    swapped = type(own)(vocab={word: number for number, word in enumerate(words)})
    student, teacher = tiny_model(), tiny_model(seed=1)
    with pytest.raises(ConfigurationError, match="its own teacher"):
        with_teacher(student, student, tokenizers=(own, own))
    with pytest.raises(ConfigurationError, match="2 ids do not mean the same token"):
        with_teacher(student, teacher, tokenizers=(own, swapped))
    other.add_tokens(["more"])
    padded = tiny_model(seed=1, vocab_size=student.config.vocab_size + 8)
    with_teacher(student, padded, tokenizers=(own, other))


def test_a_replica_of_data_parallel_is_refused() -> None:
    student = with_teacher(tiny_model("bert"), tiny_model("bert"))
    student._is_replica = True  # as torch.nn.parallel.replicate marks its copies, which share everything else
    with pytest.raises(ConfigurationError, match="accelerate launch"):
        student.train()(**qa_batch())


def test_labels_by_position_count_too() -> None:
    student, teacher = (classifier(AutoModelForTokenClassification, seed=seed) for seed in (0, 1))
    batch = texts(token_labels())
    with_teacher(student.train(), teacher, hidden_states=1.0)
    named = student(**batch).loss
    assert torch.equal(
        student(batch["input_ids"], batch["attention_mask"], None, None, None, batch["labels"]).loss, named
    )
