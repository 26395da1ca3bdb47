from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from transformers_palbert import compute_metric, load_qa_dataset

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def data() -> ModuleType:
    return load("demo_data")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # the demo imports its data by name, and a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


def name_in(record: dict[str, Any], data: ModuleType) -> str:
    """The person a question asks about: whatever its template leaves."""
    for _, asked in data.RELATIONS.values():
        for template in asked:
            before, after = template.split("{n}")
            question = record["question"]
            if question.startswith(before) and question.endswith(after):
                return question[len(before) : len(question) - len(after)]
    raise AssertionError(record["question"])


def test_the_same_seed_gives_the_same_records(data: ModuleType) -> None:
    assert data.make_questions(20, "train-0") == data.make_questions(20, "train-0")
    assert data.make_questions(20, "train-0") != data.make_questions(20, "train-1")


def test_answers_are_exact_slices(data: ModuleType) -> None:
    records = data.make_questions(200, "train-0")
    for record in [*records, *data.make_cloze(records, "cloze")]:
        text, start = record["answers"]["text"][0], record["answers"]["answer_start"][0]
        assert record["context"][start : start + len(text)] == text


def test_test_people_are_unseen(data: ModuleType) -> None:
    train, test = data.make_questions(800, "train-0"), data.make_questions(200, "test-0")
    assert not {name_in(record, data) for record in train} & {name_in(record, data) for record in test}
    assert not {record["context"] for record in train} & {record["context"] for record in test}


def test_every_question_has_a_distractor_of_the_same_kind(data: ModuleType) -> None:
    records = data.make_questions(200, "test-0")
    for context in {record["context"] for record in records}:
        asked = [record for record in records if record["context"] == context]
        kinds = Counter(kind for record in asked for kind in data.RELATIONS if kind == relation_of(record, data))
        assert set(kinds.values()) == {2}, context


def relation_of(record: dict[str, Any], data: ModuleType) -> str:
    name = name_in(record, data)
    return next(kind for kind, (_, asked) in data.RELATIONS.items() if record["question"] in
                [template.format(n=name) for template in asked])  # fmt: skip


def test_who_ignores_the_name_scores_low(data: ModuleType, tmp_path: Path) -> None:
    """The first answer of the right kind in the passage: the best that can be done without reading the name."""
    data.write_squad(data.make_questions(300, "test-0"), tmp_path / "test.json")
    test = load_qa_dataset(tmp_path / "test.json")
    firsts: dict[tuple[str, str], tuple[int, str]] = {}
    for record in test:
        key = (record["context"], relation_of(record, data))
        found = (record["answers"]["answer_start"][0], record["answers"]["text"][0])
        firsts[key] = min(firsts.get(key, found), found)
    blind = {record["id"]: firsts[record["context"], relation_of(record, data)][1] for record in test}
    assert compute_metric("cmrc2018", blind, test)["F1"] < 70


@pytest.mark.usefixtures("data")
def test_the_demo_runs_from_start_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    demo = load("demo")
    size = demo.Size(passages=20, test_passages=5, hidden=16, cloze_steps=2, question_steps=2, pruning_steps=40)
    assert demo.main(["--output-dir", "out"], size) is False  # nothing is learnt in two steps, and it says so
    printed = capsys.readouterr().out
    assert "density" in printed
    assert "30%" in printed
    assert printed.count("→") == 4
    assert "not above 80" in printed
    assert json.loads(Path("out/pruned/config.json").read_text())["pruning"]["status"] == "final"
    assert demo.main(["--output-dir", "out"], size) is False  # a second run overwrites the first
