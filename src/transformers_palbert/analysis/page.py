"""The report as one HTML page that needs nothing else: no network, no server, no library.

Texts of the data set come from anywhere, so nothing of them is ever markup: they travel as JSON in which ``<``, ``>``
and ``&`` are escaped, and the page's script writes them as text nodes alone. A Content-Security-Policy in the page
allows the one script and the one style sheet that carry the right SHA-256 digest, and no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

from ..errors import ConfigurationError
from ..qa import statistics

__all__ = ["question_type_rules", "render_page"]

_ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def render_page(data: dict[str, Any]) -> str:
    """The page that shows ``data``, of :func:`~transformers_palbert.analysis.report.report_data`; the same each time.

    Raises:
        ConfigurationError: if ``data`` holds what JSON lacks.
    """
    style, script = _template("report.css"), _template("report.js")
    content = _json({**data, "rules": question_type_rules()})
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)};"
        " base-uri 'none'; form-action 'none'"
    )
    parts = {
        "data": content.translate(_ESCAPED),
        "policy": html.escape(policy),
        "script": script,
        "style": style,
        "title": html.escape(f"{_models(data)} on {data['source']}"),
    }
    # One pass: what is put in is not looked at again, so a question may say "{{script}}".
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], _template("report.html"))


def _models(data: dict[str, Any]) -> str:
    return f"{data['model']} and {data['other']['model']}" if data["other"] else str(data["model"])


def question_type_rules() -> list[list[str]]:
    """Kind, English words and Chinese words, read off the table in :mod:`transformers_palbert.qa.statistics`."""
    lines = (statistics.__doc__ or "").splitlines()
    first, _, last = (number for number, line in enumerate(lines) if line.startswith("==="))
    starts = [match.start() for match in re.finditer("=+", lines[first])]
    rows: list[list[str]] = []
    for line in lines[first + 3 : last]:
        cells = [line[begin:end].strip() for begin, end in zip(starts, [*starts[1:], None], strict=True)]
        if cells[0]:
            rows.append([cells[0].replace("_", " "), *cells[1:]])
        else:
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], cells, strict=True)]
    return rows


def _json(data: dict[str, Any]) -> str:
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The data of the page holds what JSON lacks: {error}. Render what report_data returns, as it is."
        ) from error


def _template(name: str) -> str:
    return files(__package__).joinpath("template", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
