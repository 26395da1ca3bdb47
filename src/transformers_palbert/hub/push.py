"""Pushes to the Hub that are one commit each: a reader sees the state before it or the state after it.

``HfApi.upload_folder`` splits a commit that fails into several, and leaves out files that had not changed when it
looked. Two pushes at once can then mix. Here a push names the commit it builds on, and the Hub refuses it (412) if
another one came between.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile

from ..machine import is_another_process
from ..storage.files import CONFIG_FILE, read_json
from ..storage.model_files import CHECKPOINT, LOGS, PUSHED, chosen_files

__all__ = [
    "REPLACED_EXPORT",
    "ensure_branch",
    "finish_pushes",
    "folder_operations",
    "held",
    "push",
    "snapshot_operations",
]

logger = logging.getLogger(__name__)

REPLACED = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|training_args\.bin")
"""Files of an earlier push that a push which does not bring them deletes: other shards, pickled arguments."""

REPLACED_EXPORT = re.compile(r"model\.onnx(\.data)?|openvino_model\.(xml|bin)")
"""Likewise for the push of an exported model, which leaves the weights of torch beside it alone."""

HELD = ".push-"
"""Folders whose files a push in the background sends; behind it stands the number of the process."""

WAITS = (1.0, 4.0)
"""Seconds before a commit is tried again after an error of the server."""


def folder_operations(folder: Path, patterns: Sequence[str] = PUSHED, into: str = "") -> list[CommitOperationAdd]:
    """One addition per file of ``folder`` that is part of a model.

    Args:
        folder: Where the model is.
        patterns: What goes along, of the lists in :mod:`transformers_palbert.storage.model_files`.
        into: The folder on the Hub; empty for the top.
    """
    paths = chosen_files(folder, patterns, _settings(folder))
    prefix = f"{into}/" if into else ""
    return [CommitOperationAdd(prefix + path, _content(folder / path)) for path in paths]


def _settings(folder: Path) -> dict[str, Any]:
    return read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}


def _content(file: Path) -> Path | bytes:
    """The file, or the bytes of one that grows: its checksum is taken now, and it may be sent in the background."""
    return file.read_bytes() if "tfevents" in file.name else file


def snapshot_operations(
    checkpoint: Path, output: Path, into: str | None = None, logs: bool = False
) -> list[CommitOperationAdd]:
    """A checkpoint in the middle of training: the model on top, all of it in ``into`` if given, logs on request."""
    model = folder_operations(checkpoint)
    events = folder_operations(output, LOGS) if logs else []
    whole = folder_operations(checkpoint, CHECKPOINT, into) if into else []
    return [*model, *events, *whole]


@contextmanager
def held(checkpoint: Path, patterns: Sequence[str] = CHECKPOINT) -> Iterator[Path]:
    """A folder beside a checkpoint that holds its files for as long as they are needed.

    Training deletes old checkpoints, and a push in the background may not have sent them by then. They are hard links
    where the file system has these, else copies. What a killed process held goes; of this process, there is one folder
    at a time.
    """
    for left in checkpoint.parent.glob(f"{HELD}*"):
        if not is_another_process(left.name.removeprefix(HELD).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{HELD}{os.getpid()}-", dir=checkpoint.parent) as folder:
        for path in chosen_files(checkpoint, patterns, _settings(checkpoint)):
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link((checkpoint / path).resolve(), target)
            except OSError:
                shutil.copyfile(checkpoint / path, target)
        yield Path(folder)


def push(
    repo_id: str,
    additions: Sequence[CommitOperationAdd],
    *,
    message: str,
    token: str | None = None,
    revision: str | None = None,
    api: HfApi | None = None,
    replaced: re.Pattern[str] = REPLACED,
) -> CommitInfo:
    """Commit ``additions`` at once, in the place of any weights that were there before.

    Args:
        repo_id: ``owner/name`` of a repository that exists.
        additions: What the commit brings.
        message: Of the commit.
        token: Of the Hub; by default the one that is saved on this machine.
        revision: Branch.
        api: The Hub's client.
        replaced: Which files the commit deletes if it does not bring them.

    The server may commit and fail to say so; then the commit is found where it is tried again, and returned.

    Raises:
        HfHubHTTPError: as the Hub answers: 401 and 403 for a wrong token, 412 if somebody else pushed meanwhile, 5xx
            if it failed three times.
    """
    api = api or HfApi(library_name="transformers-palbert")
    where: dict[str, Any] = {"revision": revision, "token": token}
    head = api.model_info(repo_id, **where).sha
    present = api.list_repo_files(repo_id, revision=head, token=token)
    brought = {addition.path_in_repo for addition in additions}
    stale = [CommitOperationDelete(path) for path in present if replaced.fullmatch(path) and path not in brought]
    for attempt, wait in enumerate((*WAITS, None)):
        try:
            return api.create_commit(repo_id, [*additions, *stale], commit_message=message, parent_commit=head, **where)
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status == 412 and attempt and (made := _made_before(api, repo_id, head, message, additions, where)):
                return made
            if wait is None or status < 500:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable: the last try returns or raises")


def _made_before(
    api: HfApi,
    repo_id: str,
    head: str | None,
    message: str,
    additions: Sequence[CommitOperationAdd],
    where: dict[str, Any],
) -> CommitInfo | None:
    """The newest commit, if an earlier attempt made it.

    It is called as ours is, stands on what ours stands on, and holds the same large files; another process of the same
    script may push with the same words.
    """
    newest, *before = api.list_repo_commits(repo_id, **where)[:2]
    if newest.title != message.splitlines()[0] or [commit.commit_id for commit in before] != [head]:
        return None
    tree = api.list_repo_tree(repo_id, recursive=True, revision=newest.commit_id, token=where["token"])
    theirs = {file.path: file.lfs.sha256 for file in tree if isinstance(file, RepoFile) and file.lfs is not None}
    ours = {addition.path_in_repo: addition.upload_info.sha256.hex() for addition in additions}
    if any(ours[path] != theirs[path] for path in ours.keys() & theirs.keys()):
        return None
    url = f"{api.endpoint}/{repo_id}/commit/{newest.commit_id}"
    return CommitInfo(commit_url=url, commit_message=message, commit_description="", oid=newest.commit_id)


def ensure_branch(repo_id: str, revision: str | None, token: str | None = None) -> None:
    """Create the branch ``revision`` where it is missing; nothing for None, a pull request or a commit."""
    if revision is None or revision.startswith("refs/") or re.fullmatch(r"[0-9a-f]{40}", revision):
        return
    HfApi(library_name="transformers-palbert").create_branch(repo_id, branch=revision, token=token, exist_ok=True)


def finish_pushes(trainer: Any) -> None:
    """Wait for the pushes that ``trainer`` does in the background, and warn of those that failed.

    They read the files of the output folder, so nothing may be written there before.
    """
    pending = getattr(trainer, "push_in_progress", None)
    if pending is None:
        return
    pending.wait_until_done()
    for error in _errors(pending.jobs):
        logger.warning("A push in the middle of training failed, and the Hub still has the one before it: %s", error)
    pending.jobs = []


def _errors(jobs: Iterable[Any]) -> list[BaseException]:
    return [error for job in jobs if (error := job.exception()) is not None]
