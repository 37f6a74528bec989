"""Random settings of the operators with many, as rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe2.emit_cases import Data, Row, c, d, s, w

Rng = np.random.Generator


def _ints(rng: Rng, low: int, high: int, count: int) -> list[int]:
    """``count`` whole numbers of [low, high]."""
    return [int(n) for n in rng.integers(low, high + 1, count)]


def _window(rng: Rng, rank: int) -> dict[str, list[int]]:
    kernels = _ints(rng, 1, 4, rank)
    pads = [int(rng.integers(0, k)) for k in kernels * 2]
    return {"kernel_shape": kernels, "strides": _ints(rng, 1, 4, rank), "pads": pads}


def conv(rng: Rng) -> Row:
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    attrs = _window(rng, rank) | {"dilations": _ints(rng, 1, 3, rank)}
    group, ins, outs = _ints(rng, 1, 3, 3)
    sizes = [
        (k - 1) * e + int(rng.integers(1, 7)) for k, e in zip(attrs["kernel_shape"], attrs["dilations"], strict=True)
    ]
    bias = [w(group * outs)] if rng.random() < 0.5 else []
    inputs = [d(int(rng.integers(1, 4)), group * ins, *sizes), w(group * outs, ins, *attrs["kernel_shape"]), *bias]
    return Row("Conv", inputs, attrs=attrs | {"group": group})


def conv_transpose(rng: Rng) -> Row:
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    attrs = _window(rng, rank) | {"dilations": _ints(rng, 1, 3, rank)}
    attrs["output_padding"] = [int(rng.integers(0, s)) for s in attrs["strides"]]
    group, ins, outs = _ints(rng, 1, 3, 3)
    bias = [w(group * outs)] if rng.random() < 0.5 else []
    sizes = _ints(rng, 4, 6, rank)
    inputs = [d(int(rng.integers(1, 4)), group * ins, *sizes), w(group * ins, outs, *attrs["kernel_shape"]), *bias]
    return Row("ConvTranspose", inputs, attrs=attrs | {"group": group})


def max_pool(rng: Rng) -> Row:
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    attrs = _window(rng, rank) | {"dilations": _ints(rng, 1, 2, rank) if rng.random() < 0.3 else [1] * rank}
    sizes = [
        (k - 1) * e + int(rng.integers(1, 7)) for k, e in zip(attrs["kernel_shape"], attrs["dilations"], strict=True)
    ]
    return Row("MaxPool", [d(int(rng.integers(1, 4)), 2, *sizes)], attrs=attrs)


def average_pool(rng: Rng) -> Row:
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    attrs = _window(rng, rank)
    sizes = [k + int(rng.integers(0, 6)) for k in attrs["kernel_shape"]]
    include = int(rng.integers(0, 2))
    return Row("AveragePool", [d(int(rng.integers(1, 4)), 2, *sizes)], attrs=attrs | {"count_include_pad": include})


def ceil_pool(rng: Rng) -> Row:
    """Windows that start inside: where they do not, standards disagree."""
    kernels = _ints(rng, 2, 4, 2)
    strides = [int(rng.integers(1, k + 1)) for k in kernels]
    attrs = {"kernel_shape": kernels, "strides": strides, "ceil_mode": 1}
    sizes = [k + int(rng.integers(0, 8)) for k in kernels]
    return Row(str(rng.choice(["MaxPool", "AveragePool"])), [d(2, 2, *sizes)], attrs=attrs)


def pad(rng: Rng) -> Row:
    rank = int(rng.integers(2, 6))
    sizes = _ints(rng, 5, 7, rank)
    pads = _ints(rng, -1, 3, 2 * rank)
    mode = str(rng.choice(["constant", "edge", "reflect", "wrap"]))
    if mode == "wrap":
        pads = [max(p, 0) for p in pads]
    axes = [int(axis) for axis in rng.permutation(np.arange(1, rank))[: int(rng.integers(1, rank))]]
    chosen = [pads[axis] for axis in axes] + [pads[rank + axis] for axis in axes]
    return Row("Pad", [d(*sizes), c(*chosen), s(1.5) if mode == "constant" else None, c(*axes)], attrs={"mode": mode})


def slices(rng: Rng) -> Row:
    rank = int(rng.integers(2, 5))
    sizes = _ints(rng, 4, 8, rank)
    starts, ends, axes, steps = [], [], [], []
    for axis in range(1, rank):
        places = range(sizes[axis])
        step = int(rng.choice([1, 1, 2, 3, -1, -2]))
        start, end = (int(n) for n in rng.integers(-sizes[axis] - 1, sizes[axis] + 2, 2))
        if places[start:end:step]:
            starts.append(start), ends.append(end), axes.append(axis), steps.append(step)  # fmt: skip
    if not axes:
        starts, ends, axes, steps = [0], [1], [1], [1]
    return Row("Slice", [d(*sizes), c(*starts), c(*ends), c(*axes), c(*steps)])


def broadcasting(rng: Rng) -> Row:
    op = str(rng.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Greater", "LessOrEqual", "Equal", "Pow", "Sum"]))
    rank = int(rng.integers(1, 5))
    sizes = _ints(rng, 1, 3, rank)

    def operand(*, constant: bool) -> object:
        kept = [1 if rng.random() < 0.4 else n for n in sizes[int(rng.integers(0, rank)) :]]
        return w(*kept, shift=6.0) if constant else d(*kept, shift=6.0)

    first, second = operand(constant=False), operand(constant=rng.random() < 0.5)
    return Row(op, [first, second] if rng.random() < 0.6 else [second, first], fixed=True)  # type: ignore[list-item]


def choice(rng: Rng) -> Row:
    rank = int(rng.integers(1, 4))
    sizes = _ints(rng, 1, 3, rank)

    def shape() -> tuple[int, ...]:
        return tuple(1 if rng.random() < 0.4 else n for n in sizes[int(rng.integers(0, rank)) :])

    values = [d(*shape()) if rng.random() < 0.6 else w(*shape()) for _ in range(2)]
    return Row("Where", [Data(shape(), truth=True), *values], fixed=True)


def reduction(rng: Rng) -> Row:
    ops = ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "Prod"]
    rank = int(rng.integers(2, 6))
    axes = rng.permutation(rank)[: int(rng.integers(1, rank))]
    names = [int(a) - (rank if rng.random() < 0.5 else 0) for a in axes]
    fixed = any(axis == 0 for axis in axes)
    attrs = {"keepdims": int(rng.integers(0, 2))}
    return Row(f"Reduce{rng.choice(ops)}", [d(*_ints(rng, 1, 5, rank)), c(*names)], attrs=attrs, fixed=fixed)


def product(rng: Rng) -> Row:
    batch = _ints(rng, 1, 3, int(rng.integers(0, 3)))
    m, k, n = _ints(rng, 1, 4, 3)

    def leading() -> list[int]:
        return [1 if rng.random() < 0.3 else size for size in batch[int(rng.integers(0, len(batch) + 1)) :]]

    second = (*leading(), k, n)
    return Row("MatMul", [d(*leading(), m, k), w(*second) if rng.random() < 0.5 else d(*second)], fixed=True)


FAMILIES: dict[str, Callable[[Rng], Row]] = {
    made.__name__: made
    for made in (
        *(average_pool, broadcasting, ceil_pool, choice, conv, conv_transpose, max_pool, pad, product, reduction),
        slices,
    )
}
