"""Every test runs offline, on one thread, in an empty folder, and without touching the user's caches."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_HOME = tempfile.mkdtemp(prefix="palbert-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
# Libraries read these once, when they are imported: so before any test module is.
for _name in [*os.environ]:
    if _name.startswith(("HF_", "HUGGINGFACE_")) or _name.lower().endswith("_proxy"):
        del os.environ[_name]  # the user's caches, token and proxy
os.environ.update(
    CUDA_VISIBLE_DEVICES=os.environ.get("PALBERT_TEST_GPUS", ""),
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    HF_HOME=_HOME,
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)

import hypothesis  # noqa: E402  (after the environment is set)
import torch  # noqa: E402

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("no clock")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test writes to a relative path lands in its own temporary folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def _freeze_what_is_imported() -> Iterator[None]:
    """Take the objects of imported modules out of garbage collection.

    ``Trainer.train`` begins with a full collection, which in a process that has imported transformers takes longer
    than a run of a few steps.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
