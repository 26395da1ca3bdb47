from __future__ import annotations

import json

import numpy as np
import pytest

from transformers_palbert.cli.output import (
    MAX_MESSAGE,
    fail,
    format_bytes,
    make_table,
    printable,
    show,
    warn,
    write_json,
    written,
)
from transformers_palbert.errors import MissingExtraError


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (15_040_000, "15.0 MB"), (2_500_000_000, "2.5 GB")],
)
def test_format_bytes(size, text):
    assert format_bytes(size) == text


def test_json_is_valid_for_what_json_lacks(capsys):
    write_json({"nan": float("nan"), "inf": np.float64("inf"), 1: np.int64(3), "字": (1, 2.5, None, True)})
    out = capsys.readouterr().out
    assert json.loads(out) == {"nan": None, "inf": None, "1": 3, "字": [1, 2.5, None, True]}
    assert "字" in out


def test_an_error_is_one_line_on_stderr_and_keeps_brackets(capsys):
    exit_ = fail(MissingExtraError("missing,\n  install 'transformers-palbert[plot]' " + "x " * 100))
    captured = capsys.readouterr()
    assert exit_.exit_code == 1
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: missing, install 'transformers-palbert[plot]' x")


def test_an_error_is_cut_before_it_floods_the_terminal(capsys):
    fail(ValueError("word " * 10_000))
    assert len(capsys.readouterr().err) < MAX_MESSAGE + 20


def test_an_error_without_text_shows_its_name(capsys):
    fail(FileNotFoundError())
    assert capsys.readouterr().err == "error: FileNotFoundError\n"


def test_what_a_terminal_would_obey_is_written_out(capsys):
    hostile = "a\x1b]0;title\x07\x1b[2Jb\x9b31m\u202ec\r字é"
    shown = "a\\x1b]0;title\\x07\\x1b[2Jb\\x9b31m\\u202ec\\r字é"
    assert printable(hostile) == shown
    assert printable("نمی\u200cخواهم 👩\u200d🔬\n") == "نمی\u200cخواهم 👩\u200d🔬\n"  # joiners are part of words
    assert printable("\ud800") == "\\ud800"
    show(make_table(["name", "bytes"], [(hostile, "1")]))
    fail(ValueError(hostile))
    warn(hostile)
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "title\\x07\\x1b[2Jb" in captured.out
    assert captured.err.count("title\\x07\\x1b[2Jb") == 2


def test_an_error_of_the_system_has_no_number(capsys):
    fail(OSError(28, "No space left on device", "out.json"))
    assert capsys.readouterr().err == "error: out.json: No space left on device\n"


def test_an_error_names_the_option(capsys):
    fail(ValueError("max_seq_length=7 is too small"), {"max_seq_length": "--max-seq-length"})
    assert capsys.readouterr().err == "error: --max-seq-length=7 is too small\n"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", ["pruned", "a-rather-long-name-of-a-model-that-was-pruned"])
def test_no_cell_of_a_table_is_lost_in_a_narrow_terminal(capsys, terminal, width, name):
    terminal(width)
    columns = ["model", "parameters", "non-zero", "file", "latency", "questions/s"]
    cells = ["15,500,000", "4,650,000", "12.0 MB", "123.4 ms", "12.3"]
    show(make_table(columns, [(name, *cells), ("dense", *cells)]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for text in (*columns, *cells, "dense"):
        assert text in out
    assert name[:20] in out  # the rest is below it where there is no room
    assert name[-5:] in out


def test_brackets_are_no_markup(capsys):
    show("model[1] [bold]", make_table(["[red]"], [("[x]",)]))
    assert capsys.readouterr().out.split() == ["model[1]", "[bold]", "[red]", "[x]"]


def test_what_was_written_is_measured(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"x" * 1500)
    (tmp_path / "folder" / "b").write_bytes(b"x" * 500)
    assert written(tmp_path / "folder", "palbert inspect x") == (
        f"Written: {tmp_path / 'folder'} (2.0 kB).\nNext: palbert inspect x"
    )
    assert written(tmp_path / "folder" / "b") == f"Written: {tmp_path / 'folder' / 'b'} (500 B)."


def test_a_warning_is_one_line_on_stderr(capsys):
    warn(UserWarning("two\nlines"), UserWarning, "file.py", 3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: two lines\n")
