from __future__ import annotations

import json

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
