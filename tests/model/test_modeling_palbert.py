from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from accelerate import infer_auto_device_map
from torch import Tensor
from transformers import AlbertConfig

import transformers_palbert as palbert
from tests.references.tiny_models import SHAPE, tiny_batch
from tests.references.unshared import unshared_gradients
from transformers_palbert import ConfigurationError, PalBertConfig, PalBertForQuestionAnswering
from transformers_palbert.model.modeling_palbert import PalBertLayer

HEADS = [
    "Model",
    "ForMaskedLM",
    "ForMultipleChoice",
    "ForPreTraining",
    "ForQuestionAnswering",
    "ForSequenceClassification",
    "ForTokenClassification",
]
BATCH = tiny_batch()
STARTS, ENDS = torch.tensor([1, 4, 9]), torch.tensor([2, 6, 40])  # the last answer lies outside of its window
INSIDE = {"start_positions": torch.tensor([1, 4, 3]), "end_positions": torch.tensor([2, 6, 5])}


def stock(head: str) -> Any:
    return getattr(transformers, f"Albert{head}")


def ours(head: str) -> Any:
    return getattr(palbert, f"PalBert{head}")


def inputs_for(head: str) -> dict[str, Tensor]:
    if head == "ForMultipleChoice":
        return {name: value.unsqueeze(0) for name, value in BATCH.items()} | {"labels": torch.tensor([1])}
    labels: dict[str, Tensor] = {
        "Model": {},
        "ForMaskedLM": {"labels": BATCH["input_ids"]},
        "ForPreTraining": {"labels": BATCH["input_ids"], "sentence_order_label": torch.tensor([0, 1, 1])},
        "ForQuestionAnswering": {"start_positions": STARTS, "end_positions": ENDS},
        "ForSequenceClassification": {"labels": torch.tensor([0, 1, 1])},
        "ForTokenClassification": {"labels": BATCH["token_type_ids"]},
    }[head]
    return BATCH | labels


def qa_model(**fields: Any) -> PalBertForQuestionAnswering:
    torch.manual_seed(1)
    return PalBertForQuestionAnswering(PalBertConfig(**SHAPE | fields)).double().eval()


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


# --- the same as stock ALBERT -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("head", HEADS)
def test_an_albert_checkpoint_gives_exactly_alberts_output(
    head: str, attention: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    stock(head)(AlbertConfig(**SHAPE)).save_pretrained(tmp_path)
    options = {"dtype": dtype, "attn_implementation": attention}
    theirs = stock(head).from_pretrained(tmp_path, **options).eval()
    model, info = ours(head).from_pretrained(tmp_path, **options, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert list(model.state_dict()) == list(theirs.state_dict())
    assert type(model.config) is PalBertConfig
    with torch.no_grad():
        expected, got = theirs(**inputs_for(head)), model.eval()(**inputs_for(head))
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        assert torch.equal(got[name], value), name


@pytest.mark.parametrize("head", HEADS)
def test_a_palbert_checkpoint_with_default_settings_loads_in_stock_albert(head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours(head)(PalBertConfig(**SHAPE)).save_pretrained(tmp_path)
    model = ours(head).from_pretrained(tmp_path).eval()
    theirs, info = stock(head).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        for got, expected in zip(
            model(**inputs_for(head)).values(), theirs.eval()(**inputs_for(head)).values(), strict=True
        ):
            assert torch.equal(got, expected)


def test_a_batch_without_a_masked_token_has_a_loss() -> None:
    model = palbert.PalBertForPreTraining(PalBertConfig(**SHAPE)).eval()
    nothing = torch.full_like(BATCH["input_ids"], -100)
    order = torch.tensor([0, 1, 1])
    outputs = model(**BATCH, labels=nothing, sentence_order_label=order)
    assert outputs.loss == torch.nn.functional.cross_entropy(outputs.sop_logits, order)


def test_naming_the_masked_positions_only_leaves_the_other_logits_out() -> None:
    torch.manual_seed(2)
    model = palbert.PalBertForPreTraining(PalBertConfig(**SHAPE)).double().eval()
    positions = torch.tensor([[1, 5, 7], [3, 2, 0], [4, 0, 0]])
    picked = torch.tensor([[9, 8, 7], [6, 5, -100], [4, -100, -100]])
    labels = torch.full_like(BATCH["input_ids"], -100)
    for row, column in (picked != -100).nonzero():
        labels[row, positions[row, column]] = picked[row, column]
    order = torch.tensor([0, 1, 1])
    whole = model(**BATCH, labels=labels, sentence_order_label=order)
    some = model(**BATCH, labels=picked, sentence_order_label=order, masked_positions=positions)
    expected_logits = whole.prediction_logits.gather(1, positions[..., None].expand(-1, -1, SHAPE["vocab_size"]))
    torch.testing.assert_close(some.prediction_logits, expected_logits)
    assert torch.equal(some.sop_logits, whole.sop_logits)
    torch.testing.assert_close(some.loss, whole.loss)
    expected, got = gradients(model, whole.loss), gradients(model, some.loss)
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)


def test_gradients_and_dropout_equal_stock_alberts_too() -> None:
    shape = SHAPE | {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
    theirs = stock("ForQuestionAnswering")(AlbertConfig(**shape))
    model = PalBertForQuestionAnswering(PalBertConfig(**shape))
    model.load_state_dict(theirs.state_dict())
    results = []
    for each in (theirs, model):
        torch.manual_seed(3)
        results.append(gradients(each, each.train()(**BATCH, start_positions=STARTS, end_positions=ENDS).loss))
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(results[0][name], value) for name, value in results[1].items())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_hidden_states_and_attentions_equal_stock_alberts(attention: str) -> None:
    theirs = stock("ForQuestionAnswering")(AlbertConfig(**SHAPE, attn_implementation=attention)).eval()
    model = PalBertForQuestionAnswering(PalBertConfig(**SHAPE, attn_implementation=attention)).eval()
    model.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        expected = theirs(**BATCH, output_hidden_states=True, output_attentions=attention == "eager")
        got = model(**BATCH, output_hidden_states=True, output_attentions=attention == "eager")
        plain = model(**BATCH)
        as_tuple = model(**BATCH, return_dict=False)
    assert len(got.hidden_states) == SHAPE["num_hidden_layers"] + 1
    assert all(torch.equal(a, b) for a, b in zip(got.hidden_states, expected.hidden_states, strict=True))
    if attention == "eager":
        assert len(got.attentions) == SHAPE["num_hidden_layers"]
        assert all(torch.equal(a, b) for a, b in zip(got.attentions, expected.attentions, strict=True))
    assert plain.hidden_states is None
    assert plain.attentions is None
    assert torch.equal(as_tuple[0], plain.start_logits)


def test_masked_lm_ties_its_decoder_to_the_embeddings() -> None:
    model = ours("ForMaskedLM")(PalBertConfig(**SHAPE))
    assert model.predictions.decoder.weight is model.albert.embeddings.word_embeddings.weight
    model.resize_token_embeddings(70)
    assert model(**BATCH).logits.shape[-1] == 70


def test_a_device_map_divides_no_layer() -> None:
    model = PalBertForQuestionAnswering(PalBertConfig(**SHAPE))
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0"
    assert type(model.get_submodule(layer)).__name__ in model._no_split_modules
    half = sum(tensor.nbytes for tensor in model.get_submodule(layer).parameters()) // 2
    parts = infer_auto_device_map(model, {"cpu": half, "disk": 10**9}, no_split_module_classes=model._no_split_modules)
    assert not any(part.startswith(f"{layer}.") for part in parts)


def test_half_precision_runs() -> None:
    model = PalBertForQuestionAnswering(
        PalBertConfig(**SHAPE, qa_layers=[0, 2], qa_layer_pooling="weighted_sum", layer_lr_decay=0.9)
    ).half()
    output = model(**BATCH, **INSIDE)
    assert output.start_logits.dtype == torch.float16
    output.loss.backward()
    assert all(value.grad is not None for value in model.parameters())


# --- attention heads of any number and width --------------------------------------------------------------------------


def test_removed_heads_leave_narrower_projections_that_round_trip(tmp_path: Path) -> None:
    model = qa_model(num_attention_heads=2, attention_head_size=8).float()
    attention = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    assert attention.query.weight.shape == attention.value.weight.shape == attention.key.weight.shape == (16, 24)
    assert attention.dense.weight.shape == (24, 16)
    assert attention.scaling == 8**-0.5
    model.save_pretrained(tmp_path)
    loaded = PalBertForQuestionAnswering.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(loaded(**BATCH).start_logits, model(**BATCH).start_logits)


def test_heads_that_do_not_divide_the_hidden_size() -> None:
    """``24 // 5`` is a head's width by itself, and five such heads are narrower than the hidden states."""
    model = qa_model(num_attention_heads=5, attention_head_size=4)
    attention = model.albert.encoder.albert_layer_groups[0].albert_layers[0].attention
    assert attention.query.weight.shape == (20, 24)
    assert attention.dense.weight.shape == (24, 20)
    assert model(**BATCH).start_logits.isfinite().all()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_head_whose_output_is_ignored_can_be_removed(attention: str) -> None:
    full = qa_model(attn_implementation=attention)
    small = qa_model(num_attention_heads=2, attention_head_size=8, attn_implementation=attention)
    weights, kept = full.state_dict(), slice(0, 16)
    for name in weights:
        if ".attention." in name and "LayerNorm" not in name:
            if ".dense.weight" in name:
                weights[name][:, 16:] = 0
                small.get_parameter(name).data.copy_(weights[name][:, kept])
                continue
            if ".dense." not in name:
                small.get_parameter(name).data.copy_(weights[name][kept])
                continue
        small.get_parameter(name).data.copy_(weights[name])
    full.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(small(**BATCH).start_logits, full(**BATCH).start_logits, rtol=1e-12, atol=1e-13)


# --- question answering over chosen layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [1, 2])
@pytest.mark.parametrize(
    ("layers", "pooling", "naive"),
    [
        ([1], "last", lambda states, _: states[0]),
        ([-1], "mean", lambda states, _: states[0]),
        ([0, 2], "mean", lambda states, _: (states[0] + states[1]) / 2),
        ([3, 1], "max", lambda states, _: torch.maximum(states[0], states[1])),
        ([-1, 0], "concat", lambda states, _: torch.cat(states, -1)),
        ([1, 2, 3], "weighted_sum", lambda states, w: sum(s * p for s, p in zip(states, w.softmax(0), strict=True))),
    ],
)
def test_the_head_reads_the_chosen_layers(
    layers: list[int], pooling: str, naive: Callable[[list[Tensor], Any], Tensor], inner: int
) -> None:
    model = qa_model(qa_layers=layers, qa_layer_pooling=pooling, inner_group_num=inner)
    weights = model.qa_pool.layer_weights
    if weights is not None:
        torch.nn.init.normal_(weights)
    with torch.no_grad():
        output = model(**BATCH)
        states = model.albert(**BATCH, output_hidden_states=True).hidden_states
        chosen = [states[(layer + 1) * inner] for layer in sorted(layer % 4 for layer in layers)]
        logits = model.qa_outputs(naive(chosen, weights))
    torch.testing.assert_close(torch.stack((output.start_logits, output.end_logits), -1), logits, rtol=1e-12, atol=0)
    assert output.hidden_states is None
    assert model.qa_outputs.in_features == (48 if pooling == "concat" else 24)


@pytest.mark.parametrize("wanted", [True, [2]])
def test_hidden_states_can_be_had_beside_pooling(wanted: bool | list[int]) -> None:
    model = qa_model(qa_layers=[0, 2], qa_layer_pooling="mean")
    with torch.no_grad():
        output = model(**BATCH, output_hidden_states=wanted)
        expected = model.albert(**BATCH, output_hidden_states=True).hidden_states
        assert torch.equal(output.start_logits, model(**BATCH).start_logits)
    assert torch.equal(output.hidden_states[2], expected[2])


def test_pooling_weights_start_even_when_an_albert_checkpoint_lacks_them(tmp_path: Path) -> None:
    stock("ForQuestionAnswering")(AlbertConfig(**SHAPE)).save_pretrained(tmp_path)
    model, info = PalBertForQuestionAnswering.from_pretrained(
        tmp_path, qa_layers=[1, 3], qa_layer_pooling="weighted_sum", output_loading_info=True
    )
    assert set(info["missing_keys"]) == {"qa_pool.layer_weights"}
    assert torch.equal(model.qa_pool.layer_weights, torch.zeros(2))
    model.save_pretrained(tmp_path / "palbert")
    _, info = PalBertForQuestionAnswering.from_pretrained(tmp_path / "palbert", output_loading_info=True)
    assert not info["missing_keys"]


def test_question_answering_refuses_another_number_of_labels() -> None:
    with pytest.raises(ConfigurationError, match=r"num_labels=3 is not allowed for question answering.*num_labels=2"):
        PalBertForQuestionAnswering(PalBertConfig(**SHAPE, num_labels=3))


def test_a_field_set_to_a_wrong_value_after_the_fact_is_found_by_the_model() -> None:
    config = PalBertConfig(**SHAPE)
    config.qa_layers = [7]
    with pytest.raises(ConfigurationError, match=r"qa_layers=\[7\]"):
        PalBertForQuestionAnswering(config)


def test_positions_outside_the_window_add_nothing_to_the_loss() -> None:
    model = qa_model()
    with torch.no_grad():
        loss = model(**BATCH, start_positions=STARTS, end_positions=ENDS).loss
        output = model(**BATCH)
        expected = (
            torch.nn.functional.cross_entropy(output.start_logits[:2], STARTS[:2])
            + torch.nn.functional.cross_entropy(output.end_logits[:2], ENDS[:2])
        ) / 2
        gathered = model(**BATCH, start_positions=STARTS[:, None], end_positions=ENDS[:, None]).loss
    torch.testing.assert_close(loss, expected)
    assert gathered == loss


# --- layer-wise learning rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_hidden_groups": 2},
        {"num_hidden_layers": 5, "num_hidden_groups": 3},
        {"qa_layers": [1], "num_hidden_groups": 2},
        {"qa_layers": [0, 2, 3], "qa_layer_pooling": "weighted_sum"},
        {"qa_layers": [0, 3], "qa_layer_pooling": "concat", "num_hidden_groups": 2},
        {"qa_layers": [1, 2], "qa_layer_pooling": "max"},
    ],
)
@pytest.mark.parametrize("decay", [1.0, 0.5, 1.5])
def test_shared_weights_receive_the_scaled_sum_of_the_gradients_of_unshared_layers(
    decay: float, fields: dict[str, Any], checkpointing: bool
) -> None:
    model = qa_model(layer_lr_decay=decay, attn_implementation="eager", **fields).train()
    if checkpointing:
        _enable_checkpointing(model)
    loss, per_layer, others = unshared_gradients(model, BATCH, *INSIDE.values())
    output = model(**BATCH, **INSIDE)
    torch.testing.assert_close(output.loss, loss, rtol=1e-13, atol=0)
    got = gradients(model, output.loss)

    depth, groups = model.config.num_hidden_layers, model.config.num_hidden_groups
    expected = dict(others)
    for layer, of_layer in enumerate(per_layer):
        for name, value in of_layer.items():
            key = f"albert.encoder.albert_layer_groups.{layer * groups // depth}.albert_layers.0.{name}"
            expected[key] = expected.get(key, 0) + decay ** (depth - 1 - layer) * value
    assert got.keys() <= expected.keys()
    for name, value in expected.items():
        reached = got.get(name, torch.zeros_like(value))
        torch.testing.assert_close(reached, value, rtol=1e-10, atol=1e-14, msg=lambda m, name=name: f"{name}: {m}")
    assert any(value.abs().max() > 1e-6 for name, value in got.items() if "albert_layers" in name)


def test_losses_on_hidden_states_and_attentions_are_scaled_once_too() -> None:
    """Distillation reads intermediate results; with the decay, its gradient must go the same way."""
    plain = qa_model(attn_implementation="eager", num_hidden_groups=4)
    scaled = qa_model(attn_implementation="eager", num_hidden_groups=4, layer_lr_decay=0.5)
    scaled.load_state_dict(plain.state_dict())
    results = []
    for model in (plain, scaled):
        output = model(**BATCH, output_hidden_states=True, output_attentions=True)
        states = sum((state**3).mean() for state in output.hidden_states)
        attentions = sum((attention**2).mean() for attention in output.attentions)
        results.append(gradients(model, states + 10 * attentions))
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        layer = int(name.split(".")[3]) if "albert_layer_groups" in name else 3
        torch.testing.assert_close(results[1][name], value * 0.5 ** (3 - layer), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("decay", [0.5, 2.0])
def test_under_adam_the_shared_layer_as_a_whole_learns_as_fast(decay: float) -> None:
    """What the documentation says of ε: the applications are weighted anew, and a step stays as long as it was."""
    lengths, changes = {}, {}
    for name, optimizer in (("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)):
        for epsilon in (1.0, decay):
            torch.manual_seed(0)
            model = qa_model(layer_lr_decay=epsilon)
            weight = model.get_parameter("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight")
            before, steps = weight.detach().clone(), optimizer([weight], lr=1e-3)
            model(**BATCH, **INSIDE).loss.backward()
            steps.step()
            changes[name, epsilon] = weight.detach() - before
            lengths[name, epsilon] = changes[name, epsilon].norm()
    assert lengths["adam", decay] / lengths["adam", 1.0] == pytest.approx(1, abs=0.01)
    assert not 0.9 < lengths["sgd", decay] / lengths["sgd", 1.0] < 1.1
    assert not torch.equal(changes["adam", decay].sign(), changes["adam", 1.0].sign())


def test_without_decay_no_operation_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("scaled")

    monkeypatch.setattr("transformers_palbert.model.layers._ScaleGradient.apply", fail)
    qa_model()(**BATCH, **INSIDE).loss.backward()
    with pytest.raises(AssertionError, match="scaled"):
        qa_model(layer_lr_decay=0.9)(**BATCH, **INSIDE)


# --- gradient checkpointing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("fields", [{}, {"qa_layers": [0, 3], "qa_layer_pooling": "mean", "layer_lr_decay": 0.9}])
def test_gradient_checkpointing_gives_exactly_the_same_gradients(fields: dict[str, Any], reentrant: bool) -> None:
    fields = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2, **fields}
    plain, checkpointed = qa_model(**fields).train(), qa_model(**fields).train()
    _enable_checkpointing(checkpointed, {"use_reentrant": reentrant})
    applied = _count_layer_calls(checkpointed)
    results = []
    for model in (plain, checkpointed):
        torch.manual_seed(5)
        results.append(gradients(model, model(**BATCH, **INSIDE).loss))
    assert applied() == 2 * SHAPE["num_hidden_layers"]  # forward, and again backward
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(results[0][name], value) for name, value in results[1].items())


def _enable_checkpointing(model: PalBertForQuestionAnswering, options: dict[str, bool] | None = None) -> None:
    """Renamed in transformers 5.23."""
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(model, f"{name}_checkpointing_enable")(options)


def _count_layer_calls(model: PalBertForQuestionAnswering) -> Callable[[], int]:
    calls = []
    (layer,) = (module for module in model.modules() if isinstance(module, PalBertLayer))
    layer.ffn.register_forward_hook(lambda *_: calls.append(1))
    return lambda: len(calls)


def test_gradient_checkpointing_can_be_switched_off_again() -> None:
    model = qa_model().train()
    _enable_checkpointing(model)
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    name = "activation" if hasattr(model, "activation_checkpointing_disable") else "gradient"
    getattr(model, f"{name}_checkpointing_disable")()
    applied = _count_layer_calls(model)
    model(**BATCH, **INSIDE).loss.backward()
    assert applied() == SHAPE["num_hidden_layers"]


# --- the rest of a model's life ---------------------------------------------------------------------------------------


def _checkpointing_argument() -> dict[str, bool]:
    """Renamed in transformers 5.23."""
    fields = transformers.TrainingArguments.__dataclass_fields__
    return {"activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing": True}


def test_trainer_trains_with_everything_switched_on(tmp_path: Path) -> None:
    model = qa_model(qa_layers=[0, 3], qa_layer_pooling="weighted_sum", layer_lr_decay=0.9).float()
    before = copy.deepcopy(model.state_dict())
    rows = [{name: value[i] for name, value in (BATCH | INSIDE).items()} for i in range(3)] * 2
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        **_checkpointing_argument(),
        learning_rate=1e-2,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    assert trainer.train().global_step == 3
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(before)
    trainer.save_model(str(tmp_path / "saved"))
    loaded = PalBertForQuestionAnswering.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
