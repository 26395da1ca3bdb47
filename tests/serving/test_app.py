from __future__ import annotations

import json
import logging
import socket

import pytest

from tests.serving.helpers import TEXT, FakeModel, eventually, raw_request, running
from transformers_palbert.errors import ConfigurationError, MissingExtraError
from transformers_palbert.serving import app as app_module
from transformers_palbert.serving.batching import Batcher
from transformers_palbert.serving.limits import Limits

SECRET = "Sesame-4711"


@pytest.fixture(scope="module")
def server():
    """A server that refuses little, for tests that change nothing about it."""
    with running(FakeModel(), max_questions=4, max_body_bytes=20_000, max_context_chars=5_000) as client:
        yield client


def test_one_question(server):
    status, said, _ = server.ask("Where?")
    assert status == 200
    assert said == {"results": [{"answers": [{"score": 0.5, "start": 34, "end": 41, "answer": "Berlin."}]}]}


def test_many_questions_about_one_text_or_one_each(server):
    _, said, _ = server.post({"question": ["a?", "b?"], "context": TEXT})
    assert [result["answers"][0]["answer"] for result in said["results"]] == ["Berlin.", "Berlin."]
    _, said, _ = server.post({"question": ["a?", "b?"], "context": ["in Rome", "in Oslo"], "top_k": 2})
    assert [[answer["answer"] for answer in result["answers"]] for result in said["results"]] == [
        ["Rome", "in Rome"],
        ["Oslo", "in Oslo"],
    ]
    assert server.post({"question": ["a?"], "context": ["in Rome"]})[1] == server.ask("a?", "in Rome")[1]


def test_options_reach_the_model():
    model = FakeModel()
    options = {
        "top_k": 2, "max_answer_len": 7, "handle_impossible_answer": True, "align_to_words": "auto",
        "normalize_over": "document",
        "max_seq_len": 128, "doc_stride": 16, "max_question_len": 16,
    }  # fmt: skip
    with running(model, max_batch_size=3) as client:
        assert client.ask("a?", **options)[0] == 200
        assert client.ask("b?", align_to_words=False)[0] == 200
    assert model.calls == [(["a?"], {**options, "batch_size": 3}), (["b?"], {"align_to_words": False, "batch_size": 3})]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 422, "JSON"),
        (b'{"question": "\xff"}', 400, ""),
        (b"[" * 15_000, 400, ""),
        ({}, 422, "question: Field required; context: Field required"),
        ({"question": "a?"}, 422, "context: Field required"),
        ({"question": "", "context": TEXT}, 422, "question: it is empty"),
        ({"question": " \n", "context": TEXT}, 422, "question: it is empty"),
        ({"question": "a?", "context": " "}, 422, "context: it is empty"),
        ({"question": [], "context": TEXT}, 422, "1 to 4 are allowed in a request, not 0"),
        ({"question": ["a?"] * 5, "context": TEXT}, 422, "1 to 4 are allowed in a request, not 5"),
        ({"question": ["a?"] * 2, "context": [TEXT]}, 422, "there are 1 for 2 questions"),
        ({"question": "a?", "context": "x" * 5_001}, 422, "5,001 characters are more than the 5,000"),
        ({"question": "a" * 10_001, "context": TEXT}, 422, "10,001 characters"),
        ({"question": 1, "context": TEXT}, 422, "valid string"),
        ({"question": "\ud800?", "context": TEXT}, 422, "half of a surrogate pair"),
        ({"question": "a?", "context": TEXT, "\ud800": 1}, 422, "unicode"),
        ({"question": "a?", "context": TEXT, "x" * 9_000: 1}, 422, "Extra inputs are not permitted"),
        ({"question": "a?", "context": TEXT, "top_k": 0}, 422, "top_k: Input should be greater"),
        ({"question": "a?", "context": TEXT, "top_k": 10**9}, 422, "top_k: Input should be less"),
        ({"question": "a?", "context": TEXT, "top_k": "3"}, 422, "top_k"),
        ({"question": "a?", "context": TEXT, "align_to_words": "no"}, 422, "align_to_words"),
        ({"question": "a?", "context": TEXT, "normalize_over": "book"}, 422, "normalize_over"),
        ({"question": "a?", "context": TEXT, "doc_stride": 8}, 422, "need max_seq_len"),
        ({"question": "a?", "context": TEXT, "max_seq_len": 128, "doc_stride": 110}, 422, "hardly advance"),
        ({"question": "a?", "context": TEXT, "max_seq_len": 64, "max_question_len": 60}, 422, "hardly advance"),
        ({"question": "a?", "context": TEXT, "max_seq_len": 385}, 422, "allows 384 at most"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(server, body, status, reason):
    answered, said, response = server.post(body)
    assert answered == status
    assert reason in said["detail"]
    assert len(said["detail"]) < 1000
    assert response.headers["Content-Type"] == "application/json"
    assert server.ask("a?")[0] == 200


def test_errors_do_not_repeat_texts(server):
    _, said, _ = server.post({"question": [SECRET, 1], "context": SECRET, "top_k": SECRET})
    assert SECRET not in json.dumps(said)


def test_bodies_that_are_too_large(server):
    status, said, _ = server.post({"question": "a?", "context": "x" * 20_000})
    assert (status, "20,000 bytes" in said["detail"]) == (413, True)
    body = b'{"question": "' + b"x" * 100_000
    response, _ = server.request("POST", "/answer", iter([body]), **{"Content-Type": "application/json"})  # in chunks
    assert response.status == 413


def test_other_paths_and_methods(server):
    assert server.get("/answer")[0].status == 405
    assert server.get("/nothing")[0].status == 404
    assert server.request("POST", "/answer", b"question=a", **{"Content-Type": "text/plain"})[0].status == 422


def test_openapi_describes_the_whole_service_with_examples(server):
    api = json.loads(server.get("/openapi.json")[1])
    assert set(api["paths"]) == {"/answer", "/health", "/metrics"}
    assert {"200", "400", "408", "413", "422", "429", "500", "503", "504"} <= set(
        api["paths"]["/answer"]["post"]["responses"]
    )
    schemas = api["components"]["schemas"]
    for example in schemas["AnswerRequest"]["examples"]:
        status, said, _ = server.post(example)
        assert status == 200
        assert set(said["results"][0]["answers"][0]) == set(schemas["Answer"]["properties"])
    assert all("description" in field for field in schemas["AnswerRequest"]["properties"].values())
    assert server.get("/docs")[0].status == 404  # it would load scripts from another server


def test_concurrent_questions_with_the_same_options_share_a_batch():
    model = FakeModel()
    with running(model, max_batch_size=4, max_wait_ms=300) as client:
        same = client.asking("a?", "b?", "c?")
        other = client.asking("d?", top_k=2)
        assert [one.status() for one in same + other] == [200] * 4
        assert sorted(sorted(questions) for questions, _ in model.calls) == [["a?", "b?", "c?"], ["d?"]]
        assert len(same[0].result[1]["results"][0]["answers"]) == 1
        assert len(other[0].result[1]["results"][0]["answers"]) == 2
        assert len(model.threads) == 1  # one thread owns the model
        assert client.counted("palbert_batch_questions_count") == 3  # with the warm-up
        assert client.counted("palbert_batch_questions_sum") == 5


def test_a_full_batch_does_not_wait():
    model = FakeModel()
    with running(model, max_batch_size=2, max_wait_ms=10_000) as client:
        model.calls.clear()
        assert [one.status() for one in client.asking("a?", "b?")] == [200, 200]
    assert len(model.calls) == 1


def test_the_question_that_waited_longest_takes_along_those_of_its_length():
    batcher = Batcher(FakeModel(), Limits(max_batch_size=2, max_wait_ms=0))  # its thread is not started
    contexts = ["x" * 50, "x" * 300, "x" * 48, "x" * 310, "x" * 52, "x" * 7]
    batcher.submit([{"question": "a?", "context": context} for context in contexts], ())
    batches = [[len(one.example["context"]) for one in batcher._next_batch()] for _ in range(3)]
    assert batches == [[50, 48], [300, 310], [52, 7]]
    assert batcher.waiting == 0


def test_questions_of_a_batch_have_no_more_characters_than_one_text_may_have():
    """Whoever asks for a lot and goes away holds up the others for no longer than one text does."""
    batcher = Batcher(FakeModel(), Limits(max_batch_size=4, max_wait_ms=0, max_context_chars=100))
    for length in (98, 40, 30, 20, 100):
        batcher.submit([{"question": "a?", "context": "x" * length}], ())
    batches = [[len(one.example["context"]) for one in batcher._next_batch()] for _ in range(3)]
    assert batches == [[98], [40, 30, 20], [100]]


@pytest.mark.parametrize(("length", "kept"), [(16, 2), (64, 20), (128, 44), (384, 64)])
def test_of_short_windows_the_question_gives_way(length, kept):
    model = FakeModel()
    with running(model) as client:
        assert client.post({"question": "a?", "context": TEXT, "max_seq_len": length})[0] == 200
    assert model.calls[-1][1]["max_question_len"] == kept


def test_a_request_larger_than_a_batch_is_answered_in_several():
    model = FakeModel()
    with running(model, max_batch_size=3, max_wait_ms=0) as client:
        status, said, _ = client.post({"question": [f"{n}?" for n in range(7)], "context": TEXT})
    assert (status, len(said["results"])) == (200, 7)
    assert [len(questions) for questions, _ in model.calls] == [3, 3, 1]


def test_a_full_queue_refuses_and_says_when_to_come_back():
    model = FakeModel()
    with running(model, max_batch_size=1, max_wait_ms=0, max_queue=2, max_questions=2) as client:
        model.open.clear()
        accepted = client.asking("busy?")
        eventually(lambda: model.calls)
        accepted += client.asking("a?", "b?")
        eventually(lambda: client.counted("palbert_queue_length") == 2)
        status, said, response = client.ask("c?")
        assert (status, said["detail"].startswith("the queue is full")) == (429, True)
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        assert client.get("/health")[0].status == 200
        model.open.set()
        assert [one.status() for one in accepted] == [200] * 3
        assert client.ask("c?")[0] == 200
        assert client.counted('palbert_requests_total{status="429"}') == 1
        assert client.counted('palbert_requests_total{status="200"}') == 4
        assert client.counted("palbert_request_seconds_count") == 5


def test_late_answers_become_504_and_leave_the_queue():
    model = FakeModel()
    with running(model, max_batch_size=1, max_wait_ms=0, timeout=0.3) as client:
        model.open.clear()
        late = client.asking("a?", "b?")
        assert [one.status() for one in late] == [504, 504]
        assert client.counted("palbert_queue_length") == 0
        model.open.set()
        assert client.ask("c?")[0] == 200
    assert len(model.calls) == 2  # one of the two was never begun


def test_a_client_that_goes_away_frees_its_place():
    model = FakeModel()
    with running(model, max_batch_size=1, max_wait_ms=0, max_queue=1, max_questions=1) as client:
        model.open.clear()
        busy = client.asking("busy?")
        eventually(lambda: model.calls)
        leaving = raw_request(client.port, json.dumps({"question": "gone?", "context": TEXT}).encode())
        eventually(lambda: client.counted("palbert_queue_length") == 1)
        leaving.close()
        eventually(lambda: client.counted("palbert_queue_length") == 0)
        next_one = client.asking("next?")
        eventually(lambda: client.counted("palbert_queue_length") == 1)
        model.open.set()
        assert [busy[0].status(), next_one[0].status()] == [200, 200]
        assert client.counted('palbert_requests_total{status="499"}') == 1
    assert [questions for questions, _ in model.calls] == [["busy?"], ["next?"]]


def test_a_body_that_does_not_arrive_in_time():
    with running(FakeModel(), timeout=0.3) as client:
        slow = raw_request(client.port, b'{"question": ', length=100)
        assert b" 408 " in slow.recv(1000).split(b"\r\n")[0]
        slow.close()
        cut = raw_request(client.port, b'{"question": ', length=100)
        cut.shutdown(socket.SHUT_WR)
        assert cut.recv(1000) == b""
        cut.close()
        assert client.ask("a?")[0] == 200


class Panic(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize("kind", [RuntimeError, Panic])
def test_an_exception_fails_its_question_and_the_server_lives_on(kind, caplog):
    model = FakeModel()
    model.error = lambda question: kind(f"cannot compute {question}") if SECRET in question else None
    with running(model, max_wait_ms=300) as client, caplog.at_level(logging.DEBUG):
        asked = client.asking(f"{SECRET}?", "b?")
        assert [one.status() for one in asked] == [500, 200]
        assert SECRET not in json.dumps(asked[0].result[1])
        assert client.ask("b?")[0] == 200
        assert client.get("/health")[0].status == 200
    assert kind.__name__ in caplog.text
    assert "in __call__" in caplog.text  # where it happened
    assert SECRET not in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_its_thread_the_server_refuses_and_says_so():
    model = FakeModel()
    model.error = lambda question: SystemExit() if question == "end?" else None
    with running(model, timeout=0.3) as client:
        assert client.ask("end?")[0] == 504
        status, said, _ = client.ask("a?")
        assert (status, said["detail"]) == (503, "the server is stopping; ask another one")
        response, body = client.get("/health")
        assert (response.status, json.loads(body)["status"]) == (503, "stopping")


def test_questions_that_are_too_much_together_are_answered_one_by_one():
    class Small(FakeModel):
        def __call__(self, *, question, **given):
            if len(question) > 1:
                raise MemoryError
            return super().__call__(question=question, **given)

    with running(Small(), max_wait_ms=300) as client:
        assert [one.status() for one in client.asking("a?", "b?")] == [200, 200]


def test_what_one_question_is_to_blame_for_does_not_befall_the_others():
    model = FakeModel()
    model.error = lambda question: ConfigurationError("no room") if question == "long?" else None
    with running(model, max_wait_ms=300) as client:
        asked = client.asking("long?", "b?", "c?")
        assert [one.status() for one in asked] == [422, 200, 200]
        assert asked[0].result[1] == {"detail": "no room"}


def test_an_answer_that_is_none_is_an_error_without_texts_in_the_log(caplog):
    class Broken(FakeModel):
        @staticmethod
        def answers(text, top_k):  # noqa: ARG004
            return {"score": object() if text == SECRET else 0.5, "start": 0, "end": 1, "answer": text}

    with running(Broken()) as client:
        assert client.ask("a?", SECRET)[0] == 500
        assert client.ask("a?")[0] == 200
        assert client.counted('palbert_requests_total{status="500"}') == 1
    assert "TypeError" in caplog.text
    assert SECRET not in caplog.text


def test_not_ready_before_the_model_has_answered():
    class Slow(FakeModel):
        def __call__(self, **given):
            assert self.open.wait(20)
            return super().__call__(**given)

    model = Slow()
    model.open.clear()
    with running(model, ready=False) as client:
        response, body = client.get("/health")
        assert (response.status, json.loads(body)) == (503, {"status": "starting", "model": "fake"})
        model.open.set()
        eventually(lambda: client.get("/health")[0].status == 200)


def test_a_model_that_fails_its_first_question_is_not_ready_before_it_answers_another(caplog):
    model = FakeModel()
    model.error = lambda question: ConfigurationError("a window is too long") if "谁" in question else None
    with running(model, ready=False) as client:
        eventually(lambda: "a window is too long" in caplog.text)
        assert client.get("/health")[0].status == 503
        assert client.ask("a?", max_seq_len=128, max_question_len=16)[0] == 200
        assert client.get("/health")[0].status == 200


def test_a_stop_answers_what_was_accepted():
    model = FakeModel()
    with running(model, max_batch_size=1, max_wait_ms=0) as client:
        model.open.clear()
        accepted = client.asking(*(f"{n}?" for n in range(5)))
        eventually(lambda: client.counted("palbert_queue_length") == 4)
    # The block above ends with the stop, and only there the model may go on.
    assert [one.status() for one in accepted] == [200] * 5


def test_after_the_stop_the_batcher_takes_nothing():
    with running(FakeModel()) as client:
        pass
    batcher = client.app.state.batcher
    assert batcher.stopping
    with pytest.raises(RuntimeError, match="stopping"):
        batcher.submit([{"question": "a?", "context": TEXT}], ())


def test_without_the_extra_its_name_is_said(monkeypatch):
    def missing(module, extra):
        raise MissingExtraError(f"{module} needs transformers-palbert[{extra}]")

    monkeypatch.setattr(app_module, "require", missing)
    with pytest.raises(MissingExtraError, match=r"\[serve\]"):
        app_module.create_app(FakeModel(), model="fake")


@pytest.mark.parametrize(
    "wrong", [{"max_queue": 0}, {"timeout": 0}, {"max_batch_size": 1.5}, {"max_wait_ms": -1}, {"timeout": float("nan")}]
)
def test_limits_that_are_none(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Limits(**wrong)


def test_more_questions_in_a_request_than_places():
    with pytest.raises(ConfigurationError, match="would never find room"):
        Limits(max_queue=3, max_questions=4)
