from __future__ import annotations

import json

import pytest
import torch
from transformers import AlbertConfig, AlbertForQuestionAnswering, AutoModelForQuestionAnswering, AutoTokenizer

from tests.compaction.test_shrinking import clock
from transformers_palbert import enable_sparse_saving
from transformers_palbert.compaction import shrinking
from transformers_palbert.model.removal import layer_sizes
from transformers_palbert.sizes import weight_bytes

__all__ = ["clock"]

pytestmark = pytest.mark.usefixtures("clock")
OPTIONS = ("--speedup", 1.3, "--multiple-of", 4, "--batch-size", 2)


def test_the_result_is_smaller_and_answers(palbert, saved_model, answerable, tmp_path):
    out = tmp_path / "fast"
    result = palbert("shrink", saved_model, out, "--data", answerable, *OPTIONS, "--test", answerable, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["asked"] == 1.3
    assert found["speedup"] >= 1.3 * 0.98
    assert found["timed"]["batch_size"] == 2
    assert set(found["scores"]) == {"before", "after"}
    assert set(found["scores"]["before"]) == {"f1", "em"}
    sizes = layer_sizes(AutoModelForQuestionAnswering.from_pretrained(out))
    assert {path: {"heads": size.heads, "units": size.units} for path, size in sizes.items()} == found["layers"]
    for stage in ("Estimating what removals cost", "Aimed at", "Repairing"):
        assert stage in result.stderr
    again = palbert("answer", out, "-q", "谁写了《红楼梦》?", "-c", "《红楼梦》的作者是曹雪芹,写于清代。")
    assert again.exit_code == 0, again.output


def test_a_drawing_of_the_layers(palbert, saved_model, answerable, tmp_path, terminal):
    terminal(80)
    out = tmp_path / "fast"
    result = palbert("shrink", saved_model, out, "--data", answerable, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "●" in result.stdout
    assert "times as fast" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:3])) <= 80


def test_a_uniform_result_is_a_stock_file(palbert, saved_model, answerable, tmp_path):
    out = tmp_path / "fast"
    result = palbert("shrink", saved_model, out, "--data", answerable, *OPTIONS, "--uniform", "--json")
    assert result.exit_code == 0, result.output
    layers = json.loads(result.stdout)["layers"].values()
    assert {layer["heads"] for layer in layers} == {2}
    assert len({layer["units"] for layer in layers}) == 1
    config = json.loads((out / "config.json").read_text())
    assert not {"layer_sizes", "quantization_config"} & config.keys()


@pytest.mark.parametrize("packed", [False, True])
def test_the_weights_keep_their_precision(palbert, saved_model, answerable, tmp_path, packed):
    """A checkpoint of 16 bits does not become one of 32, and the file of a packed one stays packed."""
    model = AutoModelForQuestionAnswering.from_pretrained(saved_model).to(torch.bfloat16)
    if packed:
        enable_sparse_saving(model)
    model.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(saved_model).save_pretrained(tmp_path / "half")
    out = tmp_path / "fast"
    result = palbert("shrink", tmp_path / "half", out, "--data", answerable, *OPTIONS)
    assert result.exit_code == 0, result.output
    assert AutoModelForQuestionAnswering.from_pretrained(out, dtype="auto").dtype == torch.bfloat16
    assert weight_bytes(out) < weight_bytes(tmp_path / "half")


def test_measuring_again_is_passed_on(palbert, saved_model, answerable, tmp_path, monkeypatch):
    asked = []
    table = shrinking.cached_latency(None)
    monkeypatch.setattr(shrinking, "cached_latency", lambda *_, remeasure, **__: asked.append(remeasure) or table)
    for number, options in enumerate([(), ("--remeasure",)]):
        out = tmp_path / str(number)
        result = palbert("shrink", saved_model, out, "--data", answerable, *OPTIONS, *options)
        assert result.exit_code == 0, result.output
    assert asked == [False, True]


def test_nothing_is_overwritten(palbert, saved_model, answerable, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = palbert("shrink", saved_model, tmp_path, "--data", answerable, *OPTIONS)
    assert result.exit_code == 1
    assert "exists and is not empty" in result.stderr


@pytest.mark.parametrize(("speedup", "message"), [(0.9, "must be above 1"), (100, "times less")])
def test_speeds_that_cannot_be(palbert, saved_model, answerable, tmp_path, speedup, message):
    options = ("--data", answerable, "--speedup", speedup)
    result = palbert("shrink", saved_model, tmp_path / "fast", *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "fast").exists()


def test_models_that_are_not_there(palbert, answerable, tmp_path):
    result = palbert("shrink", tmp_path / "nothing", tmp_path / "fast", "--data", answerable, *OPTIONS)
    assert result.exit_code == 1
    assert "nothing" in result.stderr


class TestEmbeddings:
    """``--vocabulary`` and ``--embedding-rank``, alone and together with ``--speedup``."""

    def test_tokens_that_do_not_occur_go(self, palbert, saved_model, answerable, tmp_path):
        (tmp_path / "corpus.txt").write_text("作者是曹雪芹,写于清代", encoding="utf-8")
        options = ("--vocabulary", tmp_path / "corpus.txt", "--vocabulary", answerable, "--drop-characters")
        out = tmp_path / "small"
        result = palbert("shrink", saved_model, out, *options, "--test", answerable, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        vocabulary = found["vocabulary"]
        assert vocabulary["tokens_after"] < vocabulary["tokens_before"]
        assert vocabulary["unknown_before"] == vocabulary["unknown_after"]
        assert found["scores"]["before"] == found["scores"]["after"]
        assert found["file_bytes"]["after"] < found["file_bytes"]["before"]
        assert "speedup" not in found
        assert AutoModelForQuestionAnswering.from_pretrained(out).config.vocab_size == vocabulary["tokens_after"]

    def test_a_summary(self, palbert, saved_model, answerable, tmp_path, terminal):
        terminal(200)
        out = tmp_path / "small"
        result = palbert("shrink", saved_model, out, "--vocabulary", answerable, "--drop-characters")
        assert result.exit_code == 0, result.output
        for words in ("Tokens: ", "Parameters: ", "Unknown tokens in the corpus", "Weight files: "):
            assert words in result.stdout
        assert "times as fast" not in result.stdout

    def test_together_with_a_speedup(self, palbert, saved_model, answerable, tmp_path):
        out = tmp_path / "both"
        options = ("--data", answerable, *OPTIONS, "--vocabulary", answerable, "--drop-characters")
        result = palbert("shrink", saved_model, out, *options, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["speedup"] >= 1.3 * 0.98
        assert found["vocabulary"]["tokens_after"] < found["vocabulary"]["tokens_before"]
        model = AutoModelForQuestionAnswering.from_pretrained(out)
        assert model.config.vocab_size == found["vocabulary"]["tokens_after"]

    def test_a_rank_of_an_architecture_that_has_none(self, palbert, saved_model, tmp_path):
        result = palbert("shrink", saved_model, tmp_path / "small", "--embedding-rank", 8)
        assert result.exit_code == 1
        assert "albert, electra, palbert" in " ".join(result.stderr.split())
        assert not (tmp_path / "small").exists()

    def test_a_rank_that_cannot_be_is_refused_before_anything_is_measured(
        self, palbert, saved_model, answerable, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("transformers_palbert.compaction.shrinking.shrink", None)
        options = ("--data", answerable, *OPTIONS, "--embedding-rank", 8)
        result = palbert("shrink", saved_model, tmp_path / "small", *options)
        assert result.exit_code == 1
        assert "albert, electra, palbert" in " ".join(result.stderr.split())

    def test_a_rank(self, palbert, saved_model, tmp_path):
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
        tokenizer = AutoTokenizer.from_pretrained(saved_model)
        model = AlbertForQuestionAnswering(AlbertConfig(vocab_size=len(tokenizer), embedding_size=12, **shape))
        model.save_pretrained(tmp_path / "albert")
        tokenizer.save_pretrained(tmp_path / "albert")
        out = tmp_path / "small"
        result = palbert("shrink", tmp_path / "albert", out, "--embedding-rank", 8, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["embedding_rank"]
        assert (found["before"], found["after"]) == (12, 8)
        assert 0 < found["error"] < 1
        assert AutoModelForQuestionAnswering.from_pretrained(out).config.embedding_size == 8

    @pytest.mark.parametrize(("options", "message"), [((), "nothing to do"), (("--speedup", 1.5), "belong together")])
    def test_options_that_are_missing(self, palbert, saved_model, tmp_path, options, message):
        result = palbert("shrink", saved_model, tmp_path / "small", *options)
        assert result.exit_code == 1
        assert message in result.stderr
