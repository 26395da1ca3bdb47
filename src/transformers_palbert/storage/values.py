"""How values are written: casts between the floating types, and int8 with a scale for each row. numpy only.

numpy has no bfloat16, so an array of that type is one of uint16 with its bits, here and in the rest of this folder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError

__all__ = [
    "NUMPY_DTYPES",
    "cast",
    "check_scales",
    "check_values",
    "count_infinite",
    "multiply_scales",
    "nonzero_mask",
    "quantize_rows",
]

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int8": np.dtype("i1"),
}
SMALLEST_SCALE = 2.0**-126
"""The smallest normal float32: a scale below it would have too few bits for exact products."""
LARGEST_SCALE = 33026 * 2.0**106
"""The largest scale of 16 significant bits of which 127 are still a finite float32."""

CHECKED = 1 << 16
"""Values that are checked at a time: what that needs stays in the cache."""

Array = NDArray[Any]


def nonzero_mask(array: Array, dtype: str) -> NDArray[np.bool_]:
    """Which elements are not zero. ``-0.0`` is a zero; NaN is not."""
    return (array & 0x7FFF != 0) if dtype == "bfloat16" else array != 0


def count_infinite(array: Array, dtype: str) -> int:
    """How many elements are infinite."""
    return int(np.count_nonzero((array & 0x7FFF) == 0x7F80 if dtype == "bfloat16" else np.isinf(array)))


def cast(array: Array, source: str, target: str) -> Array:
    """Convert between float32, float16 and bfloat16 (bits in uint16), rounding to the nearest, ties to even.

    What is too large becomes infinite, and NaN stays NaN.
    """
    if source == target:
        return array
    if source == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if target == "bfloat16":
        return _round_to_bfloat16(array.astype(np.float32, copy=False))
    with np.errstate(over="ignore"):
        return array.astype(NUMPY_DTYPES[target], copy=False)


def _round_to_bfloat16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40  # rounding could carry a NaN over to infinity or zero
    return np.where(np.isnan(array), quiet, rounded).astype(np.uint16)


def quantize_rows(rows: Array, dtype: str) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Symmetric int8: ``q = round(w / s)``, with ``s = max|w| / 127`` of the row, rounded up to 16 significant bits.

    ``q · s`` is then exact in float32, and for a matrix of any floating type the largest weight of a row comes back as
    it was; so what comes back gives the same ``q`` and ``s`` again.

    Args:
        rows: ``[rows, columns]`` of ``dtype``.
        dtype: float32, float16 or bfloat16 (bits in uint16).

    Returns:
        Scales, float32 ``[rows]``, 0 for a row of zeros, and ``q``, int8 ``[rows, columns]`` within ±127. The error of
        ``q · s`` is at most ``s / 2``; where ``dtype`` is shorter than float32, its own rounding is added to that.

    Raises:
        StorageError: if a weight is NaN or infinite.
    """
    scales = np.empty(len(rows), np.float32)
    quantized = np.empty(rows.shape, np.int8)
    step = max(1, (1 << 17) // rows.shape[1])
    for start in range(0, len(rows), step):
        weights = cast(rows[start : start + step], dtype, "float32").astype(np.float64)
        largest = np.abs(weights).max(axis=1)
        if not np.isfinite(largest).all():
            raise StorageError("A matrix with NaN or infinite weights cannot be written as int8; use a float type.")
        scale = _scale(largest)
        quantized[start : start + step] = np.clip(np.rint(weights / scale[:, None]), -127, 127)
        scales[start : start + step] = np.where(np.rint(largest / scale) > 0, scale, 0)
    return scales, quantized


def _scale(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(largest / 127)
    rounded = np.ldexp(np.ceil(mantissa * 2**16), exponent - 16)
    return np.clip(rounded, SMALLEST_SCALE, LARGEST_SCALE)


def check_scales(scales: NDArray[np.float32]) -> None:
    """Raise a `StorageError` unless every scale is finite and not negative, nor -0.0."""
    wrong = ~np.isfinite(scales) | np.signbit(scales)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise StorageError(f"The packed tensor has the scale {scales[row]} for row {row}; it must be finite and ≥ 0.")


_NEVER_WRITTEN = {"float32": 1 << 31, "float16": 1 << 15, "bfloat16": 1 << 15, "int8": 1 << 7}
"""Bits of what no writer writes: -0.0, and -128 in int8."""


def check_values(written: Array, values: str, all_written: bool) -> None:
    """Raise a `StorageError` for a value that no writer writes: -0.0, -128 in int8, and 0 where zeros are left out.

    Args:
        written: The values of a packed tensor.
        values: Their type.
        all_written: Whether every element is written, so that zeros are among them.
    """
    bits = written.view(f"<u{written.itemsize}")
    for start in range(0, len(bits), CHECKED):
        block = bits[start : start + CHECKED]
        if (block == _NEVER_WRITTEN[values]).any():
            raise StorageError(f"The packed tensor has the value {'-128' if values == 'int8' else '-0.0'}.")
        if not all_written and not block.all():
            raise StorageError("The packed tensor has the value 0 among those that are written for not being 0.")


def multiply_scales(
    quantized: NDArray[np.int8], scales: NDArray[np.float32], rows: NDArray[np.intp]
) -> NDArray[np.float32]:
    """``q · s`` of each value's row, float32."""
    with np.errstate(over="ignore"):
        return quantized * scales[rows]
