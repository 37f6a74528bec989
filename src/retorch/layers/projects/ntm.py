"""Neural Turing machines as torch-ntm published them: what their heads do with vectors and a memory of rows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import clone, memory
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.noise import Identity
from retorch.layers.recurrent.state import Remembers

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


@layer("nn.CircularConvolution", kind="conv")
class CircularConvolution(Layer):
    """{v, k}: y[i] = Σⱼ k[j] · v[i + ⌊K / 2⌋ − j], counted from 0 and around the end; vectors, K the length of k"""

    ignored = frozenset({"size", "kernel_size", "kernel_shift"})

    def places(self, x: list[Array] | list[Value]) -> Array:
        """(N, K): which element of v meets which of k."""
        check_rank(x[0], 1)
        check_rank(x[1], 1)
        size, taps = x[0].shape[0], x[1].shape[0]
        at = np.arange(size)[:, None] + taps // 2 - np.arange(taps)
        if at.min() < -size or at.max() >= 2 * size:
            raise Refusal(f"goes around a vector of {size} more than once with {taps} elements")
        return at % size

    def forward(self, x: list[Array]) -> Array:
        return x[0][self.places(x)] @ x[1]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        met = op.Gather(x[0], op.constant(self.places(x)), axis=0)
        return op.ReduceSum(op.Mul(met, x[1]), [1], keepdims=0)


@layer("nn.OuterProd", kind="outer")
class OuterProd(Layer):
    """u ⊗ v or u ⊗ v ⊗ w, of vectors"""

    ignored = frozenset({"order", "size"})

    def check(self, x: list[Array] | list[Value]) -> None:
        if len(x) not in (2, 3):
            raise Refusal(f"takes 2 or 3 vectors, not {len(x)}")
        for vector in x:
            check_rank(vector, 1)

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        return reduce(np.multiply.outer, x)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        y = op.Mul(op.Unsqueeze(x[0], [1]), op.Unsqueeze(x[1], [0]))
        return op.Mul(op.Unsqueeze(y, [2]), op.Reshape(x[2], [1, 1, -1])) if len(x) == 3 else y


class ByNumber(Layer):
    """{v, s}: v, element by element, and the first number of s"""

    #: ONNX's operator.
    operator: ClassVar[str]

    def forward(self, x: list[Array]) -> Array:
        return self.combined(x[0], x[1].reshape(-1)[:1].reshape((1,) * x[0].ndim))

    def combined(self, v: Array, s: Array) -> Array:
        raise NotImplementedError

    def lower(self, op: Builder, x: list[Value]) -> Value:
        check_rank(x[1], 1)
        s = x[1] if x[1].shape == (1,) else op.Slice(x[1], [0], [1], [0])
        return op.many(self.operator, 1, x[0], s)[0]


@layer("nn.PowTable", kind="power")
class PowTable(ByNumber):
    """{v, p}: v to the power of the first number of p"""

    operator = "Pow"

    def combined(self, v: Array, s: Array) -> Array:
        return np.power(v, s)


@layer("nn.ScalarMulTable", kind="mul")
class ScalarMulTable(ByNumber):
    """{v, s}: v times the first number of s"""

    operator = "Mul"

    def combined(self, v: Array, s: Array) -> Array:
        return v * s


@layer("nn.ScalarDivTable", kind="div")
class ScalarDivTable(ByNumber):
    """{v, s}: v divided by the first number of s"""

    operator = "Div"

    def combined(self, v: Array, s: Array) -> Array:
        return v / s


@layer("nn.SmoothCosineSimilarity", kind="cosine")
class SmoothCosineSimilarity(Layer):
    """{M, k}: Mᵢ · k / (‖Mᵢ‖ ‖k‖ + smooth) for each row of the matrix M"""

    smooth: float = 1e-3
    ignored = frozenset({"rownorms", "knorm", "dot"})

    def check(self, x: list[Array] | list[Value]) -> None:
        check_rank(x[0], 2)
        check_rank(x[1], 1)

    def forward(self, x: list[Array]) -> Array:
        self.check(x)
        norms = np.sqrt(np.square(x[0]).sum(axis=1)) * np.sqrt(np.square(x[1]).sum())
        return x[0] @ x[1] / (norms + self.smooth)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        self.check(x)
        dot = op.ReduceSum(op.Mul(x[0], x[1]), [1], keepdims=0)
        rows = op.Sqrt(op.ReduceSum(op.Mul(x[0], x[0]), [1], keepdims=0))
        size = op.Sqrt(op.ReduceSum(op.Mul(x[1], x[1]), [0], keepdims=1))
        return op.Div(dot, op.Add(op.Mul(rows, size), self.smooth))


@layer("nn.Print", kind="identity")
class Print(Identity):
    """x, the same tensor or table, which it prints"""

    ignored = frozenset({"label"})


@layer("ntm.NTM", kind="ntm")
class NeuralTuringMachine(Remembers):
    """{y, state…} = master_cell{x, state…}, of which y is given; the first state is that of init_module

    A vector x is one step; (T, C) are T steps, one after the other, and give (T, …). There are no batches.
    """

    container = True
    master_cell: Layer
    init_module: Layer
    ignored = frozenset(
        """input_dim output_dim mem_rows mem_cols cont_dim cont_layers shift_range write_heads read_heads depth cells
        initial_values""".split()
    )

    def children(self) -> Iterable[Layer]:
        return (self.init_module, self.master_cell)

    def forward(self, x: Array) -> Array:
        check_rank(x, 1, 2)
        steps = [self.step(given) for given in ([x] if x.ndim == 1 else x)]
        return steps[0] if x.ndim == 1 else np.stack(steps)

    def step(self, x: Array) -> Array:
        """One step, by a cell of its own: Torch makes a clone for each."""
        states = memory()
        before = states.get(id(self)) or cast("list[Nested]", self.init_module(np.zeros(1, x.dtype)))[1:]
        with clone(object()):
            y, *states[id(self)] = cast("list[Nested]", self.master_cell([x, *before]))
        return cast("Array", y)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 1, 2)
        if x.rank == 1:
            return self.lower_step(op, x)
        steps = [self.lower_step(op, op.Squeeze(op.Slice(x, [t], [t + 1], [0]), [0])) for t in range(x.shape[0])]
        return op.Concat(*[op.Unsqueeze(y, [0]) for y in steps], axis=0)

    def lower_step(self, op: Builder, x: Value) -> Value:
        """The same in ONNX."""
        states = op.memory
        zero = op.constant(np.zeros(1, np.float32))
        before = states.get(id(self)) or cast("list[Values]", op.call(self.init_module, zero))[1:]
        with op.clone(object()):
            y, *states[id(self)] = cast("list[Values]", op.call(self.master_cell, [x, *before]))
        return cast("Value", y)
