"""Reading large ``.onnx`` files: protobuf is given all but the weights, which stay where they are, in the mapped file.

Protobuf copies what it parses, and copies it again for whoever reads it.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from retorch.errors import FormatError
from retorch.files import protobuf
from retorch.files.regular import content

Array: TypeAlias = NDArray[Any]

#: Weights of fewer bytes are left to protobuf.
_LEAST = 1 << 16
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def read(path: Path) -> ir.Model:
    """The model in a file. It raises whatever its parsers raise, and FormatError where fields do not fit into it."""
    data = content(path)
    weights: dict[int, Array] = {}
    try:
        proto = onnx.ModelProto.FromString(data if isinstance(data, bytes) else b"".join(_light(data, weights)))
    except FormatError as error:
        raise FormatError(f"{path}: not an ONNX model: {error}") from error
    model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, str(path.parent))  # pyright: ignore[reportUnknownMemberType] (os.PathLike)
    # of several weights of one name the last one counts
    places = {tensor.name: place for place, tensor in enumerate(proto.graph.initializer)}
    for name, place in places.items():
        if name and place in weights:
            model.graph.initializers[name].const_value = ir.Tensor(weights[place], name=name)
    return model


def _light(data: mmap.mmap, weights: dict[int, Array]) -> Iterator[bytes]:
    """The model's message without its large weights, which are put into ``weights`` by their places in the graph."""
    view = memoryview(data)
    place = 0
    for field, raw in _pieces(view, 0, len(view)):
        if (field.number, field.kind) != (_GRAPH, protobuf.BYTES):
            yield bytes(raw)
            continue
        parts: list[bytes] = []
        for inner, piece in _pieces(view, field.start, field.end):
            if (inner.number, inner.kind) != (_INITIALIZER, protobuf.BYTES):
                parts.append(bytes(piece))
                continue
            head, array = _apart(view, inner)
            if array is not None:
                weights[place] = array
            parts.append(bytes(piece) if array is None else protobuf.delimited(_INITIALIZER, head))
            place += 1
        yield protobuf.delimited(_GRAPH, b"".join(parts))


def _pieces(view: memoryview, start: int, end: int) -> Iterator[tuple[protobuf.Field, memoryview]]:
    """The fields of a message, and each as it lies there, tag and all."""
    for field in protobuf.fields(view, start, end):
        yield field, view[start : field.end]
        start = field.end


def _apart(view: memoryview, field: protobuf.Field) -> tuple[bytes, Array | None]:
    """A weight's message without its numbers, and these as part of the file; none where it is small or strange."""
    if field.end - field.start < _LEAST:
        return b"", None
    pieces = list(_pieces(view, field.start, field.end))
    raw = [inner for inner, _ in pieces if (inner.number, inner.kind) == (_RAW_DATA, protobuf.BYTES)]
    if len(raw) != 1 or raw[0].end - raw[0].start < _LEAST:
        return b"", None
    head = b"".join(bytes(piece) for inner, piece in pieces if inner is not raw[0])
    tensor = onnx.TensorProto.FromString(head)
    kind, shape = ir.DataType(tensor.data_type).numpy().newbyteorder("<"), tuple(tensor.dims)
    fits = min(shape, default=0) > 0 and math.prod(shape) * kind.itemsize == raw[0].end - raw[0].start
    if kind.kind not in "fiu" or not fits or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return b"", None
    return head, np.frombuffer(view, kind, math.prod(shape), raw[0].start).reshape(shape)
