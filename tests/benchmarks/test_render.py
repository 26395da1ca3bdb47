from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.references.scripts import load_script


@pytest.fixture(scope="module")
def render() -> ModuleType:
    return load_script("benchmarks/render.py")


def test_the_tables_of_every_page_are_those_of_the_results(render: ModuleType) -> None:
    for page in render.pages():
        text = page.read_text(encoding="utf-8")
        assert render.render(text) == text, f"{page.name} is out of date: run `python benchmarks/render.py`"


def test_every_table_that_was_measured_stands_on_exactly_one_page(render: ModuleType) -> None:
    texts = [page.read_text(encoding="utf-8") for page in render.pages()]
    shown = [match["name"] for text in texts for match in render.BLOCK.finditer(text)]
    measured = {name for name in render.TABLES if (render.RESULTS / f"{name}.json").is_file()}
    assert len(shown) == len(set(shown))
    assert {*measured, *render.PARAGRAPHS, *render.EXPERIMENTS} <= set(shown)


def test_check_names_the_pages_that_are_out_of_date_and_changes_none(
    render: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("no table here\n", encoding="utf-8")
    stale = tmp_path / "docs" / "results.md"
    stale.write_text("<!-- results: pipeline -->\n99 times as good\n<!-- end results -->\n", encoding="utf-8")
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["render.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        render.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out == "docs/results.md is out of date\n"
    assert "99 times" in stale.read_text(encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["render.py"])
    with pytest.raises(SystemExit) as ended:
        render.main()
    assert ended.value.code == 0
    assert "99 times" not in stale.read_text(encoding="utf-8")


def test_a_table_without_a_result_says_so(render: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    typed = "<!-- results: pipeline -->\n\n| F1 |\n| --- |\n| 99 |\n\n<!-- end results -->"
    assert render.render(typed) == typed.replace("| F1 |\n| --- |\n| 99 |", "This was not measured yet.")
    with pytest.raises(KeyError):
        render.render(typed.replace("pipeline", "pipelime"))


def test_a_typed_figure_is_overwritten(render: ModuleType) -> None:
    typed = "<!-- results: cmrc2018_pruning -->\n\n| F1 |\n| --- |\n| 99 |\n\n<!-- end results -->"
    rendered = render.render(typed)
    assert "| 99 |" not in rendered
    assert rendered == render.render(rendered)
