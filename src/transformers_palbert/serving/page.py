"""The page at ``/``: paste a text, ask, see the answers in the text. It loads nothing from anywhere else."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["PAGE_FILES", "SECURITY_HEADERS", "page_file"]

PAGE_FILES = {
    "/": ("ask.html", "text/html; charset=utf-8"),
    "/ask.css": ("ask.css", "text/css; charset=utf-8"),
    "/ask.js": ("ask.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path on the server: name of the file, media type."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every part of the page: only this server's own files may run, and no other site may frame it."""


def page_file(name: str) -> bytes:
    """The bytes of a file of the page."""
    return files(__package__).joinpath("template", name).read_bytes()
