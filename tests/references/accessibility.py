"""What keeps people from using a page: the rules of axe-core, and contrasts of colours by WCAG 2.2's formula."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

__all__ = ["contrast", "variables", "violations"]

AXE = files("axe_core_python") / "axe.min.js"


def violations(tab: Any) -> list[str]:
    """Rule and element of everything that axe-core objects to in the page that ``tab`` shows."""
    tab.run(AXE.read_text(encoding="utf-8") + ";0")
    found = tab.run("axe.run().then(({violations}) => violations.flatMap(({id, nodes}) => nodes.map((node) =>"
                    " `${id}: ${node.target.join(' ')} ${node.failureSummary}`)))")  # fmt: skip
    assert isinstance(found, list)
    return found


def contrast(one: str, other: str) -> float:
    """Ratio of the relative luminances of two colours, 1 to 21; https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def variables(css: str) -> list[dict[str, str]]:
    """The colours (``#rrggbb``) that each block of a style sheet gives names to, by these names."""
    blocks = re.findall(r"\{([^{}]*--[^{}]*)\}", css)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks if "#" in block]
