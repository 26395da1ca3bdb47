"""Memory of a process that answers with an exported model, beside the bytes of that model.

    python benchmarks/runtime_memory.py --model EXPORTED --data squad1_dev.json --questions 50

Prints JSON: megabytes that the process holds after the import, with the model loaded, and at most while it answers;
``beside`` is the most less the model's own files and the questions. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from transformers_palbert.runtime import load
from transformers_palbert.runtime.description import MODEL_FILES


def megabytes(field: str = "VmRSS") -> float:
    """What Linux says of this process: memory held now (``VmRSS``) or at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1000


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder that `palbert export` wrote")
    parser.add_argument("--data", type=Path, required=True, help="questions in the format of SQuAD")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    imported = megabytes()
    articles = json.loads(args.data.read_text(encoding="utf-8"))["data"]
    examples = [
        {"question": qa["question"], "context": paragraph["context"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"][:1]
    ][: args.questions]
    questions = megabytes() - imported
    ask = load(args.model, threads=args.threads)
    loaded = megabytes()
    ask(examples)
    most = megabytes("VmHWM")
    own = sum((args.model / name).stat().st_size for name in MODEL_FILES[ask.description.format]) / 1e6
    figures = {"imported": imported, "loaded": loaded, "most": most, "model": own, "questions": questions}
    figures["beside"] = most - own - questions
    sys.stdout.write(json.dumps({name: round(value, 1) for name, value in figures.items()}) + "\n")


if __name__ == "__main__":
    main()
