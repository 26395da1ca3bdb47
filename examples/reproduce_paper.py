"""Run the experiments of the PAL-BERT paper, and ours beside them: what `palbert reproduce` does.

    python examples/reproduce_paper.py --list
    python examples/reproduce_paper.py table7 --scale small       # minutes a run on a CPU, and the caption says so
    python examples/reproduce_paper.py figure3                    # a picture that no run is needed for

A grid of your own is a YAML file; `transformers_palbert.experiments.grid` explains it, and its path stands where the
name of an experiment does. A training script of your own, such as a changed run_qa.py, is given with --script: it has
to take `--option=value` and go on from its last checkpoint.

    python examples/reproduce_paper.py my_grid.yaml --script examples/run_qa.py
"""

from __future__ import annotations

import sys

from transformers_palbert.errors import ConfigurationError
from transformers_palbert.experiments.reproduction import main

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], description=__doc__ or "", prog="python examples/reproduce_paper.py"))
    except ConfigurationError as error:
        sys.exit(f"error: {error}")
