"""Where the sentences of a text begin, in Chinese, English and mixtures of both."""

from __future__ import annotations

import re

__all__ = ["sentence_starts"]

_CLOSING, _OPENING, _CHINESE = r"""["')\]”’」』）】》]*""", r"""["'(\[“‘「『（【《]*""", r"\u3400-\u9fff"
# A run of signs is looked at once, from its beginning and as a whole: a page of dots would else take minutes.
_SENTENCE_END = re.compile(
    rf"[。！？…][。！？!?…]*{_CLOSING}\s*"
    rf"|(?<![.!?])[.!?]++{_CLOSING}+\s++(?={_OPENING}+[A-Z0-9\u00c0-\u00de{_CHINESE}])"  # not in 3.14, "e.g. this"
    rf"|(?<![!?])[!?]++{_CLOSING}+(?={_OPENING}+[{_CHINESE}])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Inc|Ltd|Co|Corp|No|vs|etc|cf|Fig|Eq|[Ee]\.g|[Ii]\.e|[Aa]l))\.$"
)


def sentence_starts(text: str) -> list[int]:
    """Characters that the sentences of a paragraph begin at, the first being 0; for Chinese, English and mixtures.

    A sentence ends after 。！？… or .!? and the quotes and brackets that close behind them. A Latin full stop needs
    white space behind it and then a capital, a digit or a Chinese character, and no common abbreviation or initial
    before it.

    Example:
        >>> sentence_starts("他说：“好。”然后走了。See Fig. 3. It works.")
        [0, 7, 12, 24]
    """
    ends = (match.end() for match in _SENTENCE_END.finditer(text) if not _abbreviates(text, match))
    return [0, *(end for end in ends if end < len(text))]


def _abbreviates(text: str, match: re.Match[str]) -> bool:
    if not match.group().startswith("."):
        return False
    return _ABBREVIATION.search(text[max(0, match.start() - 8) : match.start() + 1]) is not None
