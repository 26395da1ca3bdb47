from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import pipelines
from transformers.models.auto import configuration_auto, modeling_auto, tokenization_auto

import transformers_palbert as palbert
from tests.references.tiny_models import SHAPE, tiny_batch
from transformers_palbert import registration

AUTO_CLASSES = {
    "AutoModel": "PalBertModel",
    "AutoModelForMaskedLM": "PalBertForMaskedLM",
    "AutoModelForMultipleChoice": "PalBertForMultipleChoice",
    "AutoModelForPreTraining": "PalBertForPreTraining",
    "AutoModelForQuestionAnswering": "PalBertForQuestionAnswering",
    "AutoModelForSequenceClassification": "PalBertForSequenceClassification",
    "AutoModelForTextEncoding": "PalBertModel",
    "AutoModelForTokenClassification": "PalBertForTokenClassification",
}
COMMON_IMPORTS = "from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer, pipeline"


def loaded_modules(*statements: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after ``statements``."""
    code = "\n".join([*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_neither_torch_nor_transformers() -> None:
    modules = loaded_modules("import transformers_palbert")
    heavy = {"torch", "numpy", "transformers", "huggingface_hub", "datasets", "evaluate", "tokenizers", "jieba"}
    assert not modules & heavy
    ours = {name for name in modules if name.startswith("transformers_palbert")}
    assert ours == {"transformers_palbert", "transformers_palbert.errors", "transformers_palbert.registration"}


def test_transformers_loads_nothing_more_because_the_package_is_there() -> None:
    without = loaded_modules(COMMON_IMPORTS)
    with_package = loaded_modules("import transformers_palbert", COMMON_IMPORTS)
    assert without <= with_package
    if hasattr(pipelines, "_resolve_impl"):  # before transformers 5.23 a pipeline had to be registered as its class
        assert with_package - without == {
            "transformers_palbert",
            "transformers_palbert.errors",
            "transformers_palbert.registration",
            "transformers_palbert.model",
            "transformers_palbert.model.tokenization_palbert",
        }


@pytest.mark.parametrize(
    "imports",
    [
        ["from transformers import AutoConfig, AutoModel", "import transformers_palbert"],
        ["import transformers_palbert", "from transformers import AlbertModel, AutoConfig, AutoModel"],
    ],
    ids=["after the registries", "a model imports the registries"],
)
def test_registration_does_not_depend_on_the_order_of_imports(imports: list[str]) -> None:
    modules = loaded_modules(
        *imports,
        "assert type(AutoConfig.for_model('palbert')) is transformers_palbert.PalBertConfig",
        "assert transformers_palbert.PalBertConfig in AutoModel._model_mapping",
    )
    assert "transformers_palbert.model.modeling_palbert" not in modules  # it loads when it is looked up


@pytest.mark.parametrize(
    "first",
    [
        "from transformers_palbert import QuestionAnsweringPipeline",
        "from transformers_palbert.pipelines.question_answering import QuestionAnsweringPipeline",
    ],
)
def test_the_class_of_the_pipeline_may_be_imported_before_those_of_transformers(first: str) -> None:
    assert "transformers_palbert.pipelines.question_answering" in loaded_modules(first)


@pytest.mark.parametrize(("auto", "name"), AUTO_CLASSES.items())
def test_auto_classes_build_load_and_save_our_models(auto: str, name: str, tmp_path: Path) -> None:
    auto_class = getattr(transformers, auto)
    model = auto_class.from_config(palbert.PalBertConfig(**SHAPE))
    assert type(model) is getattr(palbert, name)
    model.save_pretrained(tmp_path)
    loaded = auto_class.from_pretrained(tmp_path)
    assert type(loaded) is type(model)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_every_head_of_albert_that_the_package_has_is_registered() -> None:
    """A new head must be added to the table, and a mapping that ALBERT enters must not be forgotten."""
    of_albert = {
        name.removesuffix("_NAMES")
        for name, mapping in vars(modeling_auto).items()
        if name.startswith("MODEL_") and name.endswith("_MAPPING_NAMES") and "albert" in mapping
    }
    assert of_albert == set(registration.MODEL_CLASSES)
    assert set(AUTO_CLASSES.values()) == set(registration.MODEL_CLASSES.values())


def test_auto_config_builds_ours() -> None:
    assert type(transformers.AutoConfig.for_model("palbert")) is palbert.PalBertConfig
    assert configuration_auto.CONFIG_MAPPING["palbert"] is palbert.PalBertConfig
    assert "palbert" in configuration_auto.CONFIG_MAPPING


def test_mappings_can_be_looked_at_as_a_whole() -> None:
    for name, expected in registration.MODEL_CLASSES.items():
        mapping = getattr(modeling_auto, name)
        assert palbert.PalBertConfig in mapping
        assert mapping[palbert.PalBertConfig] is getattr(palbert, expected)
        assert mapping._model_mapping["albert"]  # the stock entries are still there


def test_stock_albert_is_left_alone() -> None:
    config = transformers.AlbertConfig(**SHAPE)
    model = transformers.AutoModelForQuestionAnswering.from_config(config)
    assert type(model) is transformers.AlbertForQuestionAnswering
    assert tokenization_auto.TOKENIZER_MAPPING_NAMES["albert"] == "AlbertTokenizer"


def snapshot() -> dict[str, Any]:
    mappings = {name: dict(getattr(modeling_auto, name)._model_mapping) for name in registration.MODEL_CLASSES}
    return mappings | {
        "configs": dict(configuration_auto.CONFIG_MAPPING_NAMES),
        "tokenizers": dict(tokenization_auto.TOKENIZER_MAPPING_NAMES),
        "tasks": dict(pipelines.SUPPORTED_TASKS),
        "removed": dict(pipelines.REMOVED_TASKS),
        "finders": list(sys.meta_path),
    }


def test_registering_twice_changes_nothing() -> None:
    before = snapshot()
    palbert.register()
    palbert.register()
    assert snapshot() == before


def test_the_pipeline_is_registered_only_where_the_task_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "question-answering" not in pipelines.REMOVED_TASKS
    assert "question-answering" in pipelines.get_supported_tasks()
    theirs = {"impl": object, "pt": (), "type": "text"}
    monkeypatch.setitem(pipelines.SUPPORTED_TASKS, "question-answering", theirs)
    palbert.register()
    assert pipelines.SUPPORTED_TASKS["question-answering"] is theirs
    monkeypatch.delitem(pipelines.SUPPORTED_TASKS, "question-answering")
    monkeypatch.setitem(pipelines.REMOVED_TASKS, "question-answering", "gone")
    palbert.register()
    assert "question-answering" not in pipelines.REMOVED_TASKS
    impl = pipelines.SUPPORTED_TASKS["question-answering"]["impl"]
    resolve = getattr(pipelines, "_resolve_impl", lambda itself: itself)  # new in transformers 5.23
    assert resolve(impl) is palbert.QuestionAnsweringPipeline


def test_other_removed_tasks_stay_removed() -> None:
    assert "summarization" in pipelines.REMOVED_TASKS
    with pytest.raises(KeyError, match="summarization has been removed"):
        pipelines.check_task("summarization")


def test_a_hooked_module_keeps_its_own_loader() -> None:
    spec = modeling_auto.__spec__
    assert spec is not None
    assert type(spec.loader).__name__ == "SourceFileLoader"
    assert modeling_auto.__loader__ is spec.loader
    found = [
        finder.find_spec("json.decoder", None) for finder in sys.meta_path if "AfterImport" in type(finder).__name__
    ]
    assert found == [None]  # one finder, which leaves other modules alone


def test_models_of_the_auto_class_run() -> None:
    model = transformers.AutoModelForQuestionAnswering.from_config(palbert.PalBertConfig(**SHAPE))
    assert model(**tiny_batch()).start_logits.shape == (3, 9)
