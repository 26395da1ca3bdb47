"""Exported models on the Hub: pushed in one commit beside what is there, and loaded by name."""

from __future__ import annotations

import pytest
from huggingface_hub import HfApi

from tests.hub.fake_hub import FakeHub
from tests.references.exported_models import EXAMPLES, exported
from transformers_palbert.cli.export import _push
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.runtime import load

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
