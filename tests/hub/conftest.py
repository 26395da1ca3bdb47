"""A Hub of one's own for each test, and the real client turned towards it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants, hf_api
from huggingface_hub.utils import _http, close_session
from transformers.utils import hub as transformers_hub

from tests.hub.fake_hub import FakeHub


@pytest.fixture
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A running :class:`FakeHub` that this process takes for the Hub; logged in as ``me``.

    ``HF_ENDPOINT`` is read when ``huggingface_hub`` is imported, so here its constants change;
    ``test_a_fresh_process…`` sets the variable itself. ``@pytest.mark.parametrize("hub", ["lfs"], indirect=True)``
    makes large files go through LFS.
    """
    with FakeHub(lfs=getattr(request, "param", "") == "lfs") as server, warnings.catch_warnings():
        # huggingface_hub 2.4 uploads large files in a way that its own HTTP library has deprecated
        warnings.filterwarnings("ignore", message="Use 'content=<...>'", category=DeprecationWarning)
        point_client_at(server.url, monkeypatch, tmp_path / "hub-cache")
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", server.lfs)
        monkeypatch.setenv("HF_TOKEN", server.token)
        close_session()
        yield server
        close_session()


def point_client_at(url: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let every client in this process talk to ``url``, keep downloads in ``cache``, and wait for nobody."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(hf_api.api, "endpoint", url)
    monkeypatch.setattr(transformers_hub, "_hf_api", None, raising=False)
    impatient = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})
    monkeypatch.setattr(_http, "time", impatient)
    monkeypatch.setattr(huggingface_hub.file_download, "time", impatient)
