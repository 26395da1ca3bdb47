from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest


def test_help_teaches_every_command(palbert):
    result = palbert("--help")
    assert result.exit_code == 0
    for command in ("answer", "compare", "compress", "data stats", "decompress", "evaluate", "export", "inspect",
                    "latency", "pretrain", "report", "reproduce", "train", "tune"):  # fmt: skip
        assert f"palbert {command}" in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("answer",),
        ("compare",),
        ("compress",),
        ("data", "stats"),
        ("decompress",),
        ("evaluate",),
        ("export",),
        ("inspect",),
        ("latency",),
        ("report",),
    ],
)
def test_help_of_a_command_has_an_example(palbert, command):
    result = palbert(*command, "--help")
    assert result.exit_code == 0
    assert f"Example: palbert {' '.join(command)}" in " ".join(result.stdout.split())
    assert "--json" in result.stdout


def test_version(palbert):
    assert palbert("--version").stdout.split() == ["transformers-palbert", version("transformers-palbert")]


def test_no_arguments_show_the_help(palbert):
    assert "palbert inspect ./my-model" in palbert().output


def test_help_loads_neither_torch_nor_transformers():
    code = (
        "import sys; from transformers_palbert.cli.main import app; app(['--help'], standalone_mode=False);"
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_programming_error_keeps_its_traceback(palbert, monkeypatch, saved_model):
    monkeypatch.setattr("transformers_palbert.sizes.inspect_checkpoint", lambda _: 1 / 0)
    assert isinstance(palbert("inspect", saved_model).exception, ZeroDivisionError)
