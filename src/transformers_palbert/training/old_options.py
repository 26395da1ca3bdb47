"""Options that older training scripts of transformers had, and what says the same today."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError

__all__ = ["TODAY", "refuse_old_options"]

TODAY = {
    "do_lower_case": "nothing: the tokenizer's own configuration says whether it lower-cases",
    "eval_all_checkpoints": "--eval_strategy steps, which evaluates while the model is trained",
    "evaluate_during_training": "--eval_strategy steps",
    "evaluation_strategy": "--eval_strategy",
    "fp16_opt_level": "--fp16 alone",
    "group_by_length": "--train_sampling_strategy group_by_length",
    "include_inputs_for_metrics": "--include_for_metrics inputs",
    "logging_dir": "the environment variable TENSORBOARD_LOGGING_DIR",
    "max_query_length": "--max_question_length",
    "no_cuda": "--use_cpu",
    "overwrite_cache": "nothing: windows are cut again when data or settings change",
    "overwrite_output_dir": "another --output_dir, or delete the old one, from whose checkpoint a run would go on",
    "per_gpu_eval_batch_size": "--per_device_eval_batch_size",
    "per_gpu_train_batch_size": "--per_device_train_batch_size",
    "predict_file": "--validation_file, or --test_file with --do_predict",
    "save_safetensors": "nothing: weights are always saved as safetensors",
    "threads": "--preprocessing_num_workers",
    "verbose_logging": "--log_level info",
    "warmup_ratio": "--warmup_steps, which takes a fraction of the run as well, as in --warmup_steps 0.1",
}
"""Option of an older script -> what to give instead."""


def refuse_old_options(options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options of older scripts by naming those of today.

    Args:
        options: Names, with or without dashes, or whole arguments such as ``--warmup_ratio=0.1``.
        known: Options that this script has; they are never refused.

    Raises:
        ConfigurationError: if one of the options is an older script's.
    """
    names = [option.lstrip("-").partition("=")[0].replace("-", "_") for option in options]
    known = set(known)
    if old := [name for name in dict.fromkeys(names) if name in TODAY and name not in known]:
        raise ConfigurationError("\n".join(f"--{name} is of an older script. Give {TODAY[name]}." for name in old))
