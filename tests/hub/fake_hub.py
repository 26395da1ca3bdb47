"""A small Hub on the loopback interface: the HTTP calls that ``huggingface_hub`` makes to push and load a model.

Data sets can be loaded; they are repositories whose ids begin with ``datasets/``.

State lives in memory. A commit is one assignment under a lock, so there is no state between two commits. Large files go
through the LFS protocol where :attr:`FakeHub.lfs` is on (the client then must not use Xet), else inside the commit.

Faults are queued with :meth:`FakeHub.fail`: an error status, a connection that is cut in the middle of a request's or a
response's body, or a pause.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["FakeHub", "Fault", "Repo"]

Files = dict[str, bytes]
OWNER, STRANGER = "me", "somebody"


class HubError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose ``METHOD /path`` matches ``pattern``."""

    pattern: str
    status: int | None = None
    cut_request: bool = False
    cut_response: bool = False
    pause: float = 0.0
    times: int = 1


@dataclass
class Repo:
    """A model repository: snapshots by commit, and the commit that each branch points to."""

    id: str
    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: Files, message: str) -> str:
        """Make ``files`` the whole content of ``branch``."""
        self.messages.append(message)
        parent = self.branches.get(branch, "")
        text = f"{parent}{message}{len(self.messages)}{sorted((k, git_oid(v)) for k, v in files.items())}"
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    def files(self, revision: str = "main") -> Files:
        """The files of a branch or commit."""
        return self.commits[self.resolve(revision)]

    def resolve(self, revision: str) -> str:
        """The commit that ``revision`` means."""
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha


def git_oid(content: bytes) -> str:
    """Object id that git gives to ``content``."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class FakeHub:
    """The server; a context manager. ``tokens`` maps a token to its user; one user's name is his namespace."""

    def __init__(self, *, lfs: bool = False) -> None:
        self.lfs = lfs
        self.tokens = {"hf_" + "a" * 34: OWNER, "hf_" + "b" * 34: STRANGER}
        self.token = next(iter(self.tokens))
        self.strangers_token = list(self.tokens)[1]
        self.repos: dict[str, Repo] = {}
        self.blobs: Files = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, pattern: str, **what: Any) -> None:
        """Let requests that match ``pattern`` go wrong; see :class:`Fault`."""
        self.faults.append(Fault(pattern, **what))

    def create(self, repo_id: str, *, private: bool = False, files: Mapping[str, bytes] | None = None) -> Repo:
        """A repository as the Hub creates it, with ``files`` whose names nobody checks."""
        repo = self.repos[repo_id] = Repo(repo_id, private)
        repo.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n", **(files or {})}, "initial commit")
        return repo

    def everything(self) -> dict[str, bytes]:
        """Every file of every commit, by a name that says where it was: to search for what must not be there."""
        return {
            f"{repo.id}@{sha[:7]}/{path}": content
            for repo in self.repos.values()
            for sha, files in repo.commits.items()
            for path, content in files.items()
        }

    def take_fault(self, request: str) -> Fault | None:
        """The fault that befalls ``request``, if any; it is used up."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # the test's output is not the place
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 (names that the base class calls)

    # -- one request ---------------------------------------------------------------------------------------------------

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        self.url, self.query = unquote(parts.path), parse_qs(parts.query)
        request = f"{self.command} {self.url}"
        with self.hub.lock:
            self.hub.requests.append(request)
        self.fault = self.hub.take_fault(request)
        if self.fault and self.fault.pause:
            time.sleep(self.fault.pause)
        length = int(self.headers.get("Content-Length") or 0)
        if self.fault and self.fault.cut_request:
            self.rfile.read(length // 2)
            self._cut()
            return
        self.body = self._read_body(length)
        try:
            if self.fault and self.fault.status:
                raise HubError(self.fault.status, "The server is told to fail.")
            self._route(parts.path)
        except HubError as error:
            headers = {"X-Error-Message": error.message}
            if error.code:
                headers["X-Error-Code"] = error.code
            self._answer(error.status, json.dumps({"error": error.message}).encode(), headers)

    def _read_body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(length)
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        values = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in values.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and self.fault.cut_response:
            self.wfile.write(body[: len(body) // 2])
            self._cut()
            return
        self.wfile.write(body)

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode())

    def _route(self, quoted: str) -> None:
        """Call the method whose pattern matches; a ``{name}`` is one quoted segment, ``{path}`` the rest."""
        for method, pattern, action in _ROUTES:
            match = pattern.fullmatch(quoted)
            if match and self.command in method:
                action(self, **{name: unquote(value) for name, value in match.groupdict().items()})
                return
        raise HubError(404, f"No such address: {self.url}")

    # -- who asks ------------------------------------------------------------------------------------------------------

    def _user(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

    def _require_user(self) -> str:
        user = self._user()
        if user is None:
            raise HubError(401, "Invalid username or password.")
        return user

    def _repo(self, repo: str, *, write: bool = False) -> Repo:
        user = self._require_user() if write else self._user()
        found = self.hub.repos.get(repo)
        owns = user == repo.split("/")[0]
        if found is None or (found.private and not owns):
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and not owns:
            raise HubError(403, f"Forbidden: {user} may not write to {repo}.")
        return found

    # -- the endpoints -------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        request = json.loads(self.body)
        user = self._require_user()
        owner = request.get("organization") or user
        if owner != user:
            raise HubError(403, f"You don't have the rights to create a model under the namespace {owner!r}.")
        repo_id = f"{owner}/{request['name']}"
        with self.hub.lock:
            taken = repo_id in self.hub.repos
            if not taken:
                self.hub.create(repo_id, private=request.get("visibility") == "private")
        url = {"url": f"{self.hub.url}/{repo_id}"}
        self._json({**url, "error": "You already created this model repo"} if taken else url, 409 if taken else 200)

    def _whoami(self) -> None:
        self._json({"type": "user", "name": self._require_user(), "orgs": [], "auth": {"type": "access_token"}})

    def _validate_yaml(self) -> None:
        import yaml

        match = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        errors = []
        try:
            metadata = yaml.safe_load(match[1]) if match else {}
            errors = [] if isinstance(metadata, dict) else [{"message": "Metadata must be a mapping."}]
        except yaml.YAMLError as error:
            errors = [{"message": str(error)}]
        self._json({"warnings": [], "errors": errors}, 400 if errors else 200)

    def _info(self, repo: str, revision: str = "main") -> None:
        found = self._repo(repo)
        sha = found.resolve(revision)
        siblings = [{"rfilename": path} for path in found.commits[sha]]
        self._json(
            {"id": repo, "modelId": repo, "sha": sha, "private": found.private, "tags": [], "siblings": siblings}
        )

    def _refs(self, repo: str) -> None:
        branches = self._repo(repo).branches.items()
        named = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in branches]
        self._json({"branches": named, "tags": [], "converts": []})

    def _branch(self, repo: str, branch: str) -> None:
        found = self._repo(repo, write=True)
        if branch in found.branches:
            raise HubError(409, f"Reference already exists: {branch}")
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        found.branches[branch] = found.resolve(start)
        self._json({})

    def _tree(self, repo: str, revision: str, path: str = "") -> None:
        prefix = f"{path}/" if path else ""
        files = self._repo(repo).files(revision)
        chosen = {name: content for name, content in files.items() if name.startswith(prefix)}
        if path and not chosen:
            raise HubError(404, f"{path} does not exist", "EntryNotFound")
        if "recursive" not in self.query or self.query["recursive"] == ["false"]:
            chosen = {name: content for name, content in chosen.items() if "/" not in name[len(prefix) :]}
        self._json([self._entry(name, content) for name, content in chosen.items()])

    def _paths_info(self, repo: str, revision: str) -> None:
        files = self._repo(repo).files(revision)
        asked = self._form()
        self._json([self._entry(path, files[path]) for path in asked if path in files])

    def _form(self) -> list[str]:
        text = self.body.decode()
        return json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]

    def _entry(self, path: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if self._is_large(path):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def _is_large(self, path: str) -> bool:
        return self.hub.lfs and path.endswith((".safetensors", ".bin", ".pt", ".pth", ".png"))

    def _preupload(self, repo: str, revision: str) -> None:
        found = self._repo(repo, write=True)
        present = found.files(revision)
        answers = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            large = self._is_large(path)
            answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if path in present:
                content = present[path]
                answer["oid"] = hashlib.sha256(content).hexdigest() if large else git_oid(content)
            answers.append(answer)
        self._json({"files": answers, "commitOid": found.resolve(revision)})

    def _lfs_batch(self, repo: str) -> None:
        self._repo(repo, write=True)
        objects = []
        for item in json.loads(self.body)["objects"]:
            if item["oid"] not in self.hub.blobs:
                href = f"{self.hub.url}/lfs/{item['oid']}/{item['size']}"
                item = {**item, "actions": {"upload": {"href": href}}}
            objects.append(item)
        self._json({"transfer": "basic", "objects": objects})

    def _lfs_put(self, oid: str, size: str) -> None:
        if len(self.body) != int(size) or hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "The content is not what its checksum says.")
        self.hub.blobs[oid] = self.body
        self._answer(200)

    def _commit(self, repo: str, revision: str) -> None:
        found = self._repo(repo, write=True)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        with self.hub.lock:
            if revision not in found.branches:
                raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            if header.get("parentCommit") not in (None, found.branches[revision]):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(found.files(revision))
            for line in lines:
                self._apply(files, line["key"], line["value"])
            sha = found.commit(revision, files, header["summary"])
        self._json({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{repo}/commit/{sha}"})

    def _apply(self, files: Files, key: str, value: dict[str, Any]) -> None:
        """Do one line of a commit to ``files``."""
        path = value.get("path", "")
        if ".." in path.split("/") or path.startswith("/"):
            raise HubError(400, f"{path} is no path inside a repository.")
        if key == "file":
            files[path] = base64.b64decode(value["content"], validate=True)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.blobs:
                raise HubError(400, f"{path} was never uploaded.")
            files[path] = self.hub.blobs[value["oid"]]
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        elif key != "header":
            raise HubError(400, f"Unknown operation {key}")

    def _resolve(self, repo: str, revision: str, path: str) -> None:
        found = self._repo(repo)
        sha = found.resolve(revision)
        commit = {"X-Repo-Commit": sha}
        if path not in found.commits[sha]:
            message = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self._answer(404, b"Entry not found", {**commit, **message})
            return
        content = found.commits[sha][path]
        headers = {**commit, "ETag": f'"{git_oid(content)}"', "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            self._answer(200, content, headers)
            return
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        part = content[first : last + 1]
        self._answer(206, part, {**headers, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"})


def _pattern(text: str) -> re.Pattern[str]:
    text = text.replace("{repo}", r"(?P<repo>[^/]+/[^/]+?)").replace("{path}", r"(?P<path>.+)")
    text = text.replace("{dataset}", r"(?P<repo>datasets/[^/]+/[^/]+?)")
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", text))


_Action = Callable[..., None]
_ROUTES: list[tuple[str, re.Pattern[str], _Action]] = [
    (method, _pattern(pattern), action)
    for method, pattern, action in (
        ("POST", "/api/repos/create", _Handler._create),
        ("GET", "/api/whoami-v2", _Handler._whoami),
        ("POST", "/api/validate-yaml", _Handler._validate_yaml),
        ("GET", "/api/models/{repo}", _Handler._info),
        ("GET", "/api/models/{repo}/revision/{revision}", _Handler._info),
        ("GET", "/api/models/{repo}/refs", _Handler._refs),
        ("POST", "/api/models/{repo}/branch/{branch}", _Handler._branch),
        ("GET", "/api/models/{repo}/tree/{revision}", _Handler._tree),
        ("GET", "/api/models/{repo}/tree/{revision}/{path}", _Handler._tree),
        ("POST", "/api/models/{repo}/paths-info/{revision}", _Handler._paths_info),
        ("POST", "/api/models/{repo}/preupload/{revision}", _Handler._preupload),
        ("POST", "/api/models/{repo}/commit/{revision}", _Handler._commit),
        ("POST", r"/{repo}\.git/info/lfs/objects/batch", _Handler._lfs_batch),
        ("PUT", "/lfs/{oid}/{size}", _Handler._lfs_put),
        ("GET HEAD", "/{repo}/resolve/{revision}/{path}", _Handler._resolve),
        ("GET", "/api/{dataset}/revision/{revision}", _Handler._info),
        ("GET", "/api/{dataset}/tree/{revision}", _Handler._tree),
        ("GET HEAD", "/{dataset}/resolve/{revision}/{path}", _Handler._resolve),
    )
]
