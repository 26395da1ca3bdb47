from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from tests.analysis.conftest import RECORDS, TEXT, FixedPipe, record
from transformers_palbert.analysis.answering import Answering
from transformers_palbert.analysis.facts import density_pictures
from transformers_palbert.analysis.report import report_data
from transformers_palbert.errors import ConfigurationError


def make(pipe, records=RECORDS, top_k=2, metric="cmrc2018"):
    return report_data(pipe, records, name="model", source="dev.json", metric=metric, answering=Answering(top_k=top_k))


def test_scores_and_the_best_of_all_candidates(pipe):
    data = make(pipe)
    assert [value for value, _, _ in data["scores"].values()] == [33.33, 55.56]
    assert data["best"] == {"em": 66.67, "f1": 66.67}  # the second candidate of the second question is right
    assert make(pipe, top_k=1)["best"] == {"em": 33.33, "f1": 55.56}


def test_questions_with_candidates_and_their_f1(pipe):
    first, second, third = make(pipe)["questions"]
    start = TEXT.index("曹雪芹")
    assert first["gold"] == [[start, "曹雪芹"]]
    assert first["answers"][0] == [0.9, start, start + 3, 100.0]
    assert (second["em"], second["f1"]) == (0, 66.67)
    assert [f1 for _, _, _, f1 in second["answers"]] == [66.7, 100.0]
    assert len(third["answers"]) == 1  # fewer than asked for
    assert third["f1"] == 0


def test_a_context_is_stored_once(pipe):
    data = make(pipe)
    assert data["contexts"] == [{"title": "", "text": TEXT}]
    assert [question["context"] for question in data["questions"]] == [0, 0, 0]


def test_repeated_references_are_stored_once(pipe):
    row = {**RECORDS[0], "answers": {"text": ["曹雪芹", "曹雪芹", "作者"], "answer_start": [9, 9, 6]}}
    assert make(pipe, [row])["questions"][0]["gold"] == [[9, "曹雪芹"], [6, "作者"]]


def test_groups_of_questions_index_the_breakdowns(pipe):
    data = make(pipe)
    for number, part in enumerate(data["breakdowns"]):
        counts = [0] * len(part["groups"])
        for question in data["questions"]:
            counts[question["groups"][number]] += 1
        assert counts == [group["count"] for group in part["groups"]]


def test_no_answer_is_a_candidate(model):
    unanswerable = record("none", "为什么?", TEXT)
    data = make(FixedPipe(model, {"为什么?": [("", 0.9), ("清代", 0.1)]}), [unanswerable], metric="squad_v2")
    (question,) = data["questions"]
    assert (question["gold"], question["em"]) == ([], 100)
    assert question["answers"] == [[0.9, 0, 0, 100.0], [0.1, TEXT.index("清代"), TEXT.index("清代") + 2, 0.0]]


def test_matrices_with_zeros_have_pictures(pipe):
    data = {matrix["name"]: matrix for matrix in make(pipe)["matrices"]}
    for picture in density_pictures(pipe.model):
        matrix = data[picture.name]
        if matrix["density"] >= 0.999:
            assert matrix["blocks"] == ""
            continue
        levels = np.frombuffer(base64.b64decode(matrix["blocks"]), np.uint8).reshape(matrix["grid"])
        assert levels / 255 * matrix["peak"] == pytest.approx(picture.blocks, abs=1 / 255)
    drawn = [name for name, matrix in data.items() if matrix["blocks"]]
    assert drawn == ["bert.embeddings.word_embeddings", "bert.encoder.layer.0.intermediate.dense"]  # [PAD] is zero


def test_it_is_plain_data(pipe):
    data = make(pipe)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_no_question(pipe):
    with pytest.raises(ConfigurationError, match=r"dev\.json"):
        make(pipe, [])
