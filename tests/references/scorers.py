"""The official scoring scripts' behaviour, written out slowly and literally; the fast scorers must agree with these.

``questions`` is a list of ``(id, [answer texts])``, ``predictions`` maps ids to texts.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable

# --- SQuAD --------------------------------------------------------------------------------------------------------


def squad_words(text: str) -> list[str]:
    kept = ""
    for character in text.lower():
        if character not in string.punctuation:
            kept += character
    for article in ("a", "an", "the"):
        kept = re.sub(rf"\b{article}\b", " ", kept)
    return kept.split()


def bag_f1(gold: list[str], guess: list[str]) -> float:
    remaining = list(gold)
    same = 0
    for word in guess:
        if word in remaining:
            remaining.remove(word)
            same += 1
    if same == 0:
        return 0.0
    precision = same / len(guess)
    recall = same / len(gold)
    return 2 * precision * recall / (precision + recall)


def squad_v1(questions: list[tuple[str, list[str]]], predictions: dict[str, str]) -> dict[str, float]:
    exact = f1 = 0.0
    for key, answers in questions:
        if key not in predictions:
            continue
        guess = squad_words(predictions[key])
        exact += max(float(squad_words(answer) == guess) for answer in answers)
        f1 += max(bag_f1(squad_words(answer), guess) for answer in answers)
    return {"exact_match": 100 * exact / len(questions), "f1": 100 * f1 / len(questions)}


def squad_v2(
    questions: list[tuple[str, list[str]]],
    predictions: dict[str, str],
    probabilities: dict[str, float],
    threshold: float = 1.0,
) -> dict[str, float]:
    raw: dict[str, dict[str, float]] = {"exact": {}, "f1": {}}
    for key, answers in questions:
        golds = [answer for answer in answers if squad_words(answer)]
        if not golds:
            golds = [""]
        guess = squad_words(predictions[key])
        raw["exact"][key] = max(float(squad_words(gold) == guess) for gold in golds)
        f1s = []
        for gold in golds:
            words = squad_words(gold)
            f1s.append(float(words == guess) if not words or not guess else bag_f1(words, guess))
        raw["f1"][key] = max(f1s)
    has_answer = {key: bool(answers) for key, answers in questions}
    groups = {
        "": [key for key, _ in questions],
        "HasAns_": [key for key, _ in questions if has_answer[key]],
        "NoAns_": [key for key, _ in questions if not has_answer[key]],
    }
    result: dict[str, float] = {}
    for prefix, keys in groups.items():
        if not keys:
            continue
        for name in ("exact", "f1"):
            total = 0.0
            for key in keys:
                said_none = probabilities[key] > threshold
                total += float(not has_answer[key]) if said_none else raw[name][key]
            result[prefix + name] = 100 * total / len(keys)
        result[prefix + "total"] = len(keys)
    order = sorted(probabilities, key=probabilities.__getitem__)
    for name in ("exact", "f1"):
        # The score of answering the first n questions in this order and none of the others, for every n.
        best, best_threshold = float(len(groups["NoAns_"])), 0.0
        for n in range(1, len(order) + 1):
            score = float(len(groups["NoAns_"]))
            for key in order[:n]:
                if has_answer[key]:
                    score += raw[name][key]
                elif predictions[key]:
                    score -= 1
            if score > best + 1e-9:
                best, best_threshold = score, probabilities[order[n - 1]]
        result[f"best_{name}"] = 100 * best / len(questions)
        result[f"best_{name}_thresh"] = best_threshold
    return result


# --- CMRC 2018 ----------------------------------------------------------------------------------------------------

EnglishWords = Callable[[str], Iterable[str]]  # what NLTK's `word_tokenize` does for the official script

CMRC_SIGNS = [
    "-", ":", "_", "*", "^", "/", "\\", "~", "`", "+", "=", "，", "。", "：", "？", "！", "“", "”", "；", "’", "《",
    "》", "……", "·", "、", "「", "」", "（", "）", "－", "～", "『", "』",
]  # fmt: skip


def cmrc_segments(text: str, english_words: EnglishWords) -> list[str]:
    segments: list[str] = []
    run = ""
    for character in [*text.lower().strip(), None]:
        if character is not None and character in CMRC_SIGNS:
            continue
        if character is None or re.search("[\u4e00-\u9fa5]", character):
            if run != "":
                segments.extend(english_words(run))
                run = ""
            if character is not None:
                segments.append(character)
        else:
            run += character
    return segments


def longest_common_substring(first: list[str], second: list[str]) -> int:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    best = 0
    for i in range(len(first)):
        for j in range(len(second)):
            if first[i] == second[j]:
                table[i + 1][j + 1] = table[i][j] + 1
                best = max(best, table[i + 1][j + 1])
    return best


def cmrc2018(
    questions: list[tuple[str, list[str]]], predictions: dict[str, str], english_words: EnglishWords
) -> dict[str, float]:
    f1 = exact = 0.0
    skipped = 0
    for key, answers in questions:
        if key not in predictions:
            skipped += 1
            continue
        guess = cmrc_segments(predictions[key], english_words)
        scores = []
        for answer in answers:
            gold = cmrc_segments(answer, english_words)
            common = longest_common_substring(gold, guess)
            if common == 0:
                scores.append(0.0)
            else:
                precision, recall = common / len(guess), common / len(gold)
                scores.append(2 * precision * recall / (precision + recall))
        f1 += max(scores)
        plain = [c for c in predictions[key].lower().strip() if c not in CMRC_SIGNS]
        exact += any([c for c in answer.lower().strip() if c not in CMRC_SIGNS] == plain for answer in answers)
    f1, exact = 100 * f1 / len(questions), 100 * exact / len(questions)
    return {"AVERAGE": (exact + f1) * 0.5, "F1": f1, "EM": exact, "TOTAL": len(questions), "SKIP": skipped}


# --- the paper's figures ------------------------------------------------------------------------------------------


def paper_tokens(text: str) -> list[str]:
    tokens: list[str] = []
    word = ""
    for character in text.lower() + " ":
        if character in string.punctuation or unicodedata.category(character)[0] == "P":
            continue
        name = unicodedata.name(character, "")
        alone = name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "HANGUL SYLL"))
        if alone or character.isspace():
            tokens += [word] if word not in ("", "a", "an", "the") else []
            tokens += [character] if alone else []
            word = ""
        else:
            word += character
    return tokens


def palbert_qa(questions: list[tuple[str, list[str]]], predictions: dict[str, str]) -> dict[str, float]:
    sums = [0.0, 0.0, 0.0, 0.0]
    for key, answers in questions:
        if key not in predictions:
            continue
        guess = paper_tokens(predictions[key])
        best = (-1.0, 0.0, 0.0)
        equal = False
        for answer in answers or [""]:
            gold = paper_tokens(answer)
            equal = equal or gold == guess
            if not gold or not guess:
                scores = (1.0, 1.0, 1.0) if gold == guess else (0.0, 0.0, 0.0)
            else:
                same = sum(min(gold.count(token), guess.count(token)) for token in set(gold))
                scores = (2 * same / (len(gold) + len(guess)), same / len(guess), same / len(gold))
            if scores[0] > best[0]:
                best = scores
        for index, value in enumerate((float(equal), best[1], best[2], best[0])):
            sums[index] += value
    names = ("accuracy", "precision", "recall", "f1")
    return {name: value / len(questions) for name, value in zip(names, sums, strict=True)} | {"total": len(questions)}
