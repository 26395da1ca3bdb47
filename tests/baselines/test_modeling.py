"""The readers: naive references of their parts, values and gradients, and the contract of transformers around them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer, pipeline

import transformers_palbert as palbert
from tests.references.word_readers import CHINESE, chinese_words, english_words, small_reader
from transformers_palbert.baselines.attention import AlignedQuestion, AttentionFlow, SpanPointer, attend
from transformers_palbert.baselines.building import build_reader, spelling_table
from transformers_palbert.baselines.configuration import BiLstmConfig, TextCnnConfig
from transformers_palbert.baselines.encoders import AttentiveSummary, BiLstm, MaximumSummary, TextCnn, TimeDropout
from transformers_palbert.baselines.inputs import MASKED, Part, match_features, split_inputs, spread_logits
from transformers_palbert.baselines.vectors import WordVectors
from transformers_palbert.errors import ConfigurationError

KINDS = ("bilstm", "textcnn")
MASK = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])


def same_with_gradients(fast: Any, slow: Any, inputs: list[Tensor], module: nn.Module | None = None) -> None:
    """Values and gradients of two functions, with respect to their inputs and the weights of ``module``."""
    leaves = [leaf.requires_grad_() for leaf in inputs] + (list(module.parameters()) if module else [])
    results = [function(*inputs) for function in (fast, slow)]
    torch.testing.assert_close(*results)
    weights = torch.randn_like(results[0])
    gradients = [torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True) for result in results]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def naive_attend(scores: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    rows = []
    for row in range(len(scores)):
        kept = [key for key in range(mask.shape[1]) if mask[row, key]]
        for query in range(scores.shape[1]):
            total = sum(scores[row, query, key].exp() for key in kept)
            parts = [scores[row, query, key].exp() / total * values[row, key] for key in kept]
            rows.append(torch.stack(parts).sum(0) if parts else torch.zeros_like(values[row, 0]))
    return torch.stack(rows).view(len(scores), scores.shape[1], -1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def doubles(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_attend() -> None:
    mask = torch.cat([MASK[:2], torch.zeros(1, 4, dtype=torch.bool)])
    same_with_gradients(
        lambda s, v: attend(s, v, mask), lambda s, v: naive_attend(s, v, mask), [doubles(3, 2, 4), doubles(3, 4, 5)]
    )


def test_aligned_question() -> None:
    module = AlignedQuestion(6).double()

    def naive(context: Tensor, question: Tensor) -> Tensor:
        scores = torch.stack(
            [
                torch.stack([(module.projection(p).relu() * module.projection(q).relu()).sum() for q in row_q])
                for row_p, row_q in zip(context, question, strict=True)
                for p in row_p
            ]
        ).view(3, 2, 4)
        return naive_attend(scores / math.sqrt(6), question, MASK)

    same_with_gradients(lambda p, q: module(p, q, MASK), naive, [doubles(3, 2, 6), doubles(3, 4, 6)], module)


def test_attention_flow() -> None:
    module = AttentionFlow(6).double()
    context_mask = torch.tensor([[True, True, True], [True, True, True], [True, True, False]])

    def naive(context: Tensor, question: Tensor) -> Tensor:
        rows = []
        for h, u, in_context, in_question in zip(context, question, context_mask, MASK, strict=True):
            kept_h, kept_u = h[in_context], u[in_question]
            similarity = torch.stack([torch.stack([(module.similarity.weight @ a) @ b for b in kept_u]) for a in h])
            similarity = similarity / math.sqrt(6)
            asked = torch.stack([sum(p * b for p, b in zip(s.softmax(0), kept_u, strict=True)) for s in similarity])
            weights = similarity[in_context].max(1).values.softmax(0)
            relevant = sum(w * a for w, a in zip(weights, kept_h, strict=True))
            rows.append(torch.cat([h, asked, h * asked, h * relevant], dim=-1))
        return torch.stack(rows)

    same_with_gradients(
        lambda p, q: module(p, context_mask, q, MASK), naive, [doubles(3, 3, 6), doubles(3, 4, 6)], module
    )


def test_span_pointer() -> None:
    module = SpanPointer(6).double()

    def naive(states: Tensor, question: Tensor) -> Tensor:
        logits = []
        for m, q, mask in zip(states, question, MASK, strict=True):
            start = torch.stack([a @ module.start(q[0]) for a in m]) / math.sqrt(6)
            begun = sum(w * a for w, a in zip(start[mask].softmax(0), m[mask], strict=True))
            end = torch.stack([a @ module.end(torch.cat([q[0], begun])) for a in m]) / math.sqrt(6)
            logits.append(torch.stack([start, end]))
        return torch.stack(logits)

    same_with_gradients(
        lambda m, q: torch.stack(module(m, MASK, q), 1), naive, [doubles(3, 4, 6), doubles(3, 1, 6)], module
    )


def test_bilstm_is_a_packed_bidirectional_lstm() -> None:
    module = BiLstm(BiLstmConfig(hidden_size=6, num_hidden_layers=2, dropout=0.0)).double()
    reference = nn.LSTM(6, 3, num_layers=2, bidirectional=True, batch_first=True).double()
    for layer, (ahead, back) in enumerate(zip(module.ahead, module.back, strict=True)):
        for suffix, lstm in (("", ahead), ("_reverse", back)):
            for name, weight in lstm.named_parameters():
                getattr(reference, name.replace("l0", f"l{layer}{suffix}")).data.copy_(weight)

    def packed(states: Tensor) -> Tensor:
        sequence = pack_padded_sequence(states, MASK.sum(1), batch_first=True)
        return pad_packed_sequence(reference(sequence)[0], batch_first=True)[0]

    same_with_gradients(lambda states: module(states, MASK), packed, [doubles(3, 4, 6)])


def test_textcnn_is_a_window_that_slides() -> None:
    module = TextCnn(TextCnnConfig(hidden_size=6, num_hidden_layers=2, kernel_sizes=(1, 5), dropout=0.0)).double()

    def naive(states: Tensor) -> Tensor:
        rows = []
        for row, mask in zip(states, MASK, strict=True):
            words = list(row[mask])
            for layer in module.layers:
                found = []
                for place, word in enumerate(words):
                    parts = []
                    for convolution in layer.children():
                        reach = convolution.weight.shape[2] // 2
                        total = convolution.bias
                        for offset in range(-reach, reach + 1):
                            if 0 <= place + offset < len(words):
                                total = total + convolution.weight[:, :, offset + reach] @ words[place + offset]
                        parts.append(total.relu())
                    found.append(word + torch.cat(parts))
                words = found
            rows.append(torch.stack(words + [torch.zeros_like(words[0])] * int((~mask).sum())))
        return torch.stack(rows)

    same_with_gradients(lambda states: module(states, MASK), naive, [doubles(3, 4, 6)], module)


@pytest.mark.parametrize("summary", [AttentiveSummary, MaximumSummary])
def test_summaries_do_not_see_padding(summary: Any) -> None:
    module = summary(BiLstmConfig(hidden_size=6)).double()

    def naive(states: Tensor) -> Tensor:
        kept = [row[mask] for row, mask in zip(states, MASK, strict=True)]
        if summary is MaximumSummary:
            return torch.stack([row.max(0, keepdim=True).values for row in kept])
        return torch.stack([module.score(row).softmax(0).T @ row for row in kept])

    same_with_gradients(lambda states: module(states, MASK), naive, [doubles(3, 4, 6)], module)
    assert not module(doubles(3, 4, 6), torch.zeros_like(MASK)).any()


def test_time_dropout_has_one_mask_per_row() -> None:
    dropout = TimeDropout(0.5)
    kept = dropout(torch.ones(8, 5, 16))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert (kept == kept[:, :1]).all()
    assert not (kept[0] == kept[1]).all()
    states = torch.randn(2, 3, 4)
    assert dropout.eval()(states) is states


def part(ids: list[list[int]]) -> Part:
    table = torch.tensor(ids)
    return Part(table, torch.arange(table.shape[1]).expand_as(table), table > 0)


def test_match_features_by_hand_and_in_loops() -> None:
    characters = torch.randint(0, 7, (12, 3))
    characters[:, 0].clamp_(min=1)
    one = part([[1 + index % 11 for index in range(40)], [3, 4, 5] + [0] * 37])
    other = part([[3, 9, 0], [5, 0, 0]])
    found = match_features(one, other, characters, 7)
    for row in range(2):
        known = [int(word) for word in other.ids[row] if word > 0]
        letters = {int(letter) for word in known for letter in characters[word] if letter > 0}
        words, shares = [], []
        for word in one.ids[row].tolist():
            spelt = [letter for letter in characters[word].tolist() if letter > 0]
            words.append(float(word > 0 and word in known))
            shares.append(sum(letter in letters for letter in spelt) / len(spelt) if word > 0 else 0.0)
        for place in range(40):
            near, around = range(place - 4, place + 5), range(place - 15, place + 16)
            expected = [
                words[place],
                shares[place],
                sum(shares[at] for at in near if 0 <= at < 40) / 9,
                sum(words[at] for at in around if 0 <= at < 40) / 31,
            ]
            assert found[row, place].tolist() == pytest.approx(expected, abs=1e-6)


def test_splitting_and_spreading() -> None:
    ids = torch.tensor([[2, 10, 11, 3, 20, 21, 22, 3], [2, 12, 3, 23, 3, 0, 0, 0]])
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]])
    question, context = split_inputs(ids, (ids > 0).long(), types, cls_token_id=2, sep_token_id=3)
    assert (question.ids * question.mask).tolist() == [[10, 11], [12, 0]]
    assert (context.ids * context.mask).tolist() == [[2, 20, 21, 22], [2, 23, 0, 0]]
    spread = spread_logits(torch.arange(1.0, 9.0).view(2, 4), context, 8)
    assert spread.tolist() == [[1, *[MASKED] * 3, 2, 3, 4, MASKED], [5, MASKED, MASKED, 6, *[MASKED] * 4]]
    states = ids[..., None].float()
    assert question.take(states)[..., 0].tolist() == [[10, 11], [12, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_batch(kind: str) -> None:
    tokenizer = chinese_words()
    model = small_reader(kind, tokenizer, num_hidden_layers=2)
    pairs = (["李明出生于哪里？", "谁？"], [CHINESE[0] * 2, CHINESE[1]])
    together = model(**tokenizer(*pairs, padding=True, return_tensors="pt"))
    for row, (question, context) in enumerate(zip(*pairs, strict=True)):
        alone = model(**tokenizer(question, context, return_tensors="pt"))
        length = alone.start_logits.shape[1]
        torch.testing.assert_close(together.start_logits[row, :length], alone.start_logits[0])
        torch.testing.assert_close(together.end_logits[row, :length], alone.end_logits[0])
        assert (together.start_logits[row, length:] == MASKED).all()


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_low_outside_the_context_and_defaults_fill_in(kind: str) -> None:
    tokenizer = chinese_words()
    model = small_reader(kind, tokenizer)
    batch = tokenizer(["王芳住在哪里？", "谁？"], [CHINESE[1], CHINESE[0]], padding=True, return_tensors="pt")
    output = model(**batch)
    inside = batch["token_type_ids"].bool() & (batch["input_ids"] != tokenizer.sep_token_id)
    inside |= batch["input_ids"] == tokenizer.cls_token_id
    assert torch.equal(output.start_logits > MASKED, inside)
    assert torch.equal(model(batch["input_ids"]).end_logits, output.end_logits)
    start, end = model(**batch, return_dict=False)
    assert torch.equal(start, output.start_logits)
    assert torch.equal(end, output.end_logits)


def test_loss_is_the_mean_cross_entropy_and_skips_labels_outside() -> None:
    tokenizer = chinese_words()
    model = small_reader("bilstm", tokenizer)
    batch = tokenizer(["谁？", "谁？"], CHINESE[:2], padding=True, return_tensors="pt")
    labels = {"start_positions": torch.tensor([5, 999]), "end_positions": torch.tensor([6, 4])}
    output = model(**batch, **labels)
    start, end = output.start_logits.log_softmax(-1), output.end_logits.log_softmax(-1)
    torch.testing.assert_close(output.loss, -(start[0, 5] + (end[0, 6] + end[1, 4]) / 2) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_weight_gets_a_gradient(kind: str) -> None:
    tokenizer = chinese_words()
    model = small_reader(kind, tokenizer, num_hidden_layers=2, train_word_vectors=True).train()
    batch = tokenizer("王芳住在哪里？", CHINESE[1] + CHINESE[0], return_tensors="pt")
    model(**batch, start_positions=torch.tensor([8]), end_positions=torch.tensor([9])).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", [("", "李明出生于北京"), ("谁？", ""), ("龘", "龘龘")])
def test_empty_and_unknown_texts_give_finite_logits(kind: str, empty: tuple[str, str]) -> None:
    tokenizer = chinese_words()
    ids = tokenizer([empty[0]], [empty[1]], return_tensors="pt")
    output = small_reader(kind, tokenizer)(**ids)
    assert output.start_logits.isfinite().all()
    assert output.start_logits.shape == ids["input_ids"].shape


def test_unknown_words_match_by_their_characters() -> None:
    """What the word vectors cannot tell: two names that training never showed, one of them asked for."""
    tokenizer = english_words()
    model = small_reader("bilstm", tokenizer)
    ids = tokenizer(["who is bgn"], ["bgn was born"], return_tensors="pt")
    question, context = split_inputs(**ids, cls_token_id=2, sep_token_id=3)
    count = model.config.character_vocab_size
    found = match_features(context, question, model.embeddings.characters.long(), count)
    assert found[0, 1 : 1 + len("bgn"), 1].tolist() == [1.0, 1.0, 1.0]


def test_a_spelling_that_no_table_has_is_an_error_before_memory_is_spent() -> None:
    """One number of a hostile file would be gigabytes, if it were the size of a table."""
    tokenizer = english_words()
    model = small_reader("bilstm", tokenizer)
    model.embeddings.characters[0, 0] = 2**31 - 1
    ids = tokenizer(["who is it"], ["it was born"], return_tensors="pt")
    expected = model(**ids).start_logits  # of a word that is not there
    assert expected.isfinite().any()
    model.embeddings.characters[ids["input_ids"]] = 2**31 - 1
    with pytest.raises((IndexError, RuntimeError), match="index"):
        model(**ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    tokenizer = chinese_words()
    model = small_reader(kind, tokenizer, num_hidden_layers=2).to(dtype)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, info = AutoModelForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is type(model)
    assert [info[f"{kind}_keys"] for kind in ("missing", "unexpected", "mismatched") if info[f"{kind}_keys"]] == []
    for (name, one), (_, other) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
        assert one.dtype == other.dtype
    assert not loaded.get_input_embeddings().weight.requires_grad
    assert AutoConfig.from_pretrained(tmp_path).model_type == kind
    batch = AutoTokenizer.from_pretrained(tmp_path)("谁？", CHINESE[0], return_tensors="pt")
    torch.testing.assert_close(loaded(**batch).start_logits, model(**batch).start_logits)


def test_word_vectors_that_learn_stay_so(tmp_path: Path) -> None:
    small_reader(train_word_vectors=True).save_pretrained(tmp_path)
    assert palbert.BiLstmForQuestionAnswering.from_pretrained(tmp_path).get_input_embeddings().weight.requires_grad


def test_fresh_weights() -> None:
    model = AutoModelForQuestionAnswering.from_config(BiLstmConfig(vocab_size=50, hidden_size=8))
    recurrent = model.encoder.ahead[0].weight_hh_l0
    for gate in recurrent.chunk(1, 0):
        torch.testing.assert_close(gate.T @ gate, torch.eye(4))
    assert model.encoder.ahead[0].bias_ih_l0.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert not model.embeddings.word_vectors.weight[0].any()
    assert model.embeddings.word_vectors.weight[1:].std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_pipeline_answers_with_a_slice(tmp_path: Path, kind: str) -> None:
    small_reader(kind).save_pretrained(tmp_path)
    chinese_words().save_pretrained(tmp_path)
    context = CHINESE[0] + "\n" + CHINESE[1]
    answers = pipeline("question-answering", model=str(tmp_path))(
        question="王芳住在哪里？", context=context, top_k=3, max_seq_len=18, doc_stride=2
    )
    assert len(answers) == 3
    for answer in answers:
        assert answer["answer"] == context[answer["start"] : answer["end"]] != ""


def test_spelling() -> None:
    tokenizer = chinese_words()
    table, size = spelling_table(tokenizer, 3)
    letters = sorted({letter for word in tokenizer.get_vocab() for letter in word if not word.startswith("[")})
    assert size == len(letters) + 2
    for word, index in tokenizer.get_vocab().items():
        expected = [] if word.startswith("[") else [letters.index(letter) + 2 for letter in word[:3]]
        expected = [1] if word == "[UNK]" else expected
        assert table[index].tolist() == expected + [0] * (3 - len(expected))


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (BiLstmConfig, {"hidden_size": 7}, "even"),
        (BiLstmConfig, {"hidden_size": 0}, "`hidden_size` must be positive"),
        (BiLstmConfig, {"dropout": 1.0}, r"\[0, 1\)"),
        (TextCnnConfig, {"kernel_sizes": (3, 4)}, "odd"),
        (TextCnnConfig, {"kernel_sizes": ()}, "odd"),
        (TextCnnConfig, {"kernel_sizes": (1, 3, 5)}, "multiple of the 3"),
    ],
)
def test_bad_settings(config: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        config(**settings)


def test_building_is_refused() -> None:
    tokenizer, vectors = chinese_words(), WordVectors(["北京"], torch.ones(1, 6).numpy())
    with pytest.raises(ConfigurationError, match="'transformer'"):
        build_reader("transformer", tokenizer, vectors)
    with pytest.raises(ConfigurationError, match="6 dimensions"):
        build_reader("bilstm", tokenizer, vectors, embedding_size=300)
