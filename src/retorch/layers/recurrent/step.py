"""Single steps by the formulas of the layers that take whole sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, layer
from retorch.layers.recurrent.cell import gru_step, lower_gru, lower_lstm, lstm_step
from retorch.layers.recurrent.sequence import RnnWeights

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


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
