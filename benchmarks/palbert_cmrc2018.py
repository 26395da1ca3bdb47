"""Train PAL-BERT on CMRC 2018 from scratch: Mish, layer-wise learning rates, and movement pruning to 70 % sparsity.

    python benchmarks/palbert_cmrc2018.py --data DIR_WITH_CMRC2018 --start outputs/cmrc2018/cloze --work outputs/palbert

The last row of the paper's Table 9, at the size and with the recipe of the dense model in `benchmarks/cmrc2018.py`, and
from the same checkpoint, which has learnt cloze questions. A finished run is kept: the command then only reads its
results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from machine import describe_run, write_result
from runs import all_trials, load_benchmark, measured, new_runner, run_benchmark, without_local_paths

NAME = "palbert_cmrc2018"
RUN = "palbert"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with cmrc2018_train.json and cmrc2018_dev.json"
    )
    parser.add_argument("--start", type=Path, required=True, help="checkpoint that cmrc2018.py leaves in WORK/cloze")
    parser.add_argument("--work", type=Path, default=Path("outputs/palbert"), help="folder for checkpoints")
    parser.add_argument("--seed", type=int, default=42, help="seed of the run")
    args = parser.parse_args()
    data, work = args.data.resolve(), args.work.resolve()
    files = {"train_file": data / "cmrc2018_train.json", "validation_file": data / "cmrc2018_dev.json"}
    grid = load_benchmark(NAME, files, args.seed, start=args.start.resolve())
    trials, runner = all_trials([grid]), new_runner(work)
    run = run_benchmark(list(trials.values()), runner, NAME, grid.metrics)[RUN]
    answers = json.loads((runner.folder(trials[RUN]) / "eval_predictions.json").read_text(encoding="utf-8"))
    write_result(f"{NAME}/{RUN}", answers)
    row = {
        **measured(runner, trials[RUN], run),
        "name": trials[RUN].labels["model"],
        "questions": len(answers),
        "predictions": f"{NAME}/{RUN}.json",
    }
    result = {**describe_run(args.seed), "runs": [row]}
    local = {args.data: "cmrc2018", args.start: "outputs/cmrc2018/cloze", work: "outputs/palbert"}
    write_result(NAME, without_local_paths(result, local))


if __name__ == "__main__":
    main()
