"""A training script in miniature: its "score" is a sum of its options, and `trouble` says how it ends instead."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
    folder = Path(options["output_dir"])
    checkpoint = folder / "checkpoint-1"
    with (folder / "calls.txt").open("a") as calls:
        calls.write("resumed\n" if checkpoint.is_dir() else "new\n")
    started = "model_name_or_path" in options
    trouble = options.get("trouble")
    if trouble == "memory":
        raise MemoryError("Unable to allocate 4.00 TiB")
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "bug":
        raise ValueError("learning_rate is wrong")
    if trouble == "once" and not checkpoint.is_dir():
        checkpoint.mkdir()
        raise ConnectionError("try again")
    if trouble == "slow" and not checkpoint.is_dir():
        checkpoint.mkdir()
        time.sleep(60)
    score = float(options.get("a", 0)) * 10 + float(options.get("seed", 42)) + 100 * started
    (folder / "model.safetensors").write_bytes(b"x" * 2_000_000)
    (folder / "all_results.json").write_text(json.dumps({"eval_f1": score, "eval_em": score / 2, "note": "text"}))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
