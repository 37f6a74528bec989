"""Middlebury's ``.flo`` files.

The float 202021.25 (the bytes "PIEH"), width and height as int32, then u and v of each pixel as float32, row by row;
all little-endian. Source: the README of the colour code at https://vision.middlebury.edu/flow/data/.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from examples.spynet.pyramid import Array, Floats
from retorch.errors import FormatError, UsageError

TAG = b"PIEH"
_HEADER = struct.Struct("<4sii")


def write_flo(path: str | Path, flow: Array) -> None:
    """Write a flow of shape (2, H, W) in pixels. UsageError for another shape."""
    if flow.ndim != 3 or flow.shape[0] != 2:
        raise UsageError(f"a flow is 2 × height × width, not {'×'.join(map(str, flow.shape))}")
    height, width = flow.shape[1:]
    Path(path).write_bytes(_HEADER.pack(TAG, width, height) + flow.transpose(1, 2, 0).astype("<f4").tobytes())


def read_flo(path: str | Path) -> Floats:
    """Read a flow: (2, H, W) in pixels. FormatError where the file is not one."""
    data = Path(path).read_bytes()
    if data[:4] != TAG or len(data) < _HEADER.size:
        raise FormatError(f"{path}: not a .flo file: it begins with {data[:4]!r}, not {TAG!r}", offset=0)
    _, width, height = _HEADER.unpack_from(data)
    wanted = _HEADER.size + 8 * width * height
    if width < 1 or height < 1 or len(data) != wanted:
        raise FormatError(f"{path}: {width} × {height} pixels would take {wanted} bytes; the file has {len(data)}")
    pairs = np.frombuffer(data, "<f4", offset=_HEADER.size).reshape(height, width, 2)
    return np.ascontiguousarray(pairs.transpose(2, 0, 1), np.float32)
