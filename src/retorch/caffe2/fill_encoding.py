"""Weights as operators: ``GivenTensorFill`` and the like, streamed straight from the arrays.

An init net is a NetDef whose operators make one blob each from their arguments ``shape`` (ints) and ``values``. The
numbers of float tensors are written packed, which every Caffe2 reads, though its own files hold them unpacked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2.device import IDEEP
from retorch.errors import ConversionError
from retorch.files import protobuf
from retorch.files.protobuf import Array

# Field numbers of caffe2.proto.
NET_NAME, NET_OP, NET_DEVICE = 1, 2, 5
OP_INPUT, OP_OUTPUT, OP_NAME, OP_TYPE, OP_ARG, OP_DEVICE = 1, 2, 3, 4, 5, 6
ARG_NAME, ARG_F, ARG_I, ARG_S, ARG_FLOATS, ARG_INTS, ARG_STRINGS = 1, 2, 3, 4, 5, 6, 7
_DEVICE_TYPE = 1

Chunk = bytes | memoryview

# Operator, the array's type, and the argument field that holds its numbers.
FILLS: tuple[tuple[str, np.dtype[np.generic], int], ...] = (
    ("GivenTensorFill", np.dtype("<f4"), ARG_FLOATS),
    ("GivenTensorDoubleFill", np.dtype("<f8"), ARG_FLOATS),
    ("GivenTensorIntFill", np.dtype("<i4"), ARG_INTS),
    ("GivenTensorInt64Fill", np.dtype("<i8"), ARG_INTS),
    ("GivenTensorInt16Fill", np.dtype("<i2"), ARG_INTS),
    ("GivenTensorBoolFill", np.dtype("?"), ARG_INTS),
    ("GivenTensorByteStringToUInt8Fill", np.dtype("u1"), ARG_STRINGS),
)
_BY_DTYPE: dict[np.dtype[np.generic], tuple[str, int]] = {dtype: (kind, field) for kind, dtype, field in FILLS}
UNPACKED_FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])
_STEP = 1 << 16
_SHAPE = protobuf.delimited(ARG_NAME, "shape")
_VALUES = protobuf.delimited(ARG_NAME, "values")


@dataclass(frozen=True, slots=True)
class Fill:
    """One operator that is ready to be written: ``size`` bytes, in ``chunks()``."""

    size: int
    chunks: Callable[[], Iterator[Chunk]]


def encode(name: str, array: Array, *, packed: bool = True, unnamed: bool = False, ideep: bool = False) -> Fill:
    """The NetDef field that fills blob ``name``; ConversionError for a type that no fill stores exactly.

    ``unnamed`` gives the operator an empty name, as Caffe2's Python does, in place of none. ``ideep`` makes the blob a
    tensor of MKL-DNN, which are floats.
    """
    little = array.dtype.newbyteorder("<")
    if little not in _BY_DTYPE:
        raise ConversionError(f"blob {name}: Caffe2 has no fill for {array.dtype}")
    kind, field = _BY_DTYPE[little]
    if little == np.float64 and not _fits_float32(array):
        raise ConversionError(f"blob {name}: GivenTensorDoubleFill holds float32 numbers, and these float64 are others")
    return _filling(name, kind, array.shape, _PAYLOADS[field](array, packed), unnamed=unnamed, ideep=ideep)


def encode_bytes(name: str, shape: tuple[int, ...], chunks: Callable[[], Iterator[Chunk]]) -> Fill:
    """The same for bytes that are made when they are written: as many as fill the shape."""
    size = math.prod(shape)
    start = protobuf.head(ARG_STRINGS, size)
    payload = Fill(len(start) + size, lambda: itertools.chain([start], chunks()))
    return _filling(name, _BY_DTYPE[np.dtype(np.uint8)][0], shape, payload)


def _filling(
    name: str, kind: str, sizes: tuple[int, ...], payload: Fill, *, unnamed: bool = False, ideep: bool = False
) -> Fill:
    """The operator around its values."""
    shape = _SHAPE + b"".join(protobuf.integer(ARG_INTS, size) for size in sizes)
    before = protobuf.delimited(OP_OUTPUT, name) + (protobuf.delimited(OP_NAME, "") if unnamed else b"")
    before += protobuf.delimited(OP_TYPE, kind) + protobuf.delimited(OP_ARG, shape)
    before += protobuf.head(OP_ARG, len(_VALUES) + payload.size) + _VALUES
    after = protobuf.delimited(OP_DEVICE, protobuf.integer(_DEVICE_TYPE, IDEEP)) if ideep else b""
    start = protobuf.head(NET_OP, len(before) + payload.size + len(after)) + before

    def chunks() -> Iterator[Chunk]:
        yield start
        yield from payload.chunks()
        if after:
            yield after

    return Fill(len(start) + payload.size + len(after), chunks)


def operator(dtype: np.dtype[Any]) -> str:
    """The operator that makes a blob of this type; the type's name where there is none."""
    return _BY_DTYPE.get(dtype.newbyteorder("<"), (dtype.name, 0))[0]


def _fits_float32(array: Array) -> bool:
    return all(
        np.array_equal(part.astype(np.float32).astype(np.float64), part, equal_nan=True)
        for part in protobuf.pieces(array, np.dtype("<f8"))
    )


def _floats(array: Array, packed: bool) -> Fill:
    start = protobuf.head(ARG_FLOATS, 4 * array.size)

    def chunks() -> Iterator[Chunk]:
        if packed:
            yield start
        for part in protobuf.pieces(array, np.dtype("<f4")):
            if packed:
                yield part.data
                continue
            for first in range(0, len(part), _STEP):
                values = part[first : first + _STEP]
                tagged = np.empty(len(values), UNPACKED_FLOAT)
                tagged["tag"], tagged["value"] = ARG_FLOATS << 3 | protobuf.FIXED32, values
                yield tagged.data

    return Fill(len(start) + 4 * array.size if packed else 5 * array.size, chunks)


def _ints(array: Array, packed: bool) -> Fill:
    tag = b"" if packed else protobuf.varint(ARG_INTS << 3 | protobuf.VARINT)

    def numbers() -> Iterator[NDArray[np.int64]]:
        for part in protobuf.pieces(array, array.dtype):
            for first in range(0, len(part), _STEP):
                yield part[first : first + _STEP].astype(np.int64)

    size = sum(int(protobuf.varint_sizes(part).sum()) for part in numbers()) + len(tag) * array.size
    start = protobuf.head(ARG_INTS, size) if packed else b""

    def chunks() -> Iterator[Chunk]:
        yield start
        for part in numbers():
            yield protobuf.varints(part, tag)

    return Fill(len(start) + size, chunks)


def _bytes(array: Array, packed: bool) -> Fill:
    del packed  # a string of bytes has one form only
    start = protobuf.head(ARG_STRINGS, array.size)

    def chunks() -> Iterator[Chunk]:
        yield start
        for part in protobuf.pieces(array, np.dtype("u1")):
            yield part.data

    return Fill(len(start) + array.size, chunks)


_PAYLOADS: dict[int, Callable[[Array, bool], Fill]] = {ARG_FLOATS: _floats, ARG_INTS: _ints, ARG_STRINGS: _bytes}
