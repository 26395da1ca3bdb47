"""What the commands say of models that are damaged, or none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification
from typer.testing import Result

from tests.cli.conftest import CONTEXT, QUESTIONS
from tests.references.exported_models import exported
from transformers_palbert.cli.loading import loading
from transformers_palbert.errors import PalBertError
from transformers_palbert.storage.folders import compress_folder

WEIGHTS = "model.safetensors"
ASKED = ("--question", QUESTIONS["q1"], "--context", CONTEXT)


@pytest.fixture
def packed(saved_model: Path, tmp_path: Path) -> Path:
    compress_folder(saved_model, tmp_path / "packed")
    return tmp_path / "packed"


def refused(result: Result) -> str:
    """The one line that a command ended with, which is no part of a traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert "Traceback" not in line
    assert not line.endswith("…")
    return line


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "command",
    [("answer", *ASKED), ("evaluate", "-m", "squad_v2", "-r"), ("compare", "--data"), ("export",), ("shrink",)],
    ids=lambda command: command[0],
)
def test_weights_that_are_cut_off(palbert, saved_model, references, tmp_path, command):
    folder = shutil.copytree(saved_model, tmp_path / "model")
    truncate(folder / WEIGHTS)
    name, *options = command
    data = [references] if options and options[-1].startswith("-") else []
    model = ["--model", folder] if name == "evaluate" else [folder]
    new = {"export": [tmp_path / "new"], "shrink": [tmp_path / "new", "--embedding-rank", 4]}.get(name, [])
    line = refused(palbert(name, *model, *new, *options, *data))
    assert f"{folder / WEIGHTS} is damaged or no safetensors file" in line
    assert line.endswith("Save or download it again.")


def test_a_changed_tensor_is_named_with_the_cure(palbert, packed):
    flip(packed / WEIGHTS)
    line = refused(palbert("answer", packed, *ASKED))
    assert "are not as they were saved: they are damaged, or of another save: " in line
    assert str(packed / WEIGHTS) in line
    assert line.endswith("save or download both again.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "no file named model.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
        (
            lambda folder: (folder / WEIGHTS).rename(folder / f"{WEIGHTS}.index.json"),
            f"{WEIGHTS}.index.json is damaged",
        ),
    ],
    ids=["no weights", "config", "index"],
)
def test_the_cause_is_said(palbert, saved_model, tmp_path, damage: Callable[[Path], Any], message: str):
    folder = shutil.copytree(saved_model, tmp_path / "model")
    damage(folder)
    line = refused(palbert("answer", folder, *ASKED))
    assert f"cannot load '{folder}' as a question-answering model: " in line
    assert message in line


def test_the_cause_is_that_of_the_exported_model_where_there_is_one(palbert, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    folder = shutil.copytree(exported("structured"), tmp_path / "exported")
    truncate(folder / "model.onnx")
    line = refused(palbert("answer", folder, "--question", "who?", "--context", "Ann lives in Berlin."))
    assert f"{folder / 'model.onnx'} cannot be loaded" in line


def test_a_download_that_is_cut_off(saved_model, tmp_path):
    file = Path(shutil.copy(saved_model / WEIGHTS, tmp_path))
    truncate(file)
    message = r"cannot load 'me/model': its weights are damaged.*not fully covered. Download them again"
    with pytest.raises(PalBertError, match=message), loading("me/model"):
        load_file(file)


@pytest.mark.parametrize("kind", [AutoModel, AutoModelForSequenceClassification])
def test_a_checkpoint_without_a_head_for_questions(palbert, saved_model, tmp_path, kind):
    """Its answers would be random, and transformers says so in the midst of its report of loading."""
    folder = shutil.copytree(saved_model, tmp_path / "encoder")
    kind.from_pretrained(saved_model).save_pretrained(folder)
    line = refused(palbert("answer", folder, *ASKED))
    assert f"{folder} was saved as " in line
    assert "palbert train takes it as --model_name_or_path" in line
