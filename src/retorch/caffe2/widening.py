"""Init nets that store weights small and widen them at load: their operators, said while the net is read.

What is read back is the weights in float32, as Caffe2 would hold them, and how many bits each was stored in. They are
calculated when they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from retorch import limits
from retorch.caffe2.deferred import Deferred, Floats, part_of
from retorch.caffe2.fill_decoding import Filled
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.files.precision import Precision
from retorch.files.protobuf import Array

Blobs: TypeAlias = dict[str, Filled]
Stored: TypeAlias = "Array | Deferred"
#: Calculations that may stand one behind the other; what is longer is made on the way. Ours take six.
_STEPS = 16


def widen(op: OperatorDef, blobs: Blobs) -> bool:
    """Say what an operator that widens weights makes of what the init net has filled so far; False for any other."""
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
    if not any(map(_is_narrow, known)) or limits.too_large(4 * sum(math.prod(blob.shape) for blob in known)):
        return False
    before = np.array(known[0].shape, np.int64)
    made = rule(op, [_short(blob.stored) for blob in known])
    if made is None:
        return False
    for name in op.output[1:]:
        blobs[name] = Filled(name, before, False)
    blobs[op.output[0]] = Filled(op.output[0], made, False, _precision(op, known))
    return True


def _short(stored: Stored) -> Stored:
    """The same, made where it would take many steps: a file may ask for any number."""
    return stored.made() if isinstance(stored, Deferred) and stored.steps > _STEPS else stored


def _is_narrow(blob: Filled) -> bool:
    return blob.dtype == np.uint8 or blob.precision != "float"


def _precision(op: OperatorDef, inputs: list[Filled]) -> Precision:
    own: Mapping[str, Precision] = {"QuantDecode": "half", "Fused8BitRowwiseQuantizedToFloat": "int8"}
    narrow: list[Precision] = [blob.precision for blob in inputs if blob.precision != "float"]
    return own.get(op.type) or (narrow[0] if narrow else "float")


def _decode(op: OperatorDef, inputs: list[Stored]) -> Stored | None:
    """Bytes, each looked up in a table."""
    table, codes = inputs
    if isinstance(table, Deferred) or isinstance(codes, Deferred):
        return None
    if table.dtype != np.float32 or codes.dtype != np.uint8 or table.shape != (256,):
        return None
    numbers, flat = np.asarray(table, np.float32), part_of(codes)

    def part(first: int, last: int) -> Floats:
        # no code is outside of the table: clipping is what takes the least time
        return numbers.take(np.asarray(flat(first, last), np.uint8), mode="clip")

    return Deferred(codes.shape, part, (codes,))


def _binary(function: Callable[[Any, Any], Floats]) -> Callable[[OperatorDef, list[Stored]], Stored | None]:
    def rule(op: OperatorDef, inputs: list[Stored]) -> Stored | None:
        a, b = inputs
        if a.shape != b.shape or not all(isinstance(x, Deferred) or x.dtype == np.float32 for x in inputs):
            return None
        left, right = part_of(a), part_of(b)
        known = [x for x in inputs if isinstance(x, Deferred)]
        return Deferred(
            a.shape,
            lambda first, last: function(left(first, last), right(first, last)),
            tuple({id(source): source for x in known for source in x.sources}.values()),
            max((x.row for x in known), default=1),
            1 + sum(x.steps for x in known),
        )

    return rule


def _from_rows(op: OperatorDef, inputs: list[Stored]) -> Stored | None:
    """Rows of bytes, each with a scale and an offset behind it."""
    (rows,) = inputs
    if isinstance(rows, Deferred) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] < 8:
        return None
    count, width = rows.shape[0], rows.shape[1] - 8

    def part(first: int, last: int) -> Floats:
        start = first // width
        whole = rows[start : -(-last // width)]
        scale, offset = (np.ascontiguousarray(whole[:, at : at + 4 or None]).view("<f4") for at in (-8, -4))
        numbers = whole[:, :-8].astype(np.float32)
        numbers *= scale
        numbers += offset
        return numbers.reshape(-1)[first - start * width : last - start * width]

    return Deferred((count, width), part, (rows,), max(1, width))


def _reshape(op: OperatorDef, inputs: list[Stored]) -> Stored | None:
    (given,) = inputs
    shape = next((tuple(arg.ints) for arg in op.arg if arg.name == "shape"), ())
    if not min(shape, default=0) > 0 or math.prod(shape) != math.prod(given.shape):
        return None
    return replace(given, shape=shape) if isinstance(given, Deferred) else given.reshape(shape)


#: By operator: what it gives, None where it is more than the widening of weights, and how many inputs it takes.
_RULES: Mapping[str, tuple[Callable[[OperatorDef, list[Stored]], Stored | None], int]] = {
    "QuantDecode": (_decode, 2),
    "Mul": (_binary(np.multiply), 2),
    "Add": (_binary(np.add), 2),
    "Fused8BitRowwiseQuantizedToFloat": (_from_rows, 1),
    "Reshape": (_reshape, 1),
}
