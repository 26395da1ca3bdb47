"""Encoders pruned while they are fine-tuned, and extractive question answering, for Hugging Face Transformers 5.

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
    from .hub import ModelCardCallback
    from .model.configuration_palbert import PalBertConfig
    from .model.modeling_palbert import (
        PalBertForMaskedLM,
        PalBertForMultipleChoice,
        PalBertForPreTraining,
        PalBertForQuestionAnswering,
        PalBertForSequenceClassification,
        PalBertForTokenClassification,
        PalBertModel,
        PalBertPreTrainedModel,
    )
    from .model.removal import KeptUnits
    from .model.tokenization_palbert import PalBertTokenizer, check_tokenizer, load_albert_tokenizer
    from .pipelines.question_answering import QuestionAnsweringPipeline
    from .pruning import (
        MovementPruningCallback,
        Pruner,
        PruningConfig,
        PruningPlan,
        apply_density,
        bake_masks,
        density_at,
        prepare_pruning,
        prunable_layers,
        pruning_plan,
        schedule_progress,
    )
    from .pruning.removal import drop_layers, remove_units
    from .qa.datasets import load_qa_dataset
    from .qa.metrics import compute_metric, load_metric
    from .sizes import pruning_report
    from .storage.config import StorageConfig
    from .storage.saving import disable_sparse_saving, enable_sparse_saving
    from .training.checkpoints import last_whole_checkpoint
    from .training.distillation import (
        DistillationCallback,
        TeacherLogitsCollator,
        cache_teacher,
        with_teacher,
        without_teacher,
    )

__version__ = "0.3.0.dev0"

__all__ = [
    "BiLstmConfig",
    "BiLstmForQuestionAnswering",
    "ConfigurationError",
    "DatasetFormatError",
    "DistillationCallback",
    "KeptUnits",
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
    "Pruner",
    "PruningConfig",
    "PruningError",
    "PruningPlan",
    "QuestionAnsweringPipeline",
    "StorageConfig",
    "StorageError",
    "TeacherLogitsCollator",
    "TextCnnConfig",
    "TextCnnForQuestionAnswering",
    "TokenizerError",
    "VectorsError",
    "WordTokenizer",
    "__version__",
    "apply_density",
    "bake_masks",
    "cache_teacher",
    "check_tokenizer",
    "compute_metric",
    "density_at",
    "disable_sparse_saving",
    "drop_layers",
    "enable_sparse_saving",
    "last_whole_checkpoint",
    "load_albert_tokenizer",
    "load_metric",
    "load_qa_dataset",
    "prepare_pruning",
    "prunable_layers",
    "pruning_plan",
    "pruning_report",
    "register",
    "remove_units",
    "schedule_progress",
    "with_teacher",
    "without_teacher",
]

_LAZY = {
    "BiLstmConfig": "baselines.configuration",
    "BiLstmForQuestionAnswering": "baselines.modeling",
    "DistillationCallback": "training.distillation",
    "KeptUnits": "model.removal",
    "ModelCardCallback": "hub",
    "MovementPruningCallback": "pruning",
    "PalBertConfig": "model.configuration_palbert",
    "PalBertForMaskedLM": "model.modeling_palbert",
    "PalBertForMultipleChoice": "model.modeling_palbert",
    "PalBertForPreTraining": "model.modeling_palbert",
    "PalBertForQuestionAnswering": "model.modeling_palbert",
    "PalBertForSequenceClassification": "model.modeling_palbert",
    "PalBertForTokenClassification": "model.modeling_palbert",
    "PalBertModel": "model.modeling_palbert",
    "PalBertPreTrainedModel": "model.modeling_palbert",
    "PalBertTokenizer": "model.tokenization_palbert",
    "Pruner": "pruning",
    "PruningConfig": "pruning",
    "PruningPlan": "pruning",
    "QuestionAnsweringPipeline": "pipelines.question_answering",
    "StorageConfig": "storage.config",
    "TeacherLogitsCollator": "training.distillation",
    "TextCnnConfig": "baselines.configuration",
    "TextCnnForQuestionAnswering": "baselines.modeling",
    "WordTokenizer": "baselines.tokenization",
    "apply_density": "pruning",
    "bake_masks": "pruning",
    "cache_teacher": "training.distillation",
    "check_tokenizer": "model.tokenization_palbert",
    "compute_metric": "qa.metrics",
    "density_at": "pruning",
    "disable_sparse_saving": "storage.saving",
    "drop_layers": "pruning.removal",
    "enable_sparse_saving": "storage.saving",
    "last_whole_checkpoint": "training.checkpoints",
    "load_albert_tokenizer": "model.tokenization_palbert",
    "load_metric": "qa.metrics",
    "load_qa_dataset": "qa.datasets",
    "prepare_pruning": "pruning",
    "prunable_layers": "pruning",
    "pruning_plan": "pruning",
    "pruning_report": "sizes",
    "remove_units": "pruning.removal",
    "schedule_progress": "pruning",
    "with_teacher": "training.distillation",
    "without_teacher": "training.distillation",
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
