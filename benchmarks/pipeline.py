"""Questions per second of `pipeline("question-answering")` against the one that transformers 4.57.6 had, in turns.

    python benchmarks/pipeline.py --data cmrc2018_dev.json
    python benchmarks/pipeline.py --data cmrc2018_dev.json --questions 40 --rounds 1      # a quick look

The old pipeline runs in an environment of its own, which the first run builds (`python -m venv`, torch 2.13.0, then
transformers 4.57.6). Both pipelines load the same folder: an ALBERT of the shape of albert_zh's tiny model with fixed
random weights, and BERT's tokenizer with a vocabulary of the data's characters. They stay loaded in two processes with
the same number of threads, and answer the same questions in turns, so that a machine that slows down slows down both.

Random weights give almost the same score to all spans; the last layer is multiplied by 40, so that the best answer
leads by more than rounding. Where the answers still differ, the result lists them, with the reason.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TORCH, TRANSFORMERS = "2.13.0", "4.57.6"
PINNED = (f"torch=={TORCH}", f"transformers=={TRANSFORMERS}")
SHARPNESS = 40
SHAPE = {
    "embedding_size": 128,
    "hidden_size": 312,
    "num_hidden_layers": 4,
    "num_attention_heads": 12,
    "intermediate_size": 1248,
}
NOISE = 1e-3
"""Two answers count as tied where their scores differ by less than this part: rounding, amplified by the softmax."""


def old_environment(folder: Path) -> Path:
    """Python of an environment with the old transformers, which is built where it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    check = [str(python), "-c", "import torch, transformers; print(transformers.__version__)"]
    if python.exists() and subprocess.run(check, capture_output=True, text=True, check=False).stdout.split() == [
        TRANSFORMERS
    ]:
        return python
    print(f"building {folder}, once")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    for requirement in PINNED:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", requirement], check=True)
    return python


def read_examples(path: str, count: int, seed: int) -> list[dict[str, str]]:
    """``count`` questions drawn from a file of question-answering data."""
    from transformers_palbert import load_qa_dataset

    dataset = load_qa_dataset(path)
    chosen = random.Random(seed).sample(range(len(dataset)), min(count, len(dataset)))
    return [{name: dataset[index][name] for name in ("question", "context")} for index in sorted(chosen)]


def save_model(folder: Path, examples: list[dict[str, str]], seed: int) -> None:
    """Write the model and the tokenizer that both pipelines load."""
    import torch
    from transformers import AlbertConfig, AlbertForQuestionAnswering, BertTokenizer

    characters = sorted({char for example in examples for text in example.values() for char in text.lower()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{char}" for char in characters)]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=512)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = AlbertForQuestionAnswering(AlbertConfig(vocab_size=len(words), **SHAPE))
    with torch.no_grad():
        model.qa_outputs.weight.mul_(SHARPNESS)
    model.save_pretrained(folder)


def worker(system: str, folder: Path, threads: int) -> None:
    """Answer the questions in ``folder`` once per line of standard input; a line of JSON says how.

    Args:
        system: ``"new"`` for the pipeline of this package, ``"old"`` for the one of transformers 4, ``"optimum"`` for
            the latter around the model that optimum exports to ONNX.
        folder: Model, tokenizer and ``examples.json``.
        threads: Of the model.
    """
    import torch
    import transformers
    from transformers import pipeline

    if system == "new":
        import transformers_palbert  # noqa: F401  (registers the pipeline)
    torch.set_num_threads(threads)
    examples = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    model: Any = str(folder)
    if system == "optimum":
        from onnxruntime import SessionOptions
        from optimum.onnxruntime import ORTModelForQuestionAnswering

        options = SessionOptions()
        options.intra_op_num_threads = threads
        model = ORTModelForQuestionAnswering.from_pretrained(folder, export=True, session_options=options)
    pipe = pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
    print(json.dumps({"transformers": transformers.__version__, "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        chosen = [examples[index] for index in task.pop("indices")]
        columns = {name: [example[name] for example in chosen] for name in ("question", "context")}
        gc.collect()
        start, cpu_start = time.perf_counter(), time.process_time()
        answers = pipe(**columns, **task)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        answers = answers if len(chosen) > 1 else [answers]
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "answers": answers}), flush=True)


class System:
    """One of the pipelines, in a process of its own; see :func:`worker`."""

    def __init__(self, name: str, python: Path | str, folder: Path, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
        command = [str(python), __file__, "--worker", name, str(folder), str(threads)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe that nobody reads would fill up)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )
        self.versions = self._read()

    def answer(self, **task: Any) -> dict[str, Any]:
        """Answer the questions numbered ``indices``, with the settings of the pipeline's call."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            self.errors.seek(0)
            raise RuntimeError(f"{self.process.args} stopped:\n{self.errors.read()}")
        return json.loads(line)

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()


def compare_speed(systems: dict[str, System], count: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Questions per second of both systems, and the medians of the ratios taken round by round."""
    indices = list(range(count))
    for system in systems.values():
        system.answer(indices=indices[:32], batch_size=batch_size)  # warm-up
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in systems}
    for number in range(rounds):
        for name in sorted(systems, reverse=number % 2 == 0):
            runs[name].append(systems[name].answer(indices=indices, batch_size=batch_size))
            print(f"batch {batch_size}, {name}: {count / runs[name][-1]['seconds']:.2f} questions/s", flush=True)
    result: dict[str, Any] = {"batch_size": batch_size, "rounds": rounds}
    for name, done in runs.items():
        seconds = [run["seconds"] for run in done]
        result[name] = {
            "questions_per_second_median": round(count / statistics.median(seconds), 3),
            "seconds": [round(value, 3) for value in seconds],
            "cpu_seconds": [round(run["cpu_seconds"], 3) for run in done],
        }
    for clock in ("seconds", "cpu_seconds"):
        ratios = [old[clock] / new[clock] for old, new in zip(runs["old"], runs["new"], strict=True)]
        result["speedup_median" if clock == "seconds" else "speedup_cpu_median"] = round(statistics.median(ratios), 3)
    result["answers"] = compare_answers(systems, runs["old"][0]["answers"], runs["new"][0]["answers"])
    return result


def compare_answers(systems: dict[str, System], old: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[str, Any]:
    """How many answers are the same, characters included, and why the others are not."""
    pairs = list(enumerate(zip(old, new, strict=True)))
    differing = [index for index, (a, b) in pairs if (a["answer"], a["start"]) != (b["answer"], b["start"])]
    return {
        "questions": len(pairs),
        "same": len(pairs) - len(differing),
        "same_percent": round(100 * (1 - len(differing) / len(pairs)), 2),
        "largest_score_difference": max(abs(a["score"] - b["score"]) for _, (a, b) in pairs),
        "different": [
            {"question": index, "old": old[index], "new": new[index], "reason": why(systems["new"], index, old[index])}
            for index in differing
        ],
    }


def why(system: System, index: int, old: dict[str, Any]) -> str:
    """Reason for another answer than ``old``: a tie, as far as the new pipeline's own candidates tell."""
    candidates = system.answer(indices=[index], top_k=20, batch_size=1)["answers"][0]
    gaps = [1 - c["score"] / candidates[0]["score"] for c in candidates if c["answer"].lower() == old["answer"].lower()]
    if not gaps:
        return "unexplained: the old answer is not among the 20 best"
    kind = "tie within rounding" if gaps[0] < NOISE else "unexplained"
    return f"{kind}: the old answer scores {gaps[0]:.1e} less, as a part of the best score"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return what the result file holds."""
    import torch
    from machine import describe_run  # as below

    torch.set_num_threads(args.threads)
    python = old_environment(args.environment)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = read_examples(args.data, args.questions, args.seed)
        save_model(folder, examples, args.seed)
        (folder / "examples.json").write_text(json.dumps(examples), encoding="utf-8")
        systems = {"old": System("old", python, folder, args.threads)}
        systems["new"] = System("new", sys.executable, folder, args.threads)
        rows = [compare_speed(systems, len(examples), size, args.rounds) for size in args.batch_sizes]
        for system in systems.values():
            system.stop()
    return {
        "benchmark": 'pipeline("question-answering"), CPU',
        **describe_run(args.seed),
        "old_versions": systems["old"].versions,
        "new_versions": systems["new"].versions,
        "model": {"type": "albert", **SHAPE, "weights": f"random, last layer times {SHARPNESS}"},
        "questions": len(examples),
        "speed": rows,
    }


def main() -> None:
    """Parse the command line and run."""
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "palbert-benchmarks"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="question-answering file or Hub id, such as CMRC 2018's dev file")
    parser.add_argument("--questions", type=int, default=500, help="how many to draw from it (500)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each pipeline and batch size, in turns (3)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16], help="windows per batch (1 16)")
    parser.add_argument("--threads", type=int, default=cores, help="threads of both pipelines (all cores)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the draw of questions")
    parser.add_argument(
        "--environment",
        type=Path,
        default=cache / f"transformers-{TRANSFORMERS}",
        help=f"folder of the environment with transformers {TRANSFORMERS}, built if missing (%(default)s)",
    )
    parser.add_argument("--output", default="pipeline", help="name of the result file")
    args = parser.parse_args()
    from machine import write_result  # here: the old environment runs this file too, and has not this package

    print(write_result(args.output, run(args)))


if __name__ == "__main__":
    main()
