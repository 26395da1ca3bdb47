"""Invented people and what is told about them: a small Chinese question-answering set that only reading solves.

A passage tells several things about several people in shuffled sentences. Every question asks one thing about one of
them, and the passage holds answers of the same kind about the others: whoever ignores the question cannot tell which
is meant. Names, places, titles and years are random, and no person of one part occurs in another.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

__all__ = ["RELATIONS", "make_cloze", "make_questions", "write_squad"]

SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦许何吕施张孔曹严华金魏陶姜"
CHARACTERS = (
    "安柏诚德恩方刚海恒弘洪怀嘉健杰静君凯康兰磊丽良林玲龙梅敏明宁鹏平萍强青庆泉仁荣瑞山尚绍胜世思松泰涛腾天"
    "婷庭万维文武希贤祥晓新信兴雄秀旭轩雪亚岩阳耀毅英永勇宇玉元远云泽哲振正志智中忠卓"
)
PLACES = ("州", "城", "县", "镇", "山", "岛")
JOBS = ("医生", "木匠", "画家", "厨师", "船长", "教师", "诗人", "铁匠", "律师", "农夫", "裁缝", "演员", "记者", "猎人")

# Relation -> how a passage tells it, how a question asks for it. {n} is the person, {v} the answer.
RELATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "place": (("{n}出生于{v}。", "{v}是{n}的家乡。"), ("{n}出生于哪里？", "哪里是{n}的家乡？")),
    "year": (("{n}生于{v}年。", "{v}年{n}出世。"), ("{n}生于哪一年？", "哪一年{n}出世？")),
    "job": (("{n}的职业是{v}。", "{v}是{n}的工作。"), ("{n}的职业是什么？", "什么是{n}的工作？")),
    "book": (("{n}写了《{v}》。", "《{v}》由{n}写成。"), ("{n}写了哪本书？", "哪本书由{n}写成？")),
}
GAP = "[MASK]"

Record = dict[str, Any]


def make_questions(count: int, seed: str, people: int = 2, facts: int = 2) -> list[Record]:
    """``count`` passages about ``people`` people, ``facts`` sentences each, with one question per sentence.

    The same ``seed`` gives the same records; different seeds share no person.
    """
    rng = random.Random(seed)
    records = []
    for number in range(count):
        passage, told = _passage(rng, people, facts, seed)
        for index, (question, answer, start) in enumerate(told):
            answers = {"text": [answer], "answer_start": [start]}
            records.append(
                {"id": f"{seed}-{number}-{index}", "context": passage, "question": question, "answers": answers}
            )
    return records


def _passage(rng: random.Random, people: int, facts: int, seed: str) -> tuple[str, list[tuple[str, str, int]]]:
    relations = rng.sample(sorted(RELATIONS), facts)
    sentences = []
    for name in _names(rng, people, seed):
        for relation in relations:
            tellings, questions = RELATIONS[relation]
            sentences.append((rng.choice(tellings), rng.choice(questions), name, _value(rng, relation)))
    rng.shuffle(sentences)
    passage, found = "", []
    for told, asked, name, value in sentences:
        start = len(passage) + told.format(n=name, v="\0").index("\0")
        passage += told.format(n=name, v=value)
        found.append((asked.format(n=name), value, start))
    return passage, found


def _names(rng: random.Random, count: int, seed: str) -> list[str]:
    """Different people; which part a name belongs to follows from the name itself, so that parts share none."""
    names: set[str] = set()
    while len(names) < count:
        name = rng.choice(SURNAMES) + rng.choice(CHARACTERS) + rng.choice(CHARACTERS)
        if _is_test(name) == (seed.startswith("test")):
            names.add(name)
    return sorted(names)


def _is_test(name: str) -> bool:
    return sum(map(ord, name)) % 5 == 0


def _value(rng: random.Random, relation: str) -> str:
    if relation == "year":
        return str(rng.randint(1700, 1999))
    if relation == "job":
        return rng.choice(JOBS)
    word = rng.choice(CHARACTERS) + rng.choice(CHARACTERS)
    return word + (rng.choice(PLACES) if relation == "place" else rng.choice(CHARACTERS))


def make_cloze(records: list[Record], seed: str) -> list[Record]:
    """For each record, a question that is a piece of its passage with a gap; what stood in the gap is the answer.

    Teaches a model that starts from random weights to look things up, without a single question of the set.
    """
    rng = random.Random(seed)
    return [{**record, "id": f"cloze-{record['id']}", **_cloze(record["context"], rng)} for record in records]


def _cloze(passage: str, rng: random.Random) -> Record:
    size = rng.randint(1, 4)
    start = rng.randint(4, len(passage) - size - 4)
    before = rng.randint(0, 8)
    after = rng.randint(3 if before < 3 else 0, 8)
    question = passage[max(0, start - before) : start] + GAP + passage[start + size : start + size + after]
    return {"question": question, "answers": {"text": [passage[start : start + size]], "answer_start": [start]}}


def write_squad(records: list[Record], file: Path) -> None:
    """Write ``records`` as a SQuAD-style JSON file, one article per passage."""
    articles: dict[str, list[Record]] = {}
    for record in records:
        articles.setdefault(record["context"], []).append(record)
    data = [
        {"title": "", "paragraphs": [{"context": context, "qas": [_question(record) for record in group]}]}
        for context, group in articles.items()
    ]
    file.write_text(json.dumps({"version": "1.1", "data": data}, ensure_ascii=False, indent=1), encoding="utf-8")


def _question(record: Record) -> Record:
    answers = record["answers"]
    pairs = zip(answers["text"], answers["answer_start"], strict=True)
    return {
        "id": record["id"],
        "question": record["question"],
        "answers": [{"text": text, "answer_start": start} for text, start in pairs],
    }
