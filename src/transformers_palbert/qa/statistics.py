"""What a question-answering data set holds: sizes, lengths, answers, kinds of questions, after Tables 1-3 of the paper.

Units and kinds are ours: figures do not compare with the paper's, which has seven kinds and does not say how it tells
them.

Kinds of questions are told by the question words of English and of Chinese in both scripts. The first question word in
the question decides; of several that begin at the same place, the first in this list:

=========  ==========================================================  =========================================
kind       English                                                     Chinese (simplified form)
=========  ==========================================================  =========================================
when       when; what or which year, date, day, month, decade,         什么时候 什么时间 什么时期 什么年代 何时
           century, time, era, season                                  何年 几时 几月 几号 公元几年 哪年 哪一天 …
how_many   how many, much, long, far, old, often, tall, high, large,   多少 几 第几 多大 多长 多高 多远 多久 多宽
           …; what percentage, number, amount, age                     多深 多重 多快
where      where; what or which country, city, place, state,           哪里 哪儿 何处 何地 什么地方 什么国家 什么位置
           location, continent, region, town, county                   哪个国家 哪座城市 哪国 在哪 …
who        who, whom, whose                                            谁 哪位 何人 什么人 哪个人
why        why; what reason                                            为什么 为何 为啥 何故 因何 什么原因 什么缘故
how        how                                                         怎么 怎样 如何
which      which                                                       哪个 哪些 哪种, 哪 before anything else
what       what                                                        什么 甚么 啥 何
other      none of these words, such as yes-no questions
=========  ==========================================================  =========================================

Where 为什么 or 为何 ends the question without a comma before it ("主要意义为何？"), follows 称, 名 or 改
("被称为什么"), or precedes 样 or 名 ("更为什么名字"), it is not *why* but "as what": *what*.

"First" is a rule and not an understanding: in "The man who wrote it was born in what year?" it finds *who*.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["QUESTION_TYPES", "LengthSummary", "QADatasetStatistics", "dataset_statistics", "question_type"]

_PATTERNS = {
    "when": (
        r"\bwhen\b|\b(?:what|which)\s+(?:year|date|day|month|decade|century|time|era|season)s?\b"
        r"|什[么麼](?:时候|時候|时间|時間|时期|時期|时代|時代|年代|日期|年份)|何[时時年日月]|[几幾][时時月号號]|[公西]元[几幾]年"
        r"|哪[一]?[年天日月]|哪一?[个個](?:月|年代|世纪|世紀|时期|時期|朝代|时代|時代)"
    ),
    "how_many": (
        r"\bhow\s+(?:many|much|long|far|old|often|tall|high|large|big|deep|wide|fast|heavy|late)\b"
        r"|\bwhat\s+(?:percentage|percent|number|amount|age)\b"
        r"|多少|第?[几幾]|多[大长長高远遠久宽寬深重快]"
    ),
    "where": (
        r"\bwhere\b|\b(?:what|which)\s+(?:country|city|place|state|location|continent|region|town|county)\b"
        r"|哪[里裡裏儿兒边邊]|何[处處地]|什[么麼](?:地方|地区|地區|地点|地點|国家|國家|城市|位置)"
        r"|哪一?[个個座](?:国家|國家|城市|地方|地区|地區|省|州|县|縣|市|岛|島|洲)|哪[国國省州]|在哪(?![一个個些种種位年天日月家部次场場届屆支条條项項])"
    ),
    "who": r"\b(?:who|whom|whose)\b|[谁誰]|哪一?位|何人|什[么麼]人|哪一?[个個]人",
    "why": (
        r"\bwhy\b|\bwhat\s+reason\b|(?<![称稱名改])[为為](?:什[么麼]|何|啥)(?!\s*[？?]*\s*$|[样樣名])|(?:^|(?<=[，,；。\s]))[为為](?:什[么麼]|何|啥)"
        r"|何故|因何|什[么麼](?:原因|缘故|緣故)"
    ),
    "how": r"\bhow\b|怎|如何",
    "which": r"\bwhich\b|哪",
    "what": r"\bwhat\b|[什甚][么麼]|啥|何",
}
_QUESTION_WORD = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items()), re.IGNORECASE)

QUESTION_TYPES: tuple[str, ...] = (*_PATTERNS, "other")
"""The kinds that :func:`question_type` tells apart."""


@dataclass(frozen=True)
class LengthSummary:
    """Lengths in characters, or numbers of answers: mean, median and maximum; all 0 if there is nothing to measure."""

    mean: float
    median: float
    max: int

    @classmethod
    def of(cls, values: Sequence[int]) -> LengthSummary:
        """Summarise ``values``."""
        if not values:
            return cls(0.0, 0.0, 0)
        return cls(statistics.fmean(values), float(statistics.median(values)), max(values))


@dataclass(frozen=True)
class QADatasetStatistics:
    """Figures of one data set; lengths are in characters of the unmodified text.

    Attributes:
        samples: questions.
        negatives: of these, questions without an answer.
        articles: distinct titles; where no question has a title, distinct contexts.
        articles_with_negatives: of these, articles with a question that has no answer.
        contexts: distinct contexts.
        question_length: over all questions.
        context_length: over the distinct contexts, so that one with many questions counts once.
        answer_length: over all reference answers.
        answers_per_question: over the questions that have an answer.
        question_types: number of questions of each kind of :data:`QUESTION_TYPES`.
    """

    samples: int
    negatives: int
    articles: int
    articles_with_negatives: int
    contexts: int
    question_length: LengthSummary
    context_length: LengthSummary
    answer_length: LengthSummary
    answers_per_question: LengthSummary
    question_types: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dictionaries, ready for JSON."""
        return asdict(self)


def dataset_statistics(dataset: Iterable[Mapping[str, Any]]) -> QADatasetStatistics:
    """Count what ``dataset``, records in the schema of :mod:`transformers_palbert.qa.datasets`, holds."""
    titles: dict[str, bool] = {}  # whether one of its questions has no answer
    contexts: dict[str, bool] = {}
    questions: list[str] = []
    answers: list[list[str]] = []
    for record in dataset:
        questions.append(record["question"])
        answers.append(list(record["answers"]["text"]))
        for names, name in ((titles, record.get("title") or ""), (contexts, record["context"])):
            names[name] = names.get(name, False) or not answers[-1]
    articles = {title: negative for title, negative in titles.items() if title} or contexts
    types = Counter(question_type(question) for question in questions)
    return QADatasetStatistics(
        samples=len(questions),
        negatives=sum(not texts for texts in answers),
        articles=len(articles),
        articles_with_negatives=sum(articles.values()),
        contexts=len(contexts),
        question_length=LengthSummary.of([len(question) for question in questions]),
        context_length=LengthSummary.of([len(context) for context in contexts]),
        answer_length=LengthSummary.of([len(text) for texts in answers for text in texts]),
        answers_per_question=LengthSummary.of([len(texts) for texts in answers if texts]),
        question_types={kind: types[kind] for kind in QUESTION_TYPES},
    )


def question_type(question: str) -> str:
    """Tell the kind of a question, one of :data:`QUESTION_TYPES`, by the rules in the module's text."""
    match = _QUESTION_WORD.search(question)
    return str(match.lastgroup) if match else "other"
