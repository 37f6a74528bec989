"""Sliding windows by loops, as THNN's C code walks them: what the rules with windows are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np


def pick(rng: np.random.Generator, low: int, high: int, count: int = 2) -> list[int]:
    """Some whole numbers, ``high`` among them."""
    return [int(n) for n in rng.integers(low, high + 1, count)]


def named_fields(names: str, values: Sequence[int]) -> dict[str, Any]:
    """``kH kW …`` and their values."""
    return dict(zip(names.split(), values, strict=True))


def places(
    sizes: Sequence[int],
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> Iterator[tuple[tuple[int, ...], list[tuple[tuple[int, ...], tuple[int, ...]]]]]:
    """For each output place: the taps that fall inside the input, and where they fall."""
    dilation = dilation or [1] * len(kernel)
    for at in product(*map(range, out)):
        seen = []
        for tap in product(*map(range, kernel)):
            there = tuple(o * s - p + t * d for o, s, p, t, d in zip(at, stride, pad, tap, dilation, strict=True))
            if all(0 <= i < n for i, n in zip(there, sizes, strict=True)):
                seen.append((tap, there))
        yield at, seen


def convolved(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> np.ndarray:
    """x (N, C, *in), weight (O, C / groups, *kernel)."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    dilation = dilation or [1] * len(stride)
    sizes, kernel = x.shape[2:], weight.shape[2:]
    geometry = zip(sizes, kernel, stride, pad, dilation, strict=True)
    out = [int((n + 2 * p - ((k - 1) * d + 1)) / s) + 1 for n, k, s, p, d in geometry]  # C rounds towards zero
    y = np.zeros((x.shape[0], weight.shape[0], *out))
    share_in, share_out = x.shape[1] // groups, weight.shape[0] // groups
    for at, seen in places(sizes, out, kernel, stride, pad, dilation):
        for tap, there in seen:
            for o in range(weight.shape[0]):
                first = o // share_out * share_in
                part = x[(slice(None), slice(first, first + share_in), *there)]
                y[(slice(None), o, *at)] += part @ weight[(o, slice(None), *tap)]
    return y if bias is None else y + bias.reshape(-1, *[1] * len(out))


def scattered(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Sequence[int],
    pad: Sequence[int],
    extra: Sequence[int],
    dilation: Sequence[int] | None = None,
) -> np.ndarray:
    """A transposed convolution: x (N, C, *in), weight (C, O, *kernel)."""
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    dilation = dilation or [1] * len(stride)
    geometry = zip(x.shape[2:], weight.shape[2:], stride, pad, dilation, extra, strict=True)
    out = [(n - 1) * s - 2 * p + (k - 1) * d + 1 + a for n, k, s, p, d, a in geometry]
    y = np.zeros((x.shape[0], weight.shape[1], *out))
    for at in product(*map(range, x.shape[2:])):
        for tap in product(*map(range, weight.shape[2:])):
            there = [i * s - p + t * d for i, s, p, t, d in zip(at, stride, pad, tap, dilation, strict=True)]
            if all(0 <= i < n for i, n in zip(there, out, strict=True)):
                y[(slice(None), slice(None), *there)] += x[(..., *at)] @ weight[(..., *tap)]
    return y if bias is None else y + bias.reshape(-1, *[1] * len(out))


def pooled_sizes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    ceil: bool,
    dilation: Sequence[int] | None = None,
) -> list[int]:
    """THNN's output sizes (SpatialDilatedMaxPooling.c): rounded, then less a window that starts past the input."""
    dilation = dilation or [1] * len(kernel)
    found = []
    for n, k, s, p, d in zip(sizes, kernel, stride, pad, dilation, strict=True):
        exact = (n - (d * (k - 1) + 1) + 2 * p) / s
        out = (math.ceil(exact) if ceil else math.floor(exact)) + 1
        if any(pad) and (out - 1) * s >= n + p:
            out -= 1
        found.append(out)
    return found


def windowed(
    x: np.ndarray,
    rank: int,
    out: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    reduce: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
    dilation: Sequence[int] | None = None,
) -> np.ndarray:
    """``reduce`` of what each window sees (stacked last) and its place; over the last ``rank`` axes."""
    x = x.astype(np.float64)
    sizes, outer = x.shape[-rank:], x.shape[:-rank]
    y = np.zeros((*outer, *out))
    for at, seen in places(sizes, out, kernel, stride, pad, dilation):
        values = [x[(..., *there)] for _, there in seen]
        y[(..., *at)] = reduce(np.stack(values, axis=-1) if values else np.zeros((*outer, 0)), at)
    return y
