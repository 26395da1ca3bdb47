from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import ANSWERS, CONTEXT, QUESTIONS, reseeded
from tests.qa.test_natural_questions import annotation, record, save
from transformers_palbert.cli.main import app
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.metrics import METRICS, compute_metric

PREDICTIONS = {"q1": "曹雪芹", "q2": "明代", "q3": ""}


@pytest.mark.parametrize("metric", METRICS)
def test_json_is_what_the_library_computes(palbert, write, answerable, metric):
    predictions = {"q1": "曹雪芹写", "q2": "清代"}
    result = palbert("evaluate", "-p", write("p.json", predictions), "-r", answerable, "-m", metric, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == compute_metric(metric, predictions, load_qa_dataset(answerable))


def test_a_metric_that_cannot_score_the_data_says_so(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", PREDICTIONS), "-r", references, "-m", "cmrc2018")
    assert result.exit_code == 1
    assert "'q3'" in result.stderr


def test_table(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", PREDICTIONS), "-r", references, "-m", "squad_v2")
    lines = dict(line.split() for line in result.stdout.splitlines())
    assert lines["squad_v2"] == "value"
    assert lines["exact"] == "66.6667"  # q1 and q3 of three
    assert lines["HasAns_exact"] == "50.0000"


def test_a_list_of_records_works_as_well(palbert, write, references):
    records = [{"id": key, "prediction_text": text} for key, text in PREDICTIONS.items()]
    result = palbert("evaluate", "-p", write("p.json", records), "-r", references, "-m", "palbert_qa", "--json")
    assert json.loads(result.stdout) == compute_metric("palbert_qa", PREDICTIONS, load_qa_dataset(references))


def test_no_answer_probabilities_reach_the_metric(palbert, write, references):
    probabilities = {"q1": 0.9, "q2": 0.8, "q3": 0.1}  # the wrong way round
    arguments = ["-p", write("p.json", {**ANSWERS, "q3": "清"}), "-r", references, "-m", "squad_v2", "--json"]
    result = palbert("evaluate", *arguments, "--na-probs", write("na.json", probabilities))
    expected = compute_metric(
        "squad_v2", {**ANSWERS, "q3": "清"}, load_qa_dataset(references), no_answer_probabilities=probabilities
    )
    assert json.loads(result.stdout) == expected
    assert expected["best_exact"] == pytest.approx(200 / 3)


def test_the_threshold_of_no_answer(palbert, write, references):
    probabilities = {"q1": 0.1, "q2": 0.6, "q3": 0.4}
    na_probs = ["--na-probs", write("na.json", probabilities)]
    arguments = [
        "evaluate",
        "-p",
        write("p.json", {**ANSWERS, "q3": "清"}),
        "-r",
        references,
        "-m",
        "squad_v2",
        "--json",
    ]
    found = [palbert(*arguments, *na_probs, "--na-prob-thresh", threshold) for threshold in (1.0, 0.5, 0.3)]
    assert [json.loads(result.stdout)["exact"] for result in found] == pytest.approx([200 / 3, 100 / 3, 200 / 3])
    without = palbert(*arguments, "--na-prob-thresh", 0.5)
    assert "has no effect without probabilities" in without.stderr


def test_missing_predictions_of_squad_v2_are_refused_in_one_sentence(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", {"q1": "曹"}), "-r", references, "-m", "squad_v2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: SQuAD 2.0 needs a prediction for every question; 2 have none")


def test_a_byte_order_mark_is_no_part_of_the_predictions(palbert, tmp_path, answerable):
    (tmp_path / "p.json").write_text('{"q1": "曹雪芹", "q2": "清代"}', encoding="utf-8-sig")
    result = palbert("evaluate", "-p", tmp_path / "p.json", "-r", answerable, "-m", "cmrc2018", "--json")
    assert json.loads(result.stdout)["EM"] == 100


def test_a_scale_that_differs_is_said(palbert, write, answerable):
    arguments = ["evaluate", "-p", write("p.json", {"q1": "曹", "q2": "清"}), "-r", answerable, "-m"]
    assert "warning: palbert_qa counts from 0 to 1" in palbert(*arguments, "palbert_qa").stderr
    assert palbert(*arguments, "cmrc2018").stderr == ""


def nbest(**texts):
    return {key: [{"text": text, "probability": p} for text, p in found.items()] for key, found in texts.items()}


def test_nbest_files_vote(palbert, write, answerable):
    files = [
        write("a.json", nbest(q1={"曹雪芹": 0.6, "写": 0.4}, q2={"明代": 0.9, "清代": 0.1})),
        write("b.json", nbest(q1={"写": 0.9, "曹雪芹": 0.1}, q2={"清代": 0.7, "代": 0.3})),
        write("c.json", nbest(q1={"曹雪芹": 1.0}, q2={"清代": 0.5, "代": 0.5})),
    ]
    arguments = ["evaluate", "-r", answerable, "-m", "cmrc2018", "--json"]
    alone = [json.loads(palbert(*arguments, "-p", file).stdout)["EM"] for file in files]
    assert alone == [50, 50, 100]
    together = palbert(*arguments, *(part for file in files for part in ("-p", file)))
    assert json.loads(together.stdout)["EM"] == 100
    mixed = palbert(*arguments, "-p", files[0], "-p", write("d.json", {"q1": "写", "q2": "代"}))
    assert mixed.exit_code == 1
    assert "d.json holds one answer for each question, and a vote needs n-best lists" in mixed.stderr


def test_models_answer_and_vote(palbert, saved_model, answerable, tmp_path):
    import transformers_palbert  # noqa: F401  (registers the pipeline)
    from transformers_palbert.cli.models import load_questions, load_reader
    from transformers_palbert.qa.ensembles import vote_for_each

    other = reseeded(saved_model, tmp_path / "other")
    records, _ = load_questions(answerable, None, "cmrc2018")
    found = [
        load_reader(str(model), QUESTIONS["q1"], {}).answer(records, batch_size=4) for model in (saved_model, other)
    ]
    assert found[0].predictions != found[1].predictions
    arguments = ["evaluate", "-r", answerable, "-m", "cmrc2018", "--device", "cpu", "--json"]
    csv = tmp_path / "answers.csv"
    for models, expected in (
        ([saved_model], found[0].predictions),
        ([saved_model, other], vote_for_each([answers.nbest for answers in found])),
    ):
        options = [part for model in models for part in ("--model", model)]
        result = palbert(*arguments, *options, "--predictions-csv", csv)
        assert result.exit_code == 0, result.output
        assert csv.read_text(encoding="utf-8").split() == ["ID,Answer", *(f"{k},{v}" for k, v in expected.items())]
        assert json.loads(result.stdout) == compute_metric("cmrc2018", expected, records)


def test_the_next_command_shows_what_the_score_hides(palbert, saved_model, answerable):
    arguments = ["evaluate", "-m", "cmrc2018", "--device", "cpu"]
    shown = palbert(*arguments, "-r", answerable, "--model", saved_model).stdout
    assert shown.splitlines()[-1] == f"Next: palbert report {saved_model} --data {answerable}"
    three = [part for _ in range(3) for part in ("--model", saved_model)]
    piped = [str(word) for word in (*arguments, "-r", "-", *three)]
    shown = CliRunner().invoke(app, piped, input=answerable.read_bytes()).stdout
    assert shown.splitlines()[-1] == f"Next: palbert compare {' '.join([str(saved_model)] * 3)} --data -"


def test_predictions_or_models_and_not_both(palbert, write, references, saved_model):
    for options in ([], ["-p", write("p.json", PREDICTIONS), "--model", saved_model]):
        result = palbert("evaluate", "-r", references, "-m", "squad_v2", *options)
        assert result.exit_code == 2
        assert "--model" in result.stderr


def test_a_missing_prediction_is_a_warning_that_leaves_json_alone(palbert, write, answerable):
    result = palbert("evaluate", "-p", write("p.json", {"q1": "曹"}), "-r", answerable, "-m", "cmrc2018", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["SKIP"] == 1
    assert result.stderr.startswith("warning: 1 references have no prediction")


@pytest.mark.parametrize(
    ("predictions", "words"),
    [
        ({"q1": 3}, ["q1", "3"]),
        ([{"id": "q1"}], ["prediction_text"]),
        ("曹雪芹", ["曹雪芹"]),
    ],
)
def test_wrong_predictions_are_named(palbert, write, references, predictions, words):
    result = palbert("evaluate", "-p", write("p.json", predictions), "-r", references, "-m", "squad")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert all(word in result.stderr for word in words)
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_json(palbert, tmp_path, references):
    file = tmp_path / "p.json"
    for content in (b"\xff\xfe{", b"[" * 100_000, b"1" * 5000):
        file.write_bytes(content)
        result = palbert("evaluate", "-p", file, "-r", references, "-m", "squad")
        assert result.exit_code == 1
        assert f"{file} is not JSON in UTF-8" in result.stderr


@pytest.mark.parametrize("probabilities", [[0.5], {"q1": "0.5"}, {"q1": True}])
def test_wrong_probabilities_are_named(palbert, write, references, probabilities):
    arguments = ["-p", write("p.json", PREDICTIONS), "-r", references, "-m", "squad_v2"]
    result = palbert("evaluate", *arguments, "--na-probs", write("na.json", probabilities))
    assert result.exit_code == 1
    assert "na.json" in result.stderr


def test_probabilities_belong_to_squad_v2(palbert, write, references):
    file = write("p.json", PREDICTIONS)
    result = palbert("evaluate", "-p", file, "-r", references, "-m", "squad", "--na-probs", file)
    assert result.exit_code == 2
    assert "squad_v2" in result.stderr


def test_an_unknown_metric_names_the_known_ones(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", PREDICTIONS), "-r", references, "-m", "bleu")
    assert result.exit_code == 2
    assert all(metric in result.stderr for metric in METRICS)


def test_every_metric_of_the_library_is_offered():
    from typing import get_args

    from transformers_palbert.cli.evaluate import Metric

    assert sorted(get_args(Metric)) == sorted([*METRICS, "natural_questions"])


def test_a_missing_file(palbert, references):
    result = palbert("evaluate", "-p", "nowhere.json", "-r", references, "-m", "squad")
    assert result.exit_code == 2
    assert "nowhere.json" in result.stderr


@pytest.mark.parametrize("option", ["--predictions-csv", "--predictions_csv"])
def test_predictions_as_csv_in_the_order_of_the_data(palbert, write, references, tmp_path, option):
    predictions = write("p.json", {"q3": "", "q2": 'in "清代",', "q1": "曹雪芹"})
    file = tmp_path / "answers.csv"
    result = palbert("evaluate", "-p", predictions, "-r", references, "-m", "squad_v2", option, file)
    assert result.exit_code == 0, result.output
    assert file.read_text(encoding="utf-8") == 'ID,Answer\nq1,曹雪芹\nq2,"in ""清代"","\nq3,\n'


@pytest.fixture
def rivers(write):
    """Four articles with a question that has an answer and one that has none."""
    data = []
    for number in range(4):
        qas = [
            {"id": f"{number}-{kind}", "question": "谁?", "answers": answers}
            for kind, answers in (("has", [{"text": "清代", "answer_start": 0}]), ("no", []))
        ]
        data.append({"title": f"T{number}", "paragraphs": [{"context": f"清代 {number}", "qas": qas}]})
    return write("rivers.json", {"data": data})


class TestNullThreshold:
    """``--null-threshold-from``: chosen on one part, judged on the other."""

    def files(self, write, *, nbest):
        ids = [f"{number}-{kind}" for number in range(4) for kind in ("has", "no")]
        answers = {key: [{"text": "", "probability": 0.9}, {"text": "清代", "probability": 0.1}] for key in ids}
        texts = answers if nbest else dict.fromkeys(ids, "清代")
        odds = {key: 2.0 if key.endswith("has") else 5.0 for key in ids}
        return "-p", write("p.json", texts), "--na-probs", write("odds.json", odds)

    @pytest.mark.parametrize("nbest", [True, False])
    def test_a_share_of_the_articles(self, palbert, write, rivers, nbest):
        options = (*self.files(write, nbest=nbest), "-r", rivers, "-m", "squad_v2", "--null-threshold-from", 0.5)
        result = palbert("evaluate", *options, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert (found["threshold"], found["chosen_on"], found["scored_on"]) == (3.5, 4, 4)
        assert [found[when][name] for when in ("before", "after") for name in ("f1", "HasAns_f1", "NoAns_f1")] == [
            *(50.0, 0.0, 100.0),
            *(100.0, 100.0, 100.0),
        ]
        shown = palbert("evaluate", *options).stdout
        assert "--null-score-diff-threshold 3.5" in shown
        assert "threshold 0" in shown

    def test_answers_that_a_threshold_chose_say_nothing_of_others(self, palbert, write, rivers):
        """Training's predictions have "" where no answer won: no higher threshold could bring the span back."""
        chosen = write("p.json", {"0-has": "清代", "0-no": ""})
        odds = write("odds.json", {"0-has": -1.0, "0-no": 5.0})
        options = ("-r", rivers, "-m", "squad_v2", "--null-threshold-from", 0.5, "--na-probs", odds)
        result = palbert("evaluate", "-p", chosen, *options)
        assert result.exit_code == 1
        assert "a threshold was applied to it" in result.stderr
        assert "eval_nbest_predictions.json" in result.stderr

    def test_a_threshold_that_is_given_is_what_is_compared_with(self, palbert, write, rivers):
        options = (*self.files(write, nbest=True), "-r", rivers, "-m", "squad_v2", "--null-threshold-from", 0.5)
        assert "threshold 1 " in palbert("evaluate", *options, "--na-prob-thresh", 1.0).stdout

    def test_a_file(self, palbert, write, rivers):
        palbert("data", "split", rivers)
        first, second = (rivers.with_name(f"rivers-{number}.json") for number in (1, 2))
        options = (*self.files(write, nbest=True), "-r", second, "-m", "squad_v2", "--null-threshold-from")
        assert json.loads(palbert("evaluate", *options, first, "--json").stdout)["threshold"] == 3.5
        piped = CliRunner().invoke(app, ["evaluate", *map(str, options), "-", "--json"], input=first.read_bytes())
        assert json.loads(piped.stdout)["threshold"] == 3.5
        result = palbert("evaluate", *options, rivers)
        assert result.exit_code == 1
        assert "share 4 ids" in result.stderr

    def test_a_model(self, palbert, saved_model, rivers):
        options = ("--model", saved_model, "-r", rivers, "-m", "squad_v2", "--null-threshold-from", 0.5)
        result = palbert("evaluate", *options, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert (found["chosen_on"], found["scored_on"]) == (4, 4)
        assert {"HasAns_f1", "NoAns_f1", "f1", "exact"} <= found["after"].keys()

    @pytest.mark.parametrize(
        ("options", "code", "message"),
        [
            (("-m", "squad", "--null-threshold-from", 0.5), 2, "belongs to --metric squad_v2"),
            (("-m", "squad_v2", "--null-threshold-from", 0.5), 2, "needs --na-probs"),
            (("-m", "squad_v2", "--null-threshold-from", 1.5), 1, "between 0 and 1"),
            (("-m", "squad_v2", "--null-threshold-from", "nothing.json"), 2, "there is no file nothing.json"),
            (("-m", "squad_v2", "--null-threshold-from", 0.5, "--predictions-csv", "x.csv"), 2, "predictions-csv"),
        ],
    )
    def test_options_that_do_not_fit(self, palbert, write, rivers, options, code, message):
        result = palbert("evaluate", "-p", write("p.json", {}), "-r", rivers, *options)
        assert result.exit_code == code
        assert message in " ".join(result.stderr.replace("│", " ").split())

    @pytest.mark.parametrize("option", [("--na-prob-thresh", 0.5), ("--na-probs", "p.json")])
    def test_a_model_has_probabilities_of_its_own(self, palbert, write, rivers, option):
        name, value = option
        given = write(value, {}) if isinstance(value, str) else value
        options = ("-m", "squad_v2", "--null-threshold-from", 0.5, name, given)
        result = palbert("evaluate", "--model", "./nowhere", "-r", rivers, *options)
        assert result.exit_code == 2
        assert f"{name} belongs to --predictions" in " ".join(result.stderr.replace("│", " ").split())


def test_a_csv_in_a_folder_that_is_not_there_is_said_before_the_work(palbert, references, tmp_path):
    options = ("-r", references, "-m", "squad", "--predictions-csv", tmp_path / "none" / "answers.csv")
    result = palbert("evaluate", "--model", tmp_path / "nowhere", *options)
    assert result.exit_code == 2
    assert "none is not a folder" in " ".join(result.stderr.replace("│", " ").split())


def test_formulas_are_escaped_in_a_csv_alone(palbert, write, references):
    result = palbert("evaluate", "-p", write("p.json", {}), "-r", references, "-m", "squad", "--escape-formulas")
    assert result.exit_code == 2
    assert "--escape-formulas belongs to --predictions-csv" in " ".join(result.stderr.replace("│", " ").split())


class TestNaturalQuestions:
    """``--metric natural_questions``: against the annotations of a file of the release."""

    @pytest.fixture
    def pages(self, tmp_path):
        given = [annotation((7, 8), long=(3, 10)), annotation((7, 8), long=(3, 10)), *[annotation()] * 3]
        file = tmp_path / "nq-dev.jsonl.gz"
        return save(file, record(*given, example_id=1), record(*[annotation()] * 5, example_id=2))

    def test_predictions(self, palbert, write, pages):
        predictions = [
            {"example_id": 1, "short_answers": [{"start_token": 7, "end_token": 8}], "short_answers_score": 2.0},
            {"example_id": 2, "short_answers": [{"start_token": 0, "end_token": 1}], "short_answers_score": 1.0},
        ]
        file = write("p.json", {"predictions": predictions})
        result = palbert("evaluate", "-p", file, "-r", pages, "-m", "natural_questions", "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["short_f1"] == pytest.approx(200 / 3)
        assert (found["short_best_f1"], found["short_best_threshold"], found["total"]) == (100.0, 2.0, 2)

    def test_a_model(self, palbert, saved_model, tmp_path):
        chinese = {"document_text": CONTEXT.replace("是", " 是 "), "question_text": "谁?", "long_answer_candidates": []}
        given = annotation((1, 2), long=(0, 3))
        file = save(tmp_path / "dev.jsonl", *(record(given, given, example_id=key, **chinese) for key in (1, 2)))
        result = palbert("evaluate", "--model", saved_model, "-r", file, "-m", "natural_questions", "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["total"] == 2
        assert found["short_precision"] in (0.0, 100.0)  # two equal questions

    def test_one_at_a_time(self, palbert, pages):
        result = palbert("evaluate", "--model", "a", "--model", "b", "-r", pages, "-m", "natural_questions")
        assert result.exit_code == 2

    def test_a_file_of_another_form(self, palbert, write, references):
        file = write("p.json", {"predictions": []})
        result = palbert("evaluate", "-p", file, "-r", references, "-m", "natural_questions")
        assert result.exit_code == 1
        assert "document_tokens: missing" in result.stderr
