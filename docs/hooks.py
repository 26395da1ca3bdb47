"""What mkdocs does not do by itself: links that leave this folder, and the promise that pages load nothing from afar.

Pages link to files of the repository by relative paths, which work where the repository is browsed. On the site, a
picture of a result is copied, and every other such link leads to the repository.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "benchmarks" / "results"
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<path>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
"""Tag -> the attribute that names what a browser loads for it, without a click."""


def on_files(files: Files, config: Any) -> Files:
    """Take the pictures of the results into the site."""
    for picture in sorted(PICTURES.glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001  (mkdocs passes it)
    """Turn relative links that leave the folder of the pages into links that work on the site."""
    folder = Path(page.file.abs_src_path).parent

    def link(match: re.Match[str]) -> str:
        target = (folder / match["path"]).resolve()
        if target.is_relative_to(config.docs_dir):
            return match[0]
        if target.parent == PICTURES and target.suffix == ".png":
            return f"{match['text']}({get_relative_url(f'pictures/{target.name}', page.file.src_uri)})"
        kind = "tree" if target.is_dir() else "blob"
        path = target.relative_to(ROOT).as_posix()
        return f"{match['text']}({config.extra['repository']}/{kind}/main/{path}{match['anchor'] or ''})"

    return LINK.sub(link, markdown)


class _Loaded(HTMLParser):
    """Gathers the addresses that a page loads by itself."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") == "canonical":
            return  # it says where the page belongs; nothing is loaded from there
        if address := given.get(LOADING.get(tag, "")):
            self.addresses.append(address)


def on_post_page(output: str, page: Any, config: Any) -> str:  # noqa: ARG001  (mkdocs passes it)
    """Refuse a page for which a browser would load something from another place."""
    foreign = [address for address in _Loaded(output).addresses if re.match(r"(https?:)?//", address)]
    if foreign:
        raise PluginError(f"{page.file.src_uri} loads {', '.join(foreign)}; the site must work without the network.")
    return output
