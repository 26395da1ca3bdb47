"""The stand-in is itself tested, through the real client."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub.fake_hub import FakeHub

both = pytest.mark.parametrize("hub", ["regular", "lfs"], indirect=True)


@both
def test_what_is_uploaded_comes_back(hub: FakeHub, tmp_path: Path) -> None:
    api = HfApi()
    assert api.whoami()["name"] == "me"
    api.create_repo("me/model")
    content = bytes(range(256)) * 40
    (tmp_path / "up" / "sub").mkdir(parents=True)
    (tmp_path / "up" / "model.safetensors").write_bytes(content)
    (tmp_path / "up" / "sub" / "notes.txt").write_text("hello")
    api.upload_folder(repo_id="me/model", folder_path=tmp_path / "up")
    assert hub.repos["me/model"].files()["model.safetensors"] == content
    assert bool(hub.blobs) is hub.lfs
    folder = Path(api.snapshot_download("me/model"))
    assert (folder / "model.safetensors").read_bytes() == content
    assert (folder / "sub" / "notes.txt").read_text() == "hello"
    assert sorted(api.list_repo_files("me/model")) == [".gitattributes", "model.safetensors", "sub/notes.txt"]


def test_commits_are_whole_and_know_their_parent(hub: FakeHub) -> None:
    api = HfApi()
    api.create_repo("me/model")
    first = api.model_info("me/model").sha
    add = [CommitOperationAdd("a.txt", b"1"), CommitOperationAdd("b.txt", b"2")]
    second = api.create_commit("me/model", add, commit_message="two files", parent_commit=first).oid
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit("me/model", [CommitOperationAdd("c.txt", b"3")], commit_message="late", parent_commit=first)
    changes = [CommitOperationAdd("a.txt", b"changed"), CommitOperationDelete("gone.txt")]
    with pytest.raises(HfHubHTTPError):  # its second half is impossible, so its first half is not done either
        api.create_commit("me/model", changes, commit_message="half")
    assert hub.repos["me/model"].branches["main"] == second
    assert hub.repos["me/model"].files()["a.txt"] == b"1"


def test_branches_and_what_does_not_exist(hub: FakeHub) -> None:
    hub.create("me/model", files={"a.txt": b"1"})
    api = HfApi()
    api.create_branch("me/model", branch="next")
    api.create_branch("me/model", branch="next", exist_ok=True)
    api.upload_file(repo_id="me/model", path_or_fileobj=b"2", path_in_repo="a.txt", revision="next")
    assert {branch.name for branch in api.list_repo_refs("me/model").branches} == {"main", "next"}
    assert Path(hf_hub_download("me/model", "a.txt")).read_bytes() == b"1"
    assert Path(hf_hub_download("me/model", "a.txt", revision="next")).read_bytes() == b"2"
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("me/model", "b.txt")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("me/model", "a.txt", revision="nowhere")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("me/other", "a.txt")


def test_private_repositories_and_rights(hub: FakeHub) -> None:
    api = HfApi()
    api.create_repo("me/secret", private=True)
    for token in (False, hub.strangers_token):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("me/secret", token=token)
    assert api.model_info("me/secret").private
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("somebody/model")
    with pytest.raises(HfHubHTTPError, match="401"):
        api.create_repo("me/more", token="hf_" + "x" * 34)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("me/secret")


def test_a_download_that_is_cut_goes_on_where_it_stopped(hub: FakeHub) -> None:
    content = bytes(range(256)) * 100
    hub.create("me/model", files={"big.bin": content})
    hub.fail("GET .*/big.bin", cut_response=True)
    assert Path(hf_hub_download("me/model", "big.bin")).read_bytes() == content
    assert sum(request.startswith("GET") and "big.bin" in request for request in hub.requests) == 2
