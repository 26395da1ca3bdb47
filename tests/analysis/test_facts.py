from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from transformers_palbert.analysis.facts import density_pictures, model_facts, weights_on_disk
from transformers_palbert.sizes import pruning_report

DENSE = "bert.encoder.layer.0.intermediate.dense"


def test_facts(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    loaded = type(model).from_pretrained(tmp_path / "model")
    facts = model_facts(loaded)
    report = pruning_report(model)
    assert facts.architecture == "BertForQuestionAnswering"
    assert (facts.sizes["layers"], facts.sizes["hidden size"], facts.sizes["activation"]) == (1, 16, "gelu")
    assert (facts.parameters, facts.nonzero) == (report.total.numel, report.total.nonzero)
    assert facts.encoder_density == report.encoder.density < 1
    assert facts.file_bytes == (tmp_path / "model" / "model.safetensors").stat().st_size


def test_a_model_that_was_never_saved_has_no_bytes(model):
    assert model_facts(model).file_bytes is None


def test_bytes_of_shards(model, tmp_path):
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    shards = list(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert weights_on_disk(str(tmp_path)) == sum(shard.stat().st_size for shard in shards)


@pytest.mark.parametrize("name", ["", "nobody/nothing", "not a name"])
def test_bytes_of_nothing(name):
    assert weights_on_disk(name) is None


def test_a_model_in_memory_has_no_bytes_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"somebody else's")
    monkeypatch.chdir(tmp_path)
    assert weights_on_disk("") is None


def naive_blocks(nonzero, rows, columns):
    row_edges = [row * len(nonzero) // rows for row in range(rows + 1)]
    column_edges = [column * len(nonzero[0]) // columns for column in range(columns + 1)]
    return [
        [
            float(np.mean([nonzero[i][j] for i in range(top, bottom) for j in range(left, right)]))
            for left, right in itertools.pairwise(column_edges)
        ]
        for top, bottom in itertools.pairwise(row_edges)
    ]


def test_pictures(model):
    pictures = {picture.name: picture for picture in density_pictures(model)}
    assert set(pictures) == {n.removesuffix(".weight") for n, p in model.named_parameters() if p.ndim == 2}
    picture = pictures[DENSE]
    assert picture.shape == (32, 16)
    assert picture.density == 16 * 14 / (32 * 16)
    assert (picture.empty_rows, picture.empty_columns) == (16, 2)
    nonzero = (model.get_parameter(DENSE + ".weight") != 0).tolist()
    assert picture.blocks.tolist() == naive_blocks(nonzero, *picture.blocks.shape)
    assert picture.blocks[0].tolist() == [0] * picture.blocks.shape[1]


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((128, 128), (32, 32)),  # blocks of 4 by 4
        ((512, 128), (64, 16)),  # of 8 by 8
        ((1000, 900), (64, 58)),  # uneven ones
        ((21128, 128), (64, 6)),
        ((3, 2), (3, 2)),
    ],
)
def test_grid_of_any_shape(shape, grid):
    layer = nn.Linear(shape[1], shape[0], bias=False)
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(torch.rand(shape) < 0.3)
    (picture,) = density_pictures(layer)
    assert picture.blocks.shape == grid
    assert picture.blocks.min() >= 0
    assert picture.blocks.max() <= 1
    assert picture.blocks.mean() == pytest.approx(picture.density, abs=0.02)


def test_vectors_and_single_rows_are_no_pictures():
    assert density_pictures(nn.Linear(5, 1)) == []
