from __future__ import annotations

import csv
import io
from dataclasses import replace
from statistics import fmean, stdev

import pytest

from transformers_palbert.experiments.grid import Grid
from transformers_palbert.experiments.outcome import Run, Status
from transformers_palbert.experiments.tables import Cell, caption, csv_table, markdown_table, points

MACHINE = {
    "hardware": {"processor": "CPU", "cores": 2, "torch_threads": 1, "gpu": None},
    "versions": {"transformers": "5", "torch": "2"},
}


def grid(columns: str | None = None, metrics: dict[str, str] | None = None) -> Grid:
    return Grid(
        name="g", title="Batch and precision", scale="small", caption="A note.", settings={}, start=[],
        axes={"batch_size": {}, "precision": {}}, names={"batch_size": "batch"}, columns=columns, plot="batch_size",
        seeds=(1, 2), metrics=metrics or {"F1": "f1"},
    )  # fmt: skip


def run(batch: str, precision: str, seed: int, f1: float | None, status: Status = Status.DONE) -> Run:
    metrics = {} if f1 is None else {"f1": f1}
    labels = {"batch_size": batch, "precision": precision}
    about = {"name": "g", "scale": "small", "command": "python x g"}
    return Run(
        f"{batch}{precision}{seed}", status, {"seed": seed}, metrics, 5.0, machine=MACHINE, labels=labels, grid=about
    )


RUNS = [
    run("8", "fp32", 1, 30.0), run("8", "fp32", 2, 31.0), run("8", "bf16", 1, 29.5), run("8", "bf16", 2, 29.5),
    run("16", "fp32", 1, 28.0), run("16", "fp32", 2, None, Status.OUT_OF_MEMORY),
    run("16", "bf16", 1, 28.0), run("16", "bf16", 2, None, Status.FAILED),
]  # fmt: skip


def test_a_cell_is_mean_and_sample_deviation() -> None:
    values = [30.0, 31.0, 35.5]
    assert (Cell.of(values).mean, Cell.of(values).deviation) == (fmean(values), stdev(values))
    assert [Cell.of(v).text() for v in ([3.14159], values, [1234.5, 1236.5])] == ["3.14", "32.17 ± 2.93", "1236 ± 1"]
    assert Cell.of([0.7944]).text(digits=3) == "0.794"


def test_a_row_per_point() -> None:
    assert markdown_table(grid(), RUNS).splitlines() == [
        "| batch | precision | F1 |",
        "| --- | --- | --- |",
        "| 8 | fp32 | 30.50 ± 0.71 |",
        "| 8 | bf16 | 29.50 ± 0.00 |",
        "| 16 | fp32 | — |",
        "| 16 | bf16 | failed |",
    ]


def test_an_axis_over_columns() -> None:
    assert markdown_table(grid("precision"), RUNS).splitlines() == [
        "| batch | precision fp32 | precision bf16 |",
        "| --- | --- | --- |",
        "| 8 | 30.50 ± 0.71 | 29.50 ± 0.00 |",
        "| 16 | — | failed |",
    ]
    table = markdown_table(grid("precision", {"F1": "f1", "s": "seconds"}), RUNS[:3]).splitlines()
    assert table[0] == "| batch | precision fp32: F1 | precision fp32: s | precision bf16: F1 | precision bf16: s |"
    assert table[2] == "| 8 | 30.50 ± 0.71 | 5.00 ± 0.00 | 29.50 | 5.00 |"


PAPER = {"F1": {"8": {"fp32": 0.7944, "bf16": 0.8}, 16: {"fp32": "—"}}}


def test_the_papers_figures_stand_beside_ours_and_are_marked() -> None:
    marked = replace(grid(), paper=PAPER, digits={"F1": 3})
    assert markdown_table(marked, RUNS).splitlines() == [
        "| batch | precision | F1 | F1 in the paper |",
        "| --- | --- | --- | --- |",
        "| 8 | fp32 | 30.500 ± 0.707 | *0.794* |",
        "| 8 | bf16 | 29.500 ± 0.000 | *0.800* |",
        "| 16 | fp32 | — | *—* |",
        "| 16 | bf16 | failed |  |",
    ]
    rows = list(csv.DictReader(io.StringIO(csv_table(marked, RUNS))))
    assert [row["F1 in the paper"] for row in rows] == ["0.7944", "0.8", "—", ""]
    table = markdown_table(replace(grid("precision"), paper=PAPER), RUNS[:2]).splitlines()
    assert table[0] == "| batch | precision fp32 | precision fp32: F1 in the paper |"


def test_a_paper_that_says_nothing_of_these_points_has_no_column() -> None:
    assert markdown_table(replace(grid(), paper={"F1": {"64": {"fp32": 0.1}}}), RUNS) == markdown_table(grid(), RUNS)


def test_a_point_without_runs_is_empty_and_a_missing_metric_is_told() -> None:
    table = markdown_table(grid("precision", {"EM": "em"}), [RUNS[0], RUNS[6]]).splitlines()
    assert table[2:] == ["| 8 | not measured |  |", "| 16 |  | not measured |"]


def test_csv_holds_the_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(grid(), RUNS))))
    assert [row["F1"] for row in rows] == ["30.5", "29.5", "", ""]
    assert float(rows[0]["F1 sd"]) == pytest.approx(stdev([30, 31]))
    assert [row["status"] for row in rows] == ["done", "done", "out of memory", "failed"]
    assert [(row["batch_size"], row["precision"], row["seeds"]) for row in rows[::3]] == [
        ("8", "fp32", "2"),
        ("16", "bf16", "2"),
    ]


def test_the_caption_says_what_must_be_known() -> None:
    text = caption(grid(), RUNS)
    assert text == (
        "Batch and precision. A note. Mean ± standard deviation over seeds 1, 2. — : out of memory."
        " Measured on 1 of 2 cores of CPU, transformers 5, torch 2: `python x g`."
    )
    assert "A note. Seed 1. Measured" in caption(grid(), RUNS[:1])
    other = replace(grid(), changed={"max_train_samples": 200, "bf16": False})
    assert "A note. Changed on the command line: bf16=False, max_train_samples=200. Seed 1." in caption(other, RUNS[:1])


def test_a_run_on_the_cpu_is_not_said_to_be_the_gpus() -> None:
    machine = {**MACHINE, "hardware": {**MACHINE["hardware"], "gpu": "H200"}}
    runs = [replace(RUNS[0], machine=machine, settings={"seed": 1, "use_cpu": on}) for on in (True, False, "true")]
    assert ["H200" in caption(grid(), [run]) for run in runs] == [False, True, False]
    assert "1 of 2 cores of CPU" in caption(grid(), runs[:1])


def test_points_keep_their_order() -> None:
    assert tuple(points(RUNS[::-1])[0].labels.values()) == ("16", "bf16")
    assert [len(point.runs) for point in points(RUNS)] == [2] * 4
