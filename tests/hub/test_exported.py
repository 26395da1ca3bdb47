"""Exported models on the Hub: pushed in one commit beside what is there, and loaded by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from tests.hub.fake_hub import FakeHub
from tests.references.exported_models import EXAMPLES, exported
from transformers_palbert.cli.export import _push
from transformers_palbert.cli.models import load_asker
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.runtime import QuestionAnswerer, load, sessions
from transformers_palbert.runtime.answering import is_exported

pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript")

REPO = "me/exported"
WINDOW = {"max_seq_len": 40, "doc_stride": 10}


def test_pushed_and_loaded_by_name(hub: FakeHub) -> None:
    folder = exported("structured")
    _push(folder, REPO, private=False)
    files = set(hub.repos[REPO].files())
    assert files >= {"model.onnx", "runtime.json", "parity.json", "tokenizer.json", "README.md"}
    assert files >= {file.name for file in folder.iterdir()}  # with the manifest that newer transformers write
    assert len(hub.repos[REPO].messages) == 2  # the Hub's own, and one for everything
    assert load(REPO)(EXAMPLES, **WINDOW) == load(folder)(EXAMPLES, **WINDOW)


def test_weights_of_torch_stay_and_another_export_goes(hub: FakeHub) -> None:
    api = HfApi()
    api.create_repo(REPO)
    for name in ("model.safetensors", "openvino_model.xml", "openvino_model.bin"):
        api.upload_file(path_or_fileobj=b"x", path_in_repo=name, repo_id=REPO)
    _push(exported("structured"), REPO, private=False)
    files = set(hub.repos[REPO].files())
    assert {"model.safetensors", "model.onnx"} <= files
    assert not files & {"openvino_model.xml", "openvino_model.bin"}


@pytest.mark.usefixtures("hub")
def test_a_refused_push_says_that_the_folder_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ConfigurationError, match="is written, but cannot be pushed to 'me/exported'"):
        _push(exported("structured"), REPO, private=False)


@pytest.mark.usefixtures("hub")
def test_the_runtime_serves_it_by_name_with_the_threads_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _push(exported("structured"), REPO, private=False)
    threads: list[int | None] = []
    opened = sessions._OnnxSession

    class Session(opened):  # type: ignore[misc, valid-type]
        def __init__(self, module: Any, file: Path, count: int | None) -> None:
            threads.append(count)
            super().__init__(module, file, count)

    monkeypatch.setattr(sessions, "_OnnxSession", Session)
    asker = load_asker(REPO, threads=1)
    assert isinstance(asker, QuestionAnswerer)
    assert asker(EXAMPLES, **WINDOW) == load(exported("structured"))(EXAMPLES, **WINDOW)
    load_asker(REPO, threads=2, reduce={"scorers": "lead"})
    assert [count for count in threads if count] == [1, 2]
    with pytest.raises(ConfigurationError, match="exported model, which runs on the CPU and not on 'cuda'"):
        load_asker(REPO, device="cuda")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert is_exported(REPO)  # as its cache says
    assert not is_exported("me/other")


@pytest.mark.usefixtures("hub")
def test_a_name_of_something_else_is_no_exported_model() -> None:
    HfApi().create_repo(REPO)
    assert not is_exported(REPO)
    assert not is_exported("me/nothing")
    assert not is_exported("./nowhere")
