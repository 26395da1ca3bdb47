"""Every command on models whose layers have sizes of their own, packed and not, and with applications of their own."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from tests.pruning.helpers import tiny_model
from transformers_palbert import KeptUnits, StorageConfig, disable_sparse_saving, enable_sparse_saving, remove_units
from transformers_palbert.model.applications import mask_to_text
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.speed.latency import applied_sizes

KINDS = ["sizes", "packed", "applications"]


def state_of(folder):
    return AutoModelForQuestionAnswering.from_pretrained(folder).state_dict()


@pytest.fixture(params=KINDS)
def structured_model(request, saved_model, tmp_path):
    """A copy of the saved model without the attention of one layer and the feed-forward block of the other."""
    folder = tmp_path / "structured"
    if request.param == "applications":
        masks = [mask_to_text(mask) for mask in ([True] * 9 + [False] * 23, [False] * 32)]
        words = len(AutoTokenizer.from_pretrained(saved_model))
        model = tiny_model("palbert", layers=2, vocab_size=words, application_units=masks, max_position_embeddings=512)
    else:
        model = AutoModelForQuestionAnswering.from_pretrained(saved_model)
        first, second = layer_sizes(model)
        remove_units(model, {first: KeptUnits([], None), second: KeptUnits([1], [])})
        if request.param == "packed":
            enable_sparse_saving(model, StorageConfig("int8"))
        else:
            disable_sparse_saving(model)
    model.save_pretrained(folder)
    for file in saved_model.glob("token*"):
        shutil.copy(file, folder)
    return folder


def test_it_answers_and_is_compared_and_reported(palbert, structured_model, saved_model, answerable, tmp_path):
    asked = palbert("answer", structured_model, "-q", "谁写了《红楼梦》?", "-c", "《红楼梦》的作者是曹雪芹。")
    assert asked.exit_code == 0, asked.output
    compared = palbert("compare", saved_model, structured_model, "--data", answerable, "--json")
    assert compared.exit_code == 0, compared.output
    out = tmp_path / "report.html"
    reported = palbert("report", structured_model, "--data", answerable, "--out", out, "--json")
    assert reported.exit_code == 0, reported.output
    assert out.is_file()
    assert palbert("inspect", structured_model).exit_code == 0


def test_it_is_packed_and_unpacked(palbert, structured_model, tmp_path):
    result = palbert("compress", structured_model, tmp_path / "small", "--values", "float16")
    assert result.exit_code == 0, result.output
    result = palbert("decompress", tmp_path / "small", tmp_path / "plain")
    assert result.exit_code == 0, result.output
    small, plain = state_of(tmp_path / "small"), state_of(tmp_path / "plain")
    assert all(torch.equal(tensor, plain[name]) for name, tensor in small.items())
    for name in ("small", "plain"):
        sizes = [
            applied_sizes(AutoModelForQuestionAnswering.from_pretrained(folder))
            for folder in (tmp_path / name, structured_model)
        ]
        assert sizes[0] == sizes[1]
        layers = [
            json.loads(palbert("inspect", folder, "--json").stdout)["layers"]
            for folder in (tmp_path / name, structured_model)
        ]
        assert layers[0] == layers[1]
