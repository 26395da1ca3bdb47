from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import datasets
import evaluate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import transformers_palbert
from tests.references import scorers
from transformers_palbert.errors import ConfigurationError, DatasetFormatError, NoEffectWarning
from transformers_palbert.qa.metrics import METRICS, compute_metric, load_metric, metric_path
from transformers_palbert.qa.metrics.segmentation import tokenize_run

# Pieces that scorers trip over: full-width and ASCII signs, articles, abbreviations, sentences, quotes, contractions,
# digits, Chinese beside Latin, blanks of several kinds, kana, accents, characters outside the basic plane.
PIECES = r"""
    北 京 大 学 京 的 ， 。 ？ ！ 《 》 · 、 “ ” ’ ‘ … …… （ ） － ～ 『 』 - : _ * ^ / \ ~ ` + = . .. ... , ; ? ! ' "
    '' `` ( ) [ ] { } < > @ # $ % & | a an the The A cat Cats cannot gonna dr. mr. u.s. st. vs. j. k. e.g. etc. no.
    1998 2.5 1,000 3. 's n't don't I'm can't é ß İ カ ー 𠀀 Ω —– ０ Ａ 龦 鿿
"""
BLANKS = [" ", "\u3000", "\t", "\n", "\u2028", "\xa0"]
TEXTS = st.lists(st.sampled_from(PIECES.split()) | st.sampled_from(BLANKS), max_size=12).map("".join)
QUESTIONS = st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=3), TEXTS), min_size=1, max_size=6)
PROBABILITIES = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.9, 1.0, 2.0])


def references_of(questions: list[tuple[str, list[str]]]) -> list[dict]:
    return [{"id": key, "answers": {"text": texts, "answer_start": [0] * len(texts)}} for key, texts in questions]


def split(cases: list) -> tuple[list[tuple[str, list[str]]], dict[str, str]]:
    questions = [(str(index), list(case[0])) for index, case in enumerate(cases)]
    return questions, {str(index): case[1] for index, case in enumerate(cases)}


@settings(max_examples=200, deadline=None)
@given(QUESTIONS)
def test_squad_agrees_with_the_reference(cases: list) -> None:
    questions, predictions = split(cases)
    found = compute_metric("squad", predictions, references_of(questions))
    assert found == pytest.approx(scorers.squad_v1(questions, predictions))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS | st.just(""), PROBABILITIES), min_size=1, max_size=8),
    st.sampled_from([0.5, 1.0]),
)
def test_squad_v2_agrees_with_the_reference(cases: list, threshold: float) -> None:
    questions, predictions = split(cases)
    probabilities = {str(index): case[2] for index, case in enumerate(cases)}
    found = compute_metric(
        "squad_v2",
        predictions,
        references_of(questions),
        no_answer_probabilities=probabilities,
        no_answer_threshold=threshold,
    )
    assert found == pytest.approx(scorers.squad_v2(questions, predictions, probabilities, threshold))


@settings(max_examples=200, deadline=None)
@given(QUESTIONS)
def test_cmrc2018_agrees_with_the_reference(cases: list) -> None:
    questions, predictions = split(cases)
    found = compute_metric("cmrc2018", predictions, references_of(questions))
    assert found == pytest.approx(scorers.cmrc2018(questions, predictions, tokenize_run))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.lists(TEXTS, max_size=3), TEXTS), min_size=1, max_size=6))
def test_palbert_qa_agrees_with_the_reference(cases: list) -> None:
    questions, predictions = split(cases)
    found = compute_metric("palbert_qa", predictions, references_of(questions))
    assert found == pytest.approx(scorers.palbert_qa(questions, predictions))


def test_squad_1_and_2_differ_where_both_sides_are_empty_after_normalisation() -> None:
    references = references_of([("q", ["The"])])
    assert compute_metric("squad", {"q": "a!"}, references) == {"exact_match": 100.0, "f1": 0.0}
    assert compute_metric("squad_v2", {"q": ""}, references)["f1"] == 100.0


def test_cmrc2018_by_hand() -> None:
    references = references_of([("1", ["1998年北京大学"]), ("2", ["光荣和ω-force", "光荣"]), ("3", ["不"])])
    # 1: segments 北京大学 of [1998, 年, 北, 京, 大, 学]: P = 1, R = 4/6, F1 = 0.8. 2: equal but for signs. 3: skipped.
    with pytest.warns(UserWarning, match=r"1 references have no prediction and score 0: '3'"):
        found = compute_metric("cmrc2018", {"1": "北京大学", "2": "《光荣》和ΩForce"}, references)
    assert found == pytest.approx(
        {"F1": 180 / 3, "EM": 100 / 3, "AVERAGE": (180 + 100) / 6, "TOTAL": 3, "SKIP": 1}, abs=1e-9
    )


def test_palbert_qa_by_hand() -> None:
    references = references_of(
        [("zh", ["北京大学", "北大"]), ("en", ["The blue cat."]), ("none", []), ("empty", ["x"])]
    )
    predictions = {"zh": "北京的大学！", "en": "cat", "none": "", "empty": ""}
    # zh: 4 of 5 right, 4 of 4 found; en: 1 of 1 right, 1 of 2 found; none: all 1; empty: all 0.
    assert compute_metric("palbert_qa", predictions, references) == pytest.approx(
        {
            "accuracy": 1 / 4,
            "precision": (4 / 5 + 1 + 1) / 4,
            "recall": (1 + 1 / 2 + 1) / 4,
            "f1": (8 / 9 + 2 / 3 + 1) / 4,
            "total": 4,
        }
    )


def test_squad_v2_best_threshold_by_hand() -> None:
    references = references_of([("a", ["cat"]), ("b", []), ("c", ["dog"]), ("d", [])])
    predictions = {"a": "cat", "b": "cat", "c": "dog", "d": ""}
    probabilities = {"a": 0.1, "b": 0.6, "c": 0.3, "d": 0.9}
    found = compute_metric("squad_v2", predictions, references, no_answer_probabilities=probabilities)
    assert (found["exact"], found["best_exact"], found["best_exact_thresh"]) == (75.0, 100.0, 0.3)
    assert (found["HasAns_exact"], found["NoAns_exact"], found["NoAns_total"]) == (100.0, 50.0, 2)
    assert "best_exact" not in compute_metric("squad_v2", predictions, references)


@pytest.mark.parametrize("name", METRICS)
def test_evaluate_module_gives_the_same_figures(name: str) -> None:
    questions = [("1", ["北京大学"]), ("2", ["a cat", "cats"])]
    predictions: list[dict] = [{"id": "1", "prediction_text": "北京"}, {"id": "2", "prediction_text": "the cat"}]
    if name == "squad_v2":
        predictions = [record | {"no_answer_probability": 0.1 * index} for index, record in enumerate(predictions)]
    loaded = evaluate.load(str(metric_path(name)))
    assert isinstance(loaded, evaluate.EvaluationModule)
    found = loaded.compute(predictions=predictions, references=references_of(questions))
    assert found == compute_metric(name, predictions, references_of(questions))
    assert loaded.description


def test_references_may_be_a_dataset_or_lists_of_answers() -> None:
    records = [{"id": "1", "context": "北京", "answers": {"text": ["北京"], "answer_start": [0]}}]
    as_dataset = datasets.Dataset.from_list(records)
    as_squad = [{"id": "1", "answers": [{"text": "北京", "answer_start": 0}]}]
    for references in (as_dataset, as_squad, records, iter(records)):
        assert compute_metric("cmrc2018", {"1": "北京"}, references)["EM"] == 100.0


def test_surplus_predictions_are_ignored_with_a_warning_or_refused() -> None:
    references = references_of([("1", ["x"])])
    with pytest.warns(UserWarning, match=r"2 predictions belong to no reference and are ignored: 'y', 'z'"):
        assert compute_metric("squad", {"1": "x", "y": "", "z": ""}, references)["f1"] == 100.0
    with pytest.raises(DatasetFormatError, match="strict=False"):
        compute_metric("squad", {"1": "x", "y": ""}, references, strict=True)
    with pytest.raises(DatasetFormatError, match="1 references have no prediction"):
        compute_metric("squad", {}, references, strict=True)


@pytest.mark.parametrize(("asked", "answered"), [(" q1", " q1"), (" q1", "q1"), ("q1", "q1 "), ("q1", "q1")])
def test_blanks_around_ids_do_not_count_on_either_side(asked: str, answered: str) -> None:
    references = references_of([(asked, ["x"])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, figure in (("squad", "f1"), ("squad_v2", "f1"), ("cmrc2018", "F1")):
            assert compute_metric(name, {answered: "x"}, references, strict=True)[figure] == 100.0
        found = compute_metric("squad_v2", {answered: "x"}, references, no_answer_probabilities={answered: 0.25})
        assert found["best_f1"] == 100.0
        given = [{"id": answered, "prediction_text": "x", "no_answer_probability": 0.25}]
        assert compute_metric("squad_v2", given, references) == found


def test_ids_that_differ_in_blanks_alone_are_refused() -> None:
    references = references_of([("q1", ["x"])])
    with pytest.raises(DatasetFormatError, match="predictions: id ' q1' occurs twice, but for the blanks"):
        compute_metric("squad", {"q1": "x", " q1": "y"}, references)
    with pytest.raises(DatasetFormatError, match=r"references\[1\].id: ' q1' occurs twice"):
        compute_metric("squad", {"q1": "x"}, references_of([("q1", ["x"]), (" q1", ["x"])]))


def test_no_warning_where_all_is_well() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute_metric("squad", {"1": "x"}, references_of([("1", ["x"])]), strict=True)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ({"1": 7}, r"predictions\['1'\]: expected a string, got int 7"),
        ({"1": ["x"]}, r"got list \['x'\]"),
        ([{"id": "1"}], r"predictions\[0\]: expected a record with the field 'prediction_text'"),
        ([{"id": "1", "prediction_text": "x"}] * 2, "id '1' occurs twice"),
        ("x", "predictions: expected a list of records, got str"),
        (None, "predictions: expected a list of records, got NoneType"),
    ],
)
def test_wrong_predictions_are_refused(predictions: object, message: str) -> None:
    with pytest.raises(DatasetFormatError, match=message):
        compute_metric("squad", predictions, references_of([("1", ["x"])]))


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([], "there is no question to score"),
        ([{"id": "1"}], r"references\[0\]: expected a record with the field 'answers'"),
        ([{"id": "1", "answers": {"text": "x"}}], r"references\[0\].answers: expected"),
        ([{"id": "1", "answers": {"text": [None]}}], r"references\[0\].answers: expected"),
        (references_of([("1", ["x"]), ("1", ["y"])]), r"references\[1\].id: '1' occurs twice"),
    ],
)
def test_wrong_references_are_refused(references: object, message: str) -> None:
    with pytest.raises(DatasetFormatError, match=message):
        compute_metric("cmrc2018", {"1": "x"}, references)


@pytest.mark.parametrize("name", ["squad", "cmrc2018"])
def test_unanswerable_questions_need_squad_v2(name: str) -> None:
    with pytest.raises(DatasetFormatError, match="Use 'squad_v2'"):
        compute_metric(name, {"1": ""}, references_of([("1", [])]))


@pytest.mark.filterwarnings("error")  # an error alone: that a missing one scores 0 would not be true
def test_squad_v2_needs_every_prediction_and_probability() -> None:
    references = references_of([("1", ["x"]), ("2", [])])
    with pytest.raises(DatasetFormatError, match="1 have none, the first is '2'"):
        compute_metric("squad_v2", {"1": "x"}, references)
    with pytest.raises(DatasetFormatError, match="1 questions have no no-answer probability"):
        compute_metric("squad_v2", {"1": "x", "2": ""}, references, no_answer_probabilities={"1": 0.5})


def test_wrong_names_and_options_are_refused() -> None:
    references = references_of([("1", ["x"])])
    with pytest.raises(ConfigurationError, match=r"unknown metric 'bleu'; known ones are cmrc2018, palbert_qa"):
        compute_metric("bleu", {"1": "x"}, references)
    with pytest.raises(ConfigurationError, match="unknown metric"):
        load_metric("../squad")
    with pytest.raises(ConfigurationError, match="Only 'squad_v2' takes"):
        compute_metric("squad", {"1": "x"}, references, no_answer_probabilities={"1": 0.5})
    with pytest.raises(ConfigurationError, match="Only 'squad_v2' takes"):
        compute_metric("squad", {"1": "x"}, references, no_answer_threshold=0.5)
    with pytest.warns(NoEffectWarning, match=r"no_answer_threshold=0\.5 has no effect without probabilities"):
        compute_metric("squad_v2", {"1": "x"}, references, no_answer_threshold=0.5)


def test_qa_without_models_does_not_import_torch() -> None:
    # The package's own __init__ registers models; a bare stand-in for it shows what the modules themselves import.
    package = Path(transformers_palbert.__file__).parent
    code = f"""
        import sys, types
        package = types.ModuleType("transformers_palbert")
        package.__path__ = [{str(package)!r}]
        sys.modules["transformers_palbert"] = package
        import transformers_palbert.qa.datasets, transformers_palbert.qa.statistics
        from transformers_palbert.qa.metrics import compute_metric
        for name in ("squad", "cmrc2018", "palbert_qa", "squad_v2"):
            compute_metric(name, {{"1": "a b. c"}}, [{{"id": "1", "answers": {{"text": ["a"]}}}}])
        assert "torch" not in sys.modules, "torch was imported"
        assert "nltk" not in sys.modules, "nltk was imported, whose rules change"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
