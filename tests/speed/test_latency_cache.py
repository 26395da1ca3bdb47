"""Tables on the disk: found again, measured anew where anything differs or is damaged. Times are made up."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from tests.pruning.helpers import tiny_model
from transformers_palbert.model.removal import KeptUnits, keep_units
from transformers_palbert.speed import latency_cache
from transformers_palbert.speed.latency import STEADY, LatencyTable
from transformers_palbert.speed.latency_cache import CACHE_VARIABLE, cached_latency, latency_folder


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, int]]:
    """The inputs that were measured; each measurement gives other times."""
    calls: list[tuple[int, int]] = []

    def measure(_: object, *, batch_size: int, length: int) -> LatencyTable:
        calls.append((batch_size, length))
        heads = np.array([0.0, 0.1, 1 / 3]) * len(calls)
        return LatencyTable((0, 1, 2), heads, (0, 8, 32), np.array([0.1, 0.2, 0.7]), 0.25)

    monkeypatch.setattr(latency_cache, "measure_latency", measure)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "tables"))
    return calls


def same(one: LatencyTable, other: LatencyTable) -> bool:
    times = zip((one.head_seconds, one.unit_seconds), (other.head_seconds, other.unit_seconds), strict=True)
    sizes = (one.heads, one.units, one.rest_seconds) == (other.heads, other.units, other.rest_seconds)
    return sizes and all(np.array_equal(left, right) for left, right in times)


def test_a_machine_is_measured_once(measured: list[tuple[int, int]], tmp_path: Path) -> None:
    first = cached_latency(tiny_model("bert"), batch_size=2, length=8)
    again = cached_latency(tiny_model("bert", seed=1), batch_size=2, length=8)
    assert measured == [(2, 8)]
    assert same(first, again)
    (file,) = (tmp_path / "tables").iterdir()
    conditions = json.loads(file.read_text())["conditions"]
    assert conditions["machine"]["processor"]
    assert file.name.startswith("".join(c for c in conditions["machine"]["processor"].lower() if c.isalnum())[:3])
    assert (conditions["dtype"], conditions["batch_size"], conditions["length"]) == ("float32", 2, 8)


def test_other_conditions_are_measured(measured: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = tiny_model("bert")
    keep_units(smaller, {"encoder.layer.1": KeptUnits(None, range(8))})
    models = [
        tiny_model("bert"),
        smaller,
        tiny_model("bert").bfloat16(),
        tiny_model("bert", attn_implementation="eager"),
        tiny_model("bert", layers=2),
        tiny_model("roberta"),
        tiny_model("albert"),
    ]
    shape = models[0].config.to_dict()
    models += [BertForMaskedLM(BertConfig(**shape | {"vocab_size": size})) for size in (64, 128)]
    for model in models:
        cached_latency(model, batch_size=2, length=8)
    cached_latency(models[0], batch_size=1, length=8)
    cached_latency(models[0], batch_size=2, length=4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    cached_latency(models[0], batch_size=2, length=8)
    monkeypatch.setattr(torch, "__version__", "9.0")
    cached_latency(models[0], batch_size=2, length=8)
    assert len(measured) == 13


def test_measuring_again(measured: list[tuple[int, int]]) -> None:
    model = tiny_model("bert")
    cached_latency(model, batch_size=2, length=8)
    renewed = cached_latency(model, batch_size=2, length=8, remeasure=True)
    assert len(measured) == 2
    assert same(cached_latency(model, batch_size=2, length=8), renewed)
    assert len(measured) == 2


def test_what_a_busy_machine_measures_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "tables"))
    apart = iter([0.3, STEADY, 0.0])

    def measure(*_: object, **__: object) -> LatencyTable:
        return LatencyTable((0, 1), np.array([0.0, 0.1]), (0, 8), np.array([0.1, 0.2]), 0.25, next(apart))

    monkeypatch.setattr(latency_cache, "measure_latency", measure)
    model = tiny_model("bert")
    with caplog.at_level(logging.WARNING, logger="transformers_palbert"):
        assert cached_latency(model, batch_size=2, length=8).disagreement == 0.3
    assert "are 30 % apart" in caplog.text
    assert not latency_folder().exists()
    for _ in range(2):
        cached_latency(model, batch_size=2, length=8)
    assert next(apart) == 0.0  # the second was kept


def damages() -> list[Any]:
    def table(**changes: Any) -> Any:
        return lambda content: {**content, "table": {**content["table"], **changes}}

    return [
        lambda _: "",
        lambda _: "[]",
        lambda content: {"conditions": content["conditions"]},
        lambda content: {**content, "conditions": {}},
        table(heads=[0, 1]),
        table(heads=[1, 2, 3]),
        table(heads=[0, 2, 1]),
        table(heads=["0", "1", "2"]),
        table(units=[]),
        table(head_seconds=[0.0, 0.2, 0.1]),
        table(unit_seconds=[0.0, float("nan"), 1.0]),
        table(unit_seconds=[-1.0, 0.0, 1.0]),
        table(unit_seconds="fast"),
        table(rest_seconds=-1.0),
        table(rest_seconds=None),
    ]


@pytest.mark.parametrize("damage", damages())
def test_damaged_files_are_measured_anew(
    measured: list[tuple[int, int]], damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_model("bert")
    cached_latency(model, batch_size=2, length=8)
    (file,) = latency_folder().iterdir()
    damaged = damage(json.loads(file.read_text()))
    file.write_text(damaged if isinstance(damaged, str) else json.dumps(damaged))
    with caplog.at_level(logging.WARNING, logger="transformers_palbert"):
        table = cached_latency(model, batch_size=2, length=8)
    assert len(measured) == 2
    assert "is damaged and is measured anew" in caplog.text
    assert same(cached_latency(model, batch_size=2, length=8), table)
    assert len(measured) == 2


def test_a_write_that_fails_leaves_nothing(
    measured: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(latency_cache.os, "fsync", full)
    with caplog.at_level(logging.WARNING, logger="transformers_palbert"):
        assert cached_latency(tiny_model("bert"), batch_size=2, length=8).heads == (0, 1, 2)
    assert "are not kept" in caplog.text
    assert not list(latency_folder().iterdir())
    assert measured == [(2, 8)]


def test_by_default_it_lies_in_the_home_of_hugging_face(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.constants import HF_HOME

    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert latency_folder() == Path(HF_HOME) / "transformers_palbert" / "latency"
