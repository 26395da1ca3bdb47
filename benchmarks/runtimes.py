"""Questions per second and F1 of one model in every runtime: PyTorch, compiled, ONNX Runtime, OpenVINO, and peers.

    python benchmarks/runtimes.py --model DENSE --structured SHRUNK --dev squad1_dev.json --calibrate train.json --peers
    python benchmarks/runtimes.py --model DENSE --dev squad1_dev.json --shape --questions 24
    python benchmarks/runtimes.py --model DENSE --dev squad1_dev.json --limit 40 --questions 20   # a look

The model is a fine-tuned one, such as `benchmarks/squad_pruning.py` leaves in `outputs/squad/dense`; the structured one
was made of it, such as `palbert shrink` does. Each runs in PyTorch (float32 and bfloat16), compiled by PyTorch, in ONNX
Runtime (float32, and int8 with ranges measured in every call) and in OpenVINO (float32, and int8; with `--calibrate`
activations too, else the weights alone).

Speed: everything from texts to answers is timed, by the same questions of the dev set for all. Each variant has a
process of its own with the same number of threads, and all take turns, round by round; ratios are taken within a round.
F1 and exact match: each variant answers the whole dev set, once. What is finished is kept in `--work` and skipped when
the command is repeated with the same settings.

`--shape` takes an ALBERT-large of random weights instead, and half of its heads and units as the structured model; the
tokenizer is that of `--model`. Only speed is measured then, and the result file is `runtimes_shape`.

`--peers` adds, with the whole model in float32: the pipeline of transformers 4.57.6 and the ONNX export of optimum, in
one environment that the first run builds, and plain onnxruntime with one thread for each request. The tokenizer must be
BERT's for these. Where optimum cannot be installed or run, the result says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from machine import describe_run, write_result
from pipeline import PINNED, TRANSFORMERS, old_environment
from runs import without_local_paths
from runtimes_worker import PLAIN, OldPipeline, Task, serve_questions

from transformers_palbert.analysis.latency_worker import Case
from transformers_palbert.analysis.turns import Worker, take_turns
from transformers_palbert.qa.settings import AnsweringSettings

RUNTIMES = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("compiled", "float32"),
    ("onnx", "float32"),
    ("onnx", "int8"),
    ("openvino", "float32"),
    ("openvino", "int8"),
)
PEERS = {"old": f"whole, pipeline of transformers {TRANSFORMERS}", "optimum": "whole, ONNX export of optimum"}
"""Peers in an environment of their own, as `benchmarks/pipeline.py` calls them -> as the result does."""
OPTIMUM = "optimum-onnx[onnxruntime]==0.1.0"
CHUNK = 512
CALIBRATION = 100
LARGE = {"embedding_size": 128, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
         "intermediate_size": 4096}  # fmt: skip


def save_shapes(args: argparse.Namespace) -> dict[str, Path]:
    """An ALBERT-large of random weights, and the same with half of its heads and units; made once."""
    from transformers import AlbertConfig, AlbertForQuestionAnswering, AutoTokenizer

    from transformers_palbert import KeptUnits, remove_units
    from transformers_palbert.model.removal import layer_sizes

    folders = {"whole": args.work / "large", "structured": args.work / "large_half"}
    if (folders["structured"] / "config.json").is_file():
        return folders
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    torch.manual_seed(args.seed)
    model = AlbertForQuestionAnswering(AlbertConfig(vocab_size=len(tokenizer), **LARGE))
    for name, folder in folders.items():
        if name == "structured":
            halves = {
                path: KeptUnits(range(size.heads // 2), range(size.units // 2))
                for path, size in layer_sizes(model).items()
            }
            model = remove_units(model, halves)
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    return folders


def make_case(args: argparse.Namespace, name: str, folder: Path, runtime: str, precision: str) -> Case:
    """A variant; its model is exported where the runtime needs that, once."""
    from transformers_palbert.cli.models import load_model
    from transformers_palbert.export.exporting import export_model

    if runtime not in ("onnx", "openvino"):
        return Case(name, str(folder), runtime, precision, args.threads)
    out = args.work / "exported" / f"{folder.name}-{runtime}-{precision}"
    if not out.exists():
        print(f"exporting {out.name}", flush=True)
        int8 = precision == "int8"
        windows = AnsweringSettings(max_seq_length=args.max_seq_len, doc_stride=args.doc_stride)
        ranges = calibration(args) if int8 and runtime == "openvino" else []
        export_model(
            *load_model(str(folder)),
            out,
            format=runtime,
            int8=int8,
            settings=windows,
            calibration=ranges,
            source=folder,
        )
    return Case(name, str(out), runtime, precision, args.threads)


def calibration(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Training questions for the ranges of activations; none where no file is given."""
    from transformers_palbert import load_qa_dataset

    if args.calibrate is None:
        return []
    rows = load_qa_dataset(args.calibrate, training=True).shuffle(seed=args.seed)
    return rows.select(range(min(CALIBRATION, len(rows)))).to_list()


def make_cases(args: argparse.Namespace, failed: dict[str, str]) -> list[Case]:
    """All variants but the peers in another environment; what cannot be exported here is noted in ``failed``."""
    from transformers_palbert import PalBertError

    folders = save_shapes(args) if args.shape else {"whole": args.model, "structured": args.structured}
    cases = []
    for name, folder in folders.items():
        for runtime, precision in RUNTIMES if folder is not None else ():
            try:
                cases.append(make_case(args, name, folder, runtime, precision))
            except PalBertError as error:
                failed[f"{name}, {runtime} {precision}"] = str(error)
    if args.peers:
        plain = [case for case in cases if label(case) == "whole, onnx float32"]
        cases += [replace(case, runtime=PLAIN) for case in plain]
    return cases


def how(args: argparse.Namespace) -> dict[str, int]:
    """How all of them cut windows and decode answers."""
    return {"max_seq_len": args.max_seq_len, "doc_stride": args.doc_stride, "max_question_len": 64,
            "max_answer_len": args.max_answer_len}  # fmt: skip


def label(case: Case) -> str:
    """What a variant is called in the result."""
    return f"{case.model}, {case.runtime} {case.precision}"


def make_peers(args: argparse.Namespace, questions: Path, failed: dict[str, str]) -> dict[str, OldPipeline]:
    """The peers in environments of their own; what cannot be installed is noted in ``failed``."""
    folder = args.work / "peers" / ("large" if args.shape else args.model.name)
    folder.mkdir(parents=True, exist_ok=True)
    model = args.work / "large" if args.shape else args.model
    for file in [*model.glob("*.json"), *model.glob("*.safetensors"), questions]:
        link = folder / ("examples.json" if file == questions else file.name)
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    found: dict[str, OldPipeline] = {}
    for system, name in PEERS.items():
        try:
            python = old_environment(args.environment)
            if system == "optimum":
                add_optimum(python)
            found[name] = OldPipeline(system, python, folder, args.threads, how(args))
        except (subprocess.CalledProcessError, OSError) as error:
            failed[name] = f"it cannot be installed here: {error}"
    return found


def add_optimum(python: Path) -> None:
    """Install optimum beside the old transformers, where it is missing; these stay what they are."""
    check = [str(python), "-c", "import optimum.onnxruntime"]
    if subprocess.run(check, capture_output=True, check=False).returncode:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", OPTIMUM, *PINNED], check=True)


def read_questions(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The questions of the dev set in a random order, so that its first ones are a sample."""
    from transformers_palbert import load_qa_dataset

    rows = load_qa_dataset(args.dev).to_list()
    random.Random(args.seed).shuffle(rows)
    return rows[: args.limit]


def measure_speed(
    args: argparse.Namespace,
    cases: Sequence[Case],
    peers: Mapping[str, OldPipeline],
    file: Path,
    failed: dict[str, str],
) -> dict[str, dict[str, list[float]]]:
    """Seconds of every round by variant and batch size; all take turns."""
    tasks: list[Task] = [(0, args.questions, size) for size in args.batch_sizes]
    with ExitStack() as stack:
        turns: dict[str, Any] = {
            label(case): stack.enter_context(Worker(serve_questions, case, file, how(args))) for case in cases
        }
        turns |= {name: stack.enter_context(peer) for name, peer in peers.items()}
        said = take_turns(turns, tasks, args.rounds, failed, announce, warm_up=1)
    seconds: dict[str, dict[str, list[float]]] = {}
    for (name, task), found in said.items():
        if name not in failed:
            seconds.setdefault(name, {})[str(task[2])] = [one["seconds"] for one in found]
    return seconds


def announce(rounds: Any, _: str) -> Any:
    """Say which round begins."""
    for number in rounds:
        print(f"round {number} of {len(rounds) - 1}; 0 warms up", flush=True)
        yield number


def score(turn: Worker | OldPipeline, questions: Sequence[Mapping[str, Any]], batch_size: int) -> dict[str, Any] | str:
    """F1 and exact match of a variant on all questions; text where it failed."""
    from transformers_palbert.qa.metrics import compute_metric

    answers: dict[str, str] = {}
    with turn:
        said = turn.receive()
        for first in range(0, len(questions), CHUNK):
            if isinstance(said, str):
                return said
            rows = questions[first : first + CHUNK]
            said = turn.ask((first, first + len(rows), batch_size))
            if not isinstance(said, str):
                answers |= {row["id"]: text for row, text in zip(rows, said["answers"], strict=True)}
    if isinstance(said, str):
        return said
    found = compute_metric("squad", answers, list(questions))
    return {"f1": found["f1"], "em": found["exact_match"], "scored": len(answers)}


def kept(file: Path, settings: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """What ``make`` gives, from ``file`` where that was written with the same settings; a failure, text, is not."""
    if file.is_file():
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["settings"] == settings:
            return known["value"]
    value = make()
    if isinstance(value, str):
        return value
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"settings": settings, "value": value}, ensure_ascii=False), encoding="utf-8")
    return value


def rows_of(
    names: Mapping[str, Case | None], seconds: Mapping[str, Mapping[str, list[float]]], count: int
) -> list[dict[str, Any]]:
    """For each variant, its questions per second and its speed as a multiple of the first one's, by batch size."""
    base = seconds[next(iter(names))]
    rows = []
    for name, case in names.items():
        if name not in seconds:
            continue
        ratios = {
            size: statistics.median(one / own for one, own in zip(base[size], times, strict=True))
            for size, times in seconds[name].items()
        }
        rows.append({
            "name": name,
            **({k: v for k, v in asdict(case).items() if k in ("model", "runtime", "precision")} if case else {}),
            "questions_per_second": {k: round(count / statistics.median(v), 3) for k, v in seconds[name].items()},
            "speed": {size: round(ratio, 3) for size, ratio in ratios.items()},
            "seconds": {size: [round(value, 4) for value in times] for size, times in seconds[name].items()},
        })  # fmt: skip
    return rows


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """What the result file holds."""
    failed: dict[str, str] = {}
    questions, file = read_questions(args), args.work / "questions.json"
    args.questions = min(args.questions, len(questions))
    file.write_text(json.dumps(questions, ensure_ascii=False), encoding="utf-8")
    cases = make_cases(args, failed)
    peers = make_peers(args, file, failed) if args.peers else {}
    names: dict[str, Case | None] = {label(case): case for case in cases} | dict.fromkeys(peers)
    settings = {"dev": args.dev.name, "of": len(questions), "seed": args.seed, **how(args)}
    seconds, broken = kept(
        args.work / ("shape" if args.shape else "model") / "speed.json",
        {**settings, "threads": args.threads, "folders": {name: case and case.folder for name, case in names.items()},
         "questions": args.questions, "rounds": args.rounds, "batch_sizes": args.batch_sizes},
        lambda: (measure_speed(args, cases, peers, file, failed), dict(failed)),
    )  # fmt: skip
    failed |= broken
    rows = rows_of(names, seconds, args.questions)
    for row in rows if not args.shape else ():
        case = names[row["name"]]
        turn = peers[row["name"]] if case is None else Worker(serve_questions, case, file, how(args))
        found = kept(
            args.work / "model" / f"{row['name']}.json",
            {**settings, "batch_size": args.batch_sizes[-1], "folder": case.folder if case else str(args.model)},
            partial(score, turn, questions, args.batch_sizes[-1]),
        )
        row.update({"error": found} if isinstance(found, str) else found)
        print(f"{row['name']}: {found}", flush=True)
    result = {
        "benchmark": "one model in every runtime, from texts to answers, CPU",
        **describe_run(args.seed),
        "runtimes": {name: installed(name) for name in ("onnxruntime", "openvino", "nncf")},
        "model": {"type": "albert", **LARGE, "weights": "random"} if args.shape else args.model.name,
        "structured": "half of the heads and units" if args.shape else args.structured and args.structured.name,
        "settings": {**how(args), "threads": args.threads, "rounds": args.rounds, "calibrated": bool(args.calibrate)},
        "questions": args.questions,
        "runs": rows,
        "failed": failed,
    }
    local = {args.work: "outputs/runtimes", args.dev.parent: "squad"}
    return without_local_paths(result, local | ({args.calibrate.parent: "squad"} if args.calibrate else {}))


def installed(name: str) -> str | None:
    """The version of a library, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Parse the command line and run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "palbert-benchmarks"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned model")
    parser.add_argument("--structured", type=Path, help="folder of a structured model that was made of it")
    parser.add_argument("--dev", type=Path, required=True, help="the official SQuAD 1.1 dev set")
    parser.add_argument("--calibrate", type=Path, help="training questions, for OpenVINO's int8")
    parser.add_argument("--shape", action="store_true", help="an ALBERT-large of random weights: speed alone")
    parser.add_argument("--peers", action="store_true", help="also measure what others offer")
    parser.add_argument("--questions", type=int, default=200, help="how many the speed is measured with")
    parser.add_argument("--limit", type=int, help="score so many questions of the dev set alone, for a look")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8], help="windows of a batch")
    parser.add_argument("--max-seq-len", type=int, default=320, help="tokens of a window")
    parser.add_argument("--doc-stride", type=int, default=128, help="tokens that neighbouring windows share")
    parser.add_argument("--max-answer-len", type=int, default=30, help="longest answer, in tokens")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count; one more warms up")
    parser.add_argument("--threads", type=int, default=cores, help="threads of every variant")
    parser.add_argument("--work", type=Path, default=Path("outputs/runtimes"), help="folder for exports and figures")
    parser.add_argument(
        "--environment",
        type=Path,
        default=cache / f"transformers-{TRANSFORMERS}",
        help="folder of the peers' environment, built if missing (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--name", help="name of the result file")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    os.environ |= {"OMP_NUM_THREADS": str(args.threads), "RAYON_NUM_THREADS": str(args.threads)}  # the processes' too
    print(write_result(args.name or ("runtimes_shape" if args.shape else "runtimes"), measure(args)))


if __name__ == "__main__":
    main()
