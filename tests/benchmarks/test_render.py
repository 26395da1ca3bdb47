from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", ROOT / "benchmarks" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_readme_are_those_of_the_results(render: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(render.BLOCK.findall(text)) == len(render.TABLES) + len(render.EXPERIMENTS)
    assert render.render(text) == text, "run `python benchmarks/render.py`"


def test_a_typed_figure_is_overwritten(render: ModuleType) -> None:
    typed = "<!-- results: cmrc2018_pruning -->\n\n| F1 |\n| --- |\n| 99 |\n\n<!-- end results -->"
    rendered = render.render(typed)
    assert "| 99 |" not in rendered
    assert rendered == render.render(rendered)
