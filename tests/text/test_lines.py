from __future__ import annotations

import io
from pathlib import Path

import pytest

from transformers_palbert.errors import DatasetFormatError
from transformers_palbert.text import lines
from transformers_palbert.text.lines import bounded_lines


def test_lines_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 4)
    assert list(bounded_lines(io.StringIO("abc\n\nabcd"), Path("a"))) == ["abc\n", "\n", "abcd"]
    found = bounded_lines(io.StringIO("abc\nabcd\n"), Path("a.txt"))
    assert next(found) == "abc\n"
    with pytest.raises(DatasetFormatError, match=r"a\.txt has a line of more than 4 characters"):
        next(found)
