"""Bytes of a pruned model on the disk, beside what others write and what information theory allows; time and memory.

    python benchmarks/storage.py

A random model of the shape of ALBERT-large-zh (15.5 M parameters): rows are Gaussian with a log-normal scale, and 70 %
of each of the six matrices of the shared layer are pruned by magnitude. Bytes are those of the weight files (of the
arrays alone for dense fp32 and CSR).

The information limit of a packed file adds up, over its matrices, n·H(d) bits for a mask of n elements with density d
and nnz·H(values) bits for the values that are written, H being the entropy of their histogram; scales and vectors count
as they are. Dense fp16 without any coding is the file that Trainer writes with `model.half()`.
"""

from __future__ import annotations

import argparse
import copy
import functools
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from machine import describe_run, write_result
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForQuestionAnswering, AutoModelForQuestionAnswering
from transformers.utils import logging

from transformers_palbert import (
    PalBertConfig,
    PalBertForQuestionAnswering,
    PruningConfig,
    StorageConfig,
    bake_masks,
    enable_sparse_saving,
    prepare_pruning,
)
from transformers_palbert.pruning import apply_density
from transformers_palbert.storage import decode, encode, read_header
from transformers_palbert.storage.tensors import is_packed, packed_header

COMPRESSED_TENSORS = "0.20.0"
SHAPE = {
    "vocab_size": 21128,
    "embedding_size": 128,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
PACKED = {
    "fp16": StorageConfig("float16"),
    "fp16_entropy": StorageConfig("float16", entropy=True),
    "int8": StorageConfig("int8"),
    "int8_fp16_embeddings": StorageConfig("int8", embeddings="float16"),
    "int8_entropy": StorageConfig("int8", entropy=True),
}
LOADS = ("fp16", "int8", "int8_entropy")


def pruned_model(sparsity: float, seed: int) -> PalBertForQuestionAnswering:
    """The model with random weights, pruned."""
    torch.manual_seed(seed)
    model = PalBertForQuestionAnswering(PalBertConfig(**SHAPE))
    with torch.no_grad():
        for weight in (parameter for parameter in model.parameters() if parameter.dim() == 2):
            weight.normal_(std=0.02).mul_(torch.exp(0.3 * torch.randn(len(weight), 1)))
    config = PruningConfig(method="magnitude", target_sparsity=sparsity)
    prepare_pruning(model, config)
    apply_density(model, config, config.final_density)
    return bake_masks(model)


def bytes_of(folder: Path) -> int:
    """Of all weight files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def save_packed(model: nn.Module, folder: Path, config: StorageConfig) -> None:
    """Write a copy of the model, packed."""
    model = copy.deepcopy(model)
    enable_sparse_saving(model, config)
    model.save_pretrained(folder)


def entropy(symbols: np.ndarray) -> float:
    """Bits per symbol of the histogram."""
    counts = np.unique(symbols, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def information_limit(file: Path) -> float:
    """Bytes; see the top of this file."""
    total = 0.0
    for tensor in load_file(file).values():
        if not is_packed(tensor):
            total += tensor.nbytes
            continue
        header = packed_header(tensor)
        array, dtype = decode(tensor.numpy())
        raw = encode(array, dtype=dtype, values=header.values, layout="dense" if header.density == 1 else "bitmask")
        _, scales, values = read_header(raw).lengths
        written = raw[len(raw) - values :].view(f"<u{values // header.nnz}")
        mask = np.repeat([False, True], [header.size - header.nnz, header.nnz])
        total += (header.size * entropy(mask) + header.nnz * entropy(written)) / 8 + scales
    return total


def sizes(model: nn.Module, work: Path) -> list[dict[str, Any]]:
    """Bytes of every way to store the model."""
    rows = []
    for name, config in PACKED.items():
        save_packed(model, work / name, config)
        limit = information_limit(work / name / "model.safetensors")
        rows.append({"name": name, "bytes": bytes_of(work / name), "information_limit": round(limit)})
    state = model.state_dict()
    copy.deepcopy(model).half().save_pretrained(work / "dense_fp16")
    dense = (work / "dense_fp16" / "model.safetensors").read_bytes()
    rows.append({"name": "dense_fp32", "bytes": sum(tensor.nbytes for tensor in state.values())})
    rows.append({"name": "dense_fp16", "bytes": len(dense)})
    rows.append({"name": "dense_fp16_zstd19", "bytes": len(zstandard.ZstdCompressor(level=19).compress(dense))})
    rows += prunebert(state)
    return rows


def prunebert(state: dict[str, Tensor]) -> list[dict[str, Any]]:
    """What the notebook of PruneBERT does: int8 with one scale per matrix, CSR with uint16 columns, gzip -9.

    Only the encoder's pruned matrices; everything else stays fp32 as there, or becomes fp16 for a fairer comparison.
    """
    from scipy.sparse import csr_matrix

    arrays, rest = [], 0
    for name, tensor in state.items():
        if "albert_layers" not in name or tensor.dim() != 2:
            rest += tensor.numel()
            continue
        quantized = torch.round(tensor / (tensor.abs().max() / 127)).to(torch.int8).numpy()
        sparse = csr_matrix(quantized)
        arrays += [sparse.data, sparse.indices.astype(np.uint16), sparse.indptr.astype(np.int32)]
    plain = sum(array.nbytes for array in arrays)
    zipped = sum(len(gzip.compress(array.tobytes(), 9)) for array in arrays)
    return [
        {"name": "prunebert_csr", "bytes": plain + 4 * rest},
        {"name": "prunebert_csr_gzip", "bytes": zipped + 4 * rest},
        {"name": "prunebert_csr_gzip_rest_fp16", "bytes": zipped + 2 * rest},
    ]


def compressed_tensors(model: nn.Module, work: Path, packages: Path) -> dict[str, Any]:
    """int8 of compressed-tensors, in a process that can import it; or why there is none."""
    name = "compressed_tensors_int8"
    if not packages.is_dir():
        command = ["-m", "pip", "install", "-q", "--no-deps", "--target", str(packages)]
        wanted = [f"compressed-tensors=={COMPRESSED_TENSORS}", "loguru"]
        if subprocess.run([sys.executable, *command, *wanted], check=False).returncode:
            shutil.rmtree(packages, ignore_errors=True)
            return {"name": name, "skipped": "compressed-tensors could not be installed"}
    torch.save(model.state_dict(), work / "state.pt")
    environment = os.environ | {"PYTHONPATH": str(packages)}
    command = [sys.executable, __file__, "--worker", "compressed-tensors", str(work)]
    run = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if run.returncode:
        return {"name": name, "skipped": run.stderr.strip().splitlines()[-1]}
    file = work / name / "model.safetensors"
    coded = zstandard.ZstdCompressor(level=19).compress(file.read_bytes())
    return {"name": name, "bytes": bytes_of(file.parent), "zstd19": len(coded), "version": COMPRESSED_TENSORS}


def write_compressed_tensors(work: Path) -> None:
    """In the other process: int8 for each output channel, pack-quantized; embeddings fp16, as they must be."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )

    model = AlbertForQuestionAnswering(AlbertConfig(**SHAPE))
    model.load_state_dict(torch.load(work / "state.pt", weights_only=True))
    model.half()
    weights = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
    scheme = QuantizationScheme(targets=["re:.*albert_layers.*"], weights=weights)
    config = QuantizationConfig(
        config_groups={"group_0": scheme}, quantization_status="frozen", format="pack-quantized"
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            module.weight_scale.data = module.weight.detach().abs().amax(1, keepdim=True) / 127
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(work / "compressed_tensors_int8")
    compressor.update_config(work / "compressed_tensors_int8")


def load(folder: Path, dtype: str) -> nn.Module:
    """Load a checkpoint, on the CPU."""
    return AutoModelForQuestionAnswering.from_pretrained(folder, dtype=getattr(torch, dtype))


def load_times(work: Path, rounds: int) -> list[dict[str, Any]]:
    """Seconds of from_pretrained, all files in turns, from a warm file cache."""
    names = ("dense_fp16", *LOADS)
    results = []
    for dtype in ("float16", "float32"):
        seconds: dict[str, list[float]] = {name: [] for name in names}
        cpu_seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds + 1):  # the first is a rehearsal
            for name in names:
                start, cpu = time.perf_counter(), time.process_time()
                load(work / name, dtype)
                seconds[name].append(time.perf_counter() - start)
                cpu_seconds[name].append(time.process_time() - cpu)
        for name in names:
            results.append(
                {
                    "name": name,
                    "dtype": dtype,
                    "seconds_median": round(statistics.median(seconds[name][1:]), 4),
                    "cpu_seconds_median": round(statistics.median(cpu_seconds[name][1:]), 4),
                    **peak_memory(work / name, dtype),
                }
            )
    return results


def peak_memory(folder: Path, dtype: str) -> dict[str, int]:
    """Peak of a process that loads and uses the weights, and what of it came after all imports; least of three."""
    command = [sys.executable, __file__, "--worker", "peak", str(folder), dtype]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(3))
    whole, added = min(tuple(map(int, run.stdout.split()[-2:])) for run in runs)
    return {"peak_bytes_of_process": whole, "peak_bytes_added": added}


def _memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def print_peak(folder: Path, dtype: str) -> None:
    """In a process of its own: load a tiny model, so that everything is imported, then the one that is measured."""
    tiny = SHAPE | {"vocab_size": 10, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    with tempfile.TemporaryDirectory() as warm:
        save_packed(PalBertForQuestionAnswering(PalBertConfig(**tiny)), Path(warm), StorageConfig("int8"))
        load(Path(warm), dtype)
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
    before = _memory("VmRSS")
    for parameter in load(folder, dtype).parameters():
        parameter.sum()  # plain files are mapped, and read only when they are used
    print(_memory("VmHWM"), _memory("VmHWM") - before)


def speeds(rounds: int, seed: int) -> dict[str, Any]:
    """Milliseconds to write and to read a matrix of 4096×1024 at 30 % density, all in turns."""
    from scipy.sparse import csr_matrix

    random = np.random.default_rng(seed)
    kept = random.random((4096, 1024)) < 0.3
    weights = np.where(kept, random.standard_normal(kept.shape), 0).astype(np.float32)

    def naive_write() -> tuple[np.ndarray, np.ndarray]:
        return np.packbits(weights != 0), weights[weights != 0]

    def naive_read(stored: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        result = np.zeros(weights.size, np.float32)
        result[np.unpackbits(stored[0]).astype(bool)] = stored[1]
        return result

    write: dict[str, Callable[[], Any]] = {"naive_numpy": naive_write, "scipy_csr": lambda: csr_matrix(weights)}
    read: dict[str, Callable[[Any], Any]] = {"naive_numpy": naive_read, "scipy_csr": lambda stored: stored.toarray()}
    for values in ("float32", "float16", "int8"):
        for entropy_coded in (False, True):
            name = values + "_entropy" * entropy_coded
            write[name] = functools.partial(encode, weights, dtype="float32", values=values, entropy=entropy_coded)
            read[name] = decode
    written = {name: function() for name, function in write.items()}
    calls: dict[str, dict[str, Callable[[], Any]]] = {
        "write": write,
        "read": {name: functools.partial(function, written[name]) for name, function in read.items()},
    }
    result: dict[str, Any] = {}
    for kind, functions in calls.items():
        times: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(rounds):
            for name, function in functions.items():
                start = time.perf_counter()
                function()
                times[name].append(1e3 * (time.perf_counter() - start))
        result[kind] = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return {"shape": [4096, 1024], "density": 0.3, "milliseconds_median": result}


def run(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Everything."""
    model = pruned_model(args.sparsity, args.seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size_rows = [*sizes(model, work), compressed_tensors(model, work, args.packages)]
    return {
        "benchmark": "Bytes, load time and memory of a pruned ALBERT-large",
        **describe_run(args.seed),
        "model": SHAPE,
        "parameters": parameters,
        "sparsity_of_the_shared_layer": args.sparsity,
        "sizes": size_rows,
        "loads": load_times(work, args.rounds),
        "codec": speeds(args.rounds, args.seed),
    }


def main() -> None:
    """Parse the command line and run."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--worker"]:
        task, folder, *rest = sys.argv[2:]
        write_compressed_tensors(Path(folder)) if task == "compressed-tensors" else print_peak(Path(folder), *rest)
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "palbert-benchmarks"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=15, help="repetitions of whatever is timed (15)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--packages",
        type=Path,
        default=cache / f"compressed-tensors-{COMPRESSED_TENSORS}",
        help="folder to install compressed-tensors in, if it is missing (%(default)s)",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        print(write_result("storage", run(args, Path(work))))


if __name__ == "__main__":
    main()
