"""Adapters of PEFT: refused where they would lose the pruning, welcome on a model that is pruned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, Trainer

from tests.pruning.helpers import make_trainer, qa_batch, qa_rows, tiny_model, training_arguments
from transformers_palbert.errors import PruningError
from transformers_palbert.pruning import MovementPruningCallback, PruningConfig, prepare_pruning

# peft asks the models of transformers for an attribute that these are about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

LORA = LoraConfig(target_modules=["query", "value"], r=2, init_lora_weights=False)


def with_adapter(model: PreTrainedModel, way: str) -> torch.nn.Module:
    """``model`` with adapters: wrapped by PEFT, or by transformers' own method."""
    if way == "get_peft_model":
        return get_peft_model(model, LORA)
    model.add_adapter(LORA)
    return model


@pytest.mark.parametrize("way", ["get_peft_model", "add_adapter"])
def test_is_refused_by_name(way: str, tmp_path: Path) -> None:
    model = with_adapter(tiny_model("bert"), way)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(PruningError, match=r"adapters of PEFT.*the pruning of the base model would be lost.*merge"):
        make_trainer(tmp_path, model=model, callback=MovementPruningCallback(0.7))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_is_refused_on_a_prepared_model_too(tmp_path: Path) -> None:
    callback = MovementPruningCallback(0.7)
    model = get_peft_model(prepare_pruning(tiny_model("bert"), callback.config), LORA)
    with pytest.raises(PruningError, match="adapters of PEFT"):
        make_trainer(tmp_path, model=model, callback=callback)


def test_a_merged_adapter_is_gone() -> None:
    prepare_pruning(get_peft_model(tiny_model("bert"), LORA).merge_and_unload(), PruningConfig(0.7))


def test_lora_on_a_packed_model(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path / "run", model=tiny_model("bert"), callback=MovementPruningCallback(0.7), max_steps=3
    )
    trainer.train()
    trainer.save_model(tmp_path / "packed")
    base = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "packed")
    pruned = {name: tensor.clone() for name, tensor in base.state_dict().items()}

    model = get_peft_model(base, LORA)
    Trainer(model, training_arguments(tmp_path / "lora", max_steps=3), train_dataset=qa_rows(12)).train()
    model.save_pretrained(tmp_path / "adapter")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "packed")
    loaded = PeftModel.from_pretrained(again, tmp_path / "adapter")
    assert all(torch.equal(tensor, pruned[name]) for name, tensor in again.state_dict().items() if name in pruned)
    logits = [reader.eval()(**qa_batch()).start_logits for reader in (model, loaded)]
    assert torch.equal(*logits)
    assert not torch.equal(logits[0], trainer.model.eval()(**qa_batch()).start_logits)
