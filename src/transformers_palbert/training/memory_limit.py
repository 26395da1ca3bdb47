"""A limit on the memory that a process may take, so that a large machine stands in for a small one."""

from __future__ import annotations

import warnings

import torch

from ..errors import ConfigurationError, NoEffectWarning

__all__ = ["limit_memory"]


def limit_memory(gigabytes: float, device: torch.device) -> None:
    """Let this process run out of memory where it would take more than ``gigabytes``.

    Args:
        gigabytes: The limit, in 10^9 bytes, above 0.
        device: Whose memory is meant. On a GPU it is what torch allocates on each GPU that the process sees; the
            driver's own share, some hundred megabytes, is not counted. On a CPU it is all private memory of the
            process, of which the libraries take about one gigabyte.

    Raises:
        ConfigurationError: on a device or system that knows no such limit.

    Warns:
        NoEffectWarning: if the GPU has no more memory than that.
    """
    if device.type == "cuda":
        for index in range(torch.cuda.device_count()):
            _limit_gpu(gigabytes, index)
    elif device.type == "cpu":
        _limit_process(gigabytes)
    else:
        raise ConfigurationError(f"memory_limit_gb is known for CUDA and CPU, not for {device.type}.")


def _limit_gpu(gigabytes: float, index: int) -> None:
    total = torch.cuda.get_device_properties(index).total_memory
    if gigabytes * 1e9 >= total:
        warnings.warn(
            f"memory_limit_gb={gigabytes} has no effect: the GPU has {total / 1e9:.1f} GB.",
            NoEffectWarning,
            stacklevel=3,
        )
        return
    torch.cuda.set_per_process_memory_fraction(gigabytes * 1e9 / total, index)


def _limit_process(gigabytes: float) -> None:
    try:
        import resource  # not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 1e9), most))
    except (ImportError, ValueError, OSError) as error:
        raise ConfigurationError(f"memory_limit_gb={gigabytes} cannot be set on this system: {error}.") from error
