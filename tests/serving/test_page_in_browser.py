"""The page in a real browser: with the keyboard alone, on a phone, in the dark, with hostile texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.serving.browser import BROWSER, open_tab
from tests.serving.helpers import FakeModel, running

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a browser: none of chromium, google-chrome is on PATH")

HOSTILE = '<img src="x" onerror="document.title=\'pwned\'"></textarea><script>document.title="pwned"</script>'
TEXT = f"𠮷野家😀 {HOSTILE} My name is Wolfgang\nand I live in Berlin"
STORY = "Wolfgang is a carpenter, and he has travelled through half of Europe. " * 12 + "Today he lives in Berlin"

CONTRAST = """(() => {
  const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (at) => {
    for (; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const worst = [];
  const compare = (element, style, name) => {
    const [high, low] = [light(parts(style.color)), light(behind(element))].sort((a, b) => b - a);
    worst.push([(high + 0.05) / (low + 0.05), name]);
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility()) continue;
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (own) compare(element, getComputedStyle(element), `${element.tagName} ${element.className}`);
    if (element.placeholder) compare(element, getComputedStyle(element, "::placeholder"), "placeholder");
  }
  return worst.sort((a, b) => a[0] - b[0]);
})()"""

NAMELESS = """[...document.querySelectorAll("input, textarea, button")].filter(
  (field) => field.checkVisibility() && !field.labels?.length && !field.textContent.trim() && !field.ariaLabel
).length"""

FOCUSED = "document.activeElement.id || document.activeElement.tagName"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with open_tab(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def server():
    with running(FakeModel(), max_wait_ms=0, max_context_chars=1000) as client:
        yield client


@pytest.fixture
def page(browser: Any, server: Any):
    browser.forget()
    browser.look(1280, 900)
    browser.open(f"http://127.0.0.1:{server.port}/")
    return browser


def asked(page: Any, text: str = TEXT, question: str = "Where?", *, top: int = 5) -> Any:
    """Fill in the form with the keyboard, as it comes, and ask."""
    page.run("document.querySelector('#context').focus()")
    page.type(text)
    page.press("Tab")
    page.type(question)
    page.run(f"document.querySelector('#top').value = {top}")
    page.press("Enter")
    page.wait_for("!document.querySelector('#found').hidden || !document.querySelector('#problem').hidden")
    return page


def texts(page: Any, selector: str) -> list[str]:
    return page.run(f"[...document.querySelectorAll('{selector}')].map((element) => element.textContent)")


def test_the_keyboard_alone_is_enough(page):
    order = []
    for _ in range(6):
        page.press("Tab")
        order.append(page.run(FOCUSED))
    assert order[:5] == ["context", "question", "top", "impossible", "send"]
    asked(page)
    assert texts(page, "#best") == ["Berlin"]
    assert texts(page, "#marked mark") == ["Berlin"]
    found = ["Berlin", "in Berlin", "live in Berlin", "I live in Berlin", "Wolfgang\nand I live in Berlin"]
    assert texts(page, ".candidates .text") == found
    while page.run("document.activeElement.tagName") != "BUTTON" or page.run(FOCUSED) == "send":
        page.press("Tab")
    page.press("ArrowDown")
    assert texts(page, "#marked mark") == ["in Berlin"]
    assert texts(page, "[aria-current] .text") == ["in Berlin"]
    page.press("Tab")
    assert texts(page, "#marked mark") == ["live in Berlin"]
    page.press("ArrowUp")
    assert texts(page, "#marked mark") == ["in Berlin"]


def test_a_text_field_asks_with_control_and_enter(page):
    page.run("document.querySelector('#question').value = 'Where?'")
    page.run("document.querySelector('#context').focus()")
    page.type("I live in Oslo")
    page.press("Enter", control=True)
    page.wait_for("document.querySelector('#best').textContent === 'Oslo'")
    assert texts(page, "#size") == ["14 characters"]
    assert texts(page, "#status") == ["Answer: Oslo Score 0.500, 4 candidates."]


def test_hostile_texts_stay_texts_and_offsets_count_characters(page):
    asked(page, question=HOSTILE, top=20)
    assert texts(page, "#marked") == [TEXT]
    assert texts(page, "#asked") == [HOSTILE]
    assert texts(page, "#marked mark") == ["Berlin"]  # behind two characters outside the basic plane
    assert page.run("document.title") == "Ask a text: fake"
    assert page.run("document.querySelectorAll('img').length") == 0


def test_pointing_at_a_candidate_marks_it(page):
    asked(page)
    box = page.run("(({x, y}) => [x, y])(document.querySelectorAll('.candidates button')[2].getBoundingClientRect())")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + 20, y=box[1] + 10)
    assert texts(page, "#marked mark") == ["live in Berlin"]


def test_the_text_may_not_hold_the_answer(page, server):
    server.app.state.batcher.ask = lambda **_: {"score": 0.8, "start": 0, "end": 0, "answer": ""}
    asked(page)
    assert texts(page, "#best") == ["The text does not say."]
    assert texts(page, "#marked mark") == []
    assert texts(page, "#marked") == [TEXT]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("x" * 1001, "context: 1,001 characters are more than the 1,000 allowed"), (" ", "context: it is empty")],
)
def test_what_the_server_refuses_is_said(page, text, problem):
    asked(page, text)
    assert texts(page, "[role=alert]") == [problem]
    assert page.run("document.querySelector('#found').hidden")
    assert texts(page, "#send") == ["Ask"]


def test_a_busy_server_and_none(page, server):
    server.app.state.batcher._stopping = True
    asked(page)
    assert texts(page, "[role=alert]") == ["The server is busy. Try again in 1 s."]
    page.run("window.fetch = () => Promise.reject(new TypeError('network'))")
    page.run("document.querySelector('#ask').requestSubmit()")
    page.wait_for("document.querySelector('#problem').textContent.includes('cannot be reached')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_sizes_and_colours(page, width, dark):
    page.look(width, 844 if width < 600 else 900, dark=dark)
    contrasts = page.run(CONTRAST)
    asked(page, STORY, "Where does Wolfgang live?")
    if folder := os.environ.get("PALBERT_TEST_PICTURES"):
        page.picture(Path(folder) / f"ask-{width}-{'dark' if dark else 'light'}.png")
    contrasts = sorted(contrasts + page.run(CONTRAST))
    assert contrasts[0][0] >= 4.5, contrasts[:3]
    assert page.run(NAMELESS) == 0
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(22, 24, 28)" if dark else "rgb(246, 246, 243)")
    columns = page.run("getComputedStyle(document.querySelector('.columns')).gridTemplateColumns.split(' ').length")
    assert columns == (1 if width < 600 else 2)
    marked = page.run("(({top, bottom}) => [top, bottom])(document.querySelector('mark').getBoundingClientRect())")
    pane = page.run("(({top, bottom}) => [top, bottom])(document.querySelector('#marked').getBoundingClientRect())")
    assert pane[0] <= marked[0] < marked[1] <= pane[1]  # a long text is scrolled to the answer
    asked(page, "long" * 200)
    assert page.run("document.documentElement.scrollWidth") <= width


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_forbidden(page, server):
    asked(page)
    assert page.complaints == []
    assert page.addresses
    assert all(address.startswith(f"http://127.0.0.1:{server.port}/") for address in page.addresses)
