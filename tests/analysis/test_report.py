from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from tests.analysis.conftest import RECORDS, TEXT, FixedReader, record
from transformers_palbert.analysis.facts import density_pictures
from transformers_palbert.analysis.report import report_data
from transformers_palbert.errors import ConfigurationError


def make(reader, records=RECORDS, top_k=2, metric="cmrc2018"):
    return report_data({"model": reader}, records, source="dev.json", metric=metric, top_k=top_k)


def test_scores_and_the_best_of_all_candidates(reader):
    data = make(reader)
    assert [value for value, _, _ in data["scores"].values()] == pytest.approx([100 / 3, 500 / 9])
    assert data["best"] == {"em": 66.67, "f1": 66.67}  # the second candidate of the second question is right
    assert make(reader, top_k=1)["best"] == {"em": 33.33, "f1": 55.56}


def test_candidates_change_no_score(reader):
    alone, many = make(reader, top_k=1), make(reader, top_k=50)
    for key in ("scores", "breakdowns", "facts", "settings"):
        assert alone[key] == many[key]
    for one, several in zip(alone["questions"], many["questions"], strict=True):
        assert (one["em"], one["f1"], one["answers"][0]) == (several["em"], several["f1"], several["answers"][0])


def test_questions_with_candidates_and_their_f1(reader):
    first, second, third = make(reader)["questions"]
    start = TEXT.index("曹雪芹")
    assert first["gold"] == [[start, "曹雪芹"]]
    assert first["answers"][0] == [0.9, start, start + 3, 100.0]
    assert (second["em"], second["f1"]) == (0, 66.67)
    assert [f1 for _, _, _, f1 in second["answers"]] == [66.7, 100.0]
    assert len(third["answers"]) == 1  # fewer than asked for
    assert third["f1"] == 0


def test_a_context_is_stored_once(reader):
    data = make(reader)
    assert data["contexts"] == [{"title": "", "text": TEXT}]
    assert [question["context"] for question in data["questions"]] == [0, 0, 0]


def test_repeated_references_are_stored_once(reader):
    row = {**RECORDS[0], "answers": {"text": ["曹雪芹", "曹雪芹", "作者"], "answer_start": [9, 9, 6]}}
    assert make(reader, [row])["questions"][0]["gold"] == [[9, "曹雪芹"], [6, "作者"]]


def test_groups_of_questions_index_the_breakdowns(reader):
    data = make(reader)
    for number, part in enumerate(data["breakdowns"]):
        counts = [0] * len(part["groups"])
        for question in data["questions"]:
            counts[question["groups"][number]] += 1
        assert counts == [group["count"] for group in part["groups"]]


def test_no_answer_is_a_candidate(model):
    unanswerable = record("none", "为什么?", TEXT)
    data = make(FixedReader(model, {"为什么?": [("", 0.9), ("清代", 0.1)]}), [unanswerable], metric="squad_v2")
    (question,) = data["questions"]
    assert (question["gold"], question["em"]) == ([], 100)
    assert question["answers"] == [[0.9, 0, 0, 100.0], [0.1, TEXT.index("清代"), TEXT.index("清代") + 2, 0.0]]


def test_matrices_with_zeros_have_pictures(reader):
    data = {matrix["name"]: matrix for matrix in make(reader)["matrices"]}
    for picture in density_pictures(reader.model):
        matrix = data[picture.name]
        if matrix["density"] >= 0.999:
            assert matrix["blocks"] == ""
            continue
        levels = np.frombuffer(base64.b64decode(matrix["blocks"]), np.uint8).reshape(matrix["grid"])
        assert levels / 255 * matrix["peak"] == pytest.approx(picture.blocks, abs=1 / 255)
    drawn = [name for name, matrix in data.items() if matrix["blocks"]]
    assert drawn == ["bert.embeddings.word_embeddings", "bert.encoder.layer.0.intermediate.dense"]  # [PAD] is zero


def test_it_is_plain_data(reader):
    data = make(reader)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_a_second_model_stands_beside_the_first(model, reader):
    better = FixedReader(model, {row["question"]: [(row["answers"]["text"][0], 1.0)] for row in RECORDS})
    alone = make(reader)
    both = report_data({"model": reader, "better": better}, RECORDS, source="dev.json", metric="cmrc2018", top_k=2)
    assert (alone["other"], both["other"]["model"]) == (None, "better")
    assert both["other"]["scores"]["f1"][0] == 100
    assert both["scores"] == alone["scores"]
    assert [question["other"]["f1"] for question in both["questions"]] == [100, 100, 100]
    assert [question["f1"] for question in both["questions"]] == [question["f1"] for question in alone["questions"]]
    assert all(group["other"] == 100 for part in both["breakdowns"] for group in part["groups"])
    with pytest.raises(ConfigurationError, match="not 3"):
        report_data(dict.fromkeys("abc", reader), RECORDS, source="dev.json", metric="cmrc2018")


def test_no_question(reader):
    with pytest.raises(ConfigurationError, match=r"dev\.json"):
        make(reader, [])
