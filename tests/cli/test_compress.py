from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering

from tests.storage.helpers import change_json, change_weights
from transformers_palbert.sizes import inspect_checkpoint


def size(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    "options", [["--values", "float16"], ["--values", "int8", "--embeddings", "float16", "--entropy"]]
)
def test_there_and_back(palbert, saved_model, tmp_path, options):
    result = palbert("compress", saved_model, tmp_path / "small", *options)
    assert result.exit_code == 0, result.output
    assert size(tmp_path / "small") < size(saved_model)
    assert (tmp_path / "small" / "tokenizer.json").read_bytes() == (saved_model / "tokenizer.json").read_bytes()
    result = palbert("decompress", tmp_path / "small", tmp_path / "plain")
    assert result.exit_code == 0, result.output
    assert size(tmp_path / "plain") == pytest.approx(size(saved_model), rel=0.01)
    small, plain = (AutoModelForQuestionAnswering.from_pretrained(tmp_path / name) for name in ("small", "plain"))
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in small.state_dict().items())


def test_json(palbert, saved_model, tmp_path):
    result = palbert("compress", saved_model, tmp_path / "small", "--values", "float16", "--json")
    assert json.loads(result.stdout) == {"before": size(saved_model), "after": size(tmp_path / "small")}


def test_the_table_shows_both(palbert, saved_model, tmp_path, terminal, monkeypatch):
    terminal(80)
    monkeypatch.chdir(tmp_path)
    lines = palbert("compress", saved_model, "small", "--values", "float16").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [str(saved_model), "small"]
    assert lines[1].split()[-2:] != lines[2].split()[-2:]


@pytest.mark.parametrize("spelling", ["fp16", "FP16", "half", "f16", "torch.float16"])
def test_values_are_spelled_as_people_do(palbert, saved_model, tmp_path, spelling):
    assert palbert("compress", saved_model, tmp_path / "small", "--values", spelling).exit_code == 0
    config = json.loads((tmp_path / "small" / "config.json").read_text(encoding="utf-8"))
    assert config["quantization_config"]["values"] == "float16"


def test_unknown_values_list_what_there_is(palbert, saved_model):
    result = palbert("compress", saved_model, "small", "--values", "bfloat17")
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert "'--values'" in said
    assert "auto, float32, float16, bfloat16, int8" in said
    assert "Did you mean bfloat16" in said


def test_a_dense_model_does_not_shrink_and_is_told_what_does(palbert, saved_model, tmp_path):
    model = AutoModelForQuestionAnswering.from_pretrained(saved_model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.5)
    model.save_pretrained(tmp_path / "dense")
    said = palbert("compress", tmp_path / "dense", tmp_path / "small").stdout
    assert "Nothing shrank: 100.0% of the weights are not zero" in said
    assert "--values fp16" in said
    assert "--target_sparsity 0.7" in said
    assert "Nothing shrank" not in palbert("compress", saved_model, tmp_path / "other", "--values", "int8").stdout


def test_it_says_where_things_are_and_what_comes_next(palbert, saved_model, tmp_path):
    said = palbert("compress", saved_model, tmp_path / "small", "--values", "fp16").stdout
    assert f"Written: {tmp_path / 'small'} (" in said
    assert f"Next: palbert evaluate --model {tmp_path / 'small'}" in said
    said = palbert("decompress", tmp_path / "small", tmp_path / "plain").stdout
    assert said.endswith(f"Next: palbert inspect {tmp_path / 'plain'}\n")


def test_a_full_target(palbert, saved_model, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    for command in (["compress", saved_model, tmp_path / "full"], ["compress", saved_model, saved_model]):
        result = palbert(*command)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_nothing_to_unpack(palbert, saved_model, tmp_path):
    result = palbert("decompress", saved_model, tmp_path / "out")
    assert result.exit_code == 1
    assert "no packed checkpoint" in result.stderr


@pytest.mark.parametrize("arguments", [["nowhere", "out"], [".", "out", "--values", "int3"], ["."]])
def test_wrong_arguments(palbert, arguments):
    assert palbert("compress", *arguments).exit_code == 2


def test_inspect_shows_both_sizes(palbert, saved_model, tmp_path, terminal):
    terminal(80)
    palbert("compress", saved_model, tmp_path / "small", "--values", "float16")
    lines = palbert("inspect", tmp_path / "small").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["matrix", "shape", "parameters", "density", "dense", "stored"]
    (row,) = (line.split() for line in lines if line.startswith("  intermediate.dense") and "25.00%" in line)
    assert row[:6] == ["intermediate.dense", "32×16", "512", "25.00%", "2.0", "kB"]
    assert float(row[6]) < 512 * 4
    report = json.loads(palbert("inspect", tmp_path / "small", "--json").stdout)
    assert report.pop("layers") == {f"encoder.layer.{number}": {"heads": 2, "units": 32} for number in range(2)}
    assert report == inspect_checkpoint(tmp_path / "small").to_dict()
    assert report["total"]["stored_bytes"] < report["file_bytes"] < report["total"]["bytes"]


def test_names_from_a_stranger_reach_no_terminal(palbert, saved_model, tmp_path):
    weights = load_file(saved_model / "model.safetensors")
    save_file(
        {**weights, "\x1b]0;title\x07\x1b[2Jw": torch.eye(3)}, saved_model / "model.safetensors", {"format": "pt"}
    )
    result = palbert("inspect", saved_model)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\\x1b]0;title" in result.stdout
    palbert("compress", saved_model, tmp_path / "small", "--values", "float16")
    change_json(tmp_path / "small" / "config.json", lambda c: c["quantization_config"]["tensors"].append("\x1b[2Jx"))
    result = palbert("inspect", tmp_path / "small")
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
    assert "\\x1b[2Jx" in result.stderr


def test_a_folder_with_a_matrix_deleted_is_not_made_a_plain_one(palbert, saved_model, tmp_path):
    palbert("compress", saved_model, tmp_path / "small", "--values", "float16")
    change_weights(tmp_path / "small" / "model.safetensors", lambda tensors: tensors.pop("qa_outputs.weight"))
    for command in (["decompress"], ["compress"]):
        result = palbert(*command, tmp_path / "small", tmp_path / "out")
        assert result.exit_code == 1
        assert "qa_outputs.weight" in result.stderr
        assert not (tmp_path / "out").exists()
