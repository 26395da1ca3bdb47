"""Questions about long documents: all of a document is read, or what `reduce` keeps of it; F1 and questions per second.

    python benchmarks/long_documents.py --model outputs/squad/dense --data squad1_dev.json
    python benchmarks/long_documents.py --model outputs/squad/dense --data squad1_dev.json --cases 20000:60   # a look

A document is the paragraph that a question was asked about, at a random place among those that stand before and after
it in the data set; it has at least as many characters as the case says. So most of a document of 20,000 characters is
the article that the paragraph comes from. Every question is answered by `pipeline("question-answering")` in all ways in
turns, so that a machine that slows down slows down all. Windows compete over the whole document, but in one way, which
is that of transformers 4. What was measured is kept in `--work`; an interrupted run goes on when the command is
repeated.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_run, write_result
from runs import without_local_paths
from transformers import pipeline

import transformers_palbert  # noqa: F401  (registers the pipeline)
from transformers_palbert.analysis.bootstrap import bootstrap_means, difference_of, estimate_of
from transformers_palbert.qa.datasets import load_qa_dataset
from transformers_palbert.qa.metrics import compute_metric
from transformers_palbert.reduction.reducer import Reducer
from transformers_palbert.reduction.settings import as_reducer

NAME = "long_documents"
EVERYTHING = "everything"
AS_BEFORE = "everything, each window for itself"
READ = {"max_seq_len": 320, "doc_stride": 128, "max_question_len": 64, "max_answer_len": 30}
"""Windows and answers as in all figures of this model."""

BETWEEN = "\n\n"

Way = dict[str, Any]
"""What the pipeline is called with."""

Row = dict[str, Any]
"""What was measured on a question: its id, the characters of the document, and for each way seconds, F1, EM and whether
an answer is in what was read."""


def join_around(paragraphs: Sequence[str], number: int, length: int, rng: random.Random) -> tuple[str, int]:
    """A document of ``length`` characters or more, and where paragraph ``number`` begins in it.

    Its paragraphs are neighbours; how many stand in front of the one that is asked about is random.
    """
    first = last = number
    start, characters = 0, len(paragraphs[number])
    before = rng.randrange(max(length - characters, 1))
    while characters < length and (first > 0 or last + 1 < len(paragraphs)):
        if first > 0 and (start < before or last + 1 == len(paragraphs)):
            first -= 1
            added = len(paragraphs[first]) + len(BETWEEN)
            start += added
        else:
            last += 1
            added = len(paragraphs[last]) + len(BETWEEN)
        characters += added
    return BETWEEN.join(paragraphs[first : last + 1]), start


def documents(args: argparse.Namespace, length: int, count: int) -> Iterator[Row]:
    """Questions drawn from the data set, with long contexts; more of them are the same ones and others."""
    questions = load_qa_dataset(args.data)
    paragraphs = list(dict.fromkeys(questions["context"]))
    number = {text: place for place, text in enumerate(paragraphs)}
    order = list(range(len(questions)))
    random.Random(args.seed).shuffle(order)
    for place in sorted(order[:count]):
        record = questions[place]
        rng = random.Random(f"{args.seed} {record['id']}")
        document, start = join_around(paragraphs, number[record["context"]], length, rng)
        answers = {**record["answers"], "answer_start": [start + at for at in record["answers"]["answer_start"]]}
        yield {**record, "context": document, "answers": answers}


class Remembering:
    """The pipeline, and the logits that it decoded last."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self._decode, self._last = pipe, pipe.postprocess, None
        pipe.postprocess = self._postprocess

    def _postprocess(self, outputs: Any, **settings: Any) -> Any:
        self._last = outputs
        return self._decode(outputs, **settings)

    def again(self, **settings: Any) -> dict[str, Any]:
        """The answer to the last question, decoded in another way."""
        found: dict[str, Any] = self._decode(self._last, **settings)[0]
        return found


def measure(asked: Remembering, record: Row, ways: Mapping[str, Way], turn: int, batch_size: int) -> Row:
    """Answer one question in all ways, each ``turn`` beginning with another one.

    What is read for :data:`EVERYTHING` is decoded for :data:`AS_BEFORE` as well, which takes the same time.
    """
    names = list(ways)
    texts = {"question": record["question"], "context": record["context"]}
    row: Row = {"id": record["id"], "characters": len(record["context"])}
    for name in names[turn % len(names) :] + names[: turn % len(names)]:
        gc.collect()
        start = time.perf_counter()
        found = asked.pipe(**texts, batch_size=batch_size, **READ, **ways[name])
        seconds = time.perf_counter() - start
        row[name] = scored(record, found, seconds)
        if name == EVERYTHING:
            before = asked.again(normalize_over="window", max_answer_len=READ["max_answer_len"])
            row[AS_BEFORE] = scored(record, before, seconds)
    for name, way in ways.items():
        if "reduce" in way:
            row[name] |= read(way["reduce"], record)
    return row


def scored(record: Row, found: Mapping[str, Any], seconds: float) -> Row:
    """Seconds, F1 and exact match of an answer."""
    scores = compute_metric("squad", {record["id"]: found["answer"]}, [record])
    return {"seconds": seconds, "f1": scores["f1"], "em": scores["exact_match"]}


def read(reducer: Reducer, record: Row) -> dict[str, Any]:
    """How many characters of a document are read, and whether an answer is in them at its place."""
    shorter = reducer.shorten([record["question"]], [record["context"]])[0]
    pairs = zip(record["answers"]["answer_start"], record["answers"]["text"], strict=True)
    held = any(shorter.from_original(start, start + len(text)) is not None for start, text in pairs)
    return {"characters": len(shorter.text), "answer_kept": held}


def kept_rows(
    file: Path, settings: Mapping[str, Any], records: Iterator[Row], measured: Callable[[Row, int], Row]
) -> list[Row]:
    """What was measured on every record: read from the file where it is there, else measured and added to the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []
    whole = [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be cut off
    if whole and whole[0] != settings:
        raise SystemExit(f"{file} was measured with {whole[0]}, not with {settings}: give another --work.")
    found = {row["id"]: row for row in whole[1:]}
    file.write_text("".join(json.dumps(row) + "\n" for row in [dict(settings), *whole[1:]]), encoding="utf-8")
    rows = []
    with file.open("a", encoding="utf-8") as stream:
        for turn, record in enumerate(records):
            if record["id"] not in found:
                stream.write(json.dumps(found.setdefault(record["id"], measured(record, turn))) + "\n")
                stream.flush()
            rows.append(found[record["id"]])
    return rows


def summary(rows: Sequence[Row], ways: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """For each way F1 and EM, questions per second, and how it compares with reading everything."""
    columns = [[row[way][score] for row in rows] for way in ways for score in ("f1", "em")]
    drawn = bootstrap_means(np.column_stack(columns), seed=seed)
    means = [float(np.mean(column)) for column in columns]
    seconds = {way: sum(row[way]["seconds"] for row in rows) for way in ways}
    result = []
    for number, way in enumerate(ways):
        f1, em = 2 * number, 2 * number + 1
        entry: dict[str, Any] = {
            "way": way,
            "f1": vars(estimate_of(means[f1], drawn[:, f1])),
            "em": vars(estimate_of(means[em], drawn[:, em])),
            "questions_per_second": len(rows) / seconds[way],
            "times_as_fast": seconds[EVERYTHING] / seconds[way],
        }
        if way != EVERYTHING:
            entry["f1_minus_everything"] = vars(difference_of(means[f1] - means[0], drawn[:, f1] - drawn[:, 0]))
        if "characters" in rows[0][way]:
            entry["characters_read"] = sum(row[way]["characters"] for row in rows) / len(rows)
            entry["answers_kept_percent"] = 100 * sum(row[way]["answer_kept"] for row in rows) / len(rows)
        result.append(entry)
    return result


def cases(texts: Sequence[str]) -> dict[int, int]:
    """Characters of a document -> questions, from ``20000:1000`` and the like."""
    pairs = (text.partition(":") for text in texts)
    return {int(length): int(count) for length, _, count in pairs}


def ways_of(args: argparse.Namespace, tokenizer: Any) -> dict[str, Way]:
    """Reading everything, and reading so many tokens."""
    models = {"sbert_model": args.sbert_model} if args.sbert_model else {}
    ways: dict[str, Way] = {EVERYTHING: {"normalize_over": "document"}}
    for budget in args.budgets:
        given = {"scorers": args.scorers, "max_tokens": budget, "neighbours": args.neighbours, **models}
        ways[f"{budget} tokens"] = {"normalize_over": "document", "reduce": as_reducer(given, tokenizer)}
    return ways


def run(args: argparse.Namespace, asked: Remembering, length: int, count: int) -> dict[str, Any]:
    """Measure one case."""
    ways = ways_of(args, asked.pipe.tokenizer)
    shared = {"scorers": args.scorers, "neighbours": args.neighbours, "batch_size": args.batch_size}
    measured_on = {"model": str(args.model), "data": str(args.data), "length": length, "seed": args.seed}
    settings = {**measured_on, "ways": list(ways), **shared, **READ}

    def measured(record: Row, turn: int) -> Row:
        row = measure(asked, record, ways, turn, args.batch_size)
        shown = ", ".join(f"{way} {row[way]['seconds']:.2f} s" for way in ways)
        print(f"{turn + 1} of {count}, {row['characters']} characters: {shown}", flush=True)
        return row

    questions = documents(args, length, count)
    measure(asked, next(documents(args, length, 1)), ways, 0, args.batch_size)  # warm-up
    rows = kept_rows(args.work / f"{length}.jsonl", settings, questions, measured)
    found = summary(rows, [EVERYTHING, AS_BEFORE, *(way for way in ways if way != EVERYTHING)], args.seed)
    for entry in found:
        print(f"{entry['way']}: F1 {entry['f1']['value']:.2f}, {entry['times_as_fast']:.2f} times as fast", flush=True)
    mean = sum(row["characters"] for row in rows) / len(rows)
    return {"length": length, "questions": len(rows), "characters": mean, "ways": found}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned question-answering model")
    parser.add_argument("--data", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--cases", nargs="+", default=["20000:1000", "100000:100"], help="CHARACTERS:QUESTIONS")
    parser.add_argument("--scorers", default="bm25", help="what passages are scored by")
    parser.add_argument("--sbert-model", help="for sbert: folder of a sentence encoder")
    parser.add_argument("--neighbours", type=int, default=1, help="passages on either side that are read with one")
    parser.add_argument("--budgets", type=int, nargs="+", default=[256, 512, 1024], help="tokens that are read")
    parser.add_argument("--batch-size", type=int, default=8, help="windows that pass through the model at once")
    parser.add_argument("--work", type=Path, default=Path("outputs/long_documents"), help="folder for what is measured")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    asked = Remembering(pipeline("question-answering", model=str(args.model), device="cpu"))
    result = {
        "benchmark": "questions about long documents, read whole and shortened",
        **describe_run(args.seed),
        **{name: getattr(args, name) for name in ("scorers", "neighbours", "batch_size")},
        **READ,
        "cases": [run(args, asked, length, count) for length, count in cases(args.cases).items()],
    }
    names = {args.model: "outputs/squad/dense", args.data.parent: args.data.parent.name}
    print(f"written to {write_result(NAME, without_local_paths(result, names))}")


if __name__ == "__main__":
    main()
