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


def test_a_warning_is_one_line_on_stderr(capsys):
    warn(UserWarning("two\nlines"), UserWarning, "file.py", 3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: two lines\n")
