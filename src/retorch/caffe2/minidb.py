"""Caffe2's minidb: a file of records, which ``Load`` turns into blobs.

A record is ``int32 key length, int32 value length, key, value`` (little-endian), and there is nothing else: no header,
no index (``caffe2/core/db.cc``). The value is a BlobProto, the key its blob's name, then ``#%`` and the number of the
chunk for a tensor. Lengths are signed 32-bit numbers; as tensors are cut into chunks, the whole has no limit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2.fill_decoding import checked_shape
from retorch.caffe2.proto.caffe2_pb2 import BlobProto, TensorProto
from retorch.errors import ConversionError, FormatError
from retorch.files import protobuf
from retorch.files.protobuf import Array
from retorch.files.regular import content

# Field numbers of caffe2.proto.
_BLOB_NAME, _BLOB_TYPE, _BLOB_TENSOR, _BLOB_CONTENT, _BLOB_QTENSOR = 1, 2, 3, 4, 5
_DIMS, _DATA_TYPE, _FLOATS, _INT32S, _BYTES, _NAME, _DOUBLES, _INT64S, _SEGMENT, _RAW = 1, 2, 3, 4, 5, 7, 9, 10, 11, 13
_ELSEWHERE: dict[int, str] = {
    TensorProto.EXTERNAL: "numbers that lie in another file (external_data)",
    TensorProto.NO_CONTENT: "no numbers (storage_type NO_CONTENT)",
}
_BFLOAT16 = 1  # TensorProto.SerializationFormat
_LENGTHS = struct.Struct("<ii")
_CHUNK = 8 << 20  # elements in a record: 32 MiB of floats, which every build of protobuf reads

# The array's type, TensorProto.DataType, and the field of its numbers.
_STORED: tuple[tuple[np.dtype[np.generic], int, int], ...] = (
    (np.dtype("<f4"), TensorProto.FLOAT, _FLOATS),
    (np.dtype("<f8"), TensorProto.DOUBLE, _DOUBLES),
    (np.dtype("<i4"), TensorProto.INT32, _INT32S),
    (np.dtype("<i8"), TensorProto.INT64, _INT64S),
    (np.dtype("<i2"), TensorProto.INT16, _INT32S),
    (np.dtype("i1"), TensorProto.INT8, _INT32S),
    (np.dtype("<u2"), TensorProto.UINT16, _INT32S),
    (np.dtype("u1"), TensorProto.UINT8, _INT32S),
    (np.dtype("?"), TensorProto.BOOL, _INT32S),
)
_BY_DTYPE: dict[np.dtype[np.generic], tuple[int, int]] = {dtype: (code, number) for dtype, code, number in _STORED}
_BY_CODE: dict[int, np.dtype[np.generic]] = {code: dtype for dtype, code, _ in _STORED}


def encode(name: str, array: Array, limit: int = _CHUNK) -> Iterator[bytes | memoryview]:
    """The records of one blob, ``limit`` elements each; ConversionError for a type that Caffe2 does not have."""
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _BY_DTYPE:
        raise ConversionError(f"blob {name}: Caffe2 stores no {array.dtype}")
    code, number = _BY_DTYPE[dtype]
    begin = 0
    for chunk, part in enumerate(_spans(array, dtype, limit)):
        data = part.data if dtype.kind == "f" else protobuf.varints(part.astype(np.int64))
        segment = protobuf.integer(1, begin) + protobuf.integer(2, begin + len(part))
        begin += len(part)
        before = b"".join(protobuf.integer(_DIMS, size) for size in array.shape) + protobuf.integer(_DATA_TYPE, code)
        before += protobuf.head(number, data.nbytes if isinstance(data, memoryview) else len(data))
        after = protobuf.delimited(_NAME, name) + protobuf.delimited(_SEGMENT, segment)
        size = len(before) + (data.nbytes if isinstance(data, memoryview) else len(data)) + len(after)
        blob = (
            protobuf.delimited(_BLOB_NAME, name)
            + protobuf.delimited(_BLOB_TYPE, "Tensor")
            + protobuf.head(_BLOB_TENSOR, size)
        )
        key = f"{name}#%{chunk}".encode()
        yield _LENGTHS.pack(len(key), len(blob) + size) + key + blob + before
        yield data
        yield after


def encode_bytes(key: str, kind: str, content: bytes) -> bytes:
    """The record of a blob that is no tensor: its C++ type and its bytes."""
    value = BlobProto(name=key, type=kind, content=content).SerializeToString()
    return _LENGTHS.pack(len(key.encode()), len(value)) + key.encode() + value


def _spans(array: Array, dtype: np.dtype[np.generic], limit: int) -> Iterator[Array]:
    """The elements in C order, ``limit`` at a time; an empty array is one empty span."""
    if array.size == 0 or (array.dtype == dtype and array.flags.c_contiguous):
        flat = array.astype(dtype, copy=False).reshape(-1)
        for begin in range(0, max(1, len(flat)), limit):
            yield flat[begin : begin + limit]
        return
    span, filled = np.empty(limit, dtype), 0
    for piece in protobuf.pieces(array, dtype):
        begin = 0
        while begin < len(piece):
            taken = piece[begin : begin + limit - filled]
            span[filled : filled + len(taken)] = taken
            filled, begin = filled + len(taken), begin + len(taken)
            if filled == limit:
                yield span
                span, filled = np.empty(limit, dtype), 0  # a new one: who asked may still hold the other
    if filled:
        yield span[:filled]


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its key, and where its value lies in ``data``."""

    key: str
    data: memoryview
    start: int
    end: int

    def blob(self) -> dict[int, protobuf.Field]:
        """The fields of the BlobProto, by number."""
        return {item.number: item for item in protobuf.fields(self.data, self.start, self.end)}

    def content(self) -> bytes:
        """The bytes of a blob that is no tensor; none where it has none."""
        item = self.blob().get(_BLOB_CONTENT)
        return b"" if item is None else bytes(self.data[item.start : item.end])


def records(path: Path) -> Iterator[Record]:
    """The records of the file, mapped; FormatError where it is something else."""
    data = memoryview(content(path))
    at = 0
    while at < len(data):
        if len(data) - at < _LENGTHS.size:
            raise FormatError(f"{path}: expected 8 bytes of a record, found {len(data) - at}", offset=at)
        key_size, size = _LENGTHS.unpack_from(data, at)
        start = at + _LENGTHS.size + key_size
        if min(key_size, size) < 0 or start + size > len(data):
            what = f"expected a record of {key_size} + {size} bytes, found {len(data) - at - _LENGTHS.size}"
            raise FormatError(f"{path}: not a minidb: {what}", offset=at)
        key = bytes(data[at + _LENGTHS.size : start]).decode("utf-8", "replace")
        yield Record(key, data, start, start + size)
        at = start + size


def read(path: Path) -> dict[str, Array]:
    """The tensors in the file, by blob, in order: views of the mapped file where a float tensor is one chunk.

    Records that are no tensors are passed over. FormatError for a broken file.
    """
    tensors: dict[str, list[_Chunk]] = {}
    try:
        for record in records(path):
            blob = record.blob()
            if _BLOB_QTENSOR in blob:
                raise FormatError(f"blob {record.key} is a QTensor, which no operator of Caffe2 reads")
            if _BLOB_TENSOR in blob:
                name = protobuf.text(record.data, blob[_BLOB_NAME]) if _BLOB_NAME in blob else record.key.split("#%")[0]
                tensors.setdefault(name, []).append(_chunk(record.data, blob[_BLOB_TENSOR]))
        return {name: _joined(name, chunks) for name, chunks in tensors.items()}
    except FormatError as error:
        if str(path) in error.detail:
            raise
        raise FormatError(f"{path}: {error.detail}", offset=error.offset) from error


@dataclass(slots=True)
class _Chunk:
    """What one TensorProto says: ``parts`` are its numbers as they are stored."""

    offset: int
    shape: list[int] = field(default_factory=list[int])
    code: int = TensorProto.FLOAT
    begin: int = 0
    parts: list[Array] = field(default_factory=list[Array])
    upper_halves: bool = False  # floats of 16 bits, the upper ones of 32

    def numbers(self) -> Array:
        """The numbers of this chunk, 1-D, in the array's own type."""
        flat = self.parts[0] if len(self.parts) == 1 else np.concatenate([np.zeros(0, np.uint8), *self.parts])
        if not self.parts:
            flat = np.zeros(0, np.float32)
        if self.code == TensorProto.FLOAT and self.upper_halves:
            if len(flat) % 2:
                raise FormatError(f"{len(flat)} bytes for numbers of 2", offset=self.offset)
            return (flat.view("<u2").astype("<u4") << 16).view("<f4")
        if self.code == TensorProto.FLOAT16:
            if flat.dtype == np.uint8 and len(flat) % 2:
                raise FormatError(f"{len(flat)} bytes for numbers of 2", offset=self.offset)
            return flat.view("<f2") if flat.dtype == np.uint8 else flat.astype(np.uint16).view(np.float16)
        if self.code not in _BY_CODE:
            raise FormatError(f"a tensor of type {self.code}", offset=self.offset)
        dtype = _BY_CODE[self.code]
        if flat.dtype == np.uint8 and len(flat) % dtype.itemsize:
            raise FormatError(f"{len(flat)} bytes for numbers of {dtype.itemsize}", offset=self.offset)
        return flat.view(dtype) if flat.dtype == np.uint8 else flat.astype(dtype, copy=False)


def _chunk(data: memoryview, tensor: protobuf.Field) -> _Chunk:
    chunk = _Chunk(tensor.start)
    for item in protobuf.fields(data, tensor.start, tensor.end):
        content = data[item.start : item.end]
        match item.number, item.kind:
            case 1, protobuf.VARINT:
                chunk.shape.append(protobuf.signed(item.value))
            case 1, protobuf.BYTES:
                chunk.shape += protobuf.unpack_varints(np.frombuffer(content, np.uint8), item.start).tolist()
            case 2, protobuf.VARINT:
                chunk.code = item.value
            case (12, protobuf.VARINT) if item.value in _ELSEWHERE:
                raise FormatError(f"a tensor of {_ELSEWHERE[item.value]}", offset=item.start)
            case 14, protobuf.BYTES:
                raise FormatError(f"a tensor of {_ELSEWHERE[TensorProto.EXTERNAL]}", offset=item.start)
            case (15, protobuf.VARINT) if item.value == _BFLOAT16:
                chunk.upper_halves = True
            case 11, protobuf.BYTES:
                begin = {part.number: part.value for part in protobuf.fields(data, item.start, item.end)}
                chunk.begin = begin.get(1, 0)
            case ((3 | 4 | 5 | 9 | 10 | 13), protobuf.BYTES):
                chunk.parts.append(_numbers(item, content))
            case ((3 | 4 | 9 | 10), _):
                raise FormatError("a tensor with unpacked numbers", offset=item.start)
            case _:
                pass  # its name and its device
    return chunk


def _numbers(item: protobuf.Field, content: memoryview) -> NDArray[np.generic]:
    size = {_FLOATS: 4, _DOUBLES: 8}.get(item.number, 1)
    if len(content) % size:
        raise FormatError(f"a list of numbers is no multiple of {size} bytes", offset=item.start)
    if item.number == _FLOATS:
        return np.frombuffer(content, "<f4")
    if item.number == _DOUBLES:
        return np.frombuffer(content, "<f8")
    raw = np.frombuffer(content, np.uint8)
    return raw if item.number in (_BYTES, _RAW) else protobuf.unpack_varints(raw, item.start)


def _joined(name: str, chunks: list[_Chunk]) -> Array:
    """The tensor that the chunks make up, in whatever order they came."""
    first = chunks[0]
    shape = checked_shape(first.shape, first.offset)
    count = math.prod(shape)
    parts = [chunk.numbers() for chunk in sorted(chunks, key=lambda chunk: chunk.begin)]
    if min(shape, default=0) < 0 or sum(map(len, parts)) != count:
        raise FormatError(f"blob {name} of shape {first.shape} has {sum(map(len, parts))} values", offset=first.offset)
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(shape)
