"""Links lead somewhere: to files, to headings, and to pages of the site that its table of contents names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.docs.documents import DOCS, PAGES, REPOSITORY, files_below, prose
from tests.references.scripts import ROOT

RAW = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
SETTINGS = ROOT / "mkdocs.yml"


def links(page: str) -> list[str]:
    """Targets of all links and pictures of a page, code left out."""
    return [match["target"] for match in LINK.finditer(re.sub(r"`[^`\n]*`", "", prose(page)))]


def headings(page: Path) -> set[str]:
    """The anchors that a page's headings get, on GitHub as on the site."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def local(page: str, target: str) -> tuple[Path, str] | None:
    """The file of this repository that a link leads to, and the heading in it; None for other places."""
    address, _, anchor = target.partition("#")
    for start in (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/", f"{RAW}/main/"):
        if address.startswith(start):
            return ROOT / unquote(address.removeprefix(start)), anchor
    if re.match(r"\w+:", address):
        return None
    return ((ROOT / page).parent / unquote(address) if address else ROOT / page), anchor


@pytest.mark.parametrize("page", PAGES)
def test_every_link_into_the_repository_leads_to_a_file_and_a_heading(page: str) -> None:
    for target in links(page):
        if (found := local(page, target)) is None:
            continue
        file, anchor = found
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target


def test_the_readme_works_where_only_its_text_is() -> None:
    """PyPI shows the text alone: no relative link, and pictures from where they are files."""
    targets = links("README.md")
    assert targets
    assert not [target for target in targets if not target.startswith("https://")]
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(pictures) == 2
    assert all(picture.startswith(f"{RAW}/main/") for picture in pictures)


def test_the_readme_can_be_read_in_a_minute() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 110
    assert max(file.stat().st_size for file in files_below(DOCS, ".png", ".svg")) < 150_000


def test_pages_and_table_of_contents_are_the_same() -> None:
    def named(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        return [page for part in inner for page in named(part)]  # type: ignore[attr-defined]

    navigation = named(yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["nav"])
    assert sorted(navigation) == [page.relative_to(DOCS).as_posix() for page in files_below(DOCS, ".md")]


def test_every_page_has_one_title() -> None:
    for page in files_below(DOCS, ".md"):
        assert len(re.findall(r"^# ", prose(page.relative_to(ROOT).as_posix()), re.MULTILINE)) == 1, page


def test_every_drawing_is_shown() -> None:
    shown = {
        found[0].resolve()
        for page in PAGES
        for target in links(page)
        if (found := local(page, target)) is not None and found[0].suffix in (".png", ".svg")
    }
    assert {file.resolve() for file in files_below(DOCS, ".png", ".svg")} <= shown


def test_the_repository_has_one_address() -> None:
    assert f"  repository: {REPOSITORY}\n" in SETTINGS.read_text(encoding="utf-8")
    addresses = re.findall(
        r"https://github\.com/[\w-]*palbert[\w-]*/[\w-]+",
        "".join((ROOT / name).read_text(encoding="utf-8") for name in (*PAGES, "setup.cfg")),
    )
    assert set(addresses) == {REPOSITORY}
