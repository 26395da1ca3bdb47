from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from transformers_palbert.errors import ConfigurationError, NoEffectWarning
from transformers_palbert.experiments.outcome import Status, classify
from transformers_palbert.training.memory_limit import limit_memory

ALLOCATE = """
import torch
from transformers_palbert.training.memory_limit import limit_memory
limit_memory(30, torch.device("cpu"))
torch.empty(3 * 10**9, dtype=torch.uint8)
print("fits")
limit_memory(2.5, torch.device("cpu"))
torch.empty(3 * 10**9, dtype=torch.uint8)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_process_that_takes_more_is_out_of_memory() -> None:
    ended = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["fits"]
    assert classify(ended.returncode, ended.stderr) is Status.OUT_OF_MEMORY


class TestGPU:
    @pytest.fixture
    def shares(self, monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
        """Two GPUs of 16 GB, and what each process may take of them."""
        found: dict[int, float] = {}
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=16e9))
        monkeypatch.setattr(
            torch.cuda, "set_per_process_memory_fraction", lambda share, index: found.update({index: share})
        )
        return found

    def test_each_gives_its_share(self, shares: dict[int, float]) -> None:
        limit_memory(8, torch.device("cuda"))
        assert shares == {0: 0.5, 1: 0.5}

    def test_a_limit_above_what_it_has_is_told(self, shares: dict[int, float]) -> None:
        with pytest.warns(NoEffectWarning, match="memory_limit_gb=16 has no effect: the GPU has 16.0 GB"):
            limit_memory(16, torch.device("cuda"))
        assert not shares


def test_another_device_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not for mps"):
        limit_memory(8, torch.device("mps"))
