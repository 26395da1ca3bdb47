"""The page for everybody: small and large, light and dark, by keyboard alone, with colours that can be told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.conftest import RECORDS, ROWS, TEXT, FixedReader, record
from tests.references.accessibility import contrast, variables, violations
from tests.serving.browser import BROWSER, Tab, open_tab
from transformers_palbert.analysis.page import render_page
from transformers_palbert.analysis.report import report_data

in_browser = pytest.mark.skipif(BROWSER is None, reason="needs a browser: none of chromium, google-chrome is on PATH")
SIZES = [(1280, 800), (390, 844)]
READABLE, VISIBLE = 4.5, 3.0  # the ratios that WCAG 2.2 asks for at level AA, of text and of graphics

COLOURS = variables(files("transformers_palbert.analysis").joinpath("template", "report.css").read_text("utf-8"))


@pytest.mark.parametrize("theme", COLOURS)
def test_colours_of_text_and_graphics_stand_out(theme: dict[str, str]) -> None:
    for ground in ("card", "ground"):
        for text in ("text", "muted", "accent", "right", "partial", "missed"):
            assert contrast(theme[text], theme[ground]) >= READABLE, (text, ground)
        for graphic in ("field", "f1", "em", "gold-line", "found-line", "second-line", "right", "partial", "missed"):
            assert contrast(theme[graphic], theme[ground]) >= VISIBLE, (graphic, ground)
    for mark in ("gold", "found", "second"):
        assert contrast(theme["text"], theme[mark]) >= READABLE, mark


def test_all_themes_have_all_colours() -> None:
    light, by_system, by_choice = COLOURS
    assert light.keys() == by_system.keys()
    assert by_system == by_choice


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def pages(model: Any, tmp_path: Path) -> dict[str, str]:
    """The addresses of a page on one model and of one on two, about 203 questions, 199 of them answered rightly."""
    records = [*RECORDS, *(record(f"more-{n}", f"谁写了《红楼梦》? {n}", TEXT, "曹雪芹") for n in range(200))]
    first = {row["question"]: [("曹雪芹", 0.9), ("作者", 0.0004)] for row in records}
    first |= {question: found for question, _, found in ROWS.values()}
    first["谁写了《红楼梦》? 7"] = [("清代", 0.4)]
    second = {question: [("清代", 0.5)] for question in first}
    readers = {"dense": FixedReader(model, first), "pruned": FixedReader(model, second)}
    addresses = {}
    for name, chosen in {"one": ["dense"], "two": ["dense", "pruned"]}.items():
        file = tmp_path / f"{name}.html"
        asked = {model: readers[model] for model in chosen}
        data = report_data(asked, records, source="dev.json", metric="cmrc2018", top_k=2)
        file.write_text(render_page(data), encoding="utf-8")
        addresses[name] = file.as_uri()
    return addresses


def show(tab: Tab, address: str, size: tuple[int, int] = SIZES[0], *, dark: bool = False) -> None:
    tab.look(*size, dark=dark)
    tab.call("Page.navigate", url="about:blank")  # so that an address that differs behind the # is loaded anew
    tab.call("Page.navigate", url=address)
    tab.wait_for("document.readyState === 'complete' && document.querySelector('#list details[open] .context')")


@in_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["one", "two"])
def test_nothing_is_in_the_way(tab: Tab, pages: dict[str, str], name: str, size: tuple[int, int], dark: bool) -> None:
    show(tab, pages[name], size, dark=dark)
    tab.run("document.querySelector('#more').open = true")
    assert violations(tab) == []
    assert tab.run("document.documentElement.scrollWidth") <= size[0]
    tab.run("document.querySelector('#more').open = false")
    assert tab.run("document.querySelector('#list summary').getBoundingClientRect().bottom") < size[1]
    assert tab.complaints == []


@in_browser
def test_the_bar_is_true_to_its_shares(tab: Tab, pages: dict[str, str]) -> None:
    show(tab, pages["one"])
    parts = tab.run("[...document.querySelectorAll('.shares i')].map((part) => [part.className, part.offsetWidth])")
    whole = sum(width for _, width in parts)
    shares = {name: width / whole for name, width in parts}
    assert shares == pytest.approx({"right": 200 / 203, "partial": 1 / 203, "missed": 2 / 203}, abs=1.5 / whole)


@in_browser
def test_small_scores_are_not_called_none(tab: Tab, pages: dict[str, str]) -> None:
    show(tab, f"{pages['one']}#question=more-3")
    shown = tab.run("[...document.querySelectorAll('.candidates button')].map((row) => row.children[2].textContent)")
    assert shown == ["90\u00a0%", "<\u00a00.1\u00a0%"]


@in_browser
def test_a_link_opens_its_question(tab: Tab, pages: dict[str, str]) -> None:
    show(tab, f"{pages['one']}#question=more-150")
    asked = "document.activeElement.querySelector('.asked').textContent"
    assert tab.run(asked) == "谁写了《红楼梦》? 150"
    assert tab.run("document.querySelector('#page').textContent") == "Page 8 of 11"
    assert tab.run("document.querySelectorAll('#list details[open]').length") == 1
    assert tab.run("document.querySelector('#list details[open] a').getAttribute('href')") == "#question=more-150"
    tab.run("document.querySelector('#previous').click()")
    assert tab.run("location.hash") == "#page=7"


@in_browser
def test_two_models_stand_side_by_side(tab: Tab, pages: dict[str, str]) -> None:
    show(tab, f"{pages['two']}#change=gained")
    assert tab.run("document.querySelector('#count').textContent").startswith("1 of 203")  # 清代 is right once
    assert tab.run("[...document.querySelectorAll('#list .result')].map((e) => e.textContent)") == ["F1 66.7", "right"]
    titles, lefts = json.loads(
        tab.run("JSON.stringify([[...document.querySelectorAll('.by')].map((e) => e.textContent),"
                " [...document.querySelectorAll('.answers > div')].map((e) => e.getBoundingClientRect().left)])")
    )  # fmt: skip
    assert titles == ["dense", "pruned"]
    assert lefts[0] < lefts[1]
    show(tab, pages["two"], SIZES[1])
    assert len(set(tab.run("[...document.querySelectorAll('.answers > div')].map((e) => e.offsetLeft)"))) == 1


@in_browser
def test_everything_can_be_done_by_keyboard(tab: Tab, pages: dict[str, str]) -> None:
    show(tab, pages["one"])
    focused = "document.activeElement"
    tab.press("Tab")
    assert tab.run(f"{focused}.id") == "skip"
    assert tab.run(f"getComputedStyle({focused}).outlineStyle") != "none"
    tab.press("Enter")
    assert tab.run(f"{focused}.id") == "questions-title"
    reached = []
    while "SUMMARY question" not in reached:
        tab.press("Tab")
        reached.append(
            tab.run(f"{focused}.tagName + ' ' + ({focused}.name || {focused}.parentElement.className.split(' ')[0])")
        )
        assert tab.run(f"getComputedStyle({focused}).outlineStyle") != "none", reached
        assert len(reached) < 15
    assert reached[:3] == ["INPUT q", "SELECT only", "SELECT sort"]
    tab.press("Enter")
    assert not tab.run(f"{focused}.parentElement.open")
    tab.press("Enter")
    assert tab.run(f"{focused}.parentElement.open")
    for _ in range(3):  # the link, and two candidates
        tab.press("Tab")
    tab.press("Enter")
    assert tab.run(f"{focused}.getAttribute('aria-pressed')") == "true"
    assert tab.run("document.querySelector('.context mark.found').textContent") == "作者"
