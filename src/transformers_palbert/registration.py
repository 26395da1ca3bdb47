"""Entry of PAL-BERT into the registries of transformers. The only module that touches them.

Importing the package must stay cheap, and the registries are not: the modules that hold them import torch. So a
registry that is not loaded yet is filled right after it loads, whenever that is. And entries are names, as those of the
models in transformers itself, so that a class loads when it is looked up, not in the middle of somebody's import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["register"]

MODEL_TYPE = "palbert"
CONFIG_CLASS = "PalBertConfig"
TOKENIZER_CLASS = "PalBertTokenizer"
TASK = "question-answering"
PIPELINE_MODULE = "transformers_palbert.pipelines.question_answering"
PIPELINE_CLASS = "QuestionAnsweringPipeline"

MODEL_CLASSES = {
    "MODEL_MAPPING": "PalBertModel",
    "MODEL_FOR_MASKED_LM_MAPPING": "PalBertForMaskedLM",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING": "PalBertForMultipleChoice",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING": "PalBertForQuestionAnswering",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": "PalBertForSequenceClassification",
    "MODEL_FOR_TEXT_ENCODING_MAPPING": "PalBertModel",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": "PalBertForTokenClassification",
}
"""Mapping in ``transformers.models.auto.modeling_auto`` -> our class in it."""


def register() -> None:
    """Register configuration, models, tokenizer and the question-answering pipeline. Calling it twice is harmless.

    Registries that are already loaded are filled at once, the others as soon as they are imported.
    """
    if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())
    for name, action in _ACTIONS.items():
        if name in sys.modules:
            action(sys.modules[name])


def _register_config(module: Any) -> None:
    module.CONFIG_MAPPING_NAMES.setdefault(MODEL_TYPE, CONFIG_CLASS)
    module.CONFIG_MAPPING._modules[MODEL_TYPE] = _package()


def _register_models(module: Any) -> None:
    for mapping, name in MODEL_CLASSES.items():
        _add(getattr(module, mapping), name)


def _register_tokenizer(module: Any) -> None:
    _add(module.TOKENIZER_MAPPING, TOKENIZER_CLASS)
    # A `tokenizer_class` in a folder's files would else be obeyed even where its files contradict it.
    module.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS.add(MODEL_TYPE)
    module.REGISTERED_TOKENIZER_CLASSES[TOKENIZER_CLASS] = getattr(_package(), TOKENIZER_CLASS)


def _add(mapping: Any, name: str) -> None:
    """Let ``mapping``, from configuration class to another class, lead from ours to ``name`` in this package."""
    mapping._model_mapping.setdefault(MODEL_TYPE, name)
    mapping._reverse_config_mapping.setdefault(CONFIG_CLASS, MODEL_TYPE)  # a copy made when the mapping was
    mapping._modules[MODEL_TYPE] = _package()


def _register_pipeline(module: Any) -> None:
    """Add the task, only where transformers does not have it (it removed it in 5.3)."""
    if TASK in module.SUPPORTED_TASKS:
        return
    module.SUPPORTED_TASKS[TASK] = {
        "impl": _pipeline_class(module),
        "pt": (module.AutoModelForQuestionAnswering,),
        "default": {"model": ("distilbert/distilbert-base-cased-distilled-squad", "564e9b5")},
        "type": "text",
    }
    module.REMOVED_TASKS.pop(TASK, None)  # it is looked at before the registry is


def _pipeline_class(module: Any) -> str | type:
    """The class, or where this transformers (5.23 and later) takes it, its name: then it loads when it is used."""
    if hasattr(module, "_resolve_impl"):
        return f"{PIPELINE_MODULE}.{PIPELINE_CLASS}"
    from transformers_palbert.pipelines.question_answering import QuestionAnsweringPipeline

    return QuestionAnsweringPipeline


def _package() -> ModuleType:
    return sys.modules[__package__]


_ACTIONS: dict[str, Callable[[Any], None]] = {
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_models,
    "transformers.models.auto.tokenization_auto": _register_tokenizer,
    "transformers.pipelines": _register_pipeline,
}


class _AfterImport(MetaPathFinder):
    """Finds nothing itself; wraps the loader of each module in ``_ACTIONS`` so that its action follows the import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _ACTIONS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _LoaderThen(spec.loader, _ACTIONS[fullname])
        return spec


class _LoaderThen(Loader):
    """Loads a module as ``loader`` does, then calls ``action`` with it."""

    def __init__(self, loader: Loader, action: Callable[[Any], None]) -> None:
        self.loader, self.action = loader, action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = module.__loader__ = self.loader  # who asks the module for its loader gets the real one
        self.loader.exec_module(module)
        self.action(module)
