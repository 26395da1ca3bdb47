from __future__ import annotations

from types import ModuleType

import pytest

from tests.references.scripts import ROOT, load_script


@pytest.fixture(scope="module")
def render() -> ModuleType:
    return load_script("benchmarks/render.py")


def test_the_tables_of_the_readme_are_those_of_the_results(render: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(render.BLOCK.findall(text)) == len(render.TABLES) + len(render.EXPERIMENTS)
    assert render.render(text) == text, "run `python benchmarks/render.py`"


def test_a_typed_figure_is_overwritten(render: ModuleType) -> None:
    typed = "<!-- results: cmrc2018_pruning -->\n\n| F1 |\n| --- |\n| 99 |\n\n<!-- end results -->"
    rendered = render.render(typed)
    assert "| 99 |" not in rendered
    assert rendered == render.render(rendered)
