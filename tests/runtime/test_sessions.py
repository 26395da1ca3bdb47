"""Graphs called with windows of any length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.references.exported_models import exported
from transformers_palbert.runtime.description import read_description
from transformers_palbert.runtime.sessions import open_session, padded_length


@pytest.mark.parametrize(
    ("tokens", "longest", "expected"),
    [(1, 512, 32), (32, 512, 32), (33, 512, 64), (505, 512, 512), (40, 50, 50), (60, 50, 60), (7, 10**9, 7), (7, 0, 7)],
)
def test_lengths_are_multiples_as_far_as_the_model_reads(tokens: int, longest: int, expected: int) -> None:
    assert padded_length(tokens, longest) == expected


def test_padding_changes_no_logit_of_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    folder = exported("albert", "openvino")
    description = replace(read_description(folder), model_max_length=64)  # as many as it has positions
    session: Any = open_session(folder, description, threads=1)
    plain = open_session(folder, replace(description, model_max_length=10**9), threads=1)
    ids = np.arange(5, 5 + 2 * 41).reshape(2, 41)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    inputs["attention_mask"][1, 30:] = 0
    seen = []
    infer = session._requests.own = session._compiled.create_infer_request()
    monkeypatch.setattr(session._requests, "own", type("Seen", (), {"infer": staticmethod(
        lambda given: (seen.append({value.shape for value in given.values()}), infer.infer(given))[1]
    )}))  # fmt: skip
    found = session(inputs)
    assert seen == [{(2, 64)}]
    assert found.shape == (2, 2, 41)
    np.testing.assert_allclose(found, plain(inputs), rtol=1e-4, atol=1e-5)
