from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.references.scripts import load_script


def test_the_demo_runs_from_start_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    demo = load_script("examples/demo.py")
    size = demo.Size(passages=20, test_passages=5, hidden=16, cloze_steps=2, question_steps=2, pruning_steps=40)
    assert demo.main(["--output-dir", "out"], size) is False  # nothing is learnt in two steps, and it says so
    printed = capsys.readouterr().out
    assert "density" in printed
    assert "30%" in printed
    assert printed.count("→") == 7
    assert printed.count("✓ right") >= 3  # what the model that lies there is asked
    assert "not above 80" in printed
    assert json.loads(Path("out/pruned/config.json").read_text())["pruning"]["status"] == "final"
    assert demo.main(["--output-dir", "out"], size) is False  # a second run overwrites the first
