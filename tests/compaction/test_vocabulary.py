from __future__ import annotations

import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForQuestionAnswering,
    AlbertTokenizer,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaForQuestionAnswering,
    XLMRobertaTokenizer,
)

import transformers_palbert as palbert
from transformers_palbert.baselines.tokenization import build_word_tokenizer
from transformers_palbert.compaction.corpus import corpus_texts, count_tokens
from transformers_palbert.compaction.token_choice import tokens_to_keep
from transformers_palbert.compaction.tokenizer_cutting import cut_tokenizer, new_ids, tokenizer_settings
from transformers_palbert.compaction.vocabulary import keep_tokens, shrink_vocabulary
from transformers_palbert.errors import (
    ConfigurationError,
    DatasetFormatError,
    NoEffectWarning,
    PruningError,
    TokenizerError,
)
from transformers_palbert.pruning import PruningConfig, prepare_pruning

CORPUS = ["the answer lies in the river", "who answers the river? the sea answers.", "北京的河"]
OUTSIDE = "where unbelievable rivers meet: seven lies, 上海 quizzes Zürich's 9 answers"
TRAINING = [*CORPUS, OUTSIDE, "unbelievable believers meet seven unseen rivers where nobody answers quizzes"] * 3
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}


def wordpiece() -> Any:
    """BERT's: whole words, pieces, and a piece for each character; also inside of words, where Chinese never stands."""
    words = sorted({word for text in TRAINING for word in text.lower().replace("?", " ").split()})
    characters = sorted(set("".join(TRAINING).lower()) - {" "})
    pieces = [*characters, *(f"##{c}" for c in characters), "##er", "##s", "un", "##believ", "##able", "[unused1]"]
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*SPECIAL, *words, *pieces, "##京河"]))}
    return BertTokenizer(vocab=vocab)


def unigram(cls: type, special: list[str]) -> Any:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator([text.lower() for text in TRAINING], trainer)
    return cls(vocab=[(piece, score) for piece, score in json.loads(backend.to_str())["model"]["vocab"]])


def byte_level() -> dict[str, Any]:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=ROBERTA, initial_alphabet=alphabet, min_frequency=1, show_progress=False
    )
    backend.train_from_iterator(TRAINING, trainer)
    model: dict[str, Any] = json.loads(backend.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def bert() -> tuple[Any, Any]:
    tokenizer = wordpiece()
    return BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), **SIZES)), tokenizer


def albert() -> tuple[Any, Any]:
    tokenizer = unigram(AlbertTokenizer, ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    config = AlbertConfig(vocab_size=len(tokenizer) + 3, embedding_size=8, **SIZES)  # three rows that no token has
    return AlbertForQuestionAnswering(config), tokenizer


def pal_bert() -> tuple[Any, Any]:
    tokenizer = wordpiece()
    config = palbert.PalBertConfig(vocab_size=len(tokenizer), embedding_size=8, **SIZES)
    return palbert.PalBertForQuestionAnswering(config), tokenizer


def roberta() -> tuple[Any, Any]:
    tokenizer = RobertaTokenizer(**byte_level())  # it adds <mask> at the end
    config = RobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=80, **SIZES)
    return RobertaForQuestionAnswering(config), tokenizer


def xlm_roberta() -> tuple[Any, Any]:
    tokenizer = unigram(XLMRobertaTokenizer, [*ROBERTA, "<mask>"])
    config = XLMRobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=80, **SIZES)
    return XLMRobertaForQuestionAnswering(config), tokenizer


KINDS = [bert, albert, pal_bert, roberta, xlm_roberta]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model, tokenizer = request.param()
    return model.eval(), tokenizer


def shrink(model: Any, tokenizer: Any, **options: Any) -> Any:
    return shrink_vocabulary(model, tokenizer, lambda: CORPUS, **options)


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    inputs = tokenizer(CORPUS[1], CORPUS[0], padding="max_length", max_length=64, return_tensors="pt")
    with torch.no_grad():
        return torch.stack(model(**inputs).to_tuple()[:2])


def unknown_words(tokenizer: Any, text: str) -> int:
    return tokenizer(text, add_special_tokens=False)["input_ids"].count(tokenizer.unk_token_id)


# --- models --------------------------------------------------------------------------------------------------------


def test_answers_stay_and_the_table_shrinks(pair: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = pair
    before, tokens = logits(model, tokenizer), [tokenizer.tokenize(text) for text in CORPUS]
    rows = model.get_input_embeddings().weight.shape[0]
    found = shrink(model, tokenizer)
    assert found.tokens_after == len(found.tokenizer) == model.config.vocab_size < len(tokenizer) == found.tokens_before
    assert model.get_input_embeddings().num_embeddings == model.get_input_embeddings().weight.shape[0] < rows
    assert found.parameters_after == sum(p.numel() for p in model.parameters()) < found.parameters_before
    assert found.bytes_after == 4 * found.parameters_after
    assert found.unknown_before == found.unknown_after
    for where in (None, tmp_path):
        if where is not None:
            model.save_pretrained(where)
            found.tokenizer.save_pretrained(where)
        small = found.tokenizer if where is None else AutoTokenizer.from_pretrained(where)
        reader = model if where is None else AutoModelForQuestionAnswering.from_pretrained(where).eval()
        assert [small.tokenize(text) for text in CORPUS] == tokens
        assert torch.equal(logits(reader, small), before)
        old, new = list(found.ids), list(found.ids.values())
        assert sorted(new) == list(range(len(small)))
        assert small.convert_ids_to_tokens(new) == tokenizer.convert_ids_to_tokens(old)


def test_ids_of_special_tokens_agree(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    small = shrink(model, tokenizer).tokenizer
    assert small.special_tokens_map == tokenizer.special_tokens_map
    assert model.config.pad_token_id == small.pad_token_id
    assert model.get_input_embeddings().padding_idx == small.pad_token_id
    assert small.convert_tokens_to_ids(small.all_special_tokens) == small.all_special_ids


def test_text_outside_of_the_corpus_is_spelled(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    known = unknown_words(tokenizer, OUTSIDE)
    small = shrink(model, tokenizer).tokenizer
    assert len(small.tokenize(OUTSIDE)) > len(tokenizer.tokenize(OUTSIDE))  # in smaller pieces
    assert unknown_words(small, OUTSIDE) == known


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (BertForMaskedLM, BertConfig(**SIZES)),
        (AlbertForMaskedLM, AlbertConfig(embedding_size=8, **SIZES)),
        (RobertaForMaskedLM, RobertaConfig(pad_token_id=0, **SIZES)),
        (ElectraForMaskedLM, ElectraConfig(embedding_size=8, **SIZES)),
        (DistilBertForMaskedLM, DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=20)),
        (BertForMaskedLM, BertConfig(tie_word_embeddings=False, **SIZES)),
    ],
    ids=["bert", "albert", "roberta", "electra", "distilbert", "bert untied"],
)
def test_output_embeddings_shrink_with_the_table(model_class: Any, config: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = wordpiece()
    config.vocab_size = len(tokenizer)
    model = model_class(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().bias.normal_()
        inputs = {"input_ids": tokenizer(CORPUS[0], return_tensors="pt")["input_ids"]}
        before = model(**inputs).logits
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    found = shrink(model, tokenizer)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    model.save_pretrained(tmp_path)
    again, report = model_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    inputs["input_ids"] = found.tokenizer(CORPUS[0], return_tensors="pt")["input_ids"]
    for reader in (model, again.eval()):
        with torch.no_grad():
            after = reader(**inputs).logits
        torch.testing.assert_close(after, before[..., list(found.ids)], rtol=1e-6, atol=1e-6)


def test_positions_that_do_not_start_at_padding_keep_no_tokens_for_it() -> None:
    """ModernBERT has its special tokens at the end of a long vocabulary, and no table of positions."""
    backend = wordpiece().backend_tokenizer
    padding = backend.get_vocab_size() - 1
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=backend.id_to_token(padding))
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
    model = ModernBertForMaskedLM(ModernBertConfig(vocab_size=len(tokenizer), pad_token_id=padding, **shape))
    assert shrink(model, tokenizer).tokens_after < len(tokenizer)


def test_a_shrunk_model_is_packed_and_shrunk_further(tmp_path: Path) -> None:
    model, tokenizer = bert()
    found = shrink(model.eval(), tokenizer)
    with torch.no_grad():
        model.bert.encoder.layer[0].intermediate.dense.weight[:15] = 0
    palbert.enable_sparse_saving(model)
    model.save_pretrained(tmp_path)
    packed = AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(packed, found.tokenizer), logits(model, found.tokenizer))
    again = shrink_vocabulary(packed, found.tokenizer, lambda: CORPUS[:1], keep_characters=False)
    packed.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["quantization_config"]["tensors"]
    reader = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "again")
    assert reader.config.vocab_size == again.tokens_after < found.tokens_after
    assert torch.equal(reader.get_input_embeddings().weight, packed.get_input_embeddings().weight)


def test_defaults_that_point_at_a_dropped_token() -> None:
    """ALBERT's own defaults, 2 and 3, are other tokens in a Chinese vocabulary."""
    model, tokenizer = bert()
    model.config.bos_token_id, model.config.eos_token_id = 5, len(tokenizer) - 1
    found = shrink(model, tokenizer)
    gone = [index for index in (5, len(tokenizer) - 1) if index not in found.ids]
    assert gone
    for name, index in (("bos_token_id", 5), ("eos_token_id", len(tokenizer) - 1)):
        assert getattr(model.config, name) == found.ids.get(index)


def test_what_cannot_be() -> None:
    model, tokenizer = bert()
    with pytest.raises(ConfigurationError, match="holds no text"):
        shrink_vocabulary(model, tokenizer, list)
    with pytest.raises(ConfigurationError, match="do not belong together"):
        keep_tokens(model, {0: 0, len(tokenizer): 1})
    words = BertTokenizer(vocab={token: index for index, token in enumerate([*SPECIAL, *"abc"])})
    full = BertForQuestionAnswering(BertConfig(vocab_size=8, **SIZES))
    with pytest.warns(NoEffectWarning, match="All 8 tokens stay"):
        shrink_vocabulary(full, words, lambda: ["a b c"])
    with pytest.raises(TokenizerError, match="'WordLevel' cannot be shrunk"):
        shrink(model, PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a"))))
    with pytest.raises(TokenizerError, match="the model itself spells each of its words"):
        tokenizer_settings(build_word_tokenizer(["one two"], segmentation="whitespace", min_count=1))
    with pytest.raises(TokenizerError, match="written in Python"):
        tokenizer_settings(object())


def test_a_corpus_that_changes_meanwhile() -> None:
    model, tokenizer = bert()
    readings = iter([CORPUS, CORPUS[:1]])
    with pytest.raises(TokenizerError, match="change meanwhile"):
        shrink_vocabulary(model, tokenizer, lambda: next(readings))


# --- tokenizers ----------------------------------------------------------------------------------------------------


def test_chinese_characters_inside_of_words_go_and_letters_stay() -> None:
    tokenizer = wordpiece()
    settings = tokenizer_settings(tokenizer)
    kept = set(tokenizer.convert_ids_to_tokens(tokens_to_keep(settings, [])))
    assert {"京", "上", "a", "##a", "?", *SPECIAL} <= kept
    assert not {"##京", "##?", "##京河", "[unused1]", "unbelievable", "##able"} & kept
    bare = set(tokenizer.convert_ids_to_tokens(tokens_to_keep(settings, [], characters=False)))
    assert bare == set(SPECIAL)


def test_a_piece_with_a_character_that_cannot_be_spelled_stays() -> None:
    words = [*SPECIAL, "a", "##a", "q", "##ax", "##qa", "aq", "##aa"]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)})
    kept = set(tokenizer.convert_ids_to_tokens(tokens_to_keep(tokenizer_settings(tokenizer), [])))
    assert kept == {*SPECIAL, "a", "##a", "q", "##ax", "##qa", "aq"}  # there is no ##x and no ##q


def test_merges_of_kept_tokens_stay() -> None:
    tokenizer = RobertaTokenizer(**byte_level())
    settings = tokenizer_settings(tokenizer)
    used = tokenizer(" river", add_special_tokens=False)["input_ids"]
    assert len(used) == 1
    small = cut_tokenizer(tokenizer, new_ids(settings, tokens_to_keep(settings, used)))
    assert small.tokenize(" river") == ["Ġriver"]
    cut = tokenizer_settings(small)["model"]
    assert 0 < len(cut["merges"]) < len(settings["model"]["merges"])
    for left, right in cut["merges"]:
        assert {left, right, left + right} <= cut["vocab"].keys()


def test_random_texts_have_no_new_unknown_token(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    small = shrink(model, tokenizer).tokenizer
    letters = sorted({*"".join(TRAINING), "é", "𝔘", "ß", "-", " "})
    chance = random.Random(0)
    for _ in range(300):
        text = "".join(chance.choices(letters, k=12))
        assert unknown_words(small, text) <= unknown_words(tokenizer, text), text


def test_added_tokens_and_settings_stay() -> None:
    tokenizer = RobertaTokenizer(**byte_level(), model_max_length=77)
    tokenizer.add_tokens(["[name]"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<table>"]})
    settings = tokenizer_settings(tokenizer)
    small = cut_tokenizer(tokenizer, new_ids(settings, tokens_to_keep(settings, [])))
    assert small.tokenize("x[name]<table>") == ["x", "[name]", "<table>"]
    assert small.model_max_length == 77
    assert small.convert_tokens_to_ids("<table>") == len(small) - 1
    assert small("a", "b")["input_ids"][0] == small.cls_token_id


def test_the_tokenizer_that_was_given_stays() -> None:
    model, tokenizer = roberta()
    before = tokenizer.backend_tokenizer.to_str()
    shrink(model, tokenizer)
    assert tokenizer.backend_tokenizer.to_str() == before


# --- corpora -------------------------------------------------------------------------------------------------------


def test_texts_of_all_kinds_of_files(tmp_path: Path) -> None:
    text = "one line\n\n  another  \n"
    plain, packed, zipped = tmp_path / "a.txt", tmp_path / "b.txt.xz", tmp_path / "c.txt.gz"
    plain.write_text(text, encoding="utf-8-sig")
    packed.write_bytes(lzma.compress(text.encode()))
    zipped.write_bytes(gzip.compress(text.encode()))
    questions = tmp_path / "d.jsonl.gz"
    flat = [{"title": "T", "context": "C", "question": q, "answers": ["A"]} for q in ("Q1", "Q2")]
    questions.write_bytes(gzip.compress("\n".join(map(json.dumps, flat)).encode()))
    read = list[int]()
    found = list(corpus_texts([plain, packed, zipped, questions], read.append))
    assert found == [*["one line", "another"] * 3, "T", "C", "Q1", "A", "Q2", "A"]
    assert sum(read) == sum(file.stat().st_size for file in (plain, packed, zipped, questions))


def test_damaged_corpora(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(b"text" * 1000)[:-20])
    with pytest.raises(DatasetFormatError, match=r"a\.txt\.gz cannot be read"):
        list(corpus_texts([file]))
    latin = tmp_path / "b.txt"
    latin.write_bytes("é".encode("latin-1"))
    with pytest.raises(DatasetFormatError, match="not UTF-8"):
        list(corpus_texts([latin]))


def test_counts_are_those_of_single_texts() -> None:
    tokenizer = wordpiece()
    tokenizer.backend_tokenizer.enable_truncation(2)
    counts = count_tokens(tokenizer, CORPUS)
    tokenizer.backend_tokenizer.no_truncation()
    ids = [index for text in CORPUS for index in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert counts.tolist() == [ids.count(index) for index in range(len(tokenizer))]


def test_models_in_the_middle_of_pruning_are_refused() -> None:
    model, tokenizer = bert()
    prepare_pruning(model, PruningConfig(0.5))
    with pytest.raises(PruningError, match="bake_masks"):
        shrink(model, tokenizer)
