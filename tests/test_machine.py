from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import pytest
import torch

from transformers_palbert.machine import describe_machine, processor_name


def test_the_description_names_this_machine_and_these_libraries() -> None:
    described = describe_machine()
    assert described["hardware"]["processor"] == processor_name() != ""
    assert described["hardware"]["torch_threads"] == torch.get_num_threads()
    assert described["versions"]["python"] == platform.python_version()
    assert described["versions"]["transformers"] == importlib.metadata.version("transformers")


@pytest.mark.parametrize(("text", "name"), [("cpu : 0\nmodel name : Fast 9000\n", "Fast 9000"), ("cpu : 0\n", None)])
def test_the_processor_is_the_model_or_else_the_architecture(
    monkeypatch: pytest.MonkeyPatch, text: str, name: str | None
) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: text)
    assert processor_name() == (name or platform.processor() or platform.machine())
