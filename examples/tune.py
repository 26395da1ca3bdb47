"""Search for settings of a high F1 and a small file: what `palbert tune` does, over a space of one's own.

    python examples/tune.py small_cmrc2018.yaml --trials 30 --output_dir outputs/tune

A space maps an option of the Trainer, layer_lr_decay, dropout or a target of pruning to a list of choices or to
{low, high, log}. With --space file.yaml it is read from a file, and `palbert tune --help` says the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from transformers_palbert.experiments.pareto import Trial, pareto_front, write_results
from transformers_palbert.experiments.tuning import Space, parse, search
from transformers_palbert.training.option_parser import run_script

SPACE: Space = {
    "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    "target_sparsity": {"low": 0.3, "high": 0.9},
    "per_device_train_batch_size": [8, 16, 32],
}


def main(argv: Sequence[str]) -> list[Trial]:
    """Run the search; returns the trials that no other beats in both, by bytes."""
    arguments = parse(argv, description=__doc__ or "")
    trials = search(arguments, arguments.tune.read_space() if arguments.tune.space else SPACE)
    write_results(trials, Path(arguments.training.output_dir))  # trials.md, trials.csv, trials.png
    return pareto_front(trials)


if __name__ == "__main__":
    sys.exit(run_script(main, sys.argv[1:]))
