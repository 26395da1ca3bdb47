from __future__ import annotations

import csv
from pathlib import Path

import pytest

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments import pareto
from transformers_palbert.experiments.pareto import Trial, write_results

SETTINGS = {
    "learning_rate": 0.00012345678, "lr_scheduler_type": "cosine", "target_sparsity": None, "max_steps": 1500,
    "bf16": True, "adam_epsilon": 2500.5,
}  # fmt: skip


def test_values_of_every_type_are_shown_and_the_command_has_them_whole(capsys: pytest.CaptureFixture[str]) -> None:
    write_results([Trial(SETTINGS, 50.0, 2e6, SETTINGS)], Path())
    table = Path("trials.md").read_text(encoding="utf-8").splitlines()
    assert table[2] == "| 50.00 | 2.000 | 0.000123 | cosine | None | 1500 | True | 2500 |"
    (row,) = csv.DictReader(Path("trials.csv").read_text(encoding="utf-8").splitlines())
    assert (row["learning_rate"], row["max_steps"], row["target_sparsity"]) == ("0.00012345678", "1500", "")
    assert (
        "palbert train … --adam_epsilon=2500.5 --bf16=true --learning_rate=0.00012345678 --lr_scheduler_type=cosine"
        " --max_steps=1500\n"
    ) in capsys.readouterr().out


def test_what_was_tried_is_written_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(pareto, "plot", fail)
    with pytest.raises(OSError, match="no space"):
        write_results([Trial(SETTINGS, 50.0, 2e6)], Path())
    assert len(Path("trials.csv").read_text().splitlines()) == 2


def test_no_trials_are_told() -> None:
    with pytest.raises(ConfigurationError, match="No trial was finished"):
        write_results([], Path())
