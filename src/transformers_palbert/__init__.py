"""Small, fast extractive question answering with movement-pruned ALBERT, for Hugging Face Transformers 5.

Importing the package registers it with the Auto classes and pipelines of transformers. It loads neither torch nor
transformers: that happens when a name below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    ConfigurationError,
    DatasetFormatError,
    MissingExtraError,
    NoEffectWarning,
    PalBertError,
    PruningError,
    StorageError,
    TokenizerError,
    VectorsError,
)
from .registration import register

if TYPE_CHECKING:
    from .baselines.configuration import BiLstmConfig, TextCnnConfig
    from .baselines.modeling import BiLstmForQuestionAnswering, TextCnnForQuestionAnswering
    from .baselines.tokenization import WordTokenizer
    from .configuration_palbert import PalBertConfig
    from .hub import ModelCardCallback
    from .modeling_palbert import (
        PalBertForMaskedLM,
        PalBertForMultipleChoice,
        PalBertForPreTraining,
        PalBertForQuestionAnswering,
        PalBertForSequenceClassification,
        PalBertForTokenClassification,
        PalBertModel,
        PalBertPreTrainedModel,
    )
    from .pipelines.question_answering import QuestionAnsweringPipeline
    from .pruning import MovementPruningCallback, PruningConfig, bake_masks, prepare_pruning, pruning_report
    from .qa.datasets import load_qa_dataset
    from .qa.metrics import compute_metric, load_metric
    from .storage.config import StorageConfig
    from .storage.saving import disable_sparse_saving, enable_sparse_saving
    from .tokenization import PalBertTokenizer, check_tokenizer, load_albert_tokenizer

__version__ = "0.1.0"

__all__ = [
    "BiLstmConfig",
    "BiLstmForQuestionAnswering",
    "ConfigurationError",
    "DatasetFormatError",
    "MissingExtraError",
    "ModelCardCallback",
    "MovementPruningCallback",
    "NoEffectWarning",
    "PalBertConfig",
    "PalBertError",
    "PalBertForMaskedLM",
    "PalBertForMultipleChoice",
    "PalBertForPreTraining",
    "PalBertForQuestionAnswering",
    "PalBertForSequenceClassification",
    "PalBertForTokenClassification",
    "PalBertModel",
    "PalBertPreTrainedModel",
    "PalBertTokenizer",
    "PruningConfig",
    "PruningError",
    "QuestionAnsweringPipeline",
    "StorageConfig",
    "StorageError",
    "TextCnnConfig",
    "TextCnnForQuestionAnswering",
    "TokenizerError",
    "VectorsError",
    "WordTokenizer",
    "__version__",
    "bake_masks",
    "check_tokenizer",
    "compute_metric",
    "disable_sparse_saving",
    "enable_sparse_saving",
    "load_albert_tokenizer",
    "load_metric",
    "load_qa_dataset",
    "prepare_pruning",
    "pruning_report",
    "register",
]

_LAZY = {
    "BiLstmConfig": "baselines.configuration",
    "BiLstmForQuestionAnswering": "baselines.modeling",
    "ModelCardCallback": "hub",
    "MovementPruningCallback": "pruning",
    "PalBertConfig": "configuration_palbert",
    "PalBertForMaskedLM": "modeling_palbert",
    "PalBertForMultipleChoice": "modeling_palbert",
    "PalBertForPreTraining": "modeling_palbert",
    "PalBertForQuestionAnswering": "modeling_palbert",
    "PalBertForSequenceClassification": "modeling_palbert",
    "PalBertForTokenClassification": "modeling_palbert",
    "PalBertModel": "modeling_palbert",
    "PalBertPreTrainedModel": "modeling_palbert",
    "PalBertTokenizer": "tokenization",
    "PruningConfig": "pruning",
    "QuestionAnsweringPipeline": "pipelines.question_answering",
    "StorageConfig": "storage.config",
    "TextCnnConfig": "baselines.configuration",
    "TextCnnForQuestionAnswering": "baselines.modeling",
    "WordTokenizer": "baselines.tokenization",
    "bake_masks": "pruning",
    "check_tokenizer": "tokenization",
    "compute_metric": "qa.metrics",
    "disable_sparse_saving": "storage.saving",
    "enable_sparse_saving": "storage.saving",
    "load_albert_tokenizer": "tokenization",
    "load_metric": "qa.metrics",
    "load_qa_dataset": "qa.datasets",
    "prepare_pruning": "pruning",
    "pruning_report": "pruning",
}
"""Public name -> module that defines it and loads when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register()
