"""The page in a real browser: its script runs, fills in the figures, filters, and shows hostile texts as text."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.analysis.browser import BROWSER, Page, open_page
from tests.analysis.conftest import RECORDS, ROWS, TEXT, FixedReader, record
from transformers_palbert.analysis.page import render_page
from transformers_palbert.analysis.report import report_data

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a browser: none of chromium, google-chrome is on PATH")

HOSTILE = '</script><script>document.title="pwned"</script><img id="pwned" src="x" onerror="document.title=\'pwned\'">'
CONTEXT = f"𠮷野家😀在东京。{HOSTILE}"


@pytest.fixture
def file(model, tmp_path: Path) -> Path:
    """A page on the three questions, one about hostile texts, and 40 more."""
    records = [*RECORDS, record("hostile", HOSTILE, CONTEXT, "东京")]
    answers = {question: found for question, _, found in ROWS.values()} | {HOSTILE: [("东京", 0.8), (HOSTILE, 0.1)]}
    records += [record(f"more-{number}", "为什么写它?", TEXT, "红楼梦") for number in range(40)]
    data = report_data(
        {HOSTILE: FixedReader(model, answers)}, records, source="dev.json", metric="cmrc2018", top_k=2
    )  # fmt: skip
    file = tmp_path / "report.html"
    file.write_text(render_page(data), encoding="utf-8")
    return file


@pytest.fixture
def show(file: Path) -> Callable[..., Page]:
    """Open the page with a state in its address."""
    return lambda **state: open_page(f"{file.as_uri()}#{urlencode(state)}", profile=file.with_name("profile"))


def test_figures_are_filled_in(show):
    page = show()
    assert page.text("title").endswith("on dev.json")
    assert page.text("h1") == HOSTILE
    assert page.texts("dd", kind="value")[:2] == ["6.1", "4.5"]  # F1 and EM: (100 + 66.7 + 100) / 44, (100 + 100) / 44
    assert page.text("p", id="count") == "all 44"
    assert page.text("span", id="page") == "Page 1 of 3"
    assert len(page.texts("details", kind="question")) == 20
    outcomes = [text for name in ("right", "partial", "missed") for text in page.texts("button", data_value=name)]
    assert [text.split()[0] for text in outcomes] == ["2", "1", "41"]
    assert any("why41" in text for text in page.texts("button", kind="group"))
    assert "多少" in page.text("tbody", id="rules")


def test_pictures_are_painted_for_matrices_with_zeros(show):
    page = show()
    names = page.texts("figcaption")
    assert len(page.texts("canvas")) == len(names) == 2
    assert any("intermediate.dense32 × 16, 44" in name and "empty rows: 16" in name for name in names)


def test_the_address_sets_the_filter(show):
    page = show(type="who", only="wrong")
    assert page.text("p", id="count") == "0 of 44"
    page = show(type="why", only="wrong", page="3")
    assert page.text("p", id="count") == "41 of 44: F1 0.0, EM 0.0"
    assert page.text("span", id="page") == "Page 3 of 3"
    assert len(page.texts("details", kind="question")) == 1
    assert [text[:3] for text in page.texts("button", kind="group", aria_pressed="true")] == ["why"]


def test_f1_bounds_search_and_order(show):
    assert show(min="1", max="99").text("p", id="count").startswith("1 of 44: F1 66.7")
    found = show(q="红楼梦", sort="sure")
    assert found.text("p", id="count").startswith("43 of 44")
    assert found.texts("span", kind="asked")[0] == ROWS["right"][0]


def test_a_single_question_is_open_with_both_answers_marked(show):
    page = show(q="什么时候")
    assert page.texts("mark", kind="gold")[-1] == "清代"
    context = page.text("p", kind="context")
    assert context == TEXT
    assert "".join(page.texts("mark", kind="found")[-2:]) == "写于清代"
    candidates = page.texts("button", title="Mark this candidate in the context")
    assert candidates == ["140\u00a0%写于清代F1 66.7", "230\u00a0%清代F1 100.0"]


def test_hostile_texts_stay_texts_and_offsets_count_characters(show):
    page = show(q="吉野家".replace("吉", "𠮷"))
    assert page.text("p", kind="context") == CONTEXT
    assert page.texts("mark", kind="gold")[-1] == "东京"  # behind two characters outside the basic plane
    assert page.texts("span", kind="asked") == [HOSTILE]
    assert "pwned" not in [attributes.get("id") for _, attributes, _ in page.elements]
    assert not page.texts("img")
    assert page.text("title").startswith("</script>")


def test_colours_can_be_chosen(show):
    page = show(theme="dark")
    assert page.elements[0][1].get("data-theme") == "dark"
    assert page.text("button", id="theme") == "Dark"
    assert "data-theme" not in show(theme="<script>").elements[0][1]


USER = """<!doctype html><meta charset="utf-8"><iframe src="report.html"></iframe><pre id="seen"></pre><script>
document.querySelector("iframe").addEventListener("load", ({target: {contentWindow: page}}) => {
  const seen = [], at = (selector) => page.document.querySelector(selector);
  const look = () => seen.push([at("#count").textContent, at("#page").textContent, page.location.hash]);
  const press = (key) => page.document.body.dispatchEvent(new page.KeyboardEvent("keydown", {key, bubbles: true}));
  const type = (name, value) => {
    at(`[name=${name}]`).value = value;
    at("#filters").dispatchEvent(new page.Event("input"));
  };
  press("n"); press("n"); press("n"); press("p"); look();
  at("[data-value=who]").click(); look();
  at("[data-value=who]").click();
  type("q", "谁写了"); look();
  at("[type=reset]").click(); look();
  press("/"); seen.push(page.document.activeElement.name);
  type("max", "50"); type("sort", "worst"); at("#next").click(); look();
  at("#list details:nth-child(2) summary").click();
  setTimeout(() => {
    const [first, second] = page.document.querySelectorAll("#list details:nth-child(2) .candidates button");
    const found = at("#list details:nth-child(2) mark.found").textContent;
    seen.push([first.getAttribute("aria-pressed"), found, at("#list details").open]);
    document.getElementById("seen").textContent = JSON.stringify(seen);
  }, 500);
});
</script>"""


def test_clicks_and_keys(file):
    """A user, played by a page of the same server that holds the report in a frame."""
    file.with_name("user.html").write_text(USER, encoding="utf-8")
    handler = functools.partial(Quiet, directory=file.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = open_page(f"http://127.0.0.1:{server.server_port}/user.html", profile=file.with_name("profile"))
        server.shutdown()
    paged, who, typed, reset, focused, ordered, marked = json.loads(page.text("pre", id="seen"))
    assert paged == ["all 44", "Page 2 of 3", "#page=2"]
    assert who == ["1 of 44: F1 100.0, EM 100.0", "Page 1 of 1", "#type=who"]
    assert typed[0] == "1 of 44: F1 100.0, EM 100.0"
    assert reset == ["all 44", "Page 1 of 3", ""]
    assert focused == "q"
    assert ordered == ["41 of 44: F1 0.0, EM 0.0", "Page 2 of 3", "#max=50&sort=worst&page=2"]
    assert marked == ["true", "清代", True]


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing on stderr."""

    def log_message(self, *_: object) -> None:
        pass
