"""Whatever goes wrong with a push, it ends in an error or in a whole commit; nothing between the two can be loaded."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from transformers import AutoModelForQuestionAnswering

from tests.hub.fake_hub import FakeHub
from tests.hub.helpers import logits, qa_trainer, stock_trainer
from transformers_palbert.hub.push import held, push
from transformers_palbert.storage.model_files import PUSHED
from transformers_palbert.training.trainer import QuestionAnsweringTrainer

REPO = "me/model"
lfs = pytest.mark.parametrize("hub", ["lfs"], indirect=True)
both = pytest.mark.parametrize("hub", ["regular", "lfs"], indirect=True)


MINE = [CommitOperationAdd("config.json", b"{}"), CommitOperationAdd("model.safetensors", b"mine")]


@pytest.fixture
def trainer(hub: FakeHub, tmp_path: Path) -> QuestionAnsweringTrainer:
    """A model that was pushed once, and has learned since."""
    made = qa_trainer(tmp_path / "model")
    made.push_to_hub()
    assert REPO in hub.repos
    with torch.no_grad():
        made.model.qa_outputs.bias += 1
    return made


def loaded(cache: Path) -> torch.Tensor:
    """Logits of what the Hub has now."""
    return logits(AutoModelForQuestionAnswering.from_pretrained(REPO, cache_dir=cache))


CUTS = [r"POST .*/preupload/", r"POST .*/commit/", r"POST .*/info/lfs", r"PUT /lfs/"]


@lfs
@pytest.mark.parametrize("request_", CUTS)
def test_a_cut_upload_leaves_what_was_there(
    hub: FakeHub, trainer: QuestionAnsweringTrainer, tmp_path: Path, request_: str
) -> None:
    before = hub.repos[REPO].branches["main"], loaded(tmp_path / "before")
    hub.fail(request_, cut_request=True, times=100)
    with pytest.raises(Exception, match=r"disconnected|reset|Broken pipe|uploading"):
        trainer.push_to_hub()
    assert hub.repos[REPO].branches["main"] == before[0]
    assert torch.equal(loaded(tmp_path / "after"), before[1])
    hub.faults.clear()
    trainer.push_to_hub()  # the same call again, and all is well
    assert torch.equal(loaded(tmp_path / "again"), logits(trainer.model))


@lfs
@pytest.mark.parametrize("request_", [CUTS[0], CUTS[2], CUTS[3]])
def test_an_upload_that_is_cut_once_is_tried_again(
    hub: FakeHub, trainer: QuestionAnsweringTrainer, tmp_path: Path, request_: str
) -> None:
    hub.fail(request_, cut_request=True)
    trainer.push_to_hub()
    assert torch.equal(loaded(tmp_path / "cache"), logits(trainer.model))


@both
@pytest.mark.parametrize("request_", [r"POST .*/preupload/", r"POST .*/commit/"])
def test_two_errors_of_the_server_are_no_matter(
    hub: FakeHub,
    trainer: QuestionAnsweringTrainer,
    tmp_path: Path,
    request_: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transformers_palbert.hub.push.WAITS", (0.0, 0.0))
    hub.fail(request_, status=503, times=2)
    trainer.push_to_hub()
    assert all(fault.times == 0 for fault in hub.faults)
    assert torch.equal(loaded(tmp_path / "cache"), logits(trainer.model))


@pytest.mark.parametrize("request_", [r"POST .*/preupload/", r"POST .*/commit/", r"POST /api/repos/create"])
def test_a_server_that_keeps_failing_is_an_error(
    hub: FakeHub, tmp_path: Path, request_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers_palbert.hub.push.WAITS", (0.0, 0.0))
    trainer = qa_trainer(tmp_path / "model")
    hub.fail(request_, status=500, times=100)
    with pytest.raises(HfHubHTTPError, match="500"):
        trainer.push_to_hub()
    with pytest.raises((OSError, ValueError), match="me/model"):
        loaded(tmp_path / "cache")


def test_of_two_pushes_at_once_one_is_refused(hub: FakeHub) -> None:
    """Each push has its own config and weights; the repository never has one of each."""
    hub.create(REPO, files={"config.json": b"old", "model.safetensors": b"old"})

    def attempt(name: bytes) -> str:
        files = [CommitOperationAdd("config.json", name), CommitOperationAdd("model.safetensors", name)]
        try:
            push(REPO, files, message="push")
        except HfHubHTTPError as error:
            return f"refused: {error.response.status_code}"
        return "done"

    hub.fail("POST .*/commit/", pause=0.3)  # the first waits at the door, the second passes it
    with ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(attempt, [b"first", b"second"]))
    assert sorted(ends) == ["done", "refused: 412"]
    files = hub.repos[REPO].files()
    assert files["config.json"] == files["model.safetensors"] == [b"first", b"second"][ends.index("done")]


def refusal(status: int) -> HfHubHTTPError:
    response: Any = SimpleNamespace(status_code=status, headers={}, request=None)
    return HfHubHTTPError(str(status), response=response)


class Forgetful:
    """A Hub that commits, and the first time fails to say so; another commit may come between."""

    endpoint = "https://huggingface.co"

    def __init__(self, between: str | None = None, weights: bytes = b"mine") -> None:
        self.commits, self.between, self.weights = ["first"], between, hashlib.sha256(weights).hexdigest()

    def model_info(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(sha=self.commits[-1])

    def list_repo_files(self, *_: Any, **__: Any) -> list[str]:
        return []

    def list_repo_tree(self, *_: Any, **__: Any) -> list[Any]:
        return [
            RepoFile(path="config.json", size=2, oid="0"),
            RepoFile(
                path="model.safetensors", size=4, oid="1", lfs={"oid": self.weights, "size": 4, "pointerSize": 134}
            ),
        ]

    def list_repo_commits(self, *_: Any, **__: Any) -> list[Any]:
        return [SimpleNamespace(commit_id=name, title=name) for name in reversed(self.commits)]

    def create_commit(self, *_: Any, commit_message: str, parent_commit: str, **__: Any) -> Any:
        if parent_commit != self.commits[-1]:
            raise refusal(412)
        self.commits.append(self.between or commit_message)
        raise refusal(504)


def test_a_push_whose_answer_was_lost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers_palbert.hub.push.WAITS", (0.0, 0.0))
    hub: Any = Forgetful()
    done = push(REPO, MINE, message="End of training", api=hub)
    assert (done.oid, done.commit_message, hub.commits) == ("End of training", "End of training", ["first", done.oid])


@pytest.mark.parametrize("between", [{"between": "somebody else's"}, {"weights": b"theirs"}])
def test_a_push_that_another_one_came_before_is_refused(between: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers_palbert.hub.push.WAITS", (0.0, 0.0))
    hub: Any = Forgetful(**between)
    with pytest.raises(HfHubHTTPError, match="412"):
        push(REPO, MINE, message="End of training", api=hub)


def test_a_checkpoint_is_kept_until_it_is_sent(tmp_path: Path) -> None:
    """Training deletes old checkpoints, and a slow push may not have read them by then."""
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    for name in ("config.json", "model.safetensors", "optimizer.pt", "notes.txt"):
        (checkpoint / name).write_text("{}")
    with held(checkpoint) as folder:
        shutil.rmtree(checkpoint)
        assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors", "optimizer.pt"]
        assert (folder / "config.json").read_text() == "{}"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_held_goes(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-2"
    names = (f".push-{os.getpid()}-a", f".push-{2**22 + 1}-b", f".push-{os.getppid()}-c")  # the last one runs
    for folder in (checkpoint, *(tmp_path / name for name in names)):
        folder.mkdir()
    for name in ("config.json", "optimizer.pt"):
        (checkpoint / name).write_text("{}")
    with held(checkpoint, PUSHED) as folder:
        assert [file.name for file in folder.iterdir()] == ["config.json"]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, names[2], "checkpoint-2"])


def test_an_unchanged_file_does_not_come_from_another_push(hub: FakeHub) -> None:
    """The client skips a file that equals what it saw; if that has changed meanwhile, the push must not pass."""
    hub.create(REPO, files={"config.json": b"same", "model.safetensors": b"old"})
    files = [CommitOperationAdd("config.json", b"same"), CommitOperationAdd("model.safetensors", b"new")]
    hub.fail("POST .*/commit/", pause=0.3)
    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(push, REPO, files, message="mine")
        while not any("/commit/" in request for request in hub.requests):
            assert not job.done()
            time.sleep(0.01)
        hub.repos[REPO].commit("main", {"config.json": b"theirs", "model.safetensors": b"theirs"}, "theirs")
        with pytest.raises(HfHubHTTPError, match="412"):
            job.result(timeout=30)
    assert hub.repos[REPO].files() == {"config.json": b"theirs", "model.safetensors": b"theirs"}


def test_a_stock_trainer_whose_push_is_cut_leaves_what_was_there(hub: FakeHub, tmp_path: Path) -> None:
    trainer = stock_trainer(tmp_path / "model")
    trainer.push_to_hub()
    head = hub.repos[REPO].branches["main"]
    with torch.no_grad():
        trainer.model.qa_outputs.bias += 1
    hub.fail(r"POST .*/commit/", cut_request=True, times=100)
    with pytest.raises(Exception, match=r"disconnected|reset|Broken pipe"):
        trainer.push_to_hub()
    assert hub.repos[REPO].branches["main"] == head


def test_a_failed_push_in_training_is_told(hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = qa_trainer(
        tmp_path / "model", push_to_hub=True, hub_strategy="every_save", save_strategy="steps", save_steps=3
    )
    hub.fail(r"POST .*/commit/", status=403, times=100)
    with caplog.at_level(logging.WARNING):
        trainer.train()
        hub.faults.clear()
        trainer.push_to_hub()
    assert "A push in the middle of training failed" in caplog.text
    assert torch.equal(loaded(tmp_path / "cache"), logits(trainer.model))


@pytest.mark.usefixtures("trainer")
def test_a_download_that_stays_cut_loads_nothing(hub: FakeHub, tmp_path: Path) -> None:
    hub.fail(r"GET .*/model\.safetensors", cut_response=True, times=1)
    hub.fail(r"GET .*/model\.safetensors", status=500, times=100)
    with pytest.raises(OSError, match=r"model\.safetensors|500|me/model"):
        loaded(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("snapshots/*/model.safetensors"))
