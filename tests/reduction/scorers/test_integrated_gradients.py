"""Attributions compared with a naive sum, with captum's own way of naming a layer, and with completeness."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizer,
)

from tests.references.small_tokenizers import distilbert, wordpiece
from transformers_palbert.errors import ConfigurationError, MissingExtraError
from transformers_palbert.reduction.passages import Cutting
from transformers_palbert.reduction.scorers.integrated_gradients import IntegratedGradientsScorer

captum = pytest.importorskip("captum.attr", reason="captum is not installed")

SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
    "initializer_range": 0.5,
}
WINDOWS = (("max_seq_length", 24), ("doc_stride", 4), ("max_question_length", 8))
QUESTION, CONTEXT = "who lives in berlin ?", "My name is Wolfgang. I live in Berlin. The answer is a b c."


def model(kind: str = "bert", seed: int = 0) -> Any:
    torch.manual_seed(seed)
    size = len(wordpiece())
    if kind == "albert":
        return AlbertForQuestionAnswering(AlbertConfig(vocab_size=size, embedding_size=8, **SHAPE)).eval()
    return BertForQuestionAnswering(BertConfig(vocab_size=size, **SHAPE)).eval()


def scorer(kind: str = "bert", **options: Any) -> IntegratedGradientsScorer:
    return IntegratedGradientsScorer(model(kind), wordpiece(), **{"windows": WINDOWS, "steps": 40, **options})


def spans(reader: Any, inputs: dict[str, torch.Tensor], first: int) -> tuple[int, int]:
    """The best span behind token ``first``, by trying all."""
    with torch.no_grad():
        found = reader(**inputs)
    start, end = found.start_logits[0], found.end_logits[0]
    last = len(start) - 1  # without the [SEP] at the end
    pairs = [(s, e) for s in range(first, last) for e in range(s, last)]
    return max(pairs, key=lambda pair: float(start[pair[0]] + end[pair[1]]))


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_attributions_are_those_of_a_naive_sum(kind: str) -> None:
    reader = scorer(kind)
    context = "My name is Wolfgang. I live in Berlin."
    (found,) = reader.attribute([QUESTION], [context])
    inputs = wordpiece()(QUESTION, context, return_tensors="pt")
    first = inputs.sequence_ids(0).index(1)
    start, end = spans(reader.model, inputs, first)
    embed = reader.model.get_input_embeddings()
    ids = inputs.pop("input_ids")
    special = torch.isin(ids, torch.tensor(wordpiece().all_special_ids))
    x, baseline = embed(ids).detach(), embed(torch.where(special, ids, 0)).detach()
    total = torch.zeros_like(x)
    for step in range(150):
        point = (baseline + (step + 0.5) / 150 * (x - baseline)).requires_grad_()
        outputs = reader.model(inputs_embeds=point, **inputs)
        score = outputs.start_logits[0, start] + outputs.end_logits[0, end]
        total += torch.autograd.grad(score, point)[0] / 150
    expected = ((x - baseline) * total).sum(dim=2)[0, first:-1]
    assert found.values.tolist() == pytest.approx(expected.tolist(), abs=2e-3)
    assert abs(found.delta) < 1e-3


def test_naming_the_layer_to_captum_gives_the_same() -> None:
    reader = scorer()
    (found,) = reader.attribute([QUESTION], ["I live in Berlin."])
    inputs = wordpiece()(QUESTION, "I live in Berlin.", return_tensors="pt")
    first = inputs.sequence_ids(0).index(1)
    start, end = spans(reader.model, inputs, first)
    ids = inputs["input_ids"]

    def score(tokens: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        outputs = reader.model(input_ids=tokens, attention_mask=mask, token_type_ids=types)
        return outputs.start_logits[:, start] + outputs.end_logits[:, end]

    special = torch.isin(ids, torch.tensor(wordpiece().all_special_ids))
    layer = captum.LayerIntegratedGradients(score, reader.model.get_input_embeddings())
    expected = layer.attribute(
        ids,
        torch.where(special, ids, 0),
        additional_forward_args=(inputs["attention_mask"], inputs["token_type_ids"]),
        n_steps=40,
    )
    assert found.values.tolist() == pytest.approx(expected.sum(dim=2)[0, first:-1].tolist(), abs=1e-4)


@pytest.mark.parametrize("baseline", ["padding", "zero"])
def test_more_steps_come_nearer_to_completeness(baseline: str) -> None:
    rough, fine = (
        scorer(steps=steps, baseline=baseline).attribute([QUESTION], [CONTEXT])[0].error for steps in (2, 60)
    )
    assert fine < 1e-2 < rough


def test_too_few_steps_are_told() -> None:
    rows = Cutting().cut([QUESTION], [CONTEXT])
    with pytest.warns(UserWarning, match="in 1 steps miss"):
        scored = scorer(steps=1)(rows)
    assert scored.measured["completeness error"][0] > 0.05


def test_scores_are_means_over_the_tokens_of_passages_in_all_windows() -> None:
    reader = scorer()
    rows = Cutting().cut([QUESTION, "谁 ?"], [CONTEXT, "我住在北京。王芳！"])
    found = reader.attribute([row.question for row in rows], [row.context for row in rows])
    assert len(found[0].starts) > len(set(found[0].starts.tolist()))  # windows overlap
    for row, attributions, scores in zip(rows, found, reader(rows).scores, strict=True):
        for (start, end), score in zip(row.spans, scores, strict=True):
            inside = (attributions.starts >= start) & (attributions.starts < end)
            assert score == pytest.approx(attributions.values[inside].mean())


def test_batches_change_nothing() -> None:
    rows = Cutting().cut([QUESTION, "谁 ?", "who ?"], [CONTEXT, "我住在北京。王芳！", "I live. In Berlin."])
    alone = [scorer(batch_size=1)([row]).scores[0] for row in rows]
    for together, single in zip(scorer(batch_size=400)(rows).scores, alone, strict=True):
        np.testing.assert_allclose(together, single, atol=1e-4)


def test_a_passage_without_a_token_is_the_worst() -> None:
    (row,) = Cutting(1).cut(["who ?"], ["berlin \u200b lives"])  # the tokenizer drops this character
    (scores,) = scorer()([row]).scores
    assert len(row) == 3
    assert scores[1] == min(scores[0], scores[2])


def test_a_model_without_token_types() -> None:
    from transformers import DistilBertConfig, DistilBertForQuestionAnswering

    tokenizer = distilbert()
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=16, n_heads=2, n_layers=1, hidden_dim=16)
    reader = IntegratedGradientsScorer(DistilBertForQuestionAnswering(config), tokenizer, windows=WINDOWS)
    (row,) = Cutting().cut([QUESTION], [CONTEXT])
    assert np.isfinite(reader([row]).scores[0]).all()


def test_loading_takes_the_windows_of_the_model(tmp_path) -> None:
    saved = model()
    saved.config.question_answering = {"max_seq_length": 30, "doc_stride": 6}
    saved.save_pretrained(tmp_path)
    wordpiece().save_pretrained(tmp_path)
    loaded = IntegratedGradientsScorer.load(str(tmp_path), device="cpu", steps=3)
    assert dict(loaded.windows) == {"max_seq_length": 30, "doc_stride": 6, "max_question_length": 64}
    assert loaded.describe()["steps"] == 3


def test_a_tokenizer_that_reads_words_otherwise_is_another_description() -> None:
    assert scorer().describe() == scorer().describe()
    words = dict(wordpiece().get_vocab())
    words["berlin"], words["who"] = words["who"], words["berlin"]
    other = IntegratedGradientsScorer(model(), BertTokenizer(vocab=words), windows=WINDOWS)
    assert other.describe() != IntegratedGradientsScorer(model(), wordpiece(), windows=WINDOWS).describe()


def test_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="baseline='blur'"):
        scorer(baseline="blur")
    with pytest.raises(ConfigurationError, match="takes no `inputs_embeds`"):
        IntegratedGradientsScorer(torch.nn.Linear(1, 1), wordpiece())
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(MissingExtraError, match=r"transformers-palbert\[reduction\]"):
        scorer()


def test_a_word_that_the_model_does_not_know_is_not_in_the_baseline() -> None:
    tokenizer = wordpiece()
    ids = torch.tensor([tokenizer("who ?", "zebra lives")["input_ids"]])
    assert tokenizer.unk_token_id in ids
    unknown, padding = tokenizer.unk_token_id, tokenizer.pad_token_id
    kept = scorer()._padded(ids)
    assert unknown not in kept
    assert sorted(set(kept.flatten().tolist())) == sorted({padding, tokenizer.cls_token_id, tokenizer.sep_token_id})


@pytest.mark.parametrize("context", ["", " ", "\u200b"])
def test_a_context_without_a_token_has_scores(context: str) -> None:
    rows = Cutting().cut([QUESTION, QUESTION], [context, CONTEXT])
    empty, full = scorer()(rows).scores
    assert (empty.tolist(), len(full)) == ([0.0], 3)


def test_attributions_know_no_dropout() -> None:
    found = []
    for mode in (False, True):
        reader = IntegratedGradientsScorer(model().train(mode), wordpiece(), windows=WINDOWS, steps=5)
        found.append(reader.attribute([QUESTION], [CONTEXT])[0].values)
    np.testing.assert_allclose(found[0], found[1])
