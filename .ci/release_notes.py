"""Print what CHANGELOG.md says about a release, after checking that its tag is the version of the package.

Called as `python .ci/release_notes.py v0.2.0`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(tag: str, root: Path = ROOT) -> str:
    """The notes of the release ``tag``; leaves with an error where tag, version and changelog do not agree."""
    init = (root / "src" / "transformers_palbert" / "__init__.py").read_text(encoding="utf-8")
    version = re.findall(r'^__version__ = "(.+)"$', init, re.MULTILINE)[0]
    if tag != f"v{version}":
        sys.exit(f"error: the tag is {tag!r}, but the package says version {version}; tag it v{version}, or raise it.")
    notes = section((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if not notes:
        sys.exit(
            f"error: CHANGELOG.md says nothing under `## [{version}]`; move what is under `## [Unreleased]` there."
        )
    return notes


def section(changelog: str, version: str) -> str:
    """What stands under the heading of ``version``; empty where there is no such heading."""
    _, _, rest = changelog.partition(f"\n## [{version}]")
    return rest.partition("\n")[2].partition("\n## [")[0].strip()


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
