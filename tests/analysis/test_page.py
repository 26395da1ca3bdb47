from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from tests.analysis.conftest import RECORDS, FixedReader, record
from transformers_palbert.analysis.page import question_type_rules, render_page
from transformers_palbert.analysis.report import report_data
from transformers_palbert.errors import ConfigurationError
from transformers_palbert.qa.statistics import QUESTION_TYPES, question_type

HOSTILE = """</script><script>alert(1)</script><!-- <img src=x onerror="alert(1)"> {{script}} &lt; \u2028 ' " \\"""


class Tags(HTMLParser):
    """Tags, attributes, and what stands inside style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.raw: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.cdata_elem:
            self.raw.append(data)


def make(reader, records=RECORDS, name="model", source="dev.json"):
    return report_data({name: reader}, records, source=source, metric="palbert_qa", top_k=2)


@pytest.fixture
def hostile(model):
    row = record(HOSTILE, HOSTILE, f"{HOSTILE} 答 {HOSTILE}", "答", HOSTILE) | {"title": HOSTILE}
    return make(FixedReader(model, {HOSTILE: [(HOSTILE, 0.5), ("答", 0.1)]}), [row], name=HOSTILE, source=HOSTILE)


def embedded(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_data_is_all_there(reader):
    data = make(reader)
    assert embedded(render_page(data)) == {**data, "rules": question_type_rules()}


def test_the_same_data_makes_the_same_page(reader):
    assert render_page(make(reader)) == render_page(make(reader))


def test_hostile_texts_are_no_markup(reader, hostile):
    calm, page = Tags(render_page(make(reader))), render_page(hostile)
    assert Tags(page).tags == calm.tags
    assert embedded(page)["questions"][0]["text"] == HOSTILE
    assert (
        page.count("alert(1)")
        == page.count("\\u003cscript\\u003ealert(1)") * 2 + page.count("&lt;script&gt;alert(1)") * 2
    )


def test_nothing_is_loaded(reader):
    tags = Tags(render_page(make(reader)))
    assert not {"link", "img", "iframe", "object", "embed", "base", "a"} & set(tags.tags)
    assert not {"src", "href", "srcset", "style", "action"} & {name for name, _ in tags.attributes}
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    style = next(text for text in tags.raw if "--ground" in text)
    assert "url(" not in style
    assert "@import" not in style
    script = next(text for text in tags.raw if "use strict" in text)
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp|import\(", script
    )


def test_the_policy_allows_this_style_and_this_script_alone(reader):
    tags = Tags(render_page(make(reader)))
    (policy,) = (value for name, value in tags.attributes if name == "content" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'; ")
    digests = re.findall(r"'sha256-(.+?)'", policy)
    style, _, script = tags.raw
    assert digests == [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    assert "unsafe" not in policy


def test_rules_are_read_off_the_documentation():
    rules = question_type_rules()
    assert [kind for kind, _, _ in rules] == [kind.replace("_", " ") for kind in QUESTION_TYPES]
    for kind, english, chinese in rules[:-1]:
        first = re.split(r"[;,]", english)[0]
        assert question_type(f"{first} …").replace("_", " ") == kind
        assert question_type(re.split(r"[ ,]", chinese)[0] + "呢，").replace("_", " ") == kind


def test_what_json_lacks_is_refused(reader):
    for value in (float("nan"), object()):
        with pytest.raises(ConfigurationError, match="JSON"):
            render_page({**make(reader), "best": value})
