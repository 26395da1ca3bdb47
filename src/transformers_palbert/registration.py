"""Entry of PAL-BERT into the registries of transformers, and into its base class. The only module that touches them.

Importing the package must stay cheap, and the registries are not: the modules that hold them import torch. So a
registry that is not loaded yet is filled right after it loads, whenever that is. And entries are names, as those of the
models in transformers itself, so that a class loads when it is looked up, not in the middle of somebody's import.

What no registry can do is done around two methods of the base class of all models: packed weights must be safe also in
hands that do not know of them (:mod:`transformers_palbert.storage.stock_models`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
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
EXPORTED_MODULE = "transformers_palbert.export.loaded"
EXPORTED_CLASS = "ExportedForQuestionAnswering"
QUANT_METHOD = "palbert_sparse"
QUANTIZER_MODULE = "transformers_palbert.storage.quantizer"
STOCK_MODULE = "transformers_palbert.storage.stock_models"

GUARDED = "_palbert_guarded"
"""Attribute of the base class of all models, once its methods for saving and loading are ours."""

MODEL_CLASSES = {
    "MODEL_MAPPING": "PalBertModel",
    "MODEL_FOR_MASKED_LM_MAPPING": "PalBertForMaskedLM",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING": "PalBertForMultipleChoice",
    "MODEL_FOR_PRETRAINING_MAPPING": "PalBertForPreTraining",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING": "PalBertForQuestionAnswering",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": "PalBertForSequenceClassification",
    "MODEL_FOR_TEXT_ENCODING_MAPPING": "PalBertModel",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": "PalBertForTokenClassification",
}
"""Mapping in ``transformers.models.auto.modeling_auto`` -> our class in it."""

WORD_TOKENIZER_CLASS = "WordTokenizer"
BASELINES = {
    "bilstm": ("BiLstmConfig", "BiLstmForQuestionAnswering"),
    "textcnn": ("TextCnnConfig", "TextCnnForQuestionAnswering"),
}
"""Model type of a word-level baseline -> its configuration and its model; all of them read with the same tokenizer."""


def register() -> None:
    """Register configuration, models, tokenizer, quantizer and pipeline, and guard packed weights. Twice is harmless.

    Registries that are already loaded are filled at once, the others as soon as they are imported.
    """
    if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())
    for name, action in _ACTIONS.items():
        if name in sys.modules:
            action(sys.modules[name])


def _register_config(module: Any) -> None:
    configs = {MODEL_TYPE: CONFIG_CLASS} | {kind: config for kind, (config, _) in BASELINES.items()}
    for model_type, name in configs.items():
        module.CONFIG_MAPPING_NAMES.setdefault(model_type, name)
        module.CONFIG_MAPPING._modules[model_type] = _package()


def _register_models(module: Any) -> None:
    for mapping, name in MODEL_CLASSES.items():
        _add(getattr(module, mapping), name)
    for model_type, (config, name) in BASELINES.items():
        _add(module.MODEL_FOR_QUESTION_ANSWERING_MAPPING, name, model_type, config)


def _register_tokenizer(module: Any) -> None:
    _add(module.TOKENIZER_MAPPING, TOKENIZER_CLASS)
    # A `tokenizer_class` in a folder's files would else be obeyed even where its files contradict it.
    module.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS.add(MODEL_TYPE)
    for model_type, (config, _) in BASELINES.items():
        _add(module.TOKENIZER_MAPPING, WORD_TOKENIZER_CLASS, model_type, config)
    module.REGISTERED_TOKENIZER_CLASSES[TOKENIZER_CLASS] = getattr(_package(), TOKENIZER_CLASS)
    # This registry holds classes, not names. Of this one `from_pretrained` and the name are all that is used.
    stand_in = type(WORD_TOKENIZER_CLASS, (), {"from_pretrained": staticmethod(_load_word_tokenizer)})
    module.REGISTERED_TOKENIZER_CLASSES[WORD_TOKENIZER_CLASS] = stand_in


def _load_word_tokenizer(*args: Any, **kwargs: Any) -> Any:
    return getattr(_package(), WORD_TOKENIZER_CLASS).from_pretrained(*args, **kwargs)


def _add(mapping: Any, name: str, model_type: str = MODEL_TYPE, config: str = CONFIG_CLASS) -> None:
    """Let ``mapping``, from configuration class to another class, lead from ours to ``name`` in this package."""
    mapping._model_mapping.setdefault(model_type, name)
    mapping._reverse_config_mapping.setdefault(config, model_type)  # a copy made when the mapping was
    mapping._modules[model_type] = _package()


def _register_pipeline(module: Any) -> None:
    """Add the task, only where transformers does not have it (it removed it in 5.3)."""
    if TASK in module.SUPPORTED_TASKS:
        return
    module.SUPPORTED_TASKS[TASK] = {
        "impl": _pipeline_class(module),
        "pt": (module.AutoModelForQuestionAnswering, _exported_models()),
        "default": {"model": ("distilbert/distilbert-base-cased-distilled-squad", "564e9b5")},
        "type": "text",
    }
    module.REMOVED_TASKS.pop(TASK, None)  # it is looked at before the registry is


def _exported_models() -> type:
    """What the pipeline tries where a folder holds no weights of torch; the class behind it loads when it is used."""

    def from_pretrained(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(EXPORTED_MODULE), EXPORTED_CLASS).from_pretrained(*args, **kwargs)

    return type(EXPORTED_CLASS, (), {"from_pretrained": staticmethod(from_pretrained)})


def _register_quantizer(module: Any) -> None:
    module.AUTO_QUANTIZATION_CONFIG_MAPPING.setdefault(QUANT_METHOD, _LazyClass("SparseConfig"))
    module.AUTO_QUANTIZER_MAPPING.setdefault(QUANT_METHOD, _LazyClass("SparseQuantizer"))


class _LazyClass:
    """Stands for a class of the quantizer's module in the two mappings that hold classes, not names."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(QUANTIZER_MODULE), self.name)(*args, **kwargs)

    def from_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The class method of a configuration."""
        return getattr(import_module(QUANTIZER_MODULE), self.name).from_dict(*args, **kwargs)


def _guard_models(module: Any) -> None:
    """Let models of every class save no description of another model's packed weights, and read none without it."""
    model = module.PreTrainedModel
    if hasattr(model, GUARDED):
        return
    save, load = model.save_pretrained, model._load_pretrained_model

    @wraps(save)
    def save_pretrained(self: Any, *args: Any, **kwargs: Any) -> None:
        import_module(STOCK_MODULE).save_plain(save, self, *args, **kwargs)

    @wraps(load)
    def load_pretrained_model(*args: Any, **kwargs: Any) -> Any:
        return import_module(STOCK_MODULE).load_described(load, *args, **kwargs)

    model.save_pretrained = save_pretrained
    model._load_pretrained_model = staticmethod(load_pretrained_model)
    setattr(model, GUARDED, True)


def _pipeline_class(module: Any) -> str | type:
    """The class, or where this transformers (5.23 and later) takes it, its name: then it loads when it is used."""
    if isinstance(module.SUPPORTED_TASKS["text-classification"]["impl"], str):
        return f"{PIPELINE_MODULE}.{PIPELINE_CLASS}"
    from .pipelines.question_answering import QuestionAnsweringPipeline

    return QuestionAnsweringPipeline


def _package() -> ModuleType:
    return sys.modules[__package__]


_ACTIONS: dict[str, Callable[[Any], None]] = {
    "transformers.modeling_utils": _guard_models,
    "transformers.models.auto.configuration_auto": _register_config,
    "transformers.models.auto.modeling_auto": _register_models,
    "transformers.models.auto.tokenization_auto": _register_tokenizer,
    "transformers.pipelines": _register_pipeline,
    "transformers.quantizers.auto": _register_quantizer,
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
