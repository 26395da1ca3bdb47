"""Small files: pruned matrices packed as positions and values inside ordinary safetensors."""

from __future__ import annotations

from .codec import decode, encode, read_header
from .header import Header

__all__ = ["Header", "decode", "encode", "read_header"]
