from __future__ import annotations

import json
import shutil

import pytest

from tests.pruning.helpers import tiny_model
from transformers_palbert import KeptUnits, disable_sparse_saving, enable_sparse_saving, remove_units
from transformers_palbert.cli.inspect import _split
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import layer_sizes
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
    layers = report.pop("layers")
    assert report == inspect_checkpoint(saved_model).to_dict()
    assert layers == {f"encoder.layer.{number}": {"heads": 2, "units": 32} for number in range(len(layers))}
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


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_drawing_of_layers_of_different_sizes(palbert, tmp_path, terminal, packed, kind):
    terminal(80)
    model = tiny_model(kind)
    first, second, third = layer_sizes(model)
    remove_units(model, {first: KeptUnits([], None), second: KeptUnits([1], range(8)), third: KeptUnits(None, [])})
    (enable_sparse_saving if packed else disable_sparse_saving)(model)
    model.save_pretrained(tmp_path)
    result = palbert("inspect", tmp_path)
    assert result.exit_code == 0, result.output
    drawn = [line.split() for line in result.stdout.splitlines() if line.startswith((first, second, third))]
    assert drawn == [[first, "0", "32", "█" * 20], [second, "1", "●", "8", "█" * 5], [third, "2", "●●", "0"]]
    assert max(map(len, result.stdout.splitlines())) <= 80
    layers = json.loads(palbert("inspect", tmp_path, "--json").stdout)["layers"]
    assert layers[second] == {"heads": 1, "units": 8}


@pytest.mark.parametrize("packed", [True, False])
def test_a_drawing_of_applications(palbert, tmp_path, packed):
    masks = [[True] * 16 + [False] * 16, [False] * 32, [True] * 32]
    model = tiny_model("palbert", application_units=[mask_to_text(mask) for mask in masks])
    if packed:
        enable_sparse_saving(model)
    model.save_pretrained(tmp_path)
    lines = palbert("inspect", tmp_path).stdout.splitlines()
    drawn = [line.split() for line in lines if line.startswith("application")]
    assert [row[1:] for row in drawn] == [
        ["0", "2", "●●", "16", "█" * 10],
        ["1", "2", "●●", "0"],
        ["2", "2", "●●", "32", "█" * 20],
    ]


def test_weights_without_a_configuration(palbert, saved_model, tmp_path):
    shutil.copy(saved_model / "model.safetensors", tmp_path)
    result = palbert("inspect", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["layers"] == {}
