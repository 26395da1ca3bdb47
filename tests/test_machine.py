from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import pytest
import torch

from transformers_palbert import machine
from transformers_palbert.machine import describe_machine, memory_limit, processor_name


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


def test_the_least_limit_of_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for physical, own, groups, expected in (
        (8, None, [6, 7], 6),
        (8, 5, [], 5),
        (4, 5, [9], 4),
        (None, None, [], None),
    ):
        monkeypatch.setattr(machine, "_physical_memory", lambda value=physical: value)
        monkeypatch.setattr(machine, "_address_space", lambda value=own: value)
        monkeypatch.setattr(machine, "_container_limits", lambda value=groups: value)
        assert memory_limit() == expected


def test_this_machine_tells_its_memory() -> None:
    assert (memory_limit() or 0) > 10**8


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/\n", {"memory.max": "1000\n"}, [1000]),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "500\n", "memory.max": "900"}, [500, 900]),
        ("4:memory:/job\n1:cpu:/job\n", {"memory/job/memory.limit_in_bytes": "700\n"}, [700]),
        ("4:memory:/outside/of/it\n", {"memory/memory.limit_in_bytes": "800\n"}, [800]),
        ("0::/\n", {}, []),
        (None, {}, []),
    ],
)
def test_limits_of_containers(tmp_path: Path, groups: str | None, files: dict[str, str], limits: list[int]) -> None:
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert list(machine._container_limits(tmp_path / "root", tmp_path / "cgroup")) == limits
