"""Operators on eight-bit pictures and rows (``Int8…``), to the integer as Caffe2's QNNPACK calculates them.

A blob of these is bytes with a scale and a zero point, which its operator is given as arguments; images are NHWC. In
the graph it is its bytes; the other two are kept beside the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir

from retorch.caffe2.parse.call import Call, Rule
from retorch.caffe2.parse.graph import Array, Graph, NeedsShapeError, RefusalError, axis_of, dims, rank, size
from retorch.caffe2.parse.window import NOTSET, SAME, VALID, read_window, resolve_pads, spatial

INT32, INT64, FLOAT, UINT8 = ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.UINT8
_KEY = "retorch.int8"
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Scale:
    """What the bytes of a blob mean: ``scale * (byte - zero)``."""

    scale: np.float32
    zero: int


def scale_of(value: ir.Value) -> Scale | None:
    """What the bytes of a value mean, None where it is an ordinary tensor."""
    found = cast("Mapping[str, object]", value.meta).get(_KEY)
    return found if isinstance(found, Scale) else None


def quantised(value: ir.Value, scale: Scale) -> ir.Value:
    """The value, as bytes of this meaning."""
    value.meta[_KEY] = scale
    return value


def floats(graph: Graph, x: ir.Value, scale: Scale) -> ir.Value:
    """The numbers that bytes stand for."""
    numbers = graph.op("Sub", graph.cast(x, INT32), graph.constant(np.asarray(scale.zero, np.int32)))
    return graph.op("Mul", graph.cast(numbers, FLOAT), graph.constant(np.asarray(scale.scale)))


def _given(call: Call, at: int = 0) -> tuple[ir.Value, Scale]:
    value = call.input(at)
    scale = scale_of(value)
    if scale is None:
        raise RefusalError(f"{call.definition.input[at]} is not a blob of eight bits")
    return value, scale


def _asked(call: Call) -> Scale:
    """The scale and zero point of the result."""
    scale, zero = np.float32(call.float("Y_scale", 1.0)), call.int("Y_zero_point", 0)
    if not (0 < scale < math.inf and 0 <= zero <= 255):
        raise RefusalError(f"Y_scale {scale} with Y_zero_point {zero}")
    return Scale(scale, zero)


def _number(graph: Graph, number: int) -> ir.Value:
    return graph.constant(np.asarray(number, np.int64))


def _shifted(graph: Graph, x: ir.Value, bits: int) -> ir.Value:
    """floor(x / 2^bits) of whole numbers of at most 31 bits more: ONNX divides towards zero."""
    g = graph
    lift = min(bits + 31, 62)
    moved = g.op("Div", g.op("Add", x, _number(g, 1 << lift)), _number(g, 1 << bits))
    return g.op("Sub", moved, _number(g, 1 << (lift - bits)))


def _rounded_shift(graph: Graph, x: ir.Value, bits: int) -> ir.Value:
    """x / 2^bits, halves away from zero."""
    g, whole = graph, _shifted(graph, x, bits)
    rest = g.op("Sub", x, g.op("Mul", whole, _number(g, 1 << bits)))
    rest = g.op("Sub", rest, g.cast(g.op("Less", x, _number(g, 0)), INT64))
    return g.op("Add", whole, g.cast(g.op("Greater", rest, _number(g, ((1 << bits) - 1) >> 1)), INT64))


def _bytes(graph: Graph, x: ir.Value, scale: Scale, *, relu: bool = False) -> ir.Value:
    """Whole numbers above the zero point as bytes of the scale."""
    g = graph
    moved = g.op("Add", g.cast(x, INT64), _number(g, scale.zero))
    low = scale.zero if relu else 0
    return quantised(g.cast(g.op("Clip", moved, _number(g, low), _number(g, 255)), UINT8), scale)


def _requantised(graph: Graph, sums: ir.Value, factor: np.float32, scale: Scale, *, relu: bool) -> ir.Value:
    """Sums times ``factor``, below 1, as bytes: by a multiplier of 31 bits and a shift, both rounded."""
    if not 2.0**-32 <= factor < 1:
        raise RefusalError(f"the scales of input, weights and result give a factor of {factor:.3g}, not below 1")
    pattern = int(np.asarray(factor, np.float32).view(np.uint32))
    multiplier = ((pattern & 0x7FFFFF) | 0x800000) << 7
    shift = 127 + 31 - 32 - (pattern >> 23)
    g = graph
    product = g.op("Mul", g.cast(sums, INT64), _number(g, multiplier))
    high = _shifted(g, g.op("Add", product, _number(g, 1 << 30)), 31)
    return _bytes(g, _rounded_shift(g, high, shift) if shift else high, scale, relu=relu)


def given(call: Call) -> ir.Value:
    """The bytes of ``values``, in ``shape``."""
    text = call.bytes("values")
    shape = _shape(call, len(text))
    return quantised(call.graph.constant(np.frombuffer(text, np.uint8).reshape(shape)), _asked(call))


def given_ints(call: Call) -> ir.Value:
    """The biases of ``values``, of 32 bits, in ``shape``."""
    numbers = call.ints("values")
    scale = Scale(np.float32(call.float("Y_scale", 1.0)), call.int("Y_zero_point", 0))
    return quantised(call.graph.constant(np.asarray(numbers, np.int32).reshape(_shape(call, len(numbers)))), scale)


def _shape(call: Call, count: int) -> tuple[int, ...]:
    shape = call.ints("shape")
    if min(shape, default=0) < 0 or math.prod(shape) != count:
        raise RefusalError(f"{count} values for shape {shape}")
    return shape


def quantize(call: Call) -> ir.Value:
    """The nearest bytes of floats, halves as Caffe2 rounds them."""
    g, scale = call.graph, _asked(call)
    steps = g.op("Div", call.x, g.constant(np.asarray(scale.scale)))
    # beyond the bytes, and beyond what an integer holds, all are the first or the last
    bounds = (g.constant(np.asarray(number, np.float32)) for number in (-65536, 65536))
    return _bytes(g, g.op("Round", g.op("Clip", steps, *bounds)), scale)


def dequantize(call: Call) -> ir.Value:
    """The floats that the bytes stand for."""
    return floats(call.graph, *_given(call))


def conv(*, relu: bool) -> Rule:
    """A rule for a convolution of NHWC images with weights (planes, height, width, inputs)."""

    def rule(call: Call) -> ir.Value:
        g, (x, given), (w, weights), scale = call.graph, _given(call), _given(call, 1), _asked(call)
        kernel, attributes = _window(call)
        if rank(w) != 4 or dims(w)[1:3] != kernel:
            raise RefusalError(f"weights of shape {dims(w)} for a kernel of {kernel}")
        sums = g.op(
            "ConvInteger",
            g.transpose(x, _TO_NCHW),
            g.transpose(w, _TO_NCHW),
            g.constant(np.asarray(given.zero, np.uint8)),
            g.constant(np.asarray(weights.zero, np.uint8)),
            **attributes,
            dilations=read_window(call).dilation,
            group=call.int("group", 1),
        )
        sums = _biased(call, g.transpose(sums, _TO_NHWC))
        return _requantised(g, sums, given.scale * weights.scale / scale.scale, scale, relu=relu)

    return rule


def _biased(call: Call, sums: ir.Value) -> ir.Value:
    return call.graph.op("Add", sums, call.input(2)) if len(call.inputs) > 2 else sums


def full(call: Call) -> ir.Value:
    """Rows times a matrix (outputs, inputs), and a bias."""
    g, (x, given), (w, weights), scale = call.graph, _given(call), _given(call, 1), _asked(call)
    columns = math.prod(size(w, axis) for axis in range(1, rank(w)))
    sums = g.op(
        "MatMulInteger",
        g.reshape(x, (-1, columns)),
        g.transpose(g.reshape(w, (-1, columns)), (1, 0)),
        g.constant(np.asarray(given.zero, np.uint8)),
        g.constant(np.asarray(weights.zero, np.uint8)),
    )
    return _requantised(g, _biased(call, sums), given.scale * weights.scale / scale.scale, scale, relu=False)


def add(*, relu: bool) -> Rule:
    """A rule for the sum of two blobs of different scales."""

    def rule(call: Call) -> ir.Value:
        if len(call.inputs) != 2:
            raise RefusalError(f"the sum of {len(call.inputs)} blobs")
        g, scale = call.graph, _asked(call)
        both = [_given(call, at) for at in range(2)]
        factors = [given.scale / scale.scale for _, given in both]
        if not all(2.0**-14 <= factor < 2.0**8 for factor in factors):
            raise RefusalError(f"the scales of inputs and result give factors of {factors}")
        shift = 21 - (math.frexp(max(factors))[1] - 1)
        total: ir.Value | None = None
        for (x, given), factor in zip(both, factors, strict=True):
            multiplier = int(np.rint(factor * np.float32(2.0**shift)))
            part = g.op("Mul", g.op("Sub", g.cast(x, INT64), _number(g, given.zero)), _number(g, multiplier))
            total = part if total is None else g.op("Add", total, part)
        assert total is not None
        return _bytes(g, _rounded_shift(g, total, shift), scale, relu=relu)

    return rule


def relu(call: Call) -> ir.Value:
    """Nothing below the zero point."""
    g, (x, scale) = call.graph, _given(call)
    return quantised(g.op("Max", x, g.constant(np.asarray(scale.zero, np.uint8))), scale)


def max_pool(*, relu: bool) -> Rule:
    """A rule for the largest byte of each window."""

    def rule(call: Call) -> ir.Value:
        g, (x, scale) = call.graph, _given(call)
        images = g.transpose(x, _TO_NCHW)
        if call.int("global_pooling", 0):
            y = g.op("ReduceMax", images, g.constant([2, 3]), keepdims=1)
        else:
            kernel, attributes = _window(call)
            y = g.op("MaxPool", images, kernel_shape=kernel, **attributes)
        low = g.constant(np.asarray(scale.zero if relu else 0, np.uint8))
        return quantised(g.op("Max", g.transpose(y, _TO_NHWC), low), scale)

    return rule


def average_pool(*, relu: bool) -> Rule:
    """A rule for the mean of each window; what is padded counts, as the zero point."""

    def rule(call: Call) -> ir.Value:
        g, (x, given), scale = call.graph, _given(call), _asked(call)
        moved = g.op("Sub", g.cast(x, FLOAT), g.constant(np.asarray(given.zero, np.float32)))
        images = g.transpose(moved, _TO_NCHW)
        if call.int("global_pooling", 0):
            count = size(images, 2) * size(images, 3)
            sums = g.op("ReduceSum", images, g.constant([2, 3]), keepdims=1)
        else:
            sums, count = _window_sums(call, images)
        factor = given.scale / np.float32(scale.scale * np.float32(count))
        if not 2.0**-32 <= factor < 2.0**8:
            raise RefusalError(f"the scales of input and result give a factor of {factor:.3g}")
        pattern = int(np.asarray(factor, np.float32).view(np.uint32))
        product = g.op("Mul", g.cast(sums, INT64), _number(g, (pattern & 0x7FFFFF) | 0x800000))
        rounded = _rounded_shift(g, product, 127 + 23 - (pattern >> 23))
        return _bytes(g, g.transpose(rounded, _TO_NHWC), scale, relu=relu)

    return rule


def _window_sums(call: Call, images: ir.Value) -> tuple[ir.Value, int]:
    """The sum of each window, exactly: by a convolution with ones."""
    g, (kernel, attributes), planes = call.graph, _window(call), size(images, 1)
    ones = g.constant(np.ones((planes, 1, *kernel), np.float32))
    return g.op("Conv", images, ones, **attributes, group=planes), math.prod(kernel)


def _window(call: Call) -> tuple[tuple[int, ...], Mapping[str, Sequence[int]]]:
    """The kernel, and strides and padding as ONNX writes them."""
    if not call.channels_last() or rank(call.x) != 4:
        raise RefusalError("images of eight bits are NHWC")
    window = read_window(call)
    pads = resolve_pads(window, spatial(call))
    if pads is None:
        raise NeedsShapeError("legacy_pad depends on the size of the input")
    if window.legacy not in (NOTSET, VALID, SAME) or window.dimensions != 2 or min(pads) < 0 or min(window.kernel) < 1:
        raise RefusalError(f"a kernel of {window.kernel} with padding {pads}")
    return window.kernel, {"strides": window.stride, "pads": pads}


def looked_up(table: Callable[[Call, Scale, Scale], Array]) -> Rule:
    """A rule for a function of one byte, given as what it is of all 256."""

    def rule(call: Call) -> ir.Value:
        g, (x, given), scale = call.graph, _given(call), _asked(call)
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
    g, (x, given), scale = call.graph, _given(call), _asked(call)
    columns = math.prod(size(x, axis) for axis in range(1, rank(x)))
    most = min(float(np.uint32(2**32 - 1)) / columns, 8388607.0)
    powers = np.rint(most * np.exp((np.arange(256) - 255.0) * np.float64(given.scale))).astype(np.int64)
    rows = g.cast(g.reshape(x, (-1, columns)), INT64)
    place = g.op("Sub", g.op("Add", rows, _number(g, 255)), g.op("ReduceMax", rows, g.constant([1]), keepdims=1))
    parts = g.op("Gather", g.constant(powers), place)
    total = g.op("ReduceSum", parts, g.constant([1]), keepdims=1)
    half = g.op("Div", total, _number(g, 2))
    shares = g.op("Div", g.op("Add", g.op("Mul", parts, _number(g, 256)), half), total)
    y = g.cast(g.op("Min", shares, _number(g, 255)), UINT8)
    return quantised(g.reshape_like(y, x), scale)


def moved(rule: Rule) -> Rule:
    """A rule that moves bytes as ``rule`` moves numbers."""

    def run(call: Call) -> ir.Value:
        scales = [_given(call, at)[1] for at in range(len(call.inputs))]
        if any(scale != scales[0] for scale in scales):
            raise RefusalError("inputs of different scales")
        result = rule(call)
        y = result if isinstance(result, ir.Value) else result[0]
        if y is None:
            raise RefusalError("makes nothing")
        return quantised(call.graph.op("Identity", y) if y in call.inputs else y, scales[0])

    return run


def concat(call: Call) -> ir.Value:
    """Blobs of one scale after each other, along the channels."""
    axis = axis_of(call.x, call.int("axis", rank(call.x) - 1))
    return call.graph.op("Concat", *call.inputs, axis=axis)


def resize_nearest(call: Call) -> ir.Value:
    """NHWC images, of which each pixel is the one at its place divided by the scale, rounded down."""
    g, x = call.graph, call.x
    for axis, name in ((1, "height_scale"), (2, "width_scale")):
        length, by = size(x, axis), np.float32(call.float(name, 1.0))
        wanted = int(np.float32(length) * by)
        places = np.minimum((np.arange(wanted).astype(np.float32) / by).astype(np.int64), length - 1)
        x = g.op("Gather", x, g.constant(places), axis=axis)
    return x


def channel_shuffle(call: Call) -> ir.Value:
    """The channels of ``group`` groups, dealt out in turn."""
    g, groups = call.graph, call.count("group", 1, 1 << 20)
    channels = size(call.x, rank(call.x) - 1)
    if channels % groups:
        raise RefusalError(f"{channels} channels in {groups} groups")
    order = np.arange(channels).reshape(groups, -1).T.ravel()
    return g.op("Gather", call.x, g.constant(order), axis=rank(call.x) - 1)


def flatten(call: Call) -> ir.Value:
    """A matrix: what is before ``axis``, and what is from there on."""
    return call.graph.op("Flatten", call.x, axis=call.int("axis", 1))


def transpose(call: Call) -> ir.Value:
    """The dimensions in another order, reversed by default."""
    return call.graph.transpose(call.x, call.ints("axes") or tuple(reversed(range(rank(call.x)))))


def reshape(call: Call) -> ir.Value:
    """The same bytes in ``shape``: 0 is as before, -1 the rest."""
    return call.graph.reshape(call.x, call.ints("shape"))


def cut(call: Call) -> ir.Value:
    """From ``starts`` up to ``ends``; -1 is the end."""
    starts, ends = call.ints("starts"), call.ints("ends")
    if len(starts) != len(ends) or len(starts) > rank(call.x) or min(starts, default=0) < 0:
        raise RefusalError(f"starts {starts} with ends {ends}")
    y = call.x
    for axis, (start, end) in enumerate(zip(starts, ends, strict=True)):
        # Caffe2 counts negative ends from one behind the last
        y = call.graph.slice(y, axis, start, 2**31 - 1 if end == -1 else end + 1 if end < 0 else end)
    return y


RULES: Mapping[str, Rule] = {
    "Int8GivenTensorFill": given,
    "Int8GivenIntTensorFill": given_ints,
    "Int8Quantize": quantize,
    "Int8Dequantize": dequantize,
    "Int8Conv": conv(relu=False),
    "Int8ConvRelu": conv(relu=True),
    "Int8FC": full,
    "Int8Add": add(relu=False),
    "Int8AddRelu": add(relu=True),
    "Int8Sum": add(relu=False),
    "Int8SumRelu": add(relu=True),
    "Int8Relu": relu,
    "Int8MaxPool": max_pool(relu=False),
    "Int8MaxPoolRelu": max_pool(relu=True),
    "Int8AveragePool": average_pool(relu=False),
    "Int8AveragePoolRelu": average_pool(relu=True),
    "Int8Sigmoid": looked_up(_sigmoid),
    "Int8LeakyRelu": looked_up(_leaky),
    "Int8Softmax": softmax,
    "Int8Concat": moved(concat),
    "Int8ResizeNearest": moved(resize_nearest),
    "Int8ChannelShuffle": moved(channel_shuffle),
    "Int8Flatten": moved(flatten),
    "Int8Transpose": moved(transpose),
    "Int8Reshape": moved(reshape),
    "Int8Slice": moved(cut),
}
