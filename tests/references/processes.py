"""Two processes of one test file, as a distributed launcher would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.references.scripts import ROOT

__all__ = ["two_processes"]


@contextmanager
def two_processes(script: str, folder: Path, timeout: float) -> Iterator[None]:
    """Run ``script folder`` twice, as ranks 0 and 1, beside the body; in the end both must have succeeded."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, script, str(folder)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        yield
        for worker in workers:
            _, errors = worker.communicate(timeout=timeout)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
