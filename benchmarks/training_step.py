"""Time of a pruned training step against a dense one, in one run, as a ratio; and its peak memory.

    python benchmarks/training_step.py                     # on the CPU: bf16 and fp32, 2×384 and 8×384 tokens
    python benchmarks/training_step.py --device cuda --cases 32:bf16

A step is forward, backward, gradient clipping, AdamW and, for the pruned models, the update of all masks. The model has
the shape of ALBERT-large (24 applications of one layer). Three variants take turns, so that a machine that slows down
slows down all of them:

- dense: stock ALBERT
- pruned: movement pruning of this package, one mask per step and one product per forward
- sorting: a direct port of what the research code does, a full sort in every application of every layer
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe_run, write_result
from torch import nn
from transformers import AlbertConfig, AlbertForQuestionAnswering

from transformers_palbert.pruning import PruningConfig, apply_density, masked_layers, prepare_pruning
from transformers_palbert.pruning.convert import score_parameters, update_scores
from transformers_palbert.pruning.optimizer import take_gradients

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.references.pruning import SortingMaskedLinear

VARIANTS = ("dense", "pruned", "sorting")
PRUNING = PruningConfig(target_sparsity=0.7)
"""The default: sensitivity, whose scores are updated beside the optimizer's step."""
LENGTH = 384


def albert_large() -> AlbertForQuestionAnswering:
    """ALBERT-large with the Chinese vocabulary and random weights."""
    return AlbertForQuestionAnswering(
        AlbertConfig(
            vocab_size=21128,
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            hidden_act="gelu",
        )
    )


def make_step(variant: str, batch: int, precision: str, device: str, seed: int) -> Callable[[], None]:
    """One training step of ``variant`` on random tokens, ready to be called again and again."""
    torch.manual_seed(seed)
    model = albert_large().to(device).train()
    if variant == "pruned":
        prepare_pruning(model, PRUNING)
    elif variant == "sorting":
        SortingMaskedLinear.replace_targets(model, density=PRUNING.final_density)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    tokens = torch.randint(1, 21128, (batch, LENGTH), device=device)
    spans = torch.randint(0, LENGTH, (2, batch), device=device)
    autocast = torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16")

    def step() -> None:
        with autocast:
            loss = model(tokens, start_positions=spans[0], end_positions=spans[1]).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        gradients = take_gradients(score_parameters(model)) if variant == "pruned" else []
        optimizer.step()
        optimizer.zero_grad()
        if variant == "pruned":
            update_scores(model, PRUNING, gradients)
            apply_density(model, PRUNING, PRUNING.final_density)
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def timed(action: Callable[[], Any]) -> float:
    """Seconds that ``action`` took."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(batch: int, precision: str, device: str, rounds: int, sorting_rounds: int, seed: int) -> dict[str, Any]:
    """Median seconds of each variant, and the medians of the ratios taken round by round."""
    steps = {variant: make_step(variant, batch, precision, device, seed) for variant in VARIANTS}
    for variant in VARIANTS[: 3 if sorting_rounds else 2]:
        steps[variant]()  # warm-up
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        order = VARIANTS[:2] if number % 2 == 0 else VARIANTS[1::-1]
        for variant in (*order, *(["sorting"] if number < sorting_rounds else [])):
            seconds[variant].append(timed(steps[variant]))
    result: dict[str, Any] = {"batch": batch, "tokens": LENGTH, "precision": precision, "rounds": rounds}
    for variant, values in seconds.items():
        if values:
            ratios = [value / dense for value, dense in zip(values, seconds["dense"], strict=False)]
            result[variant] = {
                "seconds_median": round(statistics.median(values), 4),
                "seconds": [round(value, 4) for value in values],
                "ratio_to_dense_median": round(statistics.median(ratios), 4),
            }
    return result


def mask_update(device: str, rounds: int, seed: int) -> dict[str, Any]:
    """Median seconds of updating the masks of all 12.6 M scores, from scores that differ each time."""
    torch.manual_seed(seed)
    model = prepare_pruning(albert_large().to(device), PRUNING)
    layers = masked_layers(model).values()
    seconds = []
    for _ in range(rounds + 1):
        for layer in layers:
            for tensor in layer.score_state.values():
                tensor.normal_()

        def update() -> None:
            apply_density(model, PRUNING, PRUNING.final_density)
            if device == "cuda":
                torch.cuda.synchronize()

        seconds.append(timed(update))
    count = sum(layer.weight.numel() for layer in layers)
    return {"scores": count, "seconds_median": round(statistics.median(seconds[1:]), 4)}


def peak_memory(variant: str, batch: int, precision: str, device: str, seed: int) -> int:
    """Peak bytes of two steps: of this process on the CPU, of torch's allocator on a GPU."""
    step = make_step(variant, batch, precision, device, seed)
    step()
    step()
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    # not getrusage: on Linux its maximum is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def peak_memory_apart(variant: str, *values: Any) -> int:
    """:func:`peak_memory` in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", variant, *(str(value) for value in values)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    return int(done.stdout.split()[-1])


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--cases",
        nargs="+",
        default=["2:bf16", "8:bf16", "2:fp32", "8:fp32"],
        help="sequences of 384 tokens per step and precision, bf16 or fp32, as in 8:bf16",
    )
    parser.add_argument("--rounds", type=int, default=5, help="steps of dense and pruned, in turns")
    parser.add_argument("--sorting-rounds", type=int, default=2, help="steps of the research code's port")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="training_step", help="name of the result file")
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        variant, batch, precision, device, seed = args.memory_of
        print(peak_memory(variant, int(batch), precision, device, int(seed)))
        return
    result: dict[str, Any] = {"benchmark": "training step, ALBERT-large shape", **describe_run(args.seed), "steps": []}
    result["mask_update"] = mask_update(args.device, rounds=9, seed=args.seed)
    for case in args.cases:
        batch, _, precision = case.partition(":")
        row = compare(int(batch), precision, args.device, args.rounds, args.sorting_rounds, args.seed)
        row["mask_update_share"] = round(result["mask_update"]["seconds_median"] / row["dense"]["seconds_median"], 4)
        for variant in VARIANTS[:2]:
            row[variant]["peak_bytes"] = peak_memory_apart(variant, batch, precision, args.device, args.seed)
        result["steps"].append(row)
        print(row, flush=True)
    print(write_result(args.output, result))


if __name__ == "__main__":
    main()
