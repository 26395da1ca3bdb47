from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

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
    shorter = {**scores, "times_as_fast": 4.2, "f1_minus_everything": {"value": -0.5, "low": -1.2, "high": 0.2}}
    ways = [{"way": "everything", **scores}, {"way": "512 tokens", **shorter}]
    rows = render.long_documents({"cases": [{"characters": 20312.4, "questions": 1000, "ways": ways}]}).splitlines()[2:]
    assert rows == [
        "| 20,312 | 1,000 | everything | 70.0 / 60.0 | — | 2.00 | 1.0× |",
        "| 20,312 | 1,000 | 512 tokens | 70.0 / 60.0 | -0.5 (-1.2 to +0.2) | 2.00 | 4.2× |",
    ]


def test_a_reader_that_was_not_trained_says_so(render: ModuleType) -> None:
    run = {"layers": 2, "window": 96, "contexts": "whole", "f1": 50.0, "em": 40.0, "processor_seconds": 90}
    other = {**run, "window": 160, "contexts": "reduced"}
    rows = render.reduced_readers({"runs": [run, other]}).splitlines()[2:]
    assert rows == ["| 2 | 96 | 50.0 / 40.0, 1.5 | not run |", "| 2 | 160 | not run | 50.0 / 40.0, 1.5 |"]


def test_the_table_of_runtimes_holds_what_failed_and_what_was_lost(render: ModuleType) -> None:
    def run(name: str, per_second: float, **scores: float) -> dict[str, Any]:
        return {"name": name, "questions_per_second": {"1": per_second}, "speed": {"1": per_second / 2}, **scores}

    runs = [run("whole, torch float32", 2, f1=80.0, em=70.0), run("whole, onnx int8", 9, f1=79.5, em=69.0)]
    shown = render.runtimes({"runs": [*runs, run("optimum", 3)], "failed": {"compiled": "no compiler"}})
    assert shown.splitlines()[2:] == [
        "| whole, torch float32 | 2.0 (1.0×) | 80.00 / 70.00 | +0.00 |",
        "| whole, onnx int8 | 9.0 (4.5×) | 79.50 / 69.00 | +0.50 |",
        "| optimum | 3.0 (1.5×) | not scored | — |",
        "| compiled | it did not run | it did not run | it did not run |",
    ]
    speed_alone = render.runtimes({"runs": [run("large, torch float32", 0.5)], "failed": {}})
    assert speed_alone.splitlines()[2:] == ["| large, torch float32 | 0.5 (0.2×) |"]


def test_the_table_of_the_server(render: ModuleType) -> None:
    row = {
        "batch_size": 8, "direct_questions_per_second": [10.0, 11.0, 12.0], "served_questions_per_second": [9.0, 9.9],
        "served_to_direct_median": 0.9, "latency_p50_ms": 100.4, "latency_p95_ms": 200.0,
        "questions_per_batch_mean": 7.5, "answers_compared": 40, "answers_that_differ": 0,
    }  # fmt: skip
    shown = render.serving({"clients": 32, "batch_sizes": [row]}).splitlines()
    assert "32 clients" in shown[0]
    assert shown[2] == "| 8 | 11.0 | 9.4 | 90 % | 100 / 200 ms | 7.5 | 0 of 40 |"
