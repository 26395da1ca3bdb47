from __future__ import annotations

from types import ModuleType

import pytest

from tests.references.scripts import ROOT, load_script


@pytest.fixture(scope="module")
def render() -> ModuleType:
    return load_script("benchmarks/render.py")


def test_the_tables_of_the_readme_are_those_of_the_results(render: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = [name for name in render.TABLES if (render.RESULTS / f"{name}.json").is_file()]
    assert sorted(match["name"] for match in render.BLOCK.finditer(text)) == sorted([*measured, *render.EXPERIMENTS])
    assert render.render(text) == text, "run `python benchmarks/render.py`"


def test_a_typed_figure_is_overwritten(render: ModuleType) -> None:
    typed = "<!-- results: cmrc2018_pruning -->\n\n| F1 |\n| --- |\n| 99 |\n\n<!-- end results -->"
    rendered = render.render(typed)
    assert "| 99 |" not in rendered
    assert rendered == render.render(rendered)


def test_answers_kept_stand_in_a_row_for_each_way_and_a_table_for_each_part(render: ModuleType) -> None:
    point = {
        "of": "each context",
        "share": 0.5,
        "tokens_percent": {"bm25": 48.2},
        "answers": {"bm25": {"value": 91.25}},
    }
    text = render.reduction({"parts": [{"questions": 10570, "points": [point]}, {"questions": 300, "points": [point]}]})
    assert text.count("| bm25 | each context | 91.2 (48) |") == 2
    assert "10,570 questions" in text
    assert "300 questions" in text


def test_long_documents_are_compared_with_reading_everything(render: ModuleType) -> None:
    scores = {"f1": {"value": 70.0}, "em": {"value": 60.0}, "questions_per_second": 2.0, "times_as_fast": 1.0}
    shorter = {**scores, "times_as_fast": 4.2, "f1_minus_everything": {"value": -0.5}}
    ways = [{"way": "everything", **scores}, {"way": "512 tokens", **shorter}]
    rows = render.long_documents({"cases": [{"characters": 20312.4, "ways": ways}]}).splitlines()[2:]
    assert rows == [
        "| 20,312 | everything | 70.0 / 60.0 | — | 2.00 | 1.0× |",
        "| 20,312 | 512 tokens | 70.0 / 60.0 | -0.5 | 2.00 | 4.2× |",
    ]


def test_a_reader_that_was_not_trained_says_so(render: ModuleType) -> None:
    run = {"layers": 2, "window": 96, "contexts": "whole", "f1": 50.0, "em": 40.0, "training_seconds": 90}
    other = {**run, "window": 160, "contexts": "reduced"}
    rows = render.reduced_readers({"runs": [run, other]}).splitlines()[2:]
    assert rows == ["| 2 | 96 | 50.0 / 40.0, 1.5 | not run |", "| 2 | 160 | not run | 50.0 / 40.0, 1.5 |"]
