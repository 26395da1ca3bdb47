from __future__ import annotations

import re

from tests.serving.helpers import FakeModel, running
from transformers_palbert.serving.page import PAGE_FILES, page_file


def test_the_page_and_its_parts_are_served_under_a_strict_policy():
    with running(FakeModel()) as client:
        for path, (name, media_type) in PAGE_FILES.items():
            response, content = client.get(path)
            assert (response.status, response.headers["Content-Type"]) == (200, media_type)
            assert content == page_file(name)
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_of_the_page_is_elsewhere_and_no_text_becomes_markup():
    parts = {name: page_file(name).decode() for name, _ in PAGE_FILES.values()}
    for name in ("ask.html", "ask.css", "ask.js"):
        assert not re.search(r"//\w", parts[name])
        assert "@import" not in parts[name]
        assert "url(" not in parts[name]
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "DOMParser"):
        assert forbidden not in parts["ask.js"]
    assert "style=" not in parts["ask.html"]
    assert "onclick" not in parts["ask.html"]
