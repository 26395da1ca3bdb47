"""Segmentation of mixed Chinese and Latin text, as the official CMRC 2018 script does it.

A Chinese character is a segment of its own. What stands between Chinese characters (Latin words, digits, blanks, and
every character that the script does not know) is a *run*, and is cut into words by the rules of NLTK's
``word_tokenize``: sentences by Punkt, then words by the Penn Treebank rules.

``word_tokenize`` needs Punkt's English model, which has to be downloaded. On the lower-cased runs that occur here
nearly all of that model is without effect, so this module does without the download: it runs NLTK's own Punkt algorithm
with the model's abbreviations (facts of the published model ``punkt_tab/english``) and nothing else. Frequent sentence
starters count only before capital letters, and there are none; collocations only confirm what holds without them. What
is left is the spelling statistics of the word that follows an initial or a number with a full stop ("j. smith", "2.
graph"): Punkt sees no sentence end there unless its training text had that very word in small letters at the beginning
of a sentence and never with a capital. For such a rare word alone the full stop may be cut off by the official script
and not here. Such a full stop stands, rare word or not, in three distinct answers of the 9,657 of the CMRC 2018
development set (each an initial before a family name, which Punkt does not cut), and in 37 of the 11,915 runs of its
contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

__all__ = ["IGNORED_CHARACTERS", "mixed_segmentation", "remove_punctuation", "tokenize_run"]

IGNORED_CHARACTERS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
"""What the official script removes. Its list also holds ``……``, which no single character equals: ``…`` stays."""

_ABBREVIATIONS = """
    c d e f g h k l m n p r s t v w
    adm ave bros chg cie co col corp cos dr ft gen inc jr lt ltd maj messrs mg mr mrs ms prof rep reps sen sr st sw vs
    yr jan feb aug sep sept oct nov dec tues wed fri
    ala ariz calif colo conn ct fla ga ill kan ky mich minn nev ok okla ore pa tenn va vt w.va wash wis
    a.a a.c a.d a.g a.h a.m a.m.e a.s a.t b.f b.v c.i.t c.o.m.b c.v d.c d.h d.w e.f e.h e.l e.m f.g f.j g.d g.f g.k h.c
    h.f h.m i.m.s j.b j.c j.j j.k j.p j.r l.a l.f l.p m.b.a m.d.c m.j n.c n.d n.h n.j n.m n.v n.y p.a.m p.m ph.d r.a r.h
    r.i r.j r.k r.t s.a s.a.y s.c s.g s.p.a s.s t.j u.k u.n u.s u.s.a u.s.s.r w.c w.r w.w
"""  # initials, titles and companies, dates, states, letters with full stops between them


def mixed_segmentation(text: str) -> list[str]:
    """Cut ``text`` into segments: Chinese characters one by one, everything between them by :func:`tokenize_run`.

    The text is lower-cased and stripped first. The characters of :data:`IGNORED_CHARACTERS` vanish without ending a
    run: ``"1998-2000"`` is the one segment ``19982000``.
    """
    segments: list[str] = []
    run = ""
    for character in remove_punctuation(text):
        if "\u4e00" <= character <= "\u9fa5":
            if run:
                segments.extend(tokenize_run(run))
                run = ""
            segments.append(character)
        else:
            run += character
    if run:
        segments.extend(tokenize_run(run))
    return segments


def remove_punctuation(text: str) -> str:
    """Lower-case and strip ``text``, then drop :data:`IGNORED_CHARACTERS`. Other blanks and signs stay."""
    return "".join(character for character in text.lower().strip() if character not in IGNORED_CHARACTERS)


@lru_cache(maxsize=65_536)
def tokenize_run(run: str) -> tuple[str, ...]:
    """Cut a run without Chinese characters into words, as NLTK's ``word_tokenize`` does; see the module's text."""
    split_sentences, split_words = _nltk_tokenizers()
    return tuple(word for sentence in split_sentences(run) for word in split_words(sentence))


@cache
def _nltk_tokenizers() -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
    from nltk.tokenize.destructive import NLTKWordTokenizer  # a second of import that only this metric needs
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    parameters = PunktParameters()
    parameters.abbrev_types = set(_ABBREVIATIONS.split())
    return PunktSentenceTokenizer(parameters).tokenize, NLTKWordTokenizer().tokenize
