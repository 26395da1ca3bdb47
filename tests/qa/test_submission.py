from __future__ import annotations

import csv

from transformers_palbert.qa.submission import write_predictions_csv


def test_lines_of_the_data_in_its_order(tmp_path):
    file = tmp_path / "answers.csv"
    write_predictions_csv(file, {"b": "清代", "a": "曹雪芹", "surplus": "x", "c": None}, ["a", "b", "c", "missing"])
    assert file.read_bytes() == "ID,Answer\na,曹雪芹\nb,清代\nc,\nmissing,\n".encode()


def test_every_text_comes_back(tmp_path):
    texts = {"1": 'a "quoted", b', "2": "two\nlines", "3": " blanks ", "4": "", "5": "=1+1", "6": "\r", "x,y": "𠮷"}
    file = tmp_path / "answers.csv"
    write_predictions_csv(file, texts, texts)
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["ID", "Answer"], *([key, text] for key, text in texts.items())]


def test_formulas_are_escaped_where_that_is_asked_for(tmp_path):
    texts = {"1": "=1+1", "@2": "-3", "3": "+4", "4": "5-6", "5": "\t=7", "6": "北京", "7": ""}
    write_predictions_csv(tmp_path / "answers.csv", texts, texts, escape_formulas=True)
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as stream:
        rows = dict(list(csv.reader(stream))[1:])
    assert rows == {"1": "'=1+1", "'@2": "'-3", "3": "'+4", "4": "5-6", "5": "'\t=7", "6": "北京", "7": ""}
