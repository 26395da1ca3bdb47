"""What cannot be pruned, or not with these settings, is refused by name and left as it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import tiny_model
from transformers_palbert.errors import ConfigurationError, PruningError, PruningWarning
from transformers_palbert.pruning import (
    MovementPruningCallback,
    Pruner,
    PruningConfig,
    is_prepared,
    prepare_pruning,
)


class TestConfig:
    @pytest.mark.parametrize("value", [{"target_sparsity": 0.7}, 0.7, "recipe.yaml"])
    def test_another_type(self, value: Any) -> None:
        model = tiny_model("bert")
        calls = (
            lambda: MovementPruningCallback(config=value),
            lambda: prepare_pruning(model, value),
            lambda: Pruner(model, torch.optim.SGD(model.parameters()), value, 3),
        )
        for call in calls:
            with pytest.raises(ConfigurationError, match=r"config=.* must be a PruningConfig: config=PruningConfig\("):
                call()
        assert not is_prepared(model)

    def test_a_dictionary_gets_the_call_that_was_meant(self) -> None:
        with pytest.raises(ConfigurationError, match=r"config=PruningConfig\(\*\*{'target_sparsity': 0\.5}\)\.$"):
            MovementPruningCallback(config={"target_sparsity": 0.5})  # type: ignore[arg-type]


class TestSurvivors:
    def test_a_sparsity_that_keeps_nothing(self) -> None:
        model = tiny_model("bert")
        with pytest.raises(PruningError, match=r"target_sparsity=0\.99999 keeps none of 6144 units of .*'element'"):
            prepare_pruning(model, PruningConfig(0.99999))
        with pytest.raises(PruningError, match=r"target_sparsity=0\.95 keeps none of 6 units of granularity='head'"):
            prepare_pruning(model, PruningConfig(0.95, granularity="head"))
        assert not is_prepared(model)

    def test_a_sparsity_that_keeps_nothing_of_some(self) -> None:
        with pytest.warns(PruningWarning, match=r"keeps nothing of 2 of 3 sets of units, the first .*layer\.0\."):
            prepare_pruning(tiny_model("bert"), PruningConfig(0.8, granularity="head"))

    @pytest.mark.filterwarnings("error::transformers_palbert.errors.PruningWarning")
    def test_one_that_keeps_something_of_each(self) -> None:
        prepare_pruning(tiny_model("bert"), PruningConfig(0.99))
        prepare_pruning(tiny_model("bert"), PruningConfig(0.8, granularity="head", scope="global"))


class TestModel:
    def test_weights_that_are_offloaded(self, tmp_path: Path) -> None:
        tiny_model("bert").save_pretrained(tmp_path / "model")
        places = {"bert.embeddings": "cpu", "bert.encoder": "disk", "qa_outputs": "cpu"}
        folders = {"device_map": places, "offload_folder": str(tmp_path / "away")}
        model = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "model", **folders)
        with pytest.raises(
            PruningError, match=r"48 weights .*encoder\.layer\.0\..*not in memory: a device_map offloads"
        ):
            prepare_pruning(model, PruningConfig(0.7))

    def test_weights_that_were_never_made(self) -> None:
        with torch.device("meta"):
            model = tiny_model("bert")
        with pytest.raises(PruningError, match="or they were never loaded"):
            prepare_pruning(model, PruningConfig(0.7))

    def test_a_model_that_is_quantized(self) -> None:
        model = tiny_model("bert")
        model.hf_quantizer = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="bitsandbytes"))
        with pytest.raises(PruningError, match=r"quantized with bitsandbytes.*Load it without quantization_config"):
            prepare_pruning(model, PruningConfig(0.7))
