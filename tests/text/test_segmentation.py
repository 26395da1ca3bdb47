"""Words of jieba as spans, private dictionaries, and what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import jieba
import pytest
from huggingface_hub.constants import HF_HOME

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.text.segmentation import JiebaSegmenter, read_user_dictionary, segmenter


def words(text: str, *dictionary: str) -> list[str]:
    return [text[start:end] for start, end in JiebaSegmenter(dictionary).spans(text)]


@pytest.mark.parametrize("text", ["我爱北京大学，T恤 abc 3.5%\n\t是 😀。", "光荣和ω-force开发", "　全角　空格", ""])
def test_words_are_those_of_jieba_without_its_whitespace(text: str) -> None:
    reference = jieba.Tokenizer()
    reference.tmp_dir = HF_HOME
    assert words(text) == [word for word in reference.cut(text, HMM=False) if not word.isspace()]


def test_user_dictionaries_are_private() -> None:
    assert words("颜控机器人", "颜控机器人 100000") == ["颜控机器人"]
    assert "颜控机器人" not in words("颜控机器人")
    assert "颜控机器人" not in jieba.dt.FREQ


def test_a_word_added_to_jieba_elsewhere_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = words("颜控机器人")
    monkeypatch.setattr(jieba.dt, "tmp_dir", HF_HOME)
    jieba.add_word("颜控机器人", 100000)
    try:
        assert words("颜控机器人") == before
    finally:
        jieba.del_word("颜控机器人")


def test_the_parsed_dictionary_is_kept_where_only_the_user_may_write() -> None:
    words("北京")
    folder = Path(HF_HOME) / "transformers_palbert" / f"jieba-{jieba.__version__}"
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0
    assert (folder / "jieba.cache").is_file()


def test_whitespace_and_punctuation() -> None:
    cut = segmenter("whitespace").pre_tokenize_str("Don't  stop, now.")
    assert [word for word, _ in cut] == ["Don", "'", "t", "stop", ",", "now", "."]


def test_reading_a_user_dictionary(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeff云计算 5 n\n\n  李小福 2\n", encoding="utf-8")
    assert read_user_dictionary(file) == ["云计算 5 n", "李小福 2"]
    file.write_bytes("云计算".encode("gbk"))
    with pytest.raises(ConfigurationError, match=r"words\.txt"):
        read_user_dictionary(file)
    with pytest.raises(ConfigurationError, match="missing"):
        read_user_dictionary(tmp_path / "missing.txt")


def test_what_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'letters'"):
        segmenter("letters")
    with pytest.raises(ConfigurationError, match="no dictionary"):
        segmenter("whitespace", ["云计算"])
    with pytest.raises(ConfigurationError, match="'云计算 5 n x'"):
        segmenter("jieba", ["云计算 5 n x"])


def test_a_cache_that_cannot_be_written_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "file"))
    assert words("颜控机器人", "颜控机器人 100001") == ["颜控机器人"]
    assert capfd.readouterr().err == ""
