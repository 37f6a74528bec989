"""Small modules of the package rnn: single steps, reversed sequences, and masks for empty steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.recurrent.cell import gru_step, lower_gru, lower_lstm, lstm_step
from retorch.layers.recurrent.recursor import TRACES
from retorch.layers.recurrent.sequence import BUFFERS, RnnWeights
from retorch.layers.recurrent.state import first_tensor

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


def _blank(x: Array) -> Array:
    """(N, 1): which rows of (N, D) are all zeros."""
    return ~np.any(x, axis=1, keepdims=True)


def _blank_value(op: Builder, x: Value) -> Value:
    return op.LessOrEqual(op.ReduceSum(op.Abs(x), [1], keepdims=1), 0.0)


@layer("nn.StepLSTM", kind="lstm")
class StepLSTM(RnnWeights):
    """{x, h, c} to {h, c} by the formula of SeqLSTM; x is (N, D)"""

    container = True
    weightO: Array | None = None

    def setup(self, bind: Binder) -> None:
        self.check(bind)
        self.make("LSTM", "ifog", self.weightO)

    def forward(self, x: list[Array]) -> list[Array]:
        fed = x[0] @ cast("Array", self.cell.inputs).T + self.cell.bias
        h, c = lstm_step(self.cell, fed, x[1], x[2])
        states = [h, cast("Array", c)]
        return [np.where(_blank(x[0]), 0, s).astype(s.dtype) for s in states] if self.layout[2] else states

    def lower(self, op: Builder, x: list[Value]) -> list[Value]:
        inputs = op.weight(cast("Array", self.cell.inputs), "w")
        fed = op.Gemm(x[0], inputs, op.weight(self.cell.bias, "b"), transB=1)
        sums = op.Add(fed, op.Gemm(x[1], op.weight(self.cell.recurrent, "r"), None, transB=1))
        states = lower_lstm(op, self.cell, sums, x[2])
        if not self.layout[2]:
            return list(states)
        blank = _blank_value(op, x[0])
        return [op.Where(blank, 0.0, s) for s in states]


@layer("nn.StepGRU", kind="gru")
class StepGRU(RnnWeights):
    """{x, h} to h by the formula of SeqGRU; x is (N, D)"""

    def setup(self, bind: Binder) -> None:
        self.check(bind)
        self.make("GRU", "rzn")

    def forward(self, x: list[Array]) -> Array:
        fed = x[0] @ cast("Array", self.cell.inputs).T + self.cell.bias
        h, _ = gru_step(self.cell, fed, x[1], None)
        return np.where(_blank(x[0]), 0, h).astype(h.dtype) if self.layout[2] else h

    def lower(self, op: Builder, x: list[Value]) -> Value:
        inputs = op.weight(cast("Array", self.cell.inputs), "w")
        h = lower_gru(op, self.cell, op.Gemm(x[0], inputs, op.weight(self.cell.bias, "b"), transB=1), x[1])
        return op.Where(_blank_value(op, x[0]), 0.0, h) if self.layout[2] else h


@layer("nn.SeqReverseSequence", kind="reverse")
class SeqReverseSequence(Layer):
    """x with the order of its entries along ``dim`` (1 to 3, from 1) reversed"""

    ignored = frozenset({"outputIndices", "gradIndices"})

    dim: int

    def setup(self, bind: Binder) -> None:
        if not 1 <= self.dim <= 3:
            raise Refusal(f"reverses dimension {self.dim}, of which it knows 1 to 3")

    def forward(self, x: Array) -> Array:
        return np.flip(x, self.dim - 1).copy()

    def lower(self, op: Builder, x: Value) -> Value:
        return _reversed(op, x, self.dim - 1)


def _reversed(op: Builder, x: Value, axis: int) -> Value:
    return op.Gather(x, list(range(x.shape[axis]))[::-1], axis=axis)


@layer("nn.ReverseSequence", kind="reverse")
class ReverseSequence(Layer):
    """x with its steps in reverse order: a table's entries, or a tensor's along ``dim`` (from 1; of torch-rnn)"""

    ignored = frozenset({"_range"})

    dim: int = 1

    def forward(self, x: Nested) -> Nested:
        return x[::-1] if isinstance(x, list) else np.flip(x, self.dim - 1).copy()

    def lower(self, op: Builder, x: Values) -> Values:
        return x[::-1] if isinstance(x, list) else _reversed(op, x, self.dim - 1)


@layer("nn.SAdd", kind="add")
class SAdd(Layer):
    """x + addend, or -(x + addend) with ``negate``"""

    addend: float
    negate: bool = False

    def forward(self, x: Array) -> Array:
        y = x + np.asarray(self.addend, x.dtype)
        return -y if self.negate else y

    def lower(self, op: Builder, x: Value) -> Value:
        y = op.Add(x, float(self.addend))
        return op.Neg(y) if self.negate else y


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
