"""Masks: zeros out for samples whose input is all zeros."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import memory
from retorch.layers.recurrent.recursor import TRACES
from retorch.layers.recurrent.sequence import BUFFERS
from retorch.layers.recurrent.state import Remembers, first_tensor

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.MaskZero", "nn.TrimZero", kind="mask")
class MaskZero(Layer):
    """module(x), but zeros where the (first) input is all zeros: per sample of a batch, or as a whole

    A batch is told by ``nInputDim``, the number of dimensions without it. TrimZero leaves such samples out of the
    computation, which gives the same.
    """

    container = True
    ignored = (TRACES | BUFFERS) - {"module"} | frozenset({"batchmode", "temp", "gradTemp", "maskoutput"})

    modules: list[Layer] | None = None
    module: Layer | None = None
    nInputDim: int | None = None
    maskinput: bool = False
    maskoutput: bool = True
    v2: bool = False
    zeroMask: object = None

    def setup(self, bind: Binder) -> None:
        inner = self.module or (self.modules[0] if self.modules else None)
        if inner is None:
            raise Refusal("has no module inside")
        self.inner = inner
        self.masks = self.maskoutput and self.zeroMask is not False
        # what has run leaves its mask behind; before ``batchmode``, outputs were told by their dimensions too
        self.by_rank = "batchmode" not in self.raw and isinstance(self.raw.get("zeroMask"), np.ndarray)
        if self.nInputDim is None and self.v2 and self.zeroMask is not False:
            raise Refusal("takes the mask of its empty samples from outside the network")
        if self.nInputDim is None and self.maskinput:
            raise Refusal("masks its input in place")

    def children(self) -> Iterable[Layer]:
        return [self.inner]

    def is_batch(self, rank: int) -> bool:
        """Whether an input of so many dimensions is a batch."""
        if self.nInputDim is None:
            # the first version took a single sample too, the last ones, which know a version 2, do not
            return rank > 1 or "v2" in self.raw
        if rank not in (self.nInputDim, self.nInputDim + 1):
            raise Refusal(f"takes inputs of {self.nInputDim} dimensions, or {self.nInputDim + 1} with a batch")
        return rank > self.nInputDim

    def forward(self, x: Nested) -> Nested:
        first = cast("Array", first_tensor(x))
        rows = first.reshape((len(first), -1) if self.is_batch(first.ndim) else (1, -1))
        blank = ~np.any(rows, axis=1)
        y = self.inner(x)
        return self._masked(y, blank) if self.masks else y

    def lower(self, op: Builder, x: Values) -> Values:
        first = cast("Value", first_tensor(x))
        kept = 1 if self.is_batch(first.rank) else 0
        size = op.Abs(first) if first.is_float else op.Abs(op.Cast(first, to=1))
        axes = list(range(kept, first.rank))
        total = op.ReduceSum(size, axes, keepdims=1) if axes else size
        y = op.call(self.inner, x)
        return self._masked_values(op, y, total) if self.masks else y

    def by_sample(self, rank: int) -> bool:
        """Whether an output of so many dimensions is masked sample by sample, not as a whole by the first one."""
        return self.nInputDim is None or not self.by_rank or rank == self.nInputDim + 1

    def _masked(self, y: Nested, blank: Array) -> Nested:
        if isinstance(y, list):
            return [self._masked(item, blank) for item in y]
        fitting = blank if self.by_sample(y.ndim) else blank[:1]
        return np.where(fitting.reshape(-1, *[1] * (y.ndim - 1)), 0, y).astype(y.dtype)

    def _masked_values(self, op: Builder, y: Values, total: Value) -> Values:
        if isinstance(y, list):
            return [self._masked_values(op, item, total) for item in y]
        fitting = total if self.by_sample(y.rank) else op.Slice(total, [0], [1], [0])
        fitting = fitting if fitting.rank == y.rank else op.Reshape(fitting, [-1, *[1] * (y.rank - 1)])
        return op.Where(op.LessOrEqual(fitting, 0.0), 0.0, y)


@layer("nn.MaskZeroCopy", kind="mask")
class MaskZeroCopy(Remembers):
    """module(x), but the k-th sample whose (first) input is all zeros gets the k-th row given before; of skip-thoughts

    The first time that it runs nothing was given before. A batch is told by ``nInputDim``, the number of dimensions
    without it.
    """

    container = True
    modules: list[Layer]
    nInputDim: int
    ignored = (TRACES | BUFFERS) - {"module"} | frozenset({"module", "zeroMask", "_zeroMask", "batchmode", "backward"})

    def setup(self, bind: Binder) -> None:
        if not self.modules:
            raise Refusal("has no module inside")
        self.inner = self.modules[0]

    def children(self) -> Iterable[Layer]:
        return [self.inner]

    def is_batch(self, rank: int) -> bool:
        """Whether an input of so many dimensions is a batch."""
        if rank not in (self.nInputDim, self.nInputDim + 1):
            raise Refusal(f"takes inputs of {self.nInputDim} dimensions, or {self.nInputDim + 1} with a batch")
        return rank > self.nInputDim

    def forward(self, x: Nested) -> Nested:
        first = cast("Array", first_tensor(x))
        rows = first.reshape((len(first), -1) if self.is_batch(first.ndim) else (1, -1))
        blank = ~np.any(rows, axis=1)
        y = self.inner(x)
        if isinstance(y, list):
            raise Refusal("has a module that gives tables")
        before = cast("Array | None", memory().get(id(self)))
        if before is not None:
            # maskedCopy takes what it copies from the front on
            rows = before if len(blank) == 1 else before[np.maximum(np.cumsum(blank) - 1, 0)]
            y = np.where(blank.reshape(-1, *[1] * (y.ndim - 1)), rows, y)
        memory()[id(self)] = y = y.copy()
        return y

    def lower(self, op: Builder, x: Values) -> Values:
        first = cast("Value", first_tensor(x))
        kept = 1 if self.is_batch(first.rank) else 0
        size = op.Abs(first) if first.is_float else op.Abs(op.Cast(first, to=1))
        total = op.ReduceSum(size, list(range(kept, first.rank)), keepdims=1)
        y = op.call(self.inner, x)
        if isinstance(y, list):
            raise Refusal("has a module that gives tables")
        before = cast("Value | None", op.memory.get(id(self)))
        if before is not None:
            fitting = total if total.rank == y.rank else op.Reshape(total, [-1, *[1] * (y.rank - 1)])
            y = op.Where(op.LessOrEqual(fitting, 0.0), self._rows(op, before, total), y)
        op.memory[id(self)] = y = op.Identity(y)
        return y

    @staticmethod
    def _rows(op: Builder, before: Value, total: Value) -> Value:
        """The rows that are copied, each at the sample that gets it."""
        count = math.prod(total.shape)
        if count == 1:
            return before
        blank = op.Cast(op.LessOrEqual(op.Reshape(total, [-1, 1]), 0.0), to=1)
        upto = op.MatMul(op.constant(np.tril(np.ones((count, count), np.float32))), blank)
        places = op.Cast(op.Clip(op.Sub(upto, 1.0), 0.0), to=7)
        return op.Gather(before, op.Squeeze(places, [1]), axis=0)
