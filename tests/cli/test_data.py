from __future__ import annotations

import json

from tests.qa.test_natural_questions import annotation, record, save
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.statistics import dataset_statistics


def rows(stdout: str) -> dict[str, list[str]]:
    """Label to cells; two blanks or more part them."""
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in stdout.splitlines()]
    return {row[0]: row[1:] for row in cells if row}


def test_json_is_what_the_library_counts(palbert, references):
    result = palbert("data", "stats", references, "--json")
    assert result.exit_code == 0, result.output
    (counted,) = json.loads(result.stdout)
    expected = dataset_statistics(load_qa_dataset(references)).to_dict()
    assert counted["file"] == str(references)
    assert counted["repairs"]["offsets_wrong"] == 0
    assert {key: counted[key] for key in expected} == expected


def test_table(palbert, references):
    table = rows(palbert("data", "stats", references).stdout)
    assert table["samples"] == ["3"]
    assert table["negatives"] == ["1"]
    assert table["articles"] == ["1"]
    assert table["answer length, mean"] == ["2.5"]  # 曹雪芹 and 清代
    assert table["answer length, most"] == ["3"]
    assert table["questions: who"] == ["1", "33.3%"]


def test_wrong_offsets_are_counted(palbert, references, write):
    content = json.loads(references.read_text(encoding="utf-8"))
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 0
    content["data"][0]["paragraphs"][0]["qas"][1]["answers"][0]["text"] = "明代"
    table = rows(palbert("data", "stats", write("wrong.json", content)).stdout)
    assert table["wrong offsets in the file"] == ["2"]
    assert table["answers not in context"] == ["1"]


def test_many_files_fit_80_columns(palbert, references, terminal):
    terminal(80)
    files = []
    for number in range(5):
        file = references.with_name(f"data_{number}.json")
        file.write_bytes(references.read_bytes())
        files.append(file)
    out = palbert("data", "stats", *files).stdout
    assert max(map(len, out.splitlines())) <= 80
    assert all(file.name in out for file in files)
    assert sum(line.startswith("samples") for line in out.splitlines()) == 2  # three files, then two


def test_files_of_one_name_show_their_paths(palbert, references, tmp_path, terminal):
    terminal(400)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / references.name
    other.write_bytes(references.read_bytes())
    out = palbert("data", "stats", references, other).stdout
    assert str(references) in out
    assert str(other) in out


def test_a_malformed_file_is_one_error_line(palbert, write):
    result = palbert("data", "stats", write("bad.json", {"data": [{"paragraphs": 3}]}))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "bad.json" in result.stderr


class TestSplit:
    """``palbert data split``."""

    def squad(self, write, articles=6):
        data = [
            {
                "title": f"T{number}",
                "paragraphs": [
                    {"context": f"text {number}", "qas": [{"id": f"{number}-{q}", "question": "?", "answers": []}]}
                    for q in range(2)
                ],
            }
            for number in range(articles)
        ]
        return write("dev.json", {"data": data})

    def test_parts_share_no_article(self, palbert, write, tmp_path):
        file = self.squad(write)
        out = tmp_path / "parts"
        result = palbert("data", "split", file, "--fractions", "0.5,0.5", "--seed", 3, "--out", out, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert [(part["articles"], part["samples"], part["negatives"]) for part in found] == [(3, 6, 6)] * 2
        parts = [load_qa_dataset(out / f"dev-{number}.json") for number in (1, 2)]
        assert not set(parts[0]["title"]) & set(parts[1]["title"])
        assert sorted([*parts[0]["id"], *parts[1]["id"]]) == sorted(load_qa_dataset(file)["id"])

    def test_a_table(self, palbert, write):
        table = rows(palbert("data", "split", self.squad(write), "--fractions", "0.8,0.2").stdout)
        assert (table["dev-1.json"], table["dev-2.json"]) == (["5", "10", "10"], ["1", "2", "2"])

    def test_nothing_is_overwritten(self, palbert, write):
        file = self.squad(write)
        assert palbert("data", "split", file).exit_code == 0
        result = palbert("data", "split", file)
        assert result.exit_code == 1
        assert "exists" in result.stderr

    def test_fractions_that_cannot_be(self, palbert, write):
        for fractions, message in (("a,b", "numbers with commas"), ("0.5", "add up to 1")):
            result = palbert("data", "split", self.squad(write), "--fractions", fractions)
            assert result.exit_code == 1
            assert message in result.stderr


class TestConvert:
    """``palbert data convert``."""

    def test_natural_questions_become_squad(self, palbert, tmp_path):
        given = [record(annotation((7, 8)), example_id=1), record(annotation(yes_no="YES"), example_id=2)]
        file, out = save(tmp_path / "nq.jsonl.gz", *given), tmp_path / "nq.json"
        result = palbert("data", "convert", file, out)
        assert result.exit_code == 0, result.output
        assert "2 questions" in result.stdout
        assert load_qa_dataset(out).to_list() == load_qa_dataset(file).to_list()
        trained = tmp_path / "train.json"
        assert palbert("data", "convert", file, trained, "--training").exit_code == 0
        assert load_qa_dataset(trained)["id"] == ["1"]
        table = rows(palbert("data", "stats", file).stdout)
        assert (table["samples"], table["answers not in context"]) == (["2"], ["1"])

    def test_nothing_is_overwritten(self, palbert, references):
        for out in (references, references.with_suffix(".txt")):
            result = palbert("data", "convert", references, out)
            assert result.exit_code == 1
            assert "give the name of a new file" in " ".join(result.stderr.split())
