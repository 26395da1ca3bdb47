"""Where the sentences of a run of lower-case English end, as Punkt decides it (Kiss and Strunk 2006).

The official CMRC 2018 script calls NLTK's ``word_tokenize``, which cuts a text into sentences before it cuts these into
words, and only the last full stop of a sentence is a word of its own. This module takes the decisions of NLTK 3.8.1 for
the texts that occur there: lower-case, and without the characters of
:data:`~transformers_palbert.qa.metrics.segmentation.IGNORED_CHARACTERS`.

NLTK's trained English model is not needed, as nearly all of it is without effect on lower-case texts. Its abbreviations
count, and are listed here; they are facts of the model ``punkt_tab/english``. Its frequent sentence starters count only
before capital letters, and there are none. Its collocations only confirm what holds without them. What is left is
the spelling of the word that follows an initial or a number with a full stop ("j. smith", "2. graph"): Punkt sees no
sentence end there, unless its training text had that very word in small letters at the beginning of a sentence and
never with a capital. For such a rare word alone, the full stop may be cut off by NLTK and not here. A full stop of that
kind stands, rare word or not, in three distinct answers of the 9,657 of the CMRC 2018 development set (each an initial
before a family name, which Punkt does not cut), and in 37 of the 11,915 runs of its contexts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["ABBREVIATIONS", "split_sentences"]

_ABBREVIATIONS = """
    c d e f g h k l m n p r s t v w
    adm ave bros chg cie co col corp cos ct dr ft gen inc jr lt ltd maj messrs mg mr mrs ms pa prof rep reps sen sr st
    sw vs yr
    jan feb aug sep sept oct nov dec tues wed fri
    ala ariz calif colo conn fla ga ill kan ky mich minn nev ok okla ore tenn va vt w.va wash wis
    a.a a.c a.d a.g a.h a.m a.m.e a.s a.t b.f b.v c.i.t c.o.m.b c.v d.c d.h d.w e.f e.h e.l e.m f.g f.j g.d g.f g.k h.c
    h.f h.m i.m.s j.b j.c j.j j.k j.p j.r l.a l.f l.p m.b.a m.d.c m.j n.c n.d n.h n.j n.m n.v n.y p.a.m p.m ph.d r.a r.h
    r.i r.j r.k r.t s.a s.a.y s.c s.g s.p.a s.s t.j u.k u.n u.s u.s.a u.s.s.r w.c w.r w.w
"""  # initials; titles, companies and units; dates; states; letters with full stops between them
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
"""Words behind which a full stop ends no sentence."""

_APART = r"""[)";}\]@'({\[!?]"""  # never part of a word
_DOTS = r"\.{2,}|(?:\.\s){2,}\."
_END_OF_WORD = rf"\s|$|{_APART}|{_DOTS}"
_WORD = re.compile(rf"""{_DOTS}|(?![("{{\[;&#@)}}\],])\S+?(?={_END_OF_WORD}|,(?={_END_OF_WORD}))|\S""")
_CANDIDATE = re.compile(rf"[.?!](?=(?P<after>{_APART}|\s+(?P<next>\S+)))")
_CLOSING = re.compile(r"""["')\]}]+(?:\s+|$)""", re.MULTILINE)
_ASCII_BLANK = re.compile(r"[ \t\n\r\x0b\x0c]")
_INITIAL = re.compile(r"[^\W\d]\.")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")


def split_sentences(text: str) -> list[str]:
    """Cut ``text`` into sentences, without the blanks between them and at the end."""
    bounds = []
    begin = 0
    for match, context in _candidates(text):
        if any(_ends_sentence(*pair) for pair in pairwise(_words(context))):
            bounds.append((begin, match.end()))
            begin = match.start("next") if match["next"] else match.end()
    bounds.append((begin, len(text.rstrip())))
    return [text[start:stop] for start, stop in _with_closing_signs(text, bounds) if start < stop]


def _candidates(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Signs that may end a sentence, each with the word before it and the word or sign behind it.

    Of several signs behind one word, such as in "what?!", the last one stands for all.
    """
    last: re.Match[str] | None = None
    begin = 0  # of the word before the sign
    for match in _CANDIDATE.finditer(text):
        since = last.start() if last else 0
        blanks = [blank.end() for blank in _ASCII_BLANK.finditer(text, since + 1, match.start())]
        word = blanks[-1] if blanks else begin
        if last and last.start() <= word:
            yield last, text[begin : last.end()] + last["after"]
        last, begin = match, word
    if last:
        yield last, text[begin : last.end()] + last["after"]


def _words(context: str) -> list[str]:
    """Words with the full stops behind them, and signs."""
    return [word for line in context.split("\n") for word in _WORD.findall(line)]


def _ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends behind ``word``, which stands before ``following``."""
    if word in (".", "?", "!"):
        return True
    if not word.endswith(".") or word.endswith("..") or word[:-1] in ABBREVIATIONS:
        return False
    initial = _INITIAL.fullmatch(word) is not None
    if not initial and not _NUMBER.fullmatch(word):
        return True
    goes_on = following in (";", ":", ",", ".", "!", "?") or following[0].islower()
    return not goes_on and not (initial and following[0].isupper())


def _with_closing_signs(text: str, bounds: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Move quotes and brackets from the beginning of a sentence to the end of the one that they close."""
    taken = 0
    for number, (start, stop) in enumerate(bounds):
        start, taken = start + taken, 0
        if number + 1 < len(bounds):
            begin, end = bounds[number + 1]
            if closing := _CLOSING.match(text[begin:end]):
                stop, taken = begin + len(closing[0].rstrip()), closing.end()
        yield start, stop
