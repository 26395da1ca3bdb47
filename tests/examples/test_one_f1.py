"""One F1: training, the model card and every command give the same figures for the same model and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig
from typer.testing import CliRunner

from tests.examples.test_run_qa import SHAPE, options
from transformers_palbert.cli.main import app
from transformers_palbert.qa.settings import AnsweringSettings, read_settings

pytestmark = pytest.mark.filterwarnings("ignore:.*questions are few:UserWarning")


def palbert(*arguments: Any) -> dict[str, Any]:
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def read(file: str) -> Any:
    return json.loads(Path(file).read_text(encoding="utf-8"))


def with_unanswerable(file: str) -> str:
    """The questions, of which every third has no answer."""
    rows = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    for row in rows[::3]:
        row["answers"] = {"text": [], "answer_start": []}
    changed = Path(f"{Path(file).stem}-unanswerable.jsonl")
    changed.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return str(changed)


@pytest.mark.parametrize(
    ("metric", "exact", "further"),
    [
        ("cmrc2018", "em", {"target_sparsity": 0.5}),
        ("squad", "exact_match", {"n_best_size": 3, "pad_to_max_length": True}),
        ("squad_v2", "exact", {"version_2_with_negative": True, "null_score_diff_threshold": 0.001}),
        ("palbert_qa", "accuracy", {}),
    ],
)
def test_all_figures_are_equal_to_the_last_digit(
    files: dict[str, str], run_qa: Any, metric: str, exact: str, further: dict[str, Any]
) -> None:
    if metric == "squad_v2":
        files = {**files, "train": with_unanswerable(files["train"]), "dev": with_unanswerable(files["dev"])}
    windows = {"max_seq_length": 26, "doc_stride": 6, "max_question_length": 9, "max_answer_length": 4}
    settings = {"tokenizer_name": files["vocab"], "config_overrides": SHAPE, "max_steps": 6}
    run_qa(options(files, "out", **{**settings, "metric": metric, **windows, **further}))

    names = AnsweringSettings.__dataclass_fields__
    expected = AnsweringSettings(**windows, **{name: value for name, value in further.items() if name in names})
    assert read_settings(AutoConfig.from_pretrained("out")) == expected
    trained = read("out/eval_results.json")
    f1, em = trained["eval_f1"], trained[f"eval_{exact}"]
    assert f1 > 0

    table = Path("out/README.md").read_text(encoding="utf-8").partition("## Results")[2].partition("## ")[0]
    assert f"{f1:.4g}" in table
    assert f"{em:.4g}" in table
    scored = palbert("evaluate", "-p", "out/eval_predictions.json", "-r", files["dev"], "-m", metric)
    assert {f"eval_{name.lower()}": value for name, value in scored.items()}.items() <= trained.items()

    percent = 100 if metric == "palbert_qa" else 1  # the metric's own figures are shares
    data = ("--data", files["dev"], "--metric", metric)
    (row,) = palbert("compare", "out", *data, "--bootstrap", 100)["models"]
    assert (row["f1"]["value"], row["em"]["value"]) == (percent * f1, percent * em)
    assert AnsweringSettings(**row["settings"]) == expected
    for top_k in (1, 7):
        found = palbert("report", "out", *data, "--top-k", top_k)
        assert (found["scores"]["f1"][0], found["scores"]["em"][0]) == (percent * f1, percent * em)


def test_options_replace_what_is_saved(files: dict[str, str], run_qa: Any) -> None:
    run_qa(options(files, "out", tokenizer_name=files["vocab"], config_overrides=SHAPE, max_steps=2))
    given = {
        "max_seq_length": 40,
        "doc_stride": 5,
        "max_question_length": 8,
        "max_answer_length": 1,
        "n_best_size": 2,
        "null_score_diff_threshold": 0.5,
    }
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    expected = {**given, "version_2_with_negative": True}
    data = ("--data", files["dev"])
    (row,) = palbert("compare", "out", *data, "--bootstrap", 100, *flags, "--impossible")["models"]
    assert row["settings"] == expected
    assert palbert("report", "out", *data, *flags, "--impossible")["settings"] == expected
    (answer,) = palbert("answer", "out", "-q", "李明出生于哪里？", "-c", "李明出生于北京。", "--max-answer-length", 1)
    assert answer["end"] - answer["start"] == 1
