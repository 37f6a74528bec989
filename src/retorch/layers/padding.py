"""Padding with constants, mirror images, edges and the other side; negative padding crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, layer
from retorch.layers.base.window import padded
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.shape.selection import TO_THE_END

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: The padding before and after of each axis.
Pads = tuple[tuple[int, int], ...]


def check_pads(x: Array | Value, pads: Pads) -> None:
    """Some of the input must be left, or Refusal."""
    for (before, after), size in zip(pads, x.shape[-len(pads) :], strict=True):
        if size + before + after < 1 or size + min(before, 0) + min(after, 0) < 1:
            raise Refusal(f"nothing is left of an input of {'x'.join(map(str, x.shape))}")


def lower_pads(op: Builder, x: Value, pads: Pads, value: float | None = None, mode: str = "constant") -> Value:
    """A Pad node over the last axes; a copy where there is nothing to pad."""
    if not any(before or after for before, after in pads):
        return op.Identity(x)
    rest = [0] * (x.rank - len(pads))
    amounts = [*rest, *(before for before, _ in pads), *rest, *(after for _, after in pads)]
    return op.Pad(x, amounts, value) if mode == "constant" else op.Pad(x, amounts, mode=mode)


class SpatialPadded(Layer):
    """What paddings of images share: the four amounts, and inputs with or without a batch."""

    pad_l: int
    pad_r: int | None = None
    pad_t: int | None = None
    pad_b: int | None = None
    ignored = frozenset({"xdim", "ydim"})

    def pads(self, x: Array | Value) -> Pads:
        """(top, bottom), (left, right); the left one where others are not given."""
        check_rank(x, 3, 4)
        right, top, bottom = (self.pad_l if n is None else n for n in (self.pad_r, self.pad_t, self.pad_b))
        found = (top, bottom), (self.pad_l, right)
        check_pads(x, found)
        return found


@layer("nn.SpatialZeroPadding", kind="pad")
class SpatialZeroPadding(SpatialPadded):
    """x with pad_l, pad_r, pad_t and pad_b columns and rows of zeros around it; negative amounts crop"""

    def forward(self, x: Array) -> Array:
        return padded(x, self.pads(x)).copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_pads(op, x, self.pads(x), 0.0)


@layer("nn.SpatialPadding", kind="pad")
class SpatialPadding(Layer):
    """x with pad_l, pad_r, pad_t and pad_b columns and rows of ``val`` around it; negative amounts crop; of nnx

    Columns lie along dimension x_dim and rows along y_dim, from 1: of a batch, the defaults are channels and rows.
    """

    pad_l: int
    pad_r: int | None = None
    pad_t: int | None = None
    pad_b: int | None = None
    y_dim: int = 2
    x_dim: int = 3
    val: float = 0.0

    def pads(self, x: Array | Value) -> Pads:
        rank = len(x.shape)
        if self.y_dim == self.x_dim or not 1 <= min(self.y_dim, self.x_dim) <= max(self.y_dim, self.x_dim) <= rank:
            raise Refusal(f"pads dimensions {self.y_dim} and {self.x_dim} of {rank}")
        right, top, bottom = (self.pad_l if n is None else n for n in (self.pad_r, self.pad_t, self.pad_b))
        at = {self.y_dim - 1: (top, bottom), self.x_dim - 1: (self.pad_l, right)}
        found = tuple(at.get(axis, (0, 0)) for axis in range(rank))
        check_pads(x, found)
        return found

    def forward(self, x: Array) -> Array:
        return padded(x, self.pads(x), self.val).copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_pads(op, x, self.pads(x), self.val)


def mirrored(at: Array, size: int) -> Array:
    """c b [a b c] b a"""
    return np.where(at < 0, -at, np.where(at >= size, 2 * (size - 1) - at, at))


def clamped(at: Array, size: int) -> Array:
    """a a [a b c] c c"""
    return np.clip(at, 0, size - 1)


def circular(at: Array, size: int) -> Array:
    """b c [a b c] a b"""
    return np.where(at < 0, at + size, np.where(at >= size, at - size, at))


def symmetric(at: Array, size: int) -> Array:
    """b a [a b c] c b"""
    return np.where(at < 0, -1 - at, np.where(at >= size, 2 * size - 1 - at, at))


def sources(x: Array | Value, pads: Pads, rule: Callable[[Array, int], Array]) -> list[Array]:
    """Where the elements along each of the last axes come from, by one of the rules above.

    Raises:
        Refusal: padding that reaches for elements that are not there.
    """
    found: list[Array] = []
    for (before, after), size in zip(pads, x.shape[-len(pads) :], strict=True):
        at = rule(np.arange(-before, size + after), size)
        if at.min() < 0 or at.max() >= size:
            raise Refusal(f"pads an axis of {size} by more than it holds")
        found.append(at)
    return found


def reached(x: Array, found: Sequence[Array]) -> Array:
    """The elements that :func:`sources` names, in an array of their own."""
    for axis, at in zip(range(-len(found), 0), found, strict=True):
        x = np.take(x, at, axis=axis)
    return x


def lower_reached(op: Builder, x: Value, pads: Pads, mode: str) -> Value:
    """Pad by repeating parts of ``x``, then crop: padding may show what cropping takes away."""
    grown = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    cropped = tuple((min(before, 0), min(after, 0)) for before, after in pads)
    y = lower_pads(op, x, grown, mode=mode)
    return lower_pads(op, y, cropped, 0.0) if any(map(any, cropped)) else y


def lower_gathered(op: Builder, x: Value, found: Sequence[Array]) -> Value:
    """For the rules that are no mode of ONNX's Pad."""
    y = x
    for axis, at in zip(range(x.rank - len(found), x.rank), found, strict=True):
        if list(at) != list(range(x.shape[axis])):
            y = op.Gather(y, at.astype(np.int64), axis=axis)
    return op.Identity(x) if y is x else y


@layer("nn.SpatialReflectionPadding", kind="pad")
class SpatialReflectionPadding(SpatialPadded):
    """x with its mirror image around it, the edge not repeated: c b [a b c] b a; negative amounts crop"""

    def forward(self, x: Array) -> Array:
        return reached(x, sources(x, self.pads(x), mirrored))

    def lower(self, op: Builder, x: Value) -> Value:
        sources(x, self.pads(x), mirrored)
        return lower_reached(op, x, self.pads(x), "reflect")


@layer("nn.SpatialReplicationPadding", kind="pad")
class SpatialReplicationPadding(SpatialPadded):
    """x with its edge repeated around it: a a [a b c] c c; negative amounts crop"""

    def forward(self, x: Array) -> Array:
        return reached(x, sources(x, self.pads(x), clamped))

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_reached(op, x, self.pads(x), "edge")


@layer("nn.VolumetricReplicationPadding", kind="pad")
class VolumetricReplicationPadding(Layer):
    """x, (N, C, T, H, W) or (C, T, H, W), with its edge repeated around it; negative amounts crop"""

    pleft: int
    pright: int
    ptop: int
    pbottom: int
    pfront: int
    pback: int

    def pads(self, x: Array | Value) -> Pads:
        """(front, back), (top, bottom), (left, right)."""
        check_rank(x, 4, 5)
        found = (self.pfront, self.pback), (self.ptop, self.pbottom), (self.pleft, self.pright)
        check_pads(x, found)
        return found

    def forward(self, x: Array) -> Array:
        return reached(x, sources(x, self.pads(x), clamped))

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_reached(op, x, self.pads(x), "edge")


@layer("nn.SpatialCircularPadding", kind="pad")
class SpatialCircularPadding(SpatialPadded):
    """x with its other side around it: b c [a b c] a b (texture_nets)"""

    def pads(self, x: Array | Value) -> Pads:
        found = super().pads(x)
        if min(map(min, found)) < 0:
            raise Refusal("cannot pad in a circle by negative amounts")
        return found

    def forward(self, x: Array) -> Array:
        return reached(x, sources(x, self.pads(x), circular))

    def lower(self, op: Builder, x: Value) -> Value:
        pads = self.pads(x)
        sources(x, pads, circular)
        y = x
        for axis, (before, after) in zip((x.rank - 2, x.rank - 1), pads, strict=True):
            # both ends without the size, so that images of any size go through
            ahead = [op.Slice(y, [-before], [TO_THE_END], [axis])] if before else []
            behind = [op.Slice(y, [0], [after], [axis])] if after else []
            y = op.Concat(*ahead, y, *behind, axis=axis) if ahead or behind else y
        return op.Identity(x) if y is x else y


@layer("nn.SpatialSymmetricPadding", kind="pad")
class SpatialSymmetricPadding(SpatialPadded):
    """x with its mirror image around it, the edge repeated: b a [a b c] c b (DeepMask); negative amounts crop"""

    def pads(self, x: Array | Value) -> Pads:
        found = super().pads(x)
        for amounts, size in zip(found, x.shape[-2:], strict=True):
            left = size + sum(min(n, 0) for n in amounts)
            if max(amounts) > left:
                raise Refusal(f"pads an axis of {left} by more than it holds")
        return found

    def forward(self, x: Array) -> Array:
        return reached(x, sources(x, self.pads(x), symmetric))

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_gathered(op, x, sources(x, self.pads(x), symmetric))


@layer("nn.ShaveImage", kind="shave")
class ShaveImage(Layer):
    """x without its outermost ``size`` rows and columns (fast-neural-style)"""

    size: int

    def pads(self, x: Array | Value) -> Pads:
        """Negative on both axes."""
        check_rank(x, 4)
        found = (-self.size, -self.size), (-self.size, -self.size)
        check_pads(x, found)
        return found

    def forward(self, x: Array) -> Array:
        return padded(x, self.pads(x)).copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return lower_pads(op, x, self.pads(x), 0.0)


@layer("nn.Padding", kind="pad")
class Padding(Layer):
    """x with |pad| entries of ``value`` put in before entry ``index`` of dimension ``dim``; pad > 0 counts from the end

    ``dim`` counts from 1, and from 2 where the input has another number of dimensions than ``nInputDim``.
    """

    dim: int
    pad: int
    nInputDim: int | None = None
    value: float = 0.0
    index: int = 1
    ignored = frozenset({"outputSize"})

    def place(self, x: Array | Value) -> tuple[int, int]:
        """The axis, and how many of its entries stay in front."""
        axis = self.dim - 1
        if self.nInputDim is not None and self.nInputDim != len(x.shape):
            axis += 1
        if not 0 <= axis < len(x.shape):
            raise Refusal(f"pads dimension {axis + 1} of a {len(x.shape)}-D input")
        size = x.shape[axis]
        front = size - self.index + 1 if self.pad > 0 else self.index - 1
        if not 0 <= front <= size:
            raise Refusal(f"pads at entry {self.index} of {size}")
        return axis, front

    def forward(self, x: Array) -> Array:
        axis, front = self.place(x)
        block = np.full((*x.shape[:axis], abs(self.pad), *x.shape[axis + 1 :]), self.value, x.dtype)
        first, second = np.split(x, [front], axis=axis)
        return np.concatenate([first, block, second], axis=axis)

    def lower(self, op: Builder, x: Value) -> Value:
        axis, front = self.place(x)
        size, pad = x.shape[axis], abs(self.pad)
        if not pad:
            return op.Identity(x)
        # the block is padding of the first part, so that it has any batch size
        after = [pad if i == axis else 0 for i in range(x.rank)]
        none = [0] * x.rank
        if front == 0:
            return op.Pad(x, [*after, *none], self.value)
        if front == size:
            return op.Pad(x, [*none, *after], self.value)
        first = op.Pad(op.Slice(x, [0], [front], [axis]), [*none, *after], self.value)
        return op.Concat(first, op.Slice(x, [front], [size], [axis]), axis=axis)
