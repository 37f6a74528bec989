"""Functions of single bytes of blobs with a scale, and of two such blobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Array, RefusalError, rank, size
from retorch.caffe2.parse.int8 import (
    INT64,
    UINT8,
    Scale,
    as_bytes,
    asked,
    blob_of,
    integer,
    quantised,
    rounded_shift,
)


def add(*, relu: bool) -> Rule:
    """A rule for the sum of two blobs of different scales."""

    def rule(call: Call) -> ir.Value:
        if len(call.inputs) != 2:
            raise RefusalError(f"the sum of {len(call.inputs)} blobs")
        g, scale = call.graph, asked(call)
        both = [blob_of(call, at) for at in range(2)]
        factors = [given.scale / scale.scale for _, given in both]
        if not all(2.0**-14 <= factor < 2.0**8 for factor in factors):
            raise RefusalError(f"the scales of inputs and result give factors of {factors}")
        shift = 21 - (math.frexp(max(factors))[1] - 1)
        parts: list[ir.Value] = []
        for (x, given), factor in zip(both, factors, strict=True):
            multiplier = int(np.rint(factor * np.float32(2.0**shift)))
            parts.append(g.op("Mul", g.op("Sub", g.cast(x, INT64), integer(g, given.zero)), integer(g, multiplier)))
        return as_bytes(g, rounded_shift(g, g.op("Add", *parts), shift), scale, relu=relu)

    return rule


def relu(call: Call) -> ir.Value:
    """Nothing below the zero point."""
    g, (x, scale) = call.graph, blob_of(call)
    return quantised(g.op("Max", x, g.constant(np.asarray(scale.zero, np.uint8))), scale)


def looked_up(table: Callable[[Call, Scale, Scale], Array]) -> Rule:
    """A rule for a function of one byte, given as what it is of all 256."""

    def rule(call: Call) -> ir.Value:
        g, (x, given), scale = call.graph, blob_of(call), asked(call)
        values = np.clip(table(call, given, scale), 0, 255).astype(np.uint8)
        return quantised(g.op("Gather", g.constant(values), g.cast(x, INT64)), scale)

    return rule


def _numbers(given: Scale) -> Array:
    return given.scale * (np.arange(256) - given.zero).astype(np.float32)


def _sigmoid(call: Call, given: Scale, scale: Scale) -> Array:
    with np.errstate(over="ignore"):
        return np.rint(np.float32(256) / (np.float32(1) + np.exp(-_numbers(given))))


def _leaky(call: Call, given: Scale, scale: Scale) -> Array:
    steps = given.scale / scale.scale * (np.arange(256) - given.zero).astype(np.float32)
    return np.rint(np.where(steps < 0, steps * np.float32(call.float("alpha", 0.01)), steps)) + scale.zero


def softmax(call: Call) -> ir.Value:
    """Shares of 256 in all that belongs to one row, by a table of exponentials in whole numbers."""
    g, (x, given), scale = call.graph, blob_of(call), asked(call)
    columns = math.prod(size(x, axis) for axis in range(1, rank(x)))
    most = min(float(np.uint32(2**32 - 1)) / columns, 8388607.0)
    powers = np.rint(most * np.exp((np.arange(256) - 255.0) * np.float64(given.scale))).astype(np.int64)
    rows = g.cast(g.reshape(x, (-1, columns)), INT64)
    place = g.op("Sub", g.op("Add", rows, integer(g, 255)), g.op("ReduceMax", rows, g.constant([1]), keepdims=1))
    parts = g.op("Gather", g.constant(powers), place)
    total = g.op("ReduceSum", parts, g.constant([1]), keepdims=1)
    half = g.op("Div", total, integer(g, 2))
    shares = g.op("Div", g.op("Add", g.op("Mul", parts, integer(g, 256)), half), total)
    y = g.cast(g.op("Min", shares, integer(g, 255)), UINT8)
    return quantised(g.reshape_like(y, x), scale)


RULES: Mapping[str, Rule] = {
    "Int8Add": add(relu=False),
    "Int8AddRelu": add(relu=True),
    "Int8Sum": add(relu=False),
    "Int8SumRelu": add(relu=True),
    "Int8Relu": relu,
    "Int8Sigmoid": looked_up(_sigmoid),
    "Int8LeakyRelu": looked_up(_leaky),
    "Int8Softmax": softmax,
}
