from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CONTEXT, QUESTIONS, squad

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def done(saved_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An exported model, and what the command said of it."""
    from typer.testing import CliRunner

    from transformers_palbert.cli.main import app

    folder = tmp_path_factory.mktemp("exports")
    data = folder / "dev.json"
    data.write_text(json.dumps(squad("q1 q2")), encoding="utf-8")
    options = ["--data", str(data), "--json"]
    result = CliRunner().invoke(app, ["export", str(saved_model), str(folder / "out"), *options])
    assert result.exit_code == 0, result.output
    return folder / "out", json.loads(result.stdout)


def test_says_what_it_wrote_and_measured(done) -> None:
    folder, said = done
    parity = said["parity"]
    assert (said["folder"], said["format"], said["precision"]) == (str(folder), "onnx", "float32")
    assert said["file_bytes"] == sum(file.stat().st_size for file in folder.glob("model.onnx*"))
    assert (parity["metric"], parity["questions"], parity["same_answers"]) == ("cmrc2018", 2, 2)
    assert parity["before"] == parity["after"]
    assert json.loads((folder / "parity.json").read_text()) == parity


def test_the_commands_that_ask_take_the_folder(palbert, saved_model, done, answerable, tmp_path) -> None:
    folder = done[0]
    asked = [
        palbert("answer", model, "-q", QUESTIONS["q1"], "-c", CONTEXT, "--json") for model in (saved_model, folder)
    ]
    theirs, ours = (json.loads(result.stdout)[0] for result in asked)
    assert ours == {**theirs, "score": pytest.approx(theirs["score"], rel=1e-3)}

    compared = json.loads(palbert("compare", saved_model, folder, "--data", answerable, "--json").stdout)
    theirs, ours = compared["models"]
    for name in ("parameters", "nonzero", "encoder_density", "sizes"):
        assert ours["facts"][name] == theirs["facts"][name]
    assert ours["facts"]["architecture"] == "BertForQuestionAnswering (onnx, float32)"
    assert ours["facts"]["file_bytes"] == done[1]["file_bytes"]
    assert ours["f1"]["value"] == theirs["f1"]["value"]

    scores = [
        palbert("evaluate", "--model", model, "-r", answerable, "-m", "cmrc2018", "--json").stdout
        for model in (saved_model, folder)
    ]
    assert scores[0] == scores[1]
    result = palbert("report", folder, "--data", answerable, "--out", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    assert "BertForQuestionAnswering (onnx, float32)" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_exported_model_is_not_exported_again(palbert, done, tmp_path) -> None:
    result = palbert("export", done[0], tmp_path / "again")
    assert result.exit_code == 1
    assert "is an exported model already" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--calibrate", "{data}"], "--calibrate belongs to --int8"),
        (["--private"], "--private belongs to --push-to-hub"),
        (["--metric", "squad"], "--metric belongs to --data"),
        (["--limit", "200"], "--limit belongs to --data"),
        (["--format", "tflite"], "'tflite' is not one of"),
    ],
)
def test_options_that_contradict_each_other(palbert, saved_model, answerable, tmp_path, options, message) -> None:
    given = [option.format(data=answerable) for option in options]
    result = palbert("export", saved_model, tmp_path / "out", *given)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", "").split())
    assert not (tmp_path / "out").exists()
