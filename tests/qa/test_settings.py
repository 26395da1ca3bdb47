from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering, PreTrainedConfig

import transformers_palbert as palbert
from tests.pruning.helpers import tiny_model
from transformers_palbert.errors import ConfigurationError, NoEffectWarning
from transformers_palbert.qa.settings import AnsweringSettings, read_settings, settings_for, write_settings
from transformers_palbert.storage.folders import compress_folder, decompress_folder

SETTINGS = AnsweringSettings(
    max_seq_length=48,
    doc_stride=8,
    max_question_length=20,
    max_answer_length=7,
    n_best_size=5,
    version_2_with_negative=True,
    null_score_diff_threshold=-0.25,
)


def half_empty(kind: str) -> Any:
    """A model with zeros worth packing."""
    model = tiny_model(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter[:, ::2] = 0
    write_settings(model.config, SETTINGS)
    return model


@pytest.mark.parametrize("kind", ["albert", "palbert", "bert", "distilbert"])
@pytest.mark.parametrize("packed", [False, True], ids=["dense", "packed"])
def test_saved_and_loaded_with_the_model(kind: str, packed: bool, tmp_path: Path) -> None:
    model = half_empty(kind)
    if packed:
        palbert.enable_sparse_saving(model)
    model.save_pretrained(tmp_path / "once")
    assert ("quantization_config" in (tmp_path / "once" / "config.json").read_text()) == packed
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "once")
    assert read_settings(loaded.config) == SETTINGS
    loaded.save_pretrained(tmp_path / "twice")
    assert read_settings(AutoConfig.from_pretrained(tmp_path / "twice")) == SETTINGS


def test_packing_and_unpacking_a_folder_keeps_them(tmp_path: Path) -> None:
    half_empty("albert").save_pretrained(tmp_path / "plain")
    compress_folder(tmp_path / "plain", tmp_path / "packed")
    decompress_folder(tmp_path / "packed", tmp_path / "again")
    for folder in ("packed", "again"):
        assert read_settings(AutoConfig.from_pretrained(tmp_path / folder)) == SETTINGS


def test_an_albert_file_read_as_palbert_keeps_them(tmp_path: Path) -> None:
    half_empty("albert").save_pretrained(tmp_path)
    assert read_settings(palbert.PalBertConfig.from_pretrained(tmp_path)) == SETTINGS


def test_windows_and_decoding_share_the_settings_out() -> None:
    assert SETTINGS.windows == {"max_seq_length": 48, "doc_stride": 8, "max_question_length": 20}
    assert SETTINGS.decoding == {
        "max_answer_length": 7,
        "n_best_size": 5,
        "version_2_with_negative": True,
        "null_score_diff_threshold": -0.25,
    }


def test_a_model_without_them() -> None:
    config = PreTrainedConfig()
    assert read_settings(config) is None
    assert settings_for(config, longest=10**30, fallback={}, given={}) == AnsweringSettings(384, 128, 64, 30)
    short = settings_for(config, longest=160, fallback={"version_2_with_negative": True}, given={"n_best_size": 3})
    assert (short.max_seq_length, short.doc_stride, short.n_best_size) == (160, 80, 3)
    assert short.version_2_with_negative


def test_what_is_given_replaces_what_is_saved_and_that_replaces_the_fallback() -> None:
    config = PreTrainedConfig()
    config.question_answering = {"max_answer_length": 7, "version_2_with_negative": False}
    found = settings_for(
        config, longest=100, fallback={"version_2_with_negative": True}, given={"max_answer_length": 9}
    )
    assert found == AnsweringSettings(max_answer_length=9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([384], r"question_answering=\[384\], which must be a dictionary"),
        ({"max_seq_len": 384}, "'max_seq_len' is no answering setting. The settings are max_seq_length, doc_stride"),
        ({"max_seq_length": "384"}, "max_seq_length='384' is not allowed; allowed is a whole number from 1"),
        ({"max_answer_length": 0}, "max_answer_length=0"),
        ({"doc_stride": -1}, "doc_stride=-1 .* from 0"),
        ({"n_best_size": True}, "n_best_size=True"),
        ({"version_2_with_negative": 1}, "version_2_with_negative=1 .* True or False"),
        ({"null_score_diff_threshold": float("nan")}, "null_score_diff_threshold=nan .* a finite number"),
    ],
    ids=str,
)
def test_what_is_wrong_is_explained(values: Any, message: str) -> None:
    config = PreTrainedConfig()
    config.question_answering = values
    with pytest.raises(ConfigurationError, match=message) as raised:
        read_settings(config)
    assert "config.json" in str(raised.value)


def test_a_threshold_without_the_choice_it_decides_is_warned_about() -> None:
    with pytest.warns(NoEffectWarning, match="null_score_diff_threshold=0.5 has no effect"):
        settings_for(PreTrainedConfig(), longest=512, fallback={}, given={"null_score_diff_threshold": 0.5})
