from __future__ import annotations

import json


def test_options_may_have_underscores(palbert, answerable, saved_model):
    options = ("--max_seq_length", 32, "--doc_stride=8", "--max-answer-length", 5)
    result = palbert("answer", saved_model, "-q", "谁?", "-c", "曹雪芹", *options, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
    result = palbert("evaluate", "--model", saved_model, "-r", answerable, "--metric", "cmrc2018", "--batch_size", 4)
    assert result.exit_code == 0, result.output


def test_a_typing_error_is_answered_with_what_was_meant(palbert, saved_model):
    said = " ".join(palbert("compress", saved_model, "out", "--valuse", "int8").stderr.replace("│", "").split())
    assert "--valuse" in said
    assert "--values" in said
    assert "Did you mean 'compress'" in " ".join(palbert("compres").stderr.replace("│", "").split())


def test_errors_name_the_option(palbert, saved_model):
    result = palbert("answer", saved_model, "-q", "谁?", "-c", "曹雪芹", "--max-seq-length", "8", "--doc-stride", "7")
    assert result.exit_code == 1
    assert "--max-seq-length=8" in result.stderr
    assert "Set --doc-stride below" in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_error_of_the_system_has_a_number(palbert, answerable, tmp_path):
    (tmp_path / "locked").write_text("a file where a folder is to be")
    result = palbert("data", "convert", answerable, tmp_path / "locked" / "inside.json")
    assert result.exit_code == 1
    assert "Errno" not in result.stderr
    assert "Not a directory" in result.stderr
