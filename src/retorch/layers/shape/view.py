"""The same elements under other sizes: views, reshapes, dimensions of size 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Layer, Refusal, Sizes, layer
from retorch.layers.base.memory import resize_in_place

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def in_one_piece(x: Array) -> Array:
    """``x``, or a copy of it where its elements are not in order in memory (Torch's ``contiguous``)."""
    return x if x.flags.c_contiguous else x.copy()


def viewed(op: Builder, x: Value, shape: Sequence[int]) -> Value:
    """``x`` with other sizes: a view where it is in one piece, else a copy, as in :func:`in_one_piece`."""
    return op.reshape(x, shape) if x.is_contiguous else op.Reshape(x, list(shape))


def axis_of(dimension: int, rank: int) -> int:
    """A dimension counted from 1, or from the end where negative, as an axis counted from 0."""
    axis = dimension + rank if dimension < 0 else dimension - 1
    if not 0 <= axis < rank:
        raise Refusal(f"takes dimension {dimension} of a tensor of {rank} dimensions")
    return axis


def batch_free(old: Sizes, new: Sizes) -> list[int]:
    """``new``, whose first size is a batch, as a Reshape's argument that does not hold the batch size."""
    if old[0] == new[0]:
        return [0, *new[1:]]
    known = math.prod(d for d in new if d != -1)
    return [-1, *(math.prod(old) // known if d == -1 else d for d in new[1:])]


def reshaped(op: Builder, x: Value, new: Sizes) -> Value:
    """``x`` with sizes ``new``, of which the first is a batch."""
    return viewed(op, x, batch_free(x.shape, new))


@layer("nn.View", kind="view")
class View(Layer):
    """x as (size), or as (batch, size) where x holds more elements than size

    ``numInputDims`` says how many dimensions are one example; one -1 in size stands for whatever is left.
    """

    size: Sizes
    numInputDims: int | None = None
    ignored = frozenset({"numElements"})

    def elements(self) -> int | None:
        return None if -1 in self.size else math.prod(self.size)

    def sizes(self, shape: Sizes) -> Sizes:
        """View.lua's ``batchsize``: the sizes with one -1 at most, the batch in front where there is one."""
        wanted = math.prod(d for d in self.size if d >= 0)
        own = len(shape) if self.numInputDims is None else self.numInputDims
        first = max(len(shape) - own, 0)
        elements = math.prod(shape[first:])
        if wanted == 0 or elements % wanted:
            raise Refusal(f"an input of sizes {shape} cannot be viewed as {self.size}")
        batch = (1 if -1 in self.size else elements // wanted) * math.prod(shape[:first])
        if batch == 1 and (self.numInputDims is None or len(shape) <= self.numInputDims):
            return self.size
        return (batch, *self.size)

    def forward(self, x: Array) -> Array:
        return in_one_piece(x).reshape(self.sizes(x.shape))

    def lower(self, op: Builder, x: Value) -> Value:
        sizes = self.sizes(x.shape)
        return viewed(op, x, sizes) if len(sizes) == len(self.size) else reshaped(op, x, sizes)


@layer("nn.Reshape", kind="reshape")
class Reshape(Layer):
    """x as (size), or as (batch, size) in batch mode

    Without ``batchMode``: (size) where x has just that many elements and its first dimension is not 1. One size may be
    -1, which stands for what is left; without ``batchMode`` there is a batch then.
    """

    size: Sizes
    batchMode: bool | None = None
    ignored = frozenset({"nelement"})

    def elements(self) -> int | None:
        return None if -1 in self.size else math.prod(self.size)

    def sizes(self, shape: Sizes) -> Sizes:
        wanted, given = math.prod(self.size), math.prod(shape)
        whole = given == wanted and shape[0] != 1 if self.batchMode is None else not self.batchMode
        sizes = self.size if whole else (shape[0], *self.size)
        known = math.prod(size for size in sizes if size != -1)
        if sizes.count(-1) == 1 and known and not given % known:
            return tuple(given // known if size == -1 else size for size in sizes)
        if math.prod(sizes) != given:
            raise Refusal(f"an input of sizes {shape} cannot be reshaped to {sizes}")
        return sizes

    def forward(self, x: Array) -> Array:
        return in_one_piece(x).reshape(self.sizes(x.shape))

    def lower(self, op: Builder, x: Value) -> Value:
        sizes = self.sizes(x.shape)
        if len(sizes) > len(self.size):
            return reshaped(op, x, sizes)
        return viewed(op, x, self.size if -1 in self.size else sizes)


@layer("nn.BatchReshape", kind="reshape")
class BatchReshape(Layer):
    """x as (size), with dimension ``index`` (from 1) that many times larger as x is larger than size"""

    index: int
    sizeindex: int
    nelement: int
    size: Sizes

    def sizes(self, shape: Sizes) -> Sizes:
        times, rest = divmod(math.prod(shape), self.nelement)
        if rest:
            raise Refusal(f"an input of sizes {shape} cannot be reshaped to a multiple of {self.size}")
        at = axis_of(self.index, len(self.size))
        return (*self.size[:at], self.sizeindex * times, *self.size[at + 1 :])

    def forward(self, x: Array) -> Array:
        return in_one_piece(x).reshape(self.sizes(x.shape))

    def lower(self, op: Builder, x: Value) -> Value:
        sizes = list(self.sizes(x.shape))
        sizes[axis_of(self.index, len(sizes))] = -1
        return viewed(op, x, sizes)


@layer("nn.Collapse", kind="collapse")
class Collapse(Layer):
    """x as one vector per example; x has ``nInputDim`` dimensions, or one more with the batch"""

    nInputDim: int

    def forward(self, x: Array) -> Array:
        return in_one_piece(x).reshape((x.shape[0], -1) if x.ndim > self.nInputDim else (-1,))

    def lower(self, op: Builder, x: Value) -> Value:
        return viewed(op, x, [0, -1] if x.rank > self.nInputDim else [-1])


@layer("nn.Squeeze", kind="squeeze")
class Squeeze(Layer):
    """x without dimension ``dim`` where its size is 1; without ``dim``, without all dimensions of size 1

    ``numInputDims`` says how many dimensions there are without the batch; the batch is kept even where it is 1.
    """

    dim: int | None = None
    numInputDims: int | None = None

    def axes(self, shape: Sizes) -> list[int]:
        """The axes that go away."""
        batched = self.numInputDims is not None and len(shape) == self.numInputDims + 1
        if self.dim is not None:
            axis = axis_of(self.dim, len(shape) - batched) + batched
            return [axis] if shape[axis] == 1 and len(shape) > 1 else []
        kept = {0} if batched and shape[0] == 1 else set[int]()
        gone = [i for i, d in enumerate(shape) if d == 1 and i not in kept]
        # a tensor keeps one dimension, besides the batch
        return gone if len(gone) + len(kept) < len(shape) else gone[1:]

    def forward(self, x: Array) -> Array:
        return x.squeeze(axis=tuple(self.axes(x.shape)))

    def lower(self, op: Builder, x: Value) -> Value:
        axes = self.axes(x.shape)
        if not axes:
            return x
        return op.squeeze_all(x, axes)


@layer("nn.Unsqueeze", kind="unsqueeze")
class Unsqueeze(Layer):
    """x with a dimension of size 1 in front of dimension ``pos`` (from 1, after the batch)"""

    pos: int
    numInputDims: int | None = None

    def axis(self, rank: int) -> int:
        batch = 0 if self.numInputDims is None else rank - self.numInputDims
        if batch < 0 or not 0 < self.pos <= rank - batch + 1:
            raise Refusal(f"puts dimension {self.pos} into a tensor of {rank} dimensions")
        return batch + self.pos - 1

    def forward(self, x: Array) -> Array:
        return np.expand_dims(x, self.axis(x.ndim))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.unsqueeze(x, self.axis(x.rank))


@layer("nn.MinDim", kind="unsqueeze")
class MinDim(Layer):
    """x, which gets a dimension of size 1 at ``pos`` (from 1) itself, where it has fewer than ``numInputDims``"""

    owns_no_output = True

    pos: int
    numInputDims: int

    def _axis(self, rank: int) -> int | None:
        if rank >= self.numInputDims:
            return None
        if not 0 < self.pos <= rank + 1:
            raise Refusal(f"puts dimension {self.pos} into a tensor of {rank} dimensions")
        return self.pos - 1

    def forward(self, x: Array) -> Array:
        axis = self._axis(x.ndim)
        return x if axis is None else resize_in_place(x, np.expand_dims(x, axis))

    def lower(self, op: Builder, x: Value) -> Value:
        axis = self._axis(x.rank)
        return x if axis is None else op.resize_in_place(x, op.unsqueeze(x, axis))
