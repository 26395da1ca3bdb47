from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from transformers_palbert.analysis.latency import LatencyTable, Timing
from transformers_palbert.errors import ExportError


@pytest.fixture
def measured(monkeypatch) -> list[SimpleNamespace]:
    """Calls of the measurement, which takes no time here."""
    calls = []

    def measure(cases, shapes, **options):
        calls.append(SimpleNamespace(cases=cases, shapes=shapes, **options))
        rows = [Timing(case, *shape, 0.01, 0.02, shape[0] / 0.01, 10**8) for case in cases[1:] for shape in shapes]
        return LatencyTable("a processor", 2, {"python": "3.11", "torch": "2.13"}, 5, rows, {cases[0]: "no compiler"})

    monkeypatch.setattr("transformers_palbert.analysis.latency.measure_latencies", measure)
    return calls


TORCH = ("--runtime", "torch", "--runtime", "compiled")


def test_every_combination_is_measured(palbert, saved_model, measured) -> None:
    options = ("-b", 1, "-b", 8, "-l", 16, "-l", 32, "-t", 1, "-t", 2, "--rounds", 5, "--json")
    result = palbert("latency", saved_model, *TORCH, *options)
    assert result.exit_code == 0, result.output
    (call,) = measured
    assert call.shapes == [(1, 16), (1, 32), (8, 16), (8, 32)]
    assert call.rounds == 5
    assert {(case.runtime, case.precision, case.threads) for case in call.cases} == {
        (runtime, precision, threads)
        for runtime in ("torch", "compiled")
        for precision in ("float32", "bfloat16")
        for threads in (1, 2)
    }
    said = json.loads(result.stdout)
    assert len(said["timings"]) == (len(call.cases) - 1) * 4
    assert said["failed"][0]["error"] == "no compiler"


def test_the_table_names_the_machine_and_what_failed(palbert, saved_model, measured, terminal) -> None:
    terminal(200)
    shown = palbert("latency", saved_model, *TORCH, "-p", "float32").stdout
    assert len(measured[0].cases) == 2
    assert "10.0 ms" in shown
    assert "a processor, 2 logical cores; 5 rounds in turns; python 3.11, torch 2.13" in shown
    assert "torch, float32: no compiler" in shown


@pytest.mark.usefixtures("measured")
def test_the_next_command_goes_on_with_the_fastest(palbert, saved_model, monkeypatch) -> None:
    """PyTorch's is served as it is, another runtime's is exported first."""
    shown = palbert("latency", saved_model, *TORCH).stdout
    assert f"Next: palbert serve {saved_model}" in shown.splitlines()

    folder = saved_model  # nothing is exported here
    monkeypatch.setattr("transformers_palbert.cli.latency._folder", lambda *_: str(folder))
    shown = palbert("latency", saved_model, "--runtime", "onnx").stdout
    assert f"Next: palbert export {saved_model} OUT --format onnx --int8" in shown.splitlines()
    shown = palbert("latency", saved_model, "--runtime", "onnx", "--json").stdout
    assert "Next:" not in shown


@pytest.mark.usefixtures("measured")
def test_the_plot_is_drawn(palbert, saved_model, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    result = palbert("latency", saved_model, *TORCH, "--plot", tmp_path / "medians.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "medians.png").read_bytes().startswith(b"\x89PNG")


def test_a_precision_that_no_runtime_has(palbert, saved_model, measured) -> None:
    result = palbert("latency", saved_model, "--runtime", "torch", "-p", "int8")
    assert result.exit_code == 1
    assert "No runtime that is asked for" in result.stderr
    assert measured == []


def test_what_cannot_be_exported_is_named_and_the_others_measured(palbert, saved_model, measured, monkeypatch) -> None:
    def refuse(*_, **__):
        raise ExportError("a BiLSTM has no such export")

    monkeypatch.setattr("transformers_palbert.export.exporting.export_model", refuse)
    result = palbert("latency", saved_model, "--runtime", "torch", "--runtime", "onnx", "--json")
    assert result.exit_code == 0, result.output
    assert {case.runtime for case in measured[0].cases} == {"torch"}
    reasons = [case["error"] for case in json.loads(result.stdout)["failed"] if case["runtime"] == "onnx"]
    assert reasons
    assert set(reasons) == {"a BiLSTM has no such export"}
    alone = palbert("latency", saved_model, "--runtime", "onnx")
    assert (alone.exit_code, "a BiLSTM has no such export" in alone.stderr) == (1, True)


def test_a_plot_without_a_place_is_refused_before_the_work(palbert, saved_model, measured, tmp_path) -> None:
    result = palbert("latency", saved_model, "--plot", tmp_path / "nowhere" / "plot.png")
    assert (result.exit_code, measured) == (2, [])
    assert "is not a folder" in result.stderr


def test_an_exported_model_in_another_runtime_is_named(palbert, saved_model, measured, tmp_path, monkeypatch) -> None:
    (tmp_path / "runtime.json").write_text("{}")
    monkeypatch.setattr("transformers_palbert.cli.latency._folder", lambda *_: pytest.fail("exported in vain"))
    said = SimpleNamespace(format="openvino", precision="int8")
    monkeypatch.setattr("transformers_palbert.runtime.description.read_description", lambda _: said)
    result = palbert("latency", saved_model, tmp_path, "--runtime", "onnx")
    assert result.exit_code == 1
    assert "was exported for openvino in int8, and runs in no other way" in " ".join(result.stderr.split())
    assert measured == []
