"""What a process without this package makes of our folders: a model from the plain ones, an error from the packed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from tests.pruning.helpers import qa_batch
from tests.storage.helpers import CONFIGS, as_version_1, pruned_model, save_packed
from transformers_palbert.export.stock import export_stock
from transformers_palbert.storage.folders import decompress_folder

HIDE = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "transformers_palbert":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hide())
try:
    import transformers_palbert
    sys.exit("the package is not hidden")
except ModuleNotFoundError:
    pass
import json, torch, transformers
"""
LOAD_ALL = """
jobs, batch = json.loads(sys.argv[1])
batch = {name: torch.tensor(rows) for name, rows in batch.items()}
results = []
for class_name, folder in jobs:
    try:
        class_name, *options = class_name.split()
        model = getattr(transformers, class_name).from_pretrained(folder, **dict.fromkeys(options, True))
        with torch.no_grad():
            results.append(model(**batch).start_logits.tolist())
    except Exception as error:
        results.append(f"{type(error).__name__}: {error}")
assert not any(name.startswith("transformers_palbert") for name in sys.modules)
print(json.dumps(results))
"""
LOAD_ONE = "transformers.AutoModelForQuestionAnswering.from_pretrained(sys.argv[1])"
AUTO = "AutoModelForQuestionAnswering"


def run_without_package(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh interpreter that cannot import the package."""
    command = [sys.executable, "-c", HIDE + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> folder; the plain ones begin with "plain"."""
    root = tmp_path_factory.mktemp("folders")
    made = {}
    for kind in ("bert", "roberta", "albert", "palbert", "distilbert"):
        made[kind] = save_packed(root / kind, pruned_model(kind))
        if kind != "palbert":
            decompress_folder(made[kind], root / f"plain-{kind}")
            made[f"plain-{kind}"] = root / f"plain-{kind}"
    for name, config in CONFIGS.items():
        made[name] = save_packed(root / name, pruned_model("bert"), config)
    for kind in ("bert", "palbert"):
        made[f"{kind} in shards"] = save_packed(root / f"{kind} in shards", pruned_model(kind), max_shard_size="5KB")
    made["bert of version 1"] = as_version_1(Path(shutil.copytree(made["bert"], root / "bert of version 1")))
    made["plain-exported"] = root / "plain-exported"
    export_stock(AutoModelForQuestionAnswering.from_pretrained(made["palbert"]), made["plain-exported"])
    return made


@pytest.fixture(scope="module")
def outcomes(folders: dict[str, Path]) -> dict[str, Any]:
    """Folder's name (with the class, if it is not the Auto class) -> logits, or the error as text."""
    jobs = {name: (AUTO, str(folder)) for name, folder in folders.items()}
    for name in ("palbert", "palbert in shards"):
        jobs[f"{name} as ALBERT"] = ("AlbertForQuestionAnswering", str(folders[name]))
    jobs["bert, sizes ignored"] = (f"{AUTO} ignore_mismatched_sizes", str(folders["bert"]))
    batch = {name: tensor.tolist() for name, tensor in qa_batch().items()}
    done = run_without_package(LOAD_ALL, json.dumps([list(jobs.values()), batch]))
    assert done.returncode == 0, done.stderr
    return dict(zip(jobs, json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_packed_folders_are_errors(outcomes: dict[str, Any]) -> None:
    packed = {name: outcome for name, outcome in outcomes.items() if not name.startswith("plain")}
    assert len(packed) >= 14
    loaded = [name for name, outcome in packed.items() if not isinstance(outcome, str)]
    assert not loaded
    own = {name for name in packed if name in ("palbert", "palbert in shards")}  # of an architecture that is unknown
    for name, outcome in packed.items():
        older = "ignore_mismatched_sizes" if name.endswith("version 1") else "pip install transformers-palbert"
        assert ("model type `palbert`" if name in own else older) in outcome, name
    assert "random weights" in packed["bert, sizes ignored"]


def test_plain_folders_give_the_same_logits(outcomes: dict[str, Any], folders: dict[str, Path]) -> None:
    plain = [name for name in folders if name.startswith("plain")]
    assert len(plain) == 5
    for name in plain:
        packed = folders["palbert" if name == "plain-exported" else name.removeprefix("plain-")]
        with torch.no_grad():
            logits = AutoModelForQuestionAnswering.from_pretrained(packed)(**qa_batch()).start_logits
        torch.testing.assert_close(torch.tensor(outcomes[name]), logits, rtol=1e-6, atol=1e-6)


def test_a_script_ends_with_an_error(folders: dict[str, Path]) -> None:
    done = run_without_package(LOAD_ONE, str(folders["albert"]))
    assert done.returncode != 0
    assert "`import transformers_palbert` before from_pretrained" in done.stderr
