from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import jieba
import numpy as np
import pytest
from huggingface_hub.constants import HF_HOME
from transformers import BertTokenizer

from tests.pretraining.helpers import documents, tokenizer, write
from transformers_palbert.errors import ConfigurationError, DatasetFormatError
from transformers_palbert.pretraining import preparing
from transformers_palbert.pretraining.preparing import corpus_key, prepare_corpus
from transformers_palbert.pretraining.tokens import ARRAYS, TokenCorpus, tokenizer_fingerprint
from transformers_palbert.text.sentences import sentence_starts

TOKENIZER = tokenizer()


def prepare(folder: str = "corpus", **options: Any) -> TokenCorpus:
    return prepare_corpus(folder, options.pop("tokenizer", TOKENIZER), **options)


def reference(texts: list[list[str]], words: str) -> dict[str, list[int]]:
    """The arrays, sentence by sentence and word by word."""
    cutter = jieba.Tokenizer()
    cutter.tmp_dir = HF_HOME
    result: dict[str, list[int]] = {"tokens": [], "word_starts": [], "sentences": [], "documents": [0]}
    for document in texts:
        for paragraph in document:
            starts = [*sentence_starts(paragraph), len(paragraph)]
            for start, end in pairwise(starts):
                result["sentences"].append(len(result["tokens"]))
                sentence = paragraph[start:end]
                for word in cutter.cut(sentence, HMM=False) if words == "jieba" else [sentence]:
                    pieces = TOKENIZER.tokenize(word)
                    alone = [not piece.startswith("##") and words != "jieba" for piece in pieces]
                    result["tokens"] += TOKENIZER.convert_tokens_to_ids(pieces)
                    result["word_starts"] += [index == 0 or each for index, each in enumerate(alone)]
        result["documents"].append(len(result["tokens"]))
    return result


@pytest.mark.parametrize("words", ["tokenizer", "jieba"])
def test_tokens_words_sentences_and_documents(words: str) -> None:
    corpus = prepare(text_files=[write("a.txt", 30)], words=words)
    expected = reference(documents(30), words)
    assert corpus.tokens.dtype == np.uint16
    assert corpus.tokens.tolist() == expected["tokens"]
    assert corpus.sentences.tolist() == expected["sentences"]
    assert corpus.documents.tolist() == expected["documents"]
    assert corpus.starts_word(np.arange(len(corpus))).tolist() == expected["word_starts"]
    assert 0 < sum(expected["word_starts"]) < len(corpus)


def test_special_tokens_in_a_text_are_text() -> None:
    Path("a.txt").write_text("我[MASK]们[SEP]")
    corpus = prepare(text_files=["a.txt"])
    assert not set(corpus.tokens.tolist()) & {TOKENIZER.mask_token_id, TOKENIZER.sep_token_id}


def test_contexts_come_before_texts() -> None:
    row = {"id": "1", "question": "谁？", "context": "北京。", "answers": ["北京"]}
    Path("train.jsonl").write_text(json.dumps(row))
    corpus = prepare(text_files=[write("a.txt", 2)], qa_files=["train.jsonl"])
    assert TOKENIZER.decode(corpus.tokens[: corpus.documents[1]]) == "北 京 。"
    assert corpus.facts["documents"] == 3
    assert corpus.facts["names"] == ["train.jsonl", "a.txt"]


def test_a_large_vocabulary_takes_four_bytes() -> None:
    vocabulary = {**TOKENIZER.get_vocab()}
    vocabulary |= {f"x{number}": number for number in range(len(vocabulary), 70_000)}
    Path("a.txt").write_text("我们 x69999")
    corpus = prepare(text_files=["a.txt"], tokenizer=BertTokenizer(vocab=vocabulary))
    assert corpus.tokens.dtype == np.uint32
    assert corpus.tokens.tolist()[-1] == 69_999


def arrays(corpus: TokenCorpus) -> dict[str, list[int]]:
    return {name: getattr(corpus, name).tolist() for name in ARRAYS}


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_and_processes_change_nothing(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("a.txt", 25)
    whole = prepare("whole", text_files=[file])
    monkeypatch.setattr(preparing, "BLOCK_CHARACTERS", 300)
    parts = prepare("parts", text_files=[file], workers=workers)
    assert arrays(parts) == arrays(whole)
    assert parts.facts == whole.facts


def test_an_interrupted_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("a.txt", 25)
    whole = prepare("whole", text_files=[file])
    monkeypatch.setattr(preparing, "BLOCK_CHARACTERS", 300)
    tokenize, calls = preparing.tokenize_documents, []

    def interrupted(*args: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return tokenize(*args)

    monkeypatch.setattr(preparing, "tokenize_documents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(text_files=[file])
    assert not Path("corpus").exists()
    assert len(list(Path("corpus.partial").glob("*/*.npz"))) == 3
    assert arrays(prepare(text_files=[file])) == arrays(whole)
    assert not Path("corpus.partial").exists()
    second = len(calls) - 4
    prepare("fresh", text_files=[file])
    assert len(calls) - 4 - second == second + 3


def test_what_is_there_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("a.txt", 5)
    first = prepare(text_files=[file])
    monkeypatch.setattr(preparing, "tokenize_documents", None)
    assert arrays(prepare(text_files=[file])) == arrays(first)
    assert arrays(prepare()) == arrays(first)  # without the files as well
    Path("copy.txt").write_bytes(Path(file).read_bytes())
    assert arrays(prepare(text_files=["copy.txt"])) == arrays(first)  # contents count, names do not


def test_the_key_is_that_of_the_contents() -> None:
    file = write("a.txt", 5)
    key = corpus_key(TOKENIZER, [file], [], "tokenizer")
    assert key == prepare(text_files=[file]).facts["key"] == corpus_key(tokenizer(), [file], [], "tokenizer")
    other = {
        corpus_key(TOKENIZER, [write("b.txt", 6)], [], "tokenizer"),
        corpus_key(TOKENIZER, [file], [], "jieba"),
        corpus_key(TOKENIZER, [file, file], [], "tokenizer"),
        corpus_key(tokenizer(do_lower_case=False), [file], [], "tokenizer"),
    }
    assert len(other | {key}) == 5


def test_a_saved_tokenizer_is_the_same_one() -> None:
    TOKENIZER.save_pretrained("saved")
    changed = BertTokenizer.from_pretrained("saved", model_max_length=7)
    changed("我们今天", truncation=True, max_length=3)  # leaves its mark on the backend
    assert tokenizer_fingerprint(changed) == tokenizer_fingerprint(TOKENIZER)


def test_a_folder_of_another_corpus_is_refused() -> None:
    prepare(text_files=[write("a.txt", 5)])
    for options, message in (
        ({"text_files": [write("b.txt", 6)]}, "other files than asked for .it was made of a.txt"),
        ({"text_files": ["a.txt"], "words": "jieba"}, "other words"),
        ({"text_files": ["a.txt"], "tokenizer": tokenizer(do_lower_case=False)}, "other tokenizer"),
        ({"tokenizer": tokenizer(do_lower_case=False)}, "made with another tokenizer"),
        ({"words": "jieba"}, "has the words of tokenizer, and not of jieba"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            prepare(**options)  # type: ignore[arg-type]


def test_other_peoples_files_are_left_alone() -> None:
    Path("corpus").mkdir()
    Path("corpus/thesis.txt").write_text("all of it")
    with pytest.raises(ConfigurationError, match="holds no corpus"):
        prepare(text_files=[write("a.txt", 2)])
    assert Path("corpus/thesis.txt").read_text() == "all of it"


def test_bad_input_is_explained() -> None:
    Path("empty.txt").write_text("\n\n")
    with pytest.raises(DatasetFormatError, match=r"no text in empty\.txt"):
        prepare(text_files=["empty.txt"])
    with pytest.raises(DatasetFormatError, match=r"none\.txt cannot be read"):
        prepare(text_files=["none.txt"])
    with pytest.raises(DatasetFormatError, match="corpus holds no tokenized corpus"):
        prepare()
    with pytest.raises(ConfigurationError, match="words='thulac' is not allowed; allowed: 'tokenizer', 'jieba'"):
        prepare(text_files=["empty.txt"], words="thulac")
    with pytest.raises(ConfigurationError, match="SimpleNamespace is not a fast tokenizer"):
        prepare(text_files=["empty.txt"], tokenizer=type("SimpleNamespace", (), {})())


@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_files_are_noticed(name: str) -> None:
    prepare(text_files=[write("a.txt", 5)])
    file = Path("corpus") / f"{name}.npy"
    whole = np.load(file)
    np.save(file, whole[:-1])
    with pytest.raises(DatasetFormatError, match="do not fit together"):
        TokenCorpus.open("corpus")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DatasetFormatError, match="damaged"):
        TokenCorpus.open("corpus")


def test_a_pickle_holds_no_tokens() -> None:
    corpus = prepare(text_files=[write("a.txt", 40)])
    pickled = pickle.dumps(corpus)
    assert len(pickled) < 300
    assert arrays(pickle.loads(pickled)) == arrays(corpus)
