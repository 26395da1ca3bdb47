from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, load_from_disk
from transformers import BertTokenizer

from tests.references.answers import naive_label, naive_windows
from tests.references.small_tokenizers import byte_level, decomposing, distilbert, wordpiece
from transformers_palbert.errors import ConfigurationError, DatasetFormatError, TokenizerError
from transformers_palbert.qa import features as features_module
from transformers_palbert.qa.features import build_features, encode_windows

ENGLISH = "My name is Wolfgang and I live in Berlin, where unbelievables live. "
CHINESE = "我叫王芳，住在北京。二〇一八年出生于上海。"
ROWS = [
    ("en", "where does Wolfgang live?", ENGLISH * 3, "Berlin"),
    ("zh", "谁住在北京？", CHINESE * 2, "王芳"),
    ("twice", "who?", ENGLISH, "unbelievables live"),
    ("never", "what?", ENGLISH * 2, None),
    ("spaces", "   \t where?", ENGLISH, " Berlin, "),
]
TOKENIZERS = {"wordpiece": wordpiece, "distilbert": distilbert, "bytes": byte_level}
SMALL = {"max_seq_length": 32, "doc_stride": 8}


def squad(rows: list[tuple[str, str, str, str | None]] = ROWS) -> Dataset:
    def answers(context: str, text: str | None) -> dict[str, list[Any]]:
        return {"text": [] if text is None else [text], "answer_start": [] if text is None else [context.index(text)]}

    return Dataset.from_list(
        [{"id": i, "title": "", "context": c, "question": q, "answers": answers(c, t)} for i, q, c, t in rows]
    )


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def settings(tokenizer: Any) -> dict[str, int]:
    return {"max_seq_length": 64, "doc_stride": 16} if tokenizer.cls_token == "<s>" else SMALL  # bytes are many


def test_windows_are_those_of_the_naive_reference(tokenizer: Any) -> None:
    sizes = settings(tokenizer)
    features = build_features(squad(), tokenizer, training=False, **sizes)
    expected = []
    for _, question, context, _ in ROWS:
        asked = tokenizer(question.lstrip(), add_special_tokens=False)["input_ids"]
        read = tokenizer(context, add_special_tokens=False)["input_ids"]
        room = sizes["max_seq_length"] - len(asked) - tokenizer.num_special_tokens_to_add(pair=True)
        for window, _ in naive_windows(asked, read, room, sizes["doc_stride"]):
            expected.append(window)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert len(features) > len(ROWS)
    assert [[token for token in row if token not in special] for row in features["input_ids"]] == expected


def test_evaluation_features_point_at_their_context(tokenizer: Any) -> None:
    features = build_features(squad(), tokenizer, training=False, **settings(tokenizer))
    contexts = {i: c for i, _, c, _ in ROWS}
    covered: dict[str, set[int]] = {i: set() for i in contexts}
    for row in features:
        assert len(row["offset_mapping"]) == len(row["input_ids"]) == len(row["attention_mask"])
        for token, (start, end) in zip(row["input_ids"], row["offset_mapping"], strict=True):
            assert (start, end) == (-1, -1) or 0 <= start <= end <= len(contexts[row["example_id"]])
            if token in tokenizer.all_special_ids and token != tokenizer.unk_token_id:
                assert (start, end) == (-1, -1)
            covered[row["example_id"]] |= set(range(start, end)) if start >= 0 else set()
    for example_id, context in contexts.items():
        assert covered[example_id] >= {index for index, char in enumerate(context) if not char.isspace()}


def test_input_columns_are_the_tokenizers(tokenizer: Any) -> None:
    training = build_features(squad(), tokenizer, training=True, **settings(tokenizer))
    assert training.column_names == [*tokenizer.model_input_names, "start_positions", "end_positions"]
    evaluation = build_features(squad(), tokenizer, training=False, **settings(tokenizer))
    assert evaluation.column_names == [*tokenizer.model_input_names, "example_id", "offset_mapping"]


def test_labels_are_those_of_the_naive_reference(tokenizer: Any) -> None:
    dataset = squad()
    training = build_features(dataset, tokenizer, training=True, **settings(tokenizer))
    evaluation = build_features(dataset, tokenizer, training=False, **settings(tokenizer))
    rows = {i: (c, t) for i, _, c, t in ROWS}
    labelled = 0
    for labels, row in zip(training, evaluation, strict=True):
        context, text = rows[row["example_id"]]
        offsets = [None if pair[0] < 0 else tuple(pair) for pair in row["offset_mapping"]]
        expected = (0, 0)
        if text is not None:
            start = context.index(text.strip())
            expected = naive_label(offsets, 0, start, start + len(text.strip()))
        assert (labels["start_positions"], labels["end_positions"]) == expected
        if expected != (0, 0):
            labelled += 1
            assert context[offsets[expected[0]][0] : offsets[expected[1]][1]].strip() == text.strip()
    assert labelled >= 4
    assert labelled < len(training)


def test_unanswerable_question_gets_the_cls_token_in_every_window() -> None:
    features = build_features(squad([ROWS[3]]), wordpiece(), training=True, **SMALL)
    assert len(features) > 1
    assert set(features["start_positions"]) == set(features["end_positions"]) == {0}


def test_answer_of_characters_that_the_tokenizer_drops_gets_the_cls_token() -> None:
    features = build_features(squad([("id", "who?", "a \u200b\u200b b", "\u200b\u200b")]), wordpiece(), training=True)
    assert features[0]["start_positions"] == features[0]["end_positions"] == 0


def test_tokenizer_that_pads_on_the_left_gets_the_context_first() -> None:
    tokenizer = byte_level(padding_side="left")
    row = build_features(squad([ROWS[2]]), tokenizer, training=False, pad_to_max_length=True, max_seq_length=200)[0]
    inside = [index for index, pair in enumerate(row["offset_mapping"]) if pair[0] >= 0]
    assert len(row["input_ids"]) == 200
    assert row["attention_mask"][0] == 0
    assert tokenizer.decode([row["input_ids"][index] for index in inside]) == ENGLISH
    training = build_features(squad([ROWS[2]]), tokenizer, training=True, pad_to_max_length=True, max_seq_length=200)[0]
    answer = row["input_ids"][training["start_positions"] : training["end_positions"] + 1]
    assert tokenizer.decode(answer).strip() == "unbelievables live"


def test_padding_to_the_full_length() -> None:
    features = build_features(squad(), wordpiece(), training=False, pad_to_max_length=True, **SMALL)
    assert {len(row) for row in features["input_ids"]} == {32}
    unpadded = [sum(row) for row in features["attention_mask"]]
    assert [len(row) for row in features["offset_mapping"]] == unpadded  # decoding cannot tell padding by it
    assert sum(features[0]["attention_mask"]) <= 32


def test_long_question_is_cut_and_keeps_room_for_the_context() -> None:
    windows = encode_windows(wordpiece(), ["where " * 500], ["a b c"], max_question_length=5, **SMALL)
    assert windows.encodings[0].tokens == ["[CLS]", *["where"] * 5, "[SEP]", "a", "b", "c", "[SEP]"]
    exact = encode_windows(wordpiece(), ["where " * 5], ["a b c"], max_question_length=5, **SMALL)
    assert exact.inputs == windows.inputs


@pytest.mark.parametrize(
    ("make", "question"),
    [(decomposing, "a a a a a ㎯"), (decomposing, "a ㎯ ㎯ a"), (byte_level, "who 谁谁 who"), (wordpiece, "who where")],
)
def test_a_character_of_several_tokens_is_not_cut_in_two(make: Callable[[], Any], question: str) -> None:
    tokenizer = make()
    whole = tokenizer(question, add_special_tokens=False)["input_ids"]
    special, context = tokenizer.num_special_tokens_to_add(pair=True), "a b c " * 20
    for limit, room in product(range(1, 12), range(1, 4)):  # room for the shared tokens and one more
        sizes = {"max_seq_length": limit + special + room, "doc_stride": room - 1, "max_question_length": limit}
        for window in encode_windows(tokenizer, [question], [context], **sizes).encodings:
            ids = [token for token, kind in zip(window.ids, window.sequence_ids, strict=True) if kind == 0]
            assert ids == whole[: len(ids)]
            assert limit - 6 < len(ids) <= limit or len(ids) == len(whole)


def test_questions_lose_the_whitespace_in_front(tokenizer: Any) -> None:
    assert (
        encode_windows(tokenizer, ["\n" + " " * 9000 + "who?"], ["a b"]).inputs
        == encode_windows(tokenizer, ["who?"], ["a b"]).inputs
    )


def test_no_questions_no_windows() -> None:
    assert len(build_features(squad().select([]), wordpiece(), training=True)) == 0


@pytest.mark.parametrize("num_proc", [None, 2])
def test_second_call_is_read_from_the_cache(
    num_proc: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squad().save_to_disk(tmp_path / "data")
    tokenizer = wordpiece()
    first = build_features(load_from_disk(tmp_path / "data"), tokenizer, training=True, num_proc=num_proc, **SMALL)
    tokenizer("a b c", truncation=True, max_length=4, padding="max_length")  # leaves these settings behind
    monkeypatch.setattr(features_module, "encode_windows", _not_called)
    again = build_features(load_from_disk(tmp_path / "data"), tokenizer, training=True, num_proc=num_proc, **SMALL)
    assert again[:] == first[:]
    assert [file["filename"] for file in again.cache_files] == [file["filename"] for file in first.cache_files]


def _not_called(*_: Any, **__: Any) -> None:
    raise AssertionError("the cache was not used")


@pytest.mark.parametrize(
    "change",
    [
        {"training": False},
        {"max_seq_length": 33},
        {"doc_stride": 9},
        {"max_question_length": 7},
        {"pad_to_max_length": True},
        {"tokenizer": wordpiece(do_lower_case=False)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_cache_key_depends_on_every_setting(change: dict[str, Any]) -> None:
    dataset, usual = squad(), {"tokenizer": wordpiece(), "training": True, **SMALL}
    one = build_features(dataset, **usual)
    assert build_features(dataset, **usual)._fingerprint == one._fingerprint
    assert build_features(dataset, **(usual | change))._fingerprint != one._fingerprint


def test_cache_key_depends_on_the_questions() -> None:
    dataset, settings = squad(), {"tokenizer": wordpiece(), "training": True, **SMALL}
    fewer = build_features(dataset.select(range(1)), **settings)
    assert fewer._fingerprint != build_features(dataset, **settings)._fingerprint


def test_questions_without_words_are_no_reason_to_refuse(tokenizer: Any) -> None:
    empty = [(str(n), " ", ENGLISH, "Berlin") for n in range(30)]
    assert len(build_features(squad(empty), tokenizer, training=True, **SMALL))
    strange = [(str(n), "ಠ", ENGLISH, "Berlin") for n in range(30)]
    assert len(build_features(squad([*strange, *ROWS * 6]), wordpiece(), training=True, **SMALL))


def test_a_tokenizer_that_knows_no_word_is_refused_for_training() -> None:
    """Such as the one that AutoTokenizer makes of a Chinese ALBERT; a model would learn from nothing but [UNK]."""
    rows = [("1", "住在哪里？", CHINESE, "北京")]
    english = BertTokenizer(vocab={token: n for n, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])})
    with pytest.raises(TokenizerError, match=r"knows nothing of '住在哪里？'.*load_albert_tokenizer"):
        build_features(squad(rows), english, training=True, **SMALL)
    assert len(build_features(squad(rows), english, training=False, **SMALL))  # an evaluation drops nothing


def test_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(TokenizerError, match=r"Slow is not a fast tokenizer.*AutoTokenizer"):
        build_features(squad(), Slow(), training=True)


def build(**change: Any) -> Callable[[], Any]:
    return lambda: build_features(squad(), **({"tokenizer": wordpiece(), "training": True} | SMALL | change))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (build(doc_stride=24), r"room for 2\d context tokens.*share 24.*`doc_stride` below 2\d"),
        (build(max_seq_length=8, doc_stride=0), r"max_seq_length=8 tokens has room for -?\d"),
        (build(doc_stride=-1), "must be a whole number that is not negative, got -1"),
        (build(max_question_length=0), "max_question_length=0 must be 1 or more"),
        (
            build(tokenizer=wordpiece(model_max_length=16)),
            r"max_seq_length=32 is more than the 16 tokens .* Lower .* to 16",
        ),
    ],
)
def test_windows_that_cannot_be(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()


@pytest.mark.parametrize("stride", [19, 20])
def test_the_cure_named_in_the_message_works(stride: int) -> None:
    question = ["where who does what ? a b c"]  # 8 tokens and 3 special ones leave 21 of 32
    windows = encode_windows(wordpiece(), question, ["live " * 90], max_seq_length=32, doc_stride=stride)
    steps = np.diff([offset[0] // 5 for offset in (windows.context_offsets(w)[0] for w in range(len(windows)))])
    assert set(steps.tolist()) == {21 - stride}


@pytest.mark.parametrize("start", [-1, 4])
def test_training_answer_that_is_not_in_its_place(start: int) -> None:
    row = {**squad()[0], "answers": {"text": ["Berlin"], "answer_start": [start]}}
    with pytest.raises(DatasetFormatError, match=rf"'en': its answer 'Berlin' .* character {start} .*load_qa_dataset"):
        build_features(Dataset.from_list([row]), wordpiece(), training=True)
    assert len(build_features(Dataset.from_list([row]), wordpiece(), training=False)) == 1


def test_needs_no_torch() -> None:
    code = (
        "import sys; import transformers_palbert.qa.features, transformers_palbert.qa.evaluation_decoding;"
        " print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_cache_key_depends_on_the_side_of_the_padding() -> None:
    made = [
        build_features(squad(), wordpiece(padding_side=side), training=False, **SMALL) for side in ("left", "right")
    ]
    assert made[0]._fingerprint != made[1]._fingerprint
