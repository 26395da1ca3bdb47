"""Words of a sentence of lower-case English by the rules of the Penn Treebank, as NLTK 3.8.1 applies them.

The rules are those of ``word_tokenize``, for the texts that the official CMRC 2018 script calls it with: lower-case,
and without the characters of :data:`~transformers_palbert.qa.metrics.segmentation.IGNORED_CHARACTERS`. Each rule puts
blanks around what is a word of its own, or writes quotation marks as the Treebank does (two backticks to open, two
apostrophes to close), and sees what the rules before it left. In the end the words are what stands between blanks.

The order of the rules is part of them: a quotation mark opens behind a blank that an earlier rule has put there.
"""

from __future__ import annotations

import re

__all__ = ["split_words"]

_OPENING = (
    (r"[«‘„]", r" \g<0> "),
    (r'^"', " `` "),
    (r"""(?<=[ (\[{<])(?:"|'')""", " `` "),
    (r"(?i)'(?![dmnst])(?=\w\b)", "' "),  # before a single letter, but those of contractions
)
_SIGNS = (
    (r"""(?<=[^.])\.(?=[\])}>"'» ]*\s*$)""", " . "),  # the full stop at the end, behind which quotes may close
    (r",(\D)", r" , \1"),  # not within numbers; of two commas in a row, what follows the second stays with it
    (r",$", " , "),
    (r"\.{2,}|[;@#$%&?!]", r" \g<0> "),
    (r"(?<=[^'])'(?= )", " ' "),
    (r"[\[\](){}<>]", r" \g<0> "),
)
_CLOSING = (
    (r"»", " » "),
    (r"''|\"", " '' "),
    (r"(?<=[^' ])'[dms]?(?= )", r" \g<0>"),
    (r"(?<=[^' ])(?:'ll|'re|'ve|n't)(?= )", r" \g<0>"),
)
_CONTRACTIONS = (
    (
        r"(?i)\b(can(?=not\b)|gim(?=me\b)|lem(?=me\b)|gon(?=na\b)|wan(?=na\s)|got(?=ta\b)|d(?='ye\b)|more(?='n\b))"
        r"(not|me|na|ta|'ye|'n)",
        r" \1 \2 ",
    ),
    (r"(?i) ('t)(is)\b", r" \1 \2 "),
    (r"(?i) ('t)(was)\b", r" \1 \2 "),
)


def _compiled(*parts: tuple[tuple[str, str], ...]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rule), replacement) for part in parts for rule, replacement in part]


_FIRST, _THEN = _compiled(_OPENING, _SIGNS), _compiled(_CLOSING, _CONTRACTIONS)


def split_words(sentence: str) -> list[str]:
    """Cut ``sentence`` into words and signs."""
    for rule, replacement in _FIRST:
        sentence = rule.sub(replacement, sentence)
    sentence = f" {sentence} "
    for rule, replacement in _THEN:
        sentence = rule.sub(replacement, sentence)
    return sentence.split()
