from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.references.scripts import ROOT, load_script


@pytest.fixture(scope="module")
def render() -> ModuleType:
    return load_script("benchmarks/render.py")


def test_the_tables_of_the_readme_are_those_of_the_results(render: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = {name for name in render.TABLES if (render.RESULTS / f"{name}.json").is_file()}
    assert sorted(match["name"] for match in render.BLOCK.finditer(text)) == sorted({*measured, *render.EXPERIMENTS})
    assert render.render(text) == text, "run `python benchmarks/render.py`"


def test_a_typed_figure_is_overwritten(render: ModuleType) -> None:
    typed = "<!-- results: cmrc2018_pruning -->\n\n| F1 |\n| --- |\n| 99 |\n\n<!-- end results -->"
    rendered = render.render(typed)
    assert "| 99 |" not in rendered
    assert rendered == render.render(rendered)


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
