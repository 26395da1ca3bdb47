from __future__ import annotations

from typing import Any

import pytest
from transformers import BertConfig, BertForQuestionAnswering

from tests.references.small_tokenizers import wordpiece
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.reduction.limits import MaxTokens, Share, Threshold
from transformers_palbert.reduction.scorers.dpr import DprScorer
from transformers_palbert.reduction.scorers.integrated_gradients import IntegratedGradientsScorer
from transformers_palbert.reduction.settings import ReductionSettings, as_reducer, limit_of, load_scorer, parse_unit


def test_names_become_a_reducer() -> None:
    reducer = as_reducer("bm25")
    assert [scorer.name for scorer in reducer.scorers] == ["bm25"]
    assert reducer.limit == MaxTokens(512)
    assert as_reducer(reducer) is reducer


def test_a_mapping_becomes_a_reducer() -> None:
    reducer = as_reducer({"scorers": ["bm25"], "share": 0.5, "neighbours": 2, "passages": 3}, wordpiece())
    assert (reducer.limit, reducer.neighbours, reducer.cutting.unit) == (Share(0.5), 2, 3)
    (row,) = reducer.cutting.cut(["?"], ["unbelievables"])
    assert row.tokens == (4,)  # counted by the tokenizer


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "must be a Reducer, names of scorers or a mapping"),
        ("tfidf", "no scorer tfidf. Known are bm25, sbert, dpr, ig, lead"),
        ({"scorers": "bm25,bm25"}, "must be different ones"),
        ({"scorers": ""}, "one at least"),
        ({"scorer": "bm25"}, "knows no scorer"),
        ({"max_tokens": 9, "share": 0.5}, "max_tokens and share contradict"),
        ("sbert", "needs a model: give sbert_model"),
        ({"scorers": "dpr", "dpr_question_model": "x"}, "dpr_question_model and dpr_passage_model"),
        ({"ig_model": "x"}, "ig_model has no effect"),
        ({"weights": {"sbert": 1}}, "weights for sbert"),
        ({"neighbours": -1}, "0 or more"),
        ({"max_tokens": "256"}, "must be a number, got '256'"),
        ({"passages": "page"}, "unit='page'"),
        ({"fusion": "sum"}, "fusion='sum' is not known"),
    ],
)
def test_what_cannot_be_is_told(value: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_reducer(value)


def test_limits() -> None:
    assert limit_of() is None
    assert limit_of(threshold=0.0) == Threshold(0.0)
    assert limit_of(max_tokens=3) == MaxTokens(3)


def test_settings_that_change_no_score_are_not_described() -> None:
    assert ReductionSettings(device="cpu", batch_size=1).describe() == ReductionSettings().describe()
    assert ReductionSettings(neighbours=1).describe() != ReductionSettings().describe()


def test_what_is_a_digit_and_no_number_is_no_unit() -> None:
    assert parse_unit("32") == 32
    assert parse_unit("²") == "²"


@pytest.mark.parametrize("damaged", [False, True])
def test_a_model_that_cannot_be_loaded_is_named(tmp_path, damaged: bool) -> None:
    pytest.importorskip("captum", reason="captum is not installed")
    folder = tmp_path / "model"
    if damaged:
        config = BertConfig(
            vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        )
        BertForQuestionAnswering(config).save_pretrained(folder)
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])
    with pytest.raises(ConfigurationError, match=f"The scorer ig cannot load ig_model='{folder}'"):
        load_scorer("ig", ReductionSettings(scorers=("ig",), ig_model=str(folder), device="cpu"))


def test_settings_reach_the_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (DprScorer, IntegratedGradientsScorer):
        monkeypatch.setattr(kind, "load", staticmethod(lambda *models, **options: (models, options)))
    given: Any = {"device": "cpu", "batch_size": 7}
    asked = ReductionSettings(scorers=("dpr",), dpr_question_model="q", dpr_passage_model="p", **given)
    assert load_scorer("dpr", asked) == (("q", "p"), given)
    asked = ReductionSettings(scorers=("ig",), ig_model="m", ig_steps=3, ig_baseline="zero", **given)
    assert load_scorer("ig", asked) == (("m",), {**given, "steps": 3, "baseline": "zero"})
