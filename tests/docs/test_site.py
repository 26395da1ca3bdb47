"""What the site adds to mkdocs: links that leave its folder, docstrings as Markdown, nothing loaded from afar."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.docs.documents import DOCS, REPOSITORY
from tests.references.scripts import load_script

pytest.importorskip("mkdocs")

CONFIG: Any = SimpleNamespace(docs_dir=str(DOCS), extra={"repository": REPOSITORY})


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return load_script("docs/hooks.py")


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    return load_script("docs/docstrings.py")


def page(path: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(abs_src_path=str(DOCS / path), src_uri=path))


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.md", "[x](b.md#c)", "[x](b.md#c)"),
        ("guides/a.md", "[x](../results.md)", "[x](../results.md)"),
        ("a.md", "[x](../setup.cfg)", f"[x]({REPOSITORY}/blob/main/setup.cfg)"),
        ("guides/a.md", "[x](../../examples/serving)", f"[x]({REPOSITORY}/tree/main/examples/serving)"),
        ("a.md", "[x](../CONTRIBUTING.md#y)", f"[x]({REPOSITORY}/blob/main/CONTRIBUTING.md#y)"),
        ("a.md", "![x](../benchmarks/results/overview.png)", "![x](pictures/overview.png)"),
        ("guides/a.md", "![x](../../benchmarks/results/overview.png)", "![x](../pictures/overview.png)"),
    ],
)
def test_links_that_leave_the_folder_lead_to_the_repository(
    hooks: ModuleType, path: str, text: str, expected: str
) -> None:
    assert hooks.on_page_markdown(text, page(path), CONFIG, None) == expected


@pytest.mark.parametrize(
    "foreign",
    [
        '<script src="https://unpkg.com/mermaid"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img alt="" src="http://example.org/badge.svg">',
    ],
)
def test_a_page_that_loads_something_from_afar_is_refused(hooks: ModuleType, foreign: str) -> None:
    from mkdocs.exceptions import PluginError

    with pytest.raises(PluginError, match=r"a\.md loads "):
        hooks.on_post_page(f"<html>{foreign}</html>", page("a.md"), CONFIG)


def test_links_that_one_must_click_are_not(hooks: ModuleType) -> None:
    html = '<link rel="canonical" href="https://a.b/c"><a href="https://a.b">x</a><script src="../app.js"></script>'
    assert hooks.on_post_page(html, page("a.md"), CONFIG) == html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("``a[b]`` and ``c``", "`a[b]` and `c`"),
        ("Text.\n\nExample:\n    >>> 1 + 1\n    2", "Text.\n\nExamples:\n    >>> 1 + 1\n    2"),
        (":func:`~.masks.top_v`", "`top_v`"),
        (":class:`~transformers_palbert.pruning.config.PruningConfig`", "PUBLIC"),
        ("As in::\n\n    a = 1\n        b\n\nThen.", "As in:\n\n```python\na = 1\n    b\n```\n\nThen."),
        ("x: y::\n\n        deep\n", "x: y:\n\n    ```python\n    deep\n    ```\n\n"),
    ],
)
def test_docstrings_become_markdown(docstrings: ModuleType, text: str, expected: str) -> None:
    link = "[`PruningConfig`][transformers_palbert.PruningConfig]"
    assert docstrings.to_markdown(text) == expected.replace("PUBLIC", link)


def test_no_docstring_of_the_reference_keeps_a_role(docstrings: ModuleType) -> None:
    import transformers_palbert

    for name in transformers_palbert.__all__:
        text = getattr(transformers_palbert, name).__doc__ or ""
        assert ":class:`" not in docstrings.to_markdown(text), name
        assert ":func:`" not in docstrings.to_markdown(text), name


def test_pictures_of_results_are_on_the_site(hooks: ModuleType) -> None:
    assert Path(hooks.PICTURES, "overview.png").is_file()
