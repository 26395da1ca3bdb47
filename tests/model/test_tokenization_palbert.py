from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AlbertConfig, AlbertTokenizer, AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from transformers_palbert import PalBertConfig, TokenizerError, check_tokenizer, load_albert_tokenizer
from transformers_palbert.model import tokenization_palbert as tokenization

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"今天气很好的一是。？", "the", "a", "b", "##b", "A"]
SENTENCE = "今天天气很好。"
LOADERS = [AutoTokenizer.from_pretrained, load_albert_tokenizer]


def write(folder: Path, config: Any, **files: Any) -> Path:
    """A checkpoint folder with a configuration and the given files (`vocab_txt=[...]` is vocab.txt)."""
    folder.mkdir(exist_ok=True)
    config.save_pretrained(folder)
    for name, content in files.items():
        path = folder / ".".join(name.rsplit("_", 1))
        text = "\n".join(content) + "\n" if isinstance(content, list) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return folder


def unigram() -> AlbertTokenizer:
    special = [(token, 0.0) for token in ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")]
    return AlbertTokenizer(vocab=[*special, ("▁the", -1.0), ("▁a", -2.0), ("▁", -3.0)])


def test_stock_auto_tokenizer_is_silently_useless_on_a_wordpiece_albert_folder(tmp_path: Path) -> None:
    """The reason for this module. Should transformers ever mend it, this test says so."""
    folder = write(tmp_path / "zh", AlbertConfig(), vocab_txt=VOCABULARY)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, AlbertTokenizer)
    assert len(tokenizer) == 5
    assert set(tokenizer(SENTENCE, add_special_tokens=False)["input_ids"]) == {tokenizer.unk_token_id}
    with pytest.raises(
        TokenizerError, match=r"AlbertTokenizer with 5 tokens .*'<unk>'.*load_albert_tokenizer\(folder\)"
    ):
        check_tokenizer(tokenizer)


@pytest.mark.parametrize(
    ("config", "load"),
    [(AlbertConfig(), load_albert_tokenizer), *((PalBertConfig(), loader) for loader in LOADERS)],
)
@pytest.mark.parametrize(
    "declared", [{}, {"tokenizer_class": "BertTokenizerFast"}, {"tokenizer_class": "AlbertTokenizer"}]
)
def test_a_wordpiece_folder_gets_bert_tokenizer(
    config: Any, load: Callable[..., Any], declared: dict[str, str], tmp_path: Path
) -> None:
    folder = write(tmp_path / "zh", config, vocab_txt=VOCABULARY, tokenizer_config_json=declared)
    tokenizer = load(folder)
    assert type(tokenizer) is BertTokenizer
    assert tokenizer.is_fast
    assert len(tokenizer) == len(VOCABULARY)
    assert tokenizer.tokenize(SENTENCE) == list(SENTENCE)
    encoded = tokenizer("今天", "很好")
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == ["[CLS]", *"今天", "[SEP]", *"很好", "[SEP]"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]


def test_a_class_named_in_config_json_alone_does_not_override_the_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "zh", AlbertConfig(tokenizer_class="BertTokenizerFast"), vocab_txt=VOCABULARY)
    assert type(load_albert_tokenizer(folder)) is BertTokenizer


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("lower", [True, False])
def test_settings_hold_through_saving_and_reloading(lower: bool, load: Callable[..., Any], tmp_path: Path) -> None:
    settings = {"do_lower_case": lower, "model_max_length": 64, "cls_token": "[CLS]"}
    folder = write(tmp_path / "zh", PalBertConfig(), vocab_txt=VOCABULARY, tokenizer_config_json=settings)
    tokenizer = load(folder)
    for _ in range(3):
        assert tokenizer.do_lower_case is lower
        assert tokenizer.model_max_length == 64
        assert tokenizer.tokenize("A 天") == (["a", "天"] if lower else ["A", "天"])
        tokenizer.save_pretrained(folder)
        (folder / "vocab.txt").unlink(missing_ok=True)  # what is saved must do by itself
        tokenizer = load(folder)
    assert type(tokenizer) is BertTokenizer


def test_arguments_override_the_files(tmp_path: Path) -> None:
    settings = {"do_lower_case": False}
    folder = write(tmp_path / "zh", AlbertConfig(), vocab_txt=VOCABULARY, tokenizer_config_json=settings)
    assert load_albert_tokenizer(folder, do_lower_case=True).tokenize("A") == ["a"]
    assert load_albert_tokenizer(str(folder), model_max_length=7).model_max_length == 7


@pytest.mark.parametrize("load", LOADERS)
def test_a_sentencepiece_folder_gets_albert_tokenizer(load: Callable[..., Any], tmp_path: Path) -> None:
    unigram().save_pretrained(tmp_path)
    PalBertConfig().save_pretrained(tmp_path)
    tokenizer = load(tmp_path)
    assert type(tokenizer) is AlbertTokenizer
    assert tokenizer.tokenize("the a") == ["▁the", "▁a"]


def test_a_sentencepiece_model_wins_over_a_vocabulary_and_needs_sentencepiece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "en", AlbertConfig(), vocab_txt=VOCABULARY, spiece_model=[])
    monkeypatch.setattr(tokenization, "find_spec", lambda _: None)
    with pytest.raises(TokenizerError, match=r"spiece\.model.*pip install sentencepiece"):
        load_albert_tokenizer(folder)
    monkeypatch.setattr(tokenization, "find_spec", lambda _: object())
    assert tokenization._tokenizer_class(str(folder), {}) is AlbertTokenizer


def test_a_tokenizer_of_another_kind_is_loaded_as_what_it_is(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "a": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(tmp_path)
    tokenizer = load_albert_tokenizer(tmp_path)
    assert tokenizer("the a x")["input_ids"] == [1, 2, 0]
    (tmp_path / "tokenizer_config.json").unlink()
    assert load_albert_tokenizer(tmp_path, unk_token="<unk>")("the a x")["input_ids"] == [1, 2, 0]


def test_a_class_that_does_not_exist_is_named(tmp_path: Path) -> None:
    config = {"tokenizer_class": "NobodysTokenizer"}
    folder = write(tmp_path / "zh", AlbertConfig(), vocab_txt=VOCABULARY, tokenizer_config_json=config)
    with pytest.raises(
        TokenizerError, match=r"'NobodysTokenizer', which transformers does not have.*trust_remote_code"
    ):
        load_albert_tokenizer(folder)


def test_a_broken_tokenizer_that_was_saved_is_refused_with_the_cure(tmp_path: Path) -> None:
    folder = write(tmp_path / "zh", AlbertConfig(), vocab_txt=VOCABULARY)
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(TokenizerError, match=r"deleting a tokenizer\.json and tokenizer_config\.json that were saved"):
        load_albert_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert load_albert_tokenizer(folder).tokenize(SENTENCE) == list(SENTENCE)


@pytest.mark.parametrize("load", LOADERS)
def test_a_folder_without_any_tokenizer_is_refused(load: Callable[..., Any], tmp_path: Path) -> None:
    folder = write(tmp_path / "empty", PalBertConfig())
    with pytest.raises(TokenizerError, match=r"holds no tokenizer: none of tokenizer\.json, spiece\.model, vocab\.txt"):
        load(folder)


def test_a_hub_repository_that_cannot_be_reached_is_said_to_be_so() -> None:
    with pytest.raises(TokenizerError, match=r"(?s)'nobody/nothing' holds no tokenizer.*(connect|offline)"):
        load_albert_tokenizer("nobody/nothing")


def test_the_probe_can_be_in_the_users_language(tmp_path: Path) -> None:
    tokenizer = load_albert_tokenizer(write(tmp_path / "zh", AlbertConfig(), vocab_txt=VOCABULARY))
    assert check_tokenizer(tokenizer, "今天 xyz") is tokenizer
    with pytest.raises(TokenizerError, match="knows nothing of 'Ελλάδα'"):
        check_tokenizer(tokenizer, "Ελλάδα")
    with pytest.raises(TokenizerError, match="knows nothing of ''"):
        check_tokenizer(tokenizer, "")
