from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset as ArrowDataset
from torch.utils.data import IterableDataset
from transformers import (
    AlbertConfig,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AutoModelForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    GPT2Config,
    GPT2ForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
    pipeline,
)
from transformers.pipelines.pt_utils import KeyDataset

import transformers_palbert  # registers the pipeline
from tests.references.answers import naive_pipeline
from tests.references.small_tokenizers import byte_level, distilbert, wordpiece
from transformers_palbert.errors import ConfigurationError, DatasetFormatError, TokenizerError
from transformers_palbert.pipelines import question_answering
from transformers_palbert.pipelines.question_answering import QuestionAnsweringPipeline
from transformers_palbert.qa import asking
from transformers_palbert.qa.answering import Reader
from transformers_palbert.qa.settings import AnsweringSettings

ENGLISH = "My name is Wolfgang and I live in Berlin, where unbelievables live. "
CHINESE = "我叫王芳，住在北京。二〇一八年出生于上海。"
EXAMPLES = [
    {"question": question, "context": context}
    for question, context in [
        ("where does Wolfgang live?", ENGLISH * 3),
        ("谁住在北京？", CHINESE),
        ("who?", ENGLISH),
        ("  什么时候？", CHINESE * 5),
        ("what is the answer?", CHINESE + ENGLISH),
        ("a?", "b"),
    ]
]
WINDOW = {"max_seq_len": 40, "doc_stride": 10}
BYTES = {"max_seq_len": 100, "doc_stride": 30}
SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
QUESTION = EXAMPLES[0]["question"]


def sharpened(model: Any) -> Any:
    """Far-apart logits: with those of a fresh model, almost every span is as good as any other."""
    with torch.no_grad():
        model.qa_outputs.weight.normal_(std=2)
    return model.eval()


def albert() -> tuple[Any, Any, dict[str, int]]:
    config = AlbertConfig(vocab_size=100, embedding_size=8, hidden_act="gelu_new", **SHAPE)
    return AlbertForQuestionAnswering(config), wordpiece(), WINDOW


def distil() -> tuple[Any, Any, dict[str, int]]:
    config = DistilBertConfig(vocab_size=100, dim=16, hidden_dim=24, n_layers=1, n_heads=2)
    return DistilBertForQuestionAnswering(config), distilbert(), WINDOW


def roberta() -> tuple[Any, Any, dict[str, int]]:
    return RobertaForQuestionAnswering(RobertaConfig(vocab_size=300, pad_token_id=1, **SHAPE)), byte_level(), BYTES


def gpt2_context_first() -> tuple[Any, Any, dict[str, int]]:
    config = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2)
    return GPT2ForQuestionAnswering(config), byte_level(padding_side="left"), BYTES


KINDS: dict[str, Callable[[], tuple[Any, Any, dict[str, int]]]] = {
    kind.__name__: kind for kind in (albert, distil, roberta, gpt2_context_first)
}


def make(kind: str = "albert", **kwargs: Any) -> tuple[QuestionAnsweringPipeline, dict[str, int]]:
    torch.manual_seed(0)
    model, tokenizer, window = KINDS[kind]()
    pipe = pipeline("question-answering", model=sharpened(model), tokenizer=tokenizer, device="cpu", **kwargs)
    return pipe, window


def assert_same(results: list[Any], expected: list[list[dict[str, Any]]]) -> None:
    for result, answers in zip(results, expected, strict=True):
        found = result if isinstance(result, list) else [result]
        assert [{**answer, "score": 0} for answer in found] == [{**answer, "score": 0} for answer in answers]
        assert [answer["score"] for answer in found] == pytest.approx([a["score"] for a in answers], rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_k": 3, "handle_impossible_answer": True},
        {"top_k": 4, "align_to_words": False, "max_answer_len": 3},
        {"top_k": 2, "align_to_words": True},
        {"top_k": 3, "normalize_over": "document", "handle_impossible_answer": True},
    ],
    ids=str,
)
def test_same_answers_as_the_naive_reference(kind: str, batch_size: int, settings: dict[str, Any]) -> None:
    pipe, window = make(kind)
    expected = [
        naive_pipeline(pipe.model, pipe.tokenizer, e["question"].lstrip(), e["context"], **window, **settings)
        for e in EXAMPLES
    ]
    assert len({answers[0]["answer"] for answers in expected}) > 3
    assert_same(pipe(EXAMPLES, batch_size=batch_size, **window, **settings), expected)


def test_windows_of_a_document_compete_as_in_evaluations() -> None:
    """Of one window, nothing changes; of many, the best answer is that of the evaluation decoding."""
    pipe, window = make()
    short = {"question": "where?", "context": ENGLISH}
    assert pipe(short, normalize_over="document") == pipe(short)
    settings = AnsweringSettings(
        max_seq_length=window["max_seq_len"],
        doc_stride=window["doc_stride"],
        max_question_length=64,
        max_answer_length=6,
        n_best_size=1000,
    )
    reader = Reader(pipe.model, pipe.tokenizer, settings)
    examples = [{**example, "id": str(number)} for number, example in enumerate(EXAMPLES)]
    expected = reader.answer(examples, batch_size=4).nbest
    asked = {**window, "max_answer_len": 6, "align_to_words": False}
    differing = 0
    for example in examples:
        found = pipe(example, normalize_over="document", **asked)
        scores: dict[str, float] = {}
        for entry in expected[example["id"]]:
            key = entry["text"].lower()
            scores[key] = scores.get(key, 0.0) + entry["probability"]
        best = max(scores, key=scores.__getitem__)
        assert found["answer"].lower() == best
        differing += found["answer"] != pipe(example, **asked)["answer"]
    assert differing  # else this shows nothing


def test_answers_are_exact_slices_of_the_context() -> None:
    pipe, window = make()
    for example, answers in zip(EXAMPLES, pipe(EXAMPLES, top_k=5, **window), strict=True):
        for answer in answers if isinstance(answers, list) else [answers]:
            assert answer["answer"] == example["context"][answer["start"] : answer["end"]]
            assert [type(value) for value in answer.values()] == [float, int, int, str]


@pytest.mark.parametrize("batch_size", [2, 3, 16])
def test_batches_change_nothing(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_answering, "BATCHES_AHEAD", 1)
    pipe, window = make()
    single = [pipe(example, **window) for example in EXAMPLES]
    together = pipe(EXAMPLES[::-1], batch_size=batch_size, **window)[::-1]
    assert_same(together, [[answer] for answer in single])


def test_windows_of_several_questions_share_a_pass_sorted_by_length() -> None:
    pipe, window = make()
    shapes = []
    pipe.model.register_forward_pre_hook(
        lambda _, __, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    pipe(EXAMPLES, batch_size=3, **window)
    lengths = [length for _, length in shapes]
    assert lengths == sorted(lengths, reverse=True)
    assert shapes[0] == (3, 40)
    assert {count for count, _ in shapes[:-1]} == {3}


def test_padding_to_max_seq_len_gives_one_shape() -> None:
    pipe, window = make()
    expected = pipe(EXAMPLES, **window)
    shapes = set()
    model = pipe.model
    model.register_forward_pre_hook(lambda _, __, inputs: shapes.add(inputs["input_ids"].shape[1]), with_kwargs=True)
    assert_same(pipe(EXAMPLES, padding="max_length", **window), [[answer] for answer in expected])
    assert shapes == {40}


def pairs(key: str) -> list[str]:
    return [example[key] for example in EXAMPLES]


CALLS: dict[str, Callable[[Any], Any]] = {
    "list of mappings": lambda pipe: pipe(EXAMPLES),
    "tuple": lambda pipe: pipe(tuple(EXAMPLES)),
    "mapping of lists": lambda pipe: pipe({"question": pairs("question"), "context": pairs("context"), "id": [1]}),
    "create_sample": lambda pipe: pipe(pipe.create_sample(pairs("question"), pairs("context"))),
    "several samples": lambda pipe: pipe([pipe.create_sample(**example) for example in EXAMPLES]),
    "several arguments": lambda pipe: pipe(*EXAMPLES),
    "data": lambda pipe: pipe(data=EXAMPLES),
    "X": lambda pipe: pipe(X=EXAMPLES),
    "lists": lambda pipe: pipe(question=pairs("question"), context=pairs("context")),
    "columns": lambda pipe: pipe(
        question=ArrowDataset.from_list(EXAMPLES)["question"], context=ArrowDataset.from_list(EXAMPLES)["context"]
    ),
    "data set with more columns": lambda pipe: pipe(ArrowDataset.from_list([{"id": 1, **e} for e in EXAMPLES])),
    "generator": lambda pipe: list(pipe(example for example in EXAMPLES)),
    "iterator": lambda pipe: list(pipe(iter(EXAMPLES))),
    "KeyDataset": lambda pipe: list(pipe(KeyDataset(ArrowDataset.from_list([{"row": e} for e in EXAMPLES]), "row"))),
    "IterableDataset": lambda pipe: list(pipe(Streamed())),
    "batches": lambda pipe: pipe(EXAMPLES, batch_size=3, num_workers=2),
}


class Streamed(IterableDataset):
    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(EXAMPLES)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_form_of_input(call: Callable[[Any], Any]) -> None:
    pipe, _ = make()
    assert_same(call(pipe), [[pipe(**example)] for example in EXAMPLES])


def test_one_question_gives_one_answer_whatever_its_form() -> None:
    pipe, _ = make()
    example = EXAMPLES[0]
    answer = pipe(question=example["question"], context=example["context"])
    assert set(answer) == {"score", "start", "end", "answer"}
    assert pipe(example) == pipe([example]) == pipe(*example.values()) == answer
    assert pipe(question=[example["question"]], context=[example["context"]]) == answer
    two = pipe(question=[example["question"], "who?"], context=example["context"])
    assert_same(two, [[answer], [pipe("who?", example["context"])]])
    assert pipe([]) == []


def test_streams_are_read_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_answering, "BATCHES_AHEAD", 2)
    pipe, _ = make()
    read: list[int] = []

    def endless() -> Iterator[dict[str, str]]:
        while True:
            read.append(1)
            yield EXAMPLES[5]

    next(pipe(endless()))
    assert len(read) == 1
    next(pipe(endless(), batch_size=3))
    assert len(read) == 1 + 6


def test_settings_of_the_constructor_hold_until_a_call_changes_them() -> None:
    pipe, window = make(top_k=2, **WINDOW)
    assert len(pipe(EXAMPLES[0])) == 2
    assert len(pipe(EXAMPLES[0], top_k=3)) == len(pipe(EXAMPLES[0], topk=3)) == 3
    plain, _ = make()
    assert pipe(EXAMPLES[0], top_k=1) == plain(EXAMPLES[0], **window)


@pytest.mark.parametrize("context", [" \n ", "\u200b\u200b"])
def test_context_without_tokens(context: str) -> None:
    pipe, _ = make()
    empty = {"start": 0, "end": 0, "answer": ""}
    assert pipe(question=QUESTION, context=context) == {"score": 0.0, **empty}
    with_null = pipe(question=[QUESTION] * 2, context=[context, ENGLISH], handle_impossible_answer=True)[0]
    assert with_null == {"score": pytest.approx(1.0), **empty}


def test_long_questions_are_cut_by_default() -> None:
    pipe, _ = make()
    long, cut = "where " * 300, "where " * 64
    assert pipe(question=long, context=ENGLISH)["answer"] == pipe(question=cut, context=ENGLISH)["answer"]
    pipe.tokenizer.model_max_length = 48  # stride 24 leaves 20 tokens for the question
    assert pipe(question=long, context=ENGLISH * 9) == pipe(question="where " * 20, context=ENGLISH * 9)


def test_a_length_of_questions_that_is_asked_for_stays() -> None:
    pipe, _ = make()
    asked = {"question": "where " * 50, "context": ENGLISH * 9, "max_seq_len": 64, "max_question_len": 50}
    assert pipe(**asked) == pipe(**asked, doc_stride=10)  # 3 special tokens and one new one in every window
    assert pipe(**{**asked, "max_question_len": 20}) == pipe(**{**asked, "max_question_len": 20}, doc_stride=32)
    with pytest.raises(ConfigurationError, match="`max_question_len` to 60 or less, or raise `max_seq_len`"):
        pipe(**{**asked, "max_question_len": 61})


def test_equal_texts_add_up() -> None:
    pipe, _ = make()
    context = "live a " * 6
    settings = {"top_k": 1000, "max_answer_len": 1}
    found = pipe(question="who?", context=context, **settings)
    assert sorted(answer["answer"] for answer in found) == ["a", "live"]
    expected = naive_pipeline(pipe.model, pipe.tokenizer, "who?", context, **settings)
    assert_same([found], [expected])
    assert sum(answer["score"] for answer in found) > max(answer["score"] for answer in found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipe, _ = make()
    path = tmp_path_factory.mktemp("model")
    pipe.save_pretrained(path)
    return path


@pytest.mark.parametrize(
    "how",
    [{}, {"dtype": torch.bfloat16}, {"dtype": torch.float16}, {"device_map": {"": "cpu"}}, {"device": -1}],
    ids=str,
)
def test_loading_by_path(folder: Path, how: dict[str, Any]) -> None:
    pipe = pipeline("question-answering", model=str(folder), **how)
    assert type(pipe) is transformers_palbert.QuestionAnsweringPipeline
    assert pipe.model.dtype == how.get("dtype", torch.float32)
    example = EXAMPLES[2]
    expected = naive_pipeline(pipe.model, pipe.tokenizer, example["question"], example["context"])
    assert_same([pipe(example)], [expected])


def test_model_that_returns_a_tuple(folder: Path) -> None:
    model = AutoModelForQuestionAnswering.from_pretrained(folder, return_dict=False)
    pipe = QuestionAnsweringPipeline(model=model, tokenizer=wordpiece(), device="cpu")
    assert_same([pipe(EXAMPLES[0])], [[make()[0](EXAMPLES[0])]])


def test_compiled_and_wrapped_models_get_every_input() -> None:
    pipe, _ = make()
    expected = pipe(EXAMPLES[:2])

    class Wrapped(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            assert set(kwargs) == {"input_ids", "token_type_ids", "attention_mask"}
            return self.model(*args, **kwargs)

    pipe.model = Wrapped(pipe.model)
    assert pipe(EXAMPLES[:2]) == expected


def test_inputs_that_a_model_does_not_know_are_left_out() -> None:
    torch.manual_seed(0)
    pipe = QuestionAnsweringPipeline(model=sharpened(distil()[0]), tokenizer=wordpiece(), device="cpu")
    assert_same([pipe(EXAMPLES[0])], [[make("distil")[0](EXAMPLES[0])]])


def test_model_straight_from_training_answers_without_dropout() -> None:
    training = DistilBertForQuestionAnswering(
        DistilBertConfig(vocab_size=100, dim=16, hidden_dim=24, n_heads=2)
    ).train()
    pipe = QuestionAnsweringPipeline(model=training, tokenizer=distilbert(), device="cpu")
    assert pipe(EXAMPLES) == pipe(EXAMPLES)


def test_threads_share_a_pipeline() -> None:
    pipe, _ = make()
    settings = [{"max_seq_len": 30 + 4 * index, "doc_stride": index} for index in range(4)]
    expected = [pipe(EXAMPLES, **setting) for setting in settings]
    results: list[Any] = [None] * 4

    def work(index: int) -> None:
        for _ in range(5):
            results[index] = pipe(EXAMPLES, **settings[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == expected


BAD_CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no arguments": (lambda pipe: pipe(), "no `question`"),
    "no context": (lambda pipe: pipe(question="who?"), "no `context`"),
    "empty question": (lambda pipe: pipe(question="", context="b"), "`question` cannot be empty"),
    "blank question": (lambda pipe: pipe(question=" \u3000", context="b"), "`question` cannot be empty"),
    "lists in a list": (lambda pipe: pipe([{"question": ["a"], "context": ["b"]}]), r"must be a string, got \['a'\]"),
    "lists of two lengths": (lambda pipe: pipe({"question": ["a"], "context": ["b", "c"]}), "lengths: 1 and 2"),
    "a list without contexts": (lambda pipe: pipe({"question": ["a"]}), "got list and NoneType"),
    "empty context": (lambda pipe: pipe(question=["who?"], context=[""]), "`context` cannot be empty"),
    "None": (lambda pipe: pipe(question="who?", context=None), "str and NoneType"),
    "None in a list": (lambda pipe: pipe(question=["who?"], context=[None]), "`context` must be a string, got None"),
    "lengths": (lambda pipe: pipe(question=["a", "b"], context=["c"]), "the same lengths: 2 and 1"),
    "one question": (lambda pipe: pipe(question="a", context=["b"]), "str and list"),
    "missing key": (lambda pipe: pipe({"question": "a", "text": "b"}), r"no `context`, only \['question', 'text'\]"),
    "no mapping": (lambda pipe: pipe([("a", "b")]), "must be a mapping, got tuple"),
    "one string": (lambda pipe: pipe("who?"), "Cannot read examples from 'who\\?'"),
    "a number": (lambda pipe: pipe(5), "Cannot read examples from 5"),
    "in a stream": (lambda pipe: list(pipe(iter([EXAMPLES[0], {"question": "a"}]))), "no `context`"),
    "unknown argument": (lambda pipe: pipe("a", "b", max_anser_len=3), r"max_anser_len\. .* takes .*max_answer_len"),
    "top_k": (lambda pipe: pipe("a", "b", top_k=0), "`top_k` must be at least 1, got 0"),
    "top_k as text": (lambda pipe: pipe("a", "b", top_k="1"), "`top_k` must be a whole number, got '1'"),
    "half an answer": (lambda pipe: pipe("a", "b", top_k=1.5), "`top_k` must be a whole number, got 1.5"),
    "max_question_len": (lambda pipe: pipe("a", "b", max_question_len=0), "`max_question_len` must be at least 1"),
    "max_seq_len": (lambda pipe: pipe("a", "b", max_seq_len=0), "`max_seq_len` must be at least 1, got 0"),
    "negative doc_stride": (lambda pipe: pipe("a", "b", doc_stride=-1), "`doc_stride` must be .* not negative, got -1"),
    "max_answer_len": (lambda pipe: pipe("a", "b", max_answer_len=0), "`max_answer_len` must be at least 1"),
    "batch_size": (lambda pipe: pipe("a", "b", batch_size=0), "`batch_size` must be at least 1"),
    "padding": (lambda pipe: pipe("a", "b", padding="left"), "`padding` must be one of .*'left'"),
    "align_to_words": (lambda pipe: pipe("a", "b", align_to_words="yes"), "`align_to_words` must be one of .*'yes'"),
    "doc_stride": (lambda pipe: pipe("a", "b", max_seq_len=20, doc_stride=20), "`doc_stride` below 16"),
}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_calls(call: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call(make()[0])


@pytest.mark.parametrize("key", ["question", "context"])
def test_half_of_a_surrogate_pair_is_named(key: str) -> None:
    pipe, _ = make()
    with pytest.raises(DatasetFormatError, match=rf"A {key} holds '\\ud83d' at character 2, .*: 'ab\\ud83d'"):
        pipe([EXAMPLES[0], {**EXAMPLES[1], key: "ab\ud83d"}])


def test_model_for_another_task() -> None:
    config = albert()[0].config
    pipe = QuestionAnsweringPipeline(
        model=AlbertForSequenceClassification(config).eval(), tokenizer=wordpiece(), device="cpu"
    )
    with pytest.raises(
        ConfigurationError, match=r"returns logits, but no `start_logits`.*AutoModelForQuestionAnswering"
    ):
        pipe("who?", ENGLISH)


def test_tokenizer_must_be_fast() -> None:
    with pytest.raises(TokenizerError, match="needs a fast tokenizer, got NoneType"):
        QuestionAnsweringPipeline(model=albert()[0], device="cpu")


def test_an_albert_tokenizer_that_knows_nothing_is_refused(tmp_path: Path) -> None:
    """What stock AutoTokenizer makes of a WordPiece folder: five special tokens, and every word unknown."""
    model, tokenizer, _ = albert()
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(tokenizer.get_vocab()), encoding="utf-8")
    with pytest.raises(TokenizerError, match="load_albert_tokenizer"):
        pipeline("question-answering", model=str(tmp_path))
    mended = transformers_palbert.load_albert_tokenizer(tmp_path)
    assert pipeline("question-answering", model=str(tmp_path), tokenizer=mended)(question="who?", context=ENGLISH)


class TestReduce:
    """Long contexts of which the passages alone are read that matter."""

    BOOK = " ".join(f"Chapter {number} is long and says nothing." for number in range(200)) + "\n\n" + CHINESE + ENGLISH

    def test_answers_are_slices_of_the_whole_context(self) -> None:
        model, tokenizer, _ = albert()
        pipe = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer, **WINDOW)
        for question in ("where does Wolfgang live?", "谁住在北京？"):
            answers = pipe(question, self.BOOK, reduce={"max_tokens": 60}, top_k=5)
            assert len(answers) == 5
            for answer in answers:
                assert self.BOOK[answer["start"] : answer["end"]] == answer["answer"]
            assert any(answer["start"] > self.BOOK.index(CHINESE) - 1 for answer in answers)

    def test_only_what_is_kept_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, tokenizer, _ = albert()
        pipe = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer, reduce="bm25", **WINDOW)
        seen: list[str] = []
        encode = asking.encode_windows

        def watched(tokenizer: Any, questions: Any, contexts: Any, **options: Any) -> Any:
            seen.extend(contexts)
            return encode(tokenizer, questions, contexts, **options)

        monkeypatch.setattr(asking, "encode_windows", watched)
        pipe(QUESTION, self.BOOK)
        pipe(QUESTION, self.BOOK, reduce={"share": 1.0})
        assert "Wolfgang" in seen[0]
        assert len(seen[0]) < len(self.BOOK) / 2
        assert seen[1] == self.BOOK

    def test_no_answer_joins_what_was_apart(self) -> None:
        model, tokenizer, _ = albert()
        pipe = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer, **WINDOW)
        context = "Berlin who. " + "A b c. " * 20 + "Berlin where."
        answers = pipe("berlin?", context, reduce={"max_tokens": 8}, top_k=500)
        assert len(answers) > 1
        for answer in answers:
            assert context[answer["start"] : answer["end"]] == answer["answer"]
            assert len(answer["answer"]) <= len("Berlin where.")

    def test_reading_everything_gives_the_same_answers(self) -> None:
        model, tokenizer, _ = albert()
        pipe = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer, top_k=3, **WINDOW)
        assert pipe(EXAMPLES, reduce={"threshold": 0.0}) == pipe(EXAMPLES)

    def test_what_cannot_be(self) -> None:
        model, tokenizer, _ = albert()
        pipe = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer)
        with pytest.raises(ConfigurationError, match="no scorer tfidf"):
            pipe(QUESTION, ENGLISH, reduce="tfidf")


SAVED = {"max_seq_length": 40, "doc_stride": 12, "max_question_length": 9, "max_answer_length": 4,
         "version_2_with_negative": True}  # fmt: skip
SAID = {"max_seq_len": 40, "doc_stride": 12, "max_question_len": 9, "max_answer_len": 4,
        "handle_impossible_answer": True}  # fmt: skip


def test_what_is_saved_with_a_model_are_its_defaults() -> None:
    model, tokenizer, _ = albert()
    plain = pipeline("question-answering", model=sharpened(model), tokenizer=tokenizer)
    model.config.question_answering = SAVED
    pipe = pipeline("question-answering", model=model, tokenizer=tokenizer)
    assert pipe(EXAMPLES, top_k=3) == plain(EXAMPLES, top_k=3, **SAID)
    assert pipe(EXAMPLES) != plain(EXAMPLES)
    assert pipe(EXAMPLES, doc_stride=5) == plain(EXAMPLES, **{**SAID, "doc_stride": 5})
    others = {"max_answer_len": 7, "handle_impossible_answer": False}
    assert pipe(EXAMPLES, max_seq_len=60, **others) == plain(EXAMPLES, max_seq_len=60, **others)
    told = pipeline("question-answering", model=model, tokenizer=tokenizer, max_answer_len=2)
    assert told(EXAMPLES) == plain(EXAMPLES, **{**SAID, "max_answer_len": 2})


def test_settings_that_are_none_are_named_when_the_pipeline_is_made() -> None:
    model, tokenizer, _ = albert()
    model.config.question_answering = {"stride": 12}
    with pytest.raises(ConfigurationError, match="'stride' is no answering setting"):
        pipeline("question-answering", model=model, tokenizer=tokenizer)
