"""Init nets that store weights small and widen them at load: their operators, calculated while the net is read.

What is read back is the weights in float32, as Caffe2 would hold them, and how many bits each was stored in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from retorch import limits
from retorch.caffe2.fill_decoding import Filled
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.files.precision import Precision
from retorch.files.protobuf import Array

Floats: TypeAlias = NDArray[np.float32]
Blobs: TypeAlias = dict[str, Filled]
#: Codes that are in hand at a time: an index takes eight times as many bytes.
_STEP = 1 << 16


def widen(op: OperatorDef, blobs: Blobs) -> bool:
    """Calculate an operator that widens weights, on what the init net has filled so far; False for any other."""
    if op.type == "Free" and all(name in blobs for name in op.input):
        for name in op.input:
            blobs.pop(name, None)
        return True
    inputs = [blobs.get(name) for name in op.input]
    rule, count = _RULES.get(op.type, (None, 0))
    known = [blob for blob in inputs if blob is not None]
    outputs = 2 if op.type == "Reshape" else 1  # what it was before, for those who want to go back
    if rule is None or not len(known) == len(inputs) == count or not 0 < len(op.output) <= outputs:
        return False
    if not any(map(_is_narrow, known)) or limits.too_large(4 * sum(blob.array.size for blob in known)):
        return False
    before = np.array(known[0].array.shape, np.int64)
    with np.errstate(all="ignore"):
        made = rule(op, [blob.array for blob in known])
    if made is None:
        return False
    for name in op.output[1:]:
        blobs[name] = Filled(name, before, False)
    blobs[op.output[0]] = Filled(op.output[0], made, False, _precision(op, known))
    return True


def _is_narrow(blob: Filled) -> bool:
    return blob.array.dtype == np.uint8 or blob.precision != "float"


def _precision(op: OperatorDef, inputs: list[Filled]) -> Precision:
    own: Mapping[str, Precision] = {"QuantDecode": "half", "Fused8BitRowwiseQuantizedToFloat": "int8"}
    narrow: list[Precision] = [blob.precision for blob in inputs if blob.precision != "float"]
    return own.get(op.type) or (narrow[0] if narrow else "float")


def _decode(op: OperatorDef, inputs: list[Array]) -> Array | None:
    """Bytes, each looked up in a table."""
    table, codes = inputs
    if table.dtype != np.float32 or codes.dtype != np.uint8 or table.shape != (256,):
        return None
    flat, made = codes.reshape(-1).view(np.uint8), np.empty(codes.size, np.float32)
    for first in range(0, len(flat), _STEP):
        # no code is outside of the table: clipping is what takes the least time
        np.take(table, flat[first : first + _STEP], out=made[first : first + _STEP], mode="clip")
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
    fits = min(shape, default=0) > 0 and math.prod(shape) == inputs[0].size
    return inputs[0].reshape(shape) if fits else None


#: By operator: what it gives, None where it is more than the widening of weights, and how many inputs it takes.
_RULES: Mapping[str, tuple[Callable[[OperatorDef, list[Array]], Array | None], int]] = {
    "QuantDecode": (_decode, 2),
    "Mul": (_binary(lambda a, b, into: np.multiply(a, b, out=into)), 2),
    "Add": (_binary(lambda a, b, into: np.add(a, b, out=into)), 2),
    "Fused8BitRowwiseQuantizedToFloat": (_from_rows, 1),
    "Reshape": (_reshape, 1),
}
