"""A headless browser, without network, for pages in files."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

__all__ = ["BROWSER", "Page", "open_page"]

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

_OPTIONS = [
    "--headless",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--proxy-server=127.0.0.1:9",  # the port that nobody listens on: a request fails
    "--virtual-time-budget=4000",
    "--lang=en",
]
_VOID = {"br", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """The elements of a page after its scripts ran: tag, attributes and text, in the order they begin."""

    def __init__(self, dom: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(dom)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        texts: list[str] = []
        self.elements.append((tag, dict(attrs), texts))
        if tag not in _VOID:
            self._open.append((tag, texts))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """Text of every such element; ``class`` (given as ``kind``) may be one of several."""
        kind = attributes.pop("kind", None)
        return [
            "".join(texts)
            for name, given, texts in self.elements
            if name == tag
            and all(given.get(key.replace("_", "-")) == value for key, value in attributes.items())
            and (kind is None or kind in (given.get("class") or "").split())
        ]

    def text(self, tag: str, **attributes: str) -> str:
        """Text of the only such element."""
        (found,) = self.texts(tag, **attributes)
        return found


def open_page(address: str, *, profile: Path) -> Page:
    """Open ``address``, let the scripts there run, and read what stands there then."""
    assert BROWSER is not None
    command = [BROWSER, *_OPTIONS, f"--user-data-dir={profile}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
    return Page(done.stdout)
