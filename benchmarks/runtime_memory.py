"""Memory of a process that answers with an exported model, beside the bytes of that model.

    python benchmarks/runtime_memory.py --model EXPORTED --model ANOTHER --data squad1_dev.json

Each model has a process of its own, which imports neither torch nor transformers. Megabytes that it holds after the
import, with the model loaded, and at most while it answers; ``beside`` is the most less the model's own files and the
questions. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from transformers_palbert.runtime import load
from transformers_palbert.runtime.description import MODEL_FILES

NAME = "runtime_memory"


def megabytes(field: str = "VmRSS") -> float:
    """What Linux says of this process: memory held now (``VmRSS``) or at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1000


def measure(model: Path, data: Path, count: int, threads: int) -> dict[str, Any]:
    """What this process holds; nothing may have been loaded in it before."""
    imported = megabytes()
    articles = json.loads(data.read_text(encoding="utf-8"))["data"]
    examples = [
        {"question": qa["question"], "context": paragraph["context"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"][:1]
    ][:count]
    questions = megabytes() - imported
    ask = load(model, threads=threads)
    loaded = megabytes()
    ask(examples)
    most = megabytes("VmHWM")
    own = sum((model / name).stat().st_size for name in MODEL_FILES[ask.description.format]) / 1e6
    figures = {"imported": imported, "loaded": loaded, "most": most, "model": own, "questions": questions}
    figures["beside"] = most - own - questions
    description = {"runtime": ask.description.format, "precision": ask.description.precision}
    return {"name": model.name, **description, **{name: round(value, 1) for name, value in figures.items()}}


def main() -> None:
    """Measure every model in a process of its own, or in this one as such a process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", required=True, help="folder that `palbert export` wrote")
    parser.add_argument("--data", type=Path, required=True, help="questions in the format of SQuAD")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="measure one model in this process, and print it")
    args = parser.parse_args()
    if args.alone:
        sys.stdout.write(json.dumps(measure(args.model[0], args.data, args.questions, args.threads)) + "\n")
        return
    from machine import describe_run, write_result  # these load torch
    from runs import without_local_paths

    shared = ["--data", args.data, "--questions", args.questions, "--threads", args.threads, "--alone"]
    rows = []
    for model in args.model:
        command = [sys.executable, __file__, "--model", model, *shared]
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    result = {
        "benchmark": "memory of a process that answers with an exported model, in MB",
        **describe_run(0),  # nothing is random here
        "questions": args.questions,
        "threads": args.threads,
        "runs": rows,
    }
    local = {args.data.parent: "squad", **{model.parent: "exported" for model in args.model}}
    print(write_result(NAME, without_local_paths(result, local)))


if __name__ == "__main__":
    main()
