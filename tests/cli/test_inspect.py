from __future__ import annotations

import json

import pytest

from transformers_palbert.cli.inspect import _split
from transformers_palbert.sizes import inspect_checkpoint


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bert.encoder.layer.0.attention.self.query.weight", ("bert.encoder.layer.0", "attention.self.query")),
        (
            "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight",
            ("albert.encoder.albert_layer_groups.0.albert_layers.0", "ffn"),
        ),
        ("bert.embeddings.word_embeddings.weight", ("bert.embeddings", "word_embeddings")),
        ("qa_outputs.weight", ("", "qa_outputs")),
        ("classifier.0.weight", ("classifier", "0")),
    ],
)
def test_split(name, parts):
    assert _split(name) == parts


def test_json_is_the_library_s_report(palbert, saved_model):
    result = palbert("inspect", saved_model, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == inspect_checkpoint(saved_model).to_dict()
    assert report["file_bytes"] == (saved_model / "model.safetensors").stat().st_size
    densities = {matrix["name"]: matrix["density"] for matrix in report["matrices"]}
    assert densities["bert.encoder.layer.0.intermediate.dense.weight"] == 0.25


def test_table_fits_80_columns_and_adds_up(palbert, saved_model, terminal):
    terminal(80)
    lines = palbert("inspect", saved_model).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    heading = lines.index(next(line for line in lines if line.startswith("bert.encoder.layer.0")))
    below = next(line for line in lines[heading:] if line.startswith("  intermediate.dense"))
    assert below.split() == ["intermediate.dense", "32×16", "512", "25.00%", "2.0", "kB", "2.0", "kB"]
    total = inspect_checkpoint(saved_model).total
    row = next(line for line in lines if line.startswith("total")).split()
    assert row[1:4] == [f"{total.numel:,}", f"{total.nonzero:,}", f"{total.density:.2%}"]


def test_a_folder_without_weights(palbert, tmp_path):
    result = palbert("inspect", tmp_path)
    assert result.exit_code == 1
    assert "model.safetensors" in result.stderr


def test_a_missing_folder(palbert):
    assert palbert("inspect", "nowhere").exit_code == 2


def test_a_broken_file(palbert, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
    result = palbert("inspect", tmp_path)
    assert result.exit_code == 1
    assert "model.safetensors" in result.stderr
