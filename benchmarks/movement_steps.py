"""How many optimizer steps movement pruning needs: F1 at 70 % sparsity by score and length of the run.

    python benchmarks/movement_steps.py --model outputs/squad/dense --train train.json --dev dev.json

The literature's figures of movement are of some 50,000 steps; in 500 it destroys a model. What lies between is measured
here with batches of 8 short windows, so that many steps are affordable: figures compare with each other alone. All
runs start from one fine-tuned model, such as `benchmarks/squad_pruning.py` leaves in `outputs/squad/dense`. Finished
runs are kept and skipped when the command is repeated; an interrupted one goes on from its last checkpoint. `--only
NAME …` runs a part; the result file holds what is finished and names what is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from machine import describe_run, write_result
from runs import all_trials, chosen_runs, load_benchmark, measured, new_runner, run_benchmark, without_local_paths

NAME = "movement_steps"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a fine-tuned model")
    parser.add_argument("--train", type=Path, required=True, help="training questions")
    parser.add_argument("--dev", type=Path, required=True, help="questions to score")
    parser.add_argument("--work", type=Path, default=Path("outputs/movement_steps"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", help="names of runs; none: collect what is finished")
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    work, model = args.work.resolve(), args.model.resolve()
    work.mkdir(parents=True, exist_ok=True)
    options = {"train_file": args.train.resolve(), "validation_file": args.dev.resolve()}
    grid, runner = load_benchmark(NAME, options, args.seed, start=model), new_runner(work)
    trials = all_trials([grid])
    wanted = chosen_runs(parser, args.only, trials, runner)
    runs = run_benchmark([trials[name] for name in wanted], runner, NAME, grid.metrics)
    result = {
        "benchmark": "SQuAD 1.1, a model pruned to 70 % by different scores in runs of growing length",
        **describe_run(args.seed),
        "runs": [{**measured(runner, trials[name], run), **trials[name].labels} for name, run in runs.items()],
        "not_run": [name for name in trials if name not in runs],
    }
    local = {work: "outputs/movement_steps", model: "outputs/squad/dense", args.dev.parent: "english"}
    write_result(NAME, without_local_paths(result, {**local, args.train.parent: "outputs/squad"}))


if __name__ == "__main__":
    main()
