from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reduction.helpers import RECORDS, Places, dataset
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.reduction import building, settings
from transformers_palbert.reduction.building import Plan, build
from transformers_palbert.reduction.limits import MaxTokens, Threshold
from transformers_palbert.reduction.settings import ReductionSettings

LIMITS = (Threshold(0), Threshold(0.5), Threshold(1))
BM25 = ReductionSettings()
OUT = Path("out")


def run(plan: Plan, **options: object) -> dict:
    return build(dataset(), OUT, plan, folder=Path("scores"), **options)  # type: ignore[arg-type]


def read(name: str) -> list[dict]:
    return load_qa_dataset(OUT / name).to_list()


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> Places:
    """A second scorer, which likes the first passage best."""
    scorer = Places()
    monkeypatch.setitem(settings.SCORERS, "places", lambda _: scorer)
    return scorer


@pytest.mark.parametrize("keep_answer", [False, True])
def test_data_sets_of_falling_length(keep_answer: bool) -> None:
    manifest = run(Plan(BM25, LIMITS, keep_answer=keep_answer))
    whole = dataset().to_list()
    parts = [read(f"D{number}.json") for number in (1, 2, 3)]
    assert parts[0] == whole
    for rows in parts:
        assert [row["id"] for row in rows] == [row["id"] for row in whole]
        for row in rows:
            for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
                assert start == -1 or row["context"][start : start + len(text)] == text
    lengths = [sum(len(row["context"]) for row in rows) for rows in parts]
    assert lengths[0] > lengths[1] >= lengths[2]
    assert [found["answers_kept"] for found in manifest["datasets"]] == [4, 4, 4]
    assert [found["file"] for found in manifest["datasets"]] == ["D1.json", "D2.json", "D3.json"]
    assert manifest["datasets"][0]["tokens_share"] == 1
    assert json.loads((OUT / "manifest.json").read_text(encoding="utf-8")) == json.loads(json.dumps(manifest))


@pytest.mark.usefixtures("places")
def test_answers_that_a_scorer_misses_are_counted_or_kept() -> None:
    plan = Plan(ReductionSettings(scorers=("places",)), [Threshold(1)])
    (found,) = run(plan)["datasets"]
    assert (found["questions"], found["answerable"], found["answers_kept"], found["answers_cut"]) == (6, 4, 2, 2)
    cut = read("D1.json")[1]
    assert cut["answers"] == {"text": ["1950"], "answer_start": [-1]}
    assert cut["context"].strip() == "Wolfgang lives in Berlin."
    with pytest.raises(ConfigurationError, match="made with other settings"):
        run(Plan(ReductionSettings(scorers=("places",)), [Threshold(1)], keep_answer=True))


@pytest.mark.usefixtures("places")
def test_kept_answers_count_against_the_limit() -> None:
    manifest = run(Plan(ReductionSettings(scorers=("places",)), [MaxTokens(14)], keep_answer=True))
    row = read("D1.json")[1]
    assert row["context"] == "Wolfgang lives in Berlin. Anna was born in Rome in 1950. "
    assert manifest["datasets"][0]["answers_kept"] == 4
    assert manifest["curves"]["places"][0]["answers_kept"] == 2  # what scores alone would have kept


@pytest.mark.usefixtures("places")
def test_every_scorer_has_a_line_beside_the_fusion() -> None:
    manifest = run(Plan(ReductionSettings(scorers=("bm25", "places")), LIMITS))
    assert {name: len(points) for name, points in manifest["curves"].items()} == {
        "bm25": 3,
        "places": 3,
        "fusion": 3,
    }
    assert [point["answers_kept"] for point in manifest["curves"]["bm25"]] == [4, 4, 4]
    assert manifest["curves"]["places"][2]["answers_kept"] == 2
    assert manifest["measured"] == {"places questions": {"mean": 6.0, "max": 6.0}}
    assert set(manifest["seconds"]) == {"bm25", "places", "writing"}


@pytest.mark.usefixtures("places")
def test_weights_are_fitted_on_a_part() -> None:
    manifest = run(Plan(ReductionSettings(scorers=("bm25", "places")), LIMITS, fit=4))
    assert manifest["weights"]["bm25"] > abs(manifest["weights"]["places"])
    assert sum(map(abs, manifest["weights"].values())) == pytest.approx(1)


def test_a_run_again_scores_nothing_again(places: Places) -> None:
    plan = Plan(ReductionSettings(scorers=("places",)), LIMITS)
    first, second = run(plan), run(plan)
    assert places.calls == 1
    assert (first["chunks_found"], second["chunks_found"]) == ({"places": 0}, {"places": 1})
    assert first["datasets"] == second["datasets"]


def test_a_run_that_died_while_writing_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(BM25, LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(building, "join_passages", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(plan)
    assert [file.name for file in OUT.iterdir()] == ["manifest.json"]
    run(plan)
    assert len(read("D3.json")) == len(RECORDS)


def test_a_plan_that_made_nothing_yet_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the name of a scorer's model was mistyped."""
    with monkeypatch.context() as patch:
        patch.setitem(settings.SCORERS, "bm25", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(Plan(BM25, [Threshold(0.5)]))
    assert run(Plan(BM25, LIMITS))["datasets"]
    (OUT / "manifest.json").write_text('{"plan": {"source": ""}}')
    with pytest.raises(ConfigurationError, match="holds data sets that were made with other settings"):
        run(Plan(BM25, [Threshold(0.5)]))


def test_nothing_else_is_overwritten() -> None:
    OUT.mkdir()
    (OUT / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty"):
        run(Plan(BM25, LIMITS))


def test_progress_is_shown() -> None:
    seen: list[tuple[str, int]] = []

    def watch(items, name, count):
        seen.append((name, count))
        return items

    run(Plan(BM25, LIMITS), watch=watch)
    assert seen == [("Scoring with bm25", 1), ("Writing", 6)]


def test_plans_that_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match="No limit"):
        Plan(BM25, [])
    with pytest.raises(ConfigurationError, match="either given or fitted"):
        Plan(ReductionSettings(weights={"bm25": 1}), LIMITS, fit=10)
    with pytest.raises(ConfigurationError, match="not for 'rrf', which looks at ranks"):
        Plan(ReductionSettings(fusion="rrf"), LIMITS, fit=10)


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("content", ['{"plan": {"sour', "[]", '{"plan": 1}', '{"name": "another program"}'])
def test_a_manifest_that_is_none_is_not_overwritten(content: str) -> None:
    OUT.mkdir()
    (OUT / "manifest.json").write_text(content)
    with pytest.raises(ConfigurationError, match="name another folder"):
        run(Plan(ReductionSettings(scorers=("places",)), [Threshold(1)]))
    assert (OUT / "manifest.json").read_text() == content


@pytest.mark.usefixtures("places")
def test_the_settings_that_differ_are_named() -> None:
    run(Plan(ReductionSettings(scorers=("places",)), [Threshold(1)]))
    with pytest.raises(ConfigurationError, match=r"other settings \(neighbours, limits\)"):
        run(Plan(ReductionSettings(scorers=("places",), neighbours=1), [Threshold(0.5)]))


@pytest.mark.parametrize(("asked", "found"), [(8, 8), (50, 12)])
def test_weights_are_fitted_on_so_many_questions_with_answers_from_all_over(
    monkeypatch: pytest.MonkeyPatch, asked: int, found: int
) -> None:
    labels: list[list[bool]] = []

    def fitted(_: list[object], holds: list[list[bool]], __: str) -> dict[str, float]:
        labels.extend(holds)
        return {"bm25": 1.0}

    monkeypatch.setattr(building, "fit_weights", fitted)
    build(dataset(3), OUT, Plan(BM25, [Threshold(1)], fit=asked), folder=Path("scores"))
    assert len(labels) == found
    assert all(any(holds) for holds in labels)


@pytest.mark.usefixtures("places")
def test_neighbours_are_written() -> None:
    """With the passages that are kept, the ones beside them."""
    plan = Plan(ReductionSettings(scorers=("places",), neighbours=1), [Threshold(1)])
    manifest = build(dataset(), Path("out"), plan, folder=Path("scores"))
    row = load_qa_dataset(Path("out") / "D1.json")[0]
    assert row["context"] == "Wolfgang lives in Berlin. It rains there. "
    assert manifest["curves"]["places"][0]["tokens_after"] == manifest["datasets"][0]["tokens_after"]
