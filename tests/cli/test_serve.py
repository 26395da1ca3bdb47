from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.cli.conftest import CONTEXT, QUESTIONS
from tests.references.exported_models import EXAMPLES, exported
from tests.serving.helpers import Client, eventually, running
from transformers_palbert import errors
from transformers_palbert.cli.models import load_asker
from transformers_palbert.runtime import QuestionAnswerer
from transformers_palbert.serving import server


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any, Any]]:
    """What would be served: instead, the command ends."""
    given: list[tuple[Any, Any, Any]] = []
    monkeypatch.setattr(server, "serve", lambda app, listening, limits: given.append((app, listening.fileno(), limits)))
    return given


def test_options_are_the_limits(palbert, saved_model, served):
    options = {"max-batch-size": 3, "max-wait-ms": 1.5, "max-queue": 70, "timeout": 2.5, "max-context-chars": 99,
               "max-body-bytes": 1000, "max-seq-len": 64, "max-questions": 5, "stop-timeout": 7}  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    result = palbert("serve", saved_model, "--port", 0, *arguments)
    assert result.exit_code == 0, result.output
    assert f"{saved_model.name} answers at http://127.0.0.1:" in result.stderr
    (_, _, limits), *_ = served
    assert {name: getattr(limits, name.replace("-", "_")) for name in options} == options


def test_answers_are_those_of_the_pipeline(palbert, saved_model, monkeypatch):
    """The command serves from a thread here, and is stopped as by a signal."""
    import threading

    from transformers import pipeline

    import transformers_palbert  # noqa: F401

    servers: list[Any] = []
    told: list[int] = []

    def serve(app: Any, listening: socket.socket, limits: Any) -> None:
        told.append(listening.getsockname()[1])
        servers.append(server.make_server(app, limits))
        servers[0].run(sockets=[listening])

    monkeypatch.setattr(server, "serve", serve)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(palbert("serve", saved_model, "--port", 0)))
    thread.start()
    eventually(lambda: servers and servers[0].started, 120)
    client = Client(told[0])
    options = {"top_k": 3, "max_answer_len": 4, "handle_impossible_answer": True, "align_to_words": False}
    examples = {"question": [QUESTIONS["q1"], QUESTIONS["q2"]], "context": [CONTEXT, CONTEXT * 30]}
    try:
        status, said, _ = client.post({**examples, **options})
    finally:
        servers[0].should_exit = True
        thread.join(60)
    expected = pipeline("question-answering", model=str(saved_model))(**examples, **options, batch_size=16)
    assert status == 200
    found = [[list(answer.values()) for answer in result["answers"]] for result in said["results"]]
    wanted = [[list(answer.values()) for answer in answers] for answers in json.loads(json.dumps(expected))]
    for one, other in zip(found, wanted, strict=True):
        assert [answer[1:] for answer in one] == [answer[1:] for answer in other]
        assert [answer[0] for answer in one] == pytest.approx([answer[0] for answer in other])
    assert results[0].exit_code == 0


def test_without_the_extra_nothing_is_loaded(palbert, monkeypatch):
    def missing(module: str, extra: str) -> None:
        raise errors.MissingExtraError(f"{module}: pip install 'transformers-palbert[{extra}]'")

    monkeypatch.setattr(errors, "require", missing)
    result = palbert("serve", "./nowhere")
    assert (result.exit_code, "transformers-palbert[serve]" in result.stderr) == (1, True)


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(palbert):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = palbert("serve", "./nowhere", "--port", taken.getsockname()[1])
    assert (result.exit_code, "Cannot listen at 127.0.0.1" in result.stderr) == (1, True)


def test_a_port_that_is_taken_while_the_model_is_loaded(palbert, saved_model, served, monkeypatch):
    with server.bind("127.0.0.1", 0) as other:  # does not listen yet, as a server that still loads its model

        def load(*_: Any, **__: Any) -> Any:
            other.listen()
            return lambda **_: None

        monkeypatch.setattr("transformers_palbert.cli.serve.load_asker", load)
        result = palbert("serve", saved_model, "--port", other.getsockname()[1])
    assert (result.exit_code, "Cannot listen at 127.0.0.1" in result.stderr) == (1, True)
    assert "answers at" not in result.stderr
    assert served == []


def test_a_limit_that_is_none(palbert):
    result = palbert("serve", "./nowhere", "--max-queue", 0)
    assert (result.exit_code, "--max-queue=0 is not allowed" in result.stderr) == (1, True)
    result = palbert("serve", "./nowhere", "--port", 0)
    assert (result.exit_code, "./nowhere is not a folder" in result.stderr) == (1, True)


def test_an_exported_folder_is_served_by_the_runtime():
    folder = exported("structured")
    asker = load_asker(str(folder), threads=1)
    assert isinstance(asker, QuestionAnswerer)
    with running(asker) as client:
        status, said, _ = client.ask(EXAMPLES[0]["question"], EXAMPLES[0]["context"], top_k=2)
    assert status == 200
    assert said == {"results": [{"answers": asker(**EXAMPLES[0], top_k=2)}]}
    with pytest.raises(errors.ConfigurationError, match="exported model, which runs on the CPU and not on 'cuda'"):
        load_asker(str(folder), device="cuda")


LEAD = {"scorers": "lead", "max_tokens": 12}


def test_long_texts_can_be_read_in_part(saved_model):
    from transformers import pipeline

    import transformers_palbert  # noqa: F401

    context = CONTEXT * 40
    with running(load_asker(str(saved_model), device="cpu", reduce=LEAD)) as client:
        status, said, _ = client.ask(QUESTIONS["q1"], context)
    pipe = pipeline("question-answering", model=str(saved_model), device="cpu")
    asked = {"question": QUESTIONS["q1"], "context": context}
    assert status == 200
    assert said["results"][0]["answers"] == [pipe(**asked, reduce=LEAD)]
    assert said["results"][0]["answers"][0]["score"] > pipe(**asked)["score"]  # of many equal answers


def test_an_exported_folder_reads_long_texts_in_part_too():
    folder = str(exported("structured"))
    asked = {"question": EXAMPLES[0]["question"], "context": EXAMPLES[0]["context"] * 5, "max_seq_len": 40}
    read = load_asker(folder, threads=1, reduce=LEAD)(**asked)
    assert read["end"] <= 200
    assert read != load_asker(folder, threads=1, reduce={})(**asked)


def test_what_reads_long_texts_in_part_is_checked(palbert, saved_model, served):
    assert palbert("serve", saved_model, "--port", 0, "--reduce", "lead", "--reduce-max-tokens", 9).exit_code == 0
    assert len(served) == 1
    for options, status, message in (
        (("--reduce-max-tokens", 9), 2, "no effect without --reduce"),
        (("--sbert-model", "x"), 2, "no effect without --reduce"),
        (("--reduce", "tfidf"), 1, "no scorer tfidf"),
    ):
        result = palbert("serve", saved_model, "--port", 0, *options)
        assert (result.exit_code, message in result.stderr) == (status, True), result.stderr
