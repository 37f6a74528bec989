"""Init nets that store weights small and widen them at load: their operators, calculated while the net is read.

What is read back is the weights in float32, as Caffe2 would hold them, and how many bits each was stored in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch.caffe2.fill_decoding import Filled
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.files.precision import Precision
from retorch.files.protobuf import Array

Floats: TypeAlias = NDArray[np.float32]
Blobs: TypeAlias = dict[str, Filled]
#: Codes that are in hand at a time: an index takes eight times as many bytes.
_STEP = 1 << 20


def widen(op: OperatorDef, blobs: Blobs) -> bool:
    """Calculate an operator that widens weights, on what the init net has filled so far; False for any other."""
    if op.type == "Free" and all(name in blobs for name in op.input):
        for name in op.input:
            del blobs[name]
        return True
    inputs = [blobs.get(name) for name in op.input]
    rule = _RULES.get(op.type)
    known = [blob for blob in inputs if blob is not None]
    if rule is None or len(known) < len(inputs) or not any(map(_is_narrow, known)):
        return False
    made = rule(op, [blob.array for blob in known])
    if made is None:
        return False
    name = op.output[0]
    blobs[name] = Filled(name, made, False, _precision(op, known))
    for further in op.output[1:]:
        blobs[further] = Filled(further, np.zeros(0, np.int64), False)
    return True


def _is_narrow(blob: Filled) -> bool:
    return blob.array.dtype == np.uint8 or blob.precision != "float"


def _precision(op: OperatorDef, inputs: list[Filled]) -> Precision:
    own: Mapping[str, Precision] = {"QuantDecode": "half", "Fused8BitRowwiseQuantizedToFloat": "int8"}
    return own.get(op.type) or next(blob.precision for blob in inputs if blob.precision != "float")


def _decode(op: OperatorDef, inputs: list[Array]) -> Array | None:
    """Bytes, each looked up in a table."""
    table, codes = inputs
    if len(op.output) != 1 or table.dtype != np.float32 or codes.dtype != np.uint8 or table.shape != (256,):
        return None
    flat, made = codes.reshape(-1).view(np.uint8), np.empty(codes.size, np.float32)
    for first in range(0, len(flat), _STEP):
        made[first : first + _STEP] = table[flat[first : first + _STEP]]
    return made.reshape(codes.shape)


def _binary(function: Callable[[Array, Array, Array], object]) -> Callable[[OperatorDef, list[Array]], Array | None]:
    def rule(op: OperatorDef, inputs: list[Array]) -> Array | None:
        a, b = inputs
        if a.shape != b.shape or a.dtype != np.float32 or b.dtype != np.float32:
            return None
        into = a if op.output[0] == op.input[0] and a.flags.writeable else np.empty_like(a)
        function(a, b, into)
        return into

    return rule


def _from_rows(op: OperatorDef, inputs: list[Array]) -> Array | None:
    """Rows of bytes, each with a scale and an offset behind it."""
    rows = inputs[0]
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] < 8:
        return None
    scale, offset = (np.ascontiguousarray(rows[:, at : at + 4 or None]).view("<f4") for at in (-8, -4))
    made = rows[:, :-8].astype(np.float32)
    made *= scale
    made += offset
    return made


def _reshape(op: OperatorDef, inputs: list[Array]) -> Array | None:
    shape = next((tuple(arg.ints) for arg in op.arg if arg.name == "shape"), ())
    fits = len(inputs) == 1 and min(shape, default=0) > 0 and math.prod(shape) == inputs[0].size
    return inputs[0].reshape(shape) if fits else None


_RULES: Mapping[str, Callable[[OperatorDef, list[Array]], Array | None]] = {
    "QuantDecode": _decode,
    "Mul": _binary(lambda a, b, into: np.multiply(a, b, out=into)),
    "Add": _binary(lambda a, b, into: np.add(a, b, out=into)),
    "Fused8BitRowwiseQuantizedToFloat": _from_rows,
    "Reshape": _reshape,
}
