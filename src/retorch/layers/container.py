"""Modules that hold modules and say what flows between them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.base.memory import clone, current, output_table
from retorch.layers.shape.view import axis_of, in_one_piece, reshaped, viewed
from retorch.layers.table.arithmetic import entries, joined, joined_values

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


class Container(Layer):
    """What all containers share."""

    container = True
    modules: list[Layer]
    ignored = frozenset({"dimg", "dimx"})

    def children(self) -> Iterable[Layer]:
        return self.modules


@layer("nn.Sequential", "nn.Maxout", "nn.HighwayLayer", "nn.LayerNorm", "LayerNormalization", kind="sequential")
class Sequential(Container):
    """modules[n](… modules[1](x))"""

    modules: list[Layer]

    def forward(self, x: Nested) -> Nested:
        for module in self.modules:
            x = module(x)
        return x

    def lower(self, op: Builder, x: Values) -> Values:
        for module in self.modules:
            x = op.call(module, x)
        return x


@layer("nn.ConcatTable", kind="concattable")
class ConcatTable(Container):
    """{modules[1](x), …, modules[n](x)}"""

    modules: list[Layer]

    def forward(self, x: Nested) -> list[Nested]:
        table = output_table(id(self))
        for i, module in enumerate(self.modules):
            table[i : i + 1] = [module(x)]
        return table

    def lower(self, op: Builder, x: Values) -> list[Values]:
        table = op.output_table(id(self))
        for i, module in enumerate(self.modules):
            table[i : i + 1] = [op.call(module, x)]
        return table


@layer("nn.ParallelTable", kind="paralleltable")
class ParallelTable(Container):
    """{modules[1](x1), …, modules[n](xn)}"""

    modules: list[Layer]

    def forward(self, x: list[Nested]) -> list[Nested]:
        self.enough(len(x))
        table = output_table(id(self))
        for i, module in enumerate(self.modules):
            table[i : i + 1] = [module(x[i])]
        return table

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        self.enough(len(x))
        table = op.output_table(id(self))
        for i, module in enumerate(self.modules):
            table[i : i + 1] = [op.call(module, x[i])]
        return table

    def enough(self, given: int) -> None:
        if given < len(self.modules):
            raise Refusal(f"is given {given} inputs for its {len(self.modules)} modules")


@layer("nn.MapTable", kind="maptable")
class MapTable(Container):
    """{module(x1), …, module(xn)}, each by a clone with the same weights

    Clones that the file holds may differ in what Torch does not share: the means of a batch normalization.
    """

    module: Layer | None = None
    modules: list[Layer] = []
    ignored = frozenset({"shared", "sharedparams"})

    def setup(self, bind: Binder) -> None:
        if self.module is None and not self.modules:
            raise Refusal("holds no module")
        self.modules = [self.module or self.modules[0], *self.modules[1:]]

    def forward(self, x: list[Nested]) -> list[Nested]:
        made = [module(item) for module, item in zip(self.modules, x, strict=False)]
        for i, item in enumerate(x[len(made) :], len(made)):
            with clone((id(self), i)):
                made.append(self.modules[0](item))
        return made

    def lower(self, op: Builder, x: list[Values]) -> list[Values]:
        made = [op.call(module, item) for module, item in zip(self.modules, x, strict=False)]
        for i, item in enumerate(x[len(made) :], len(made)):
            with op.clone((id(self), i)):
                made.append(op.call(self.modules[0], item))
        return made


class Joined(Container):
    """A container whose own output holds what its modules made."""

    # it has a buffer of its own, which a second use overwrites
    container = False


def together(op: Builder, made: list[Values]) -> list[Value]:
    """What modules made, as it is once all have run."""
    return [value(op.current(y)) for y in made]


def all_of(made: list[Nested]) -> list[Array]:
    """What modules made, as it is once all have run."""
    return [tensor(current(y)) for y in made]


def tensor(y: Nested) -> Array:
    if isinstance(y, list):
        raise Refusal("is given a table where it joins tensors")
    return y


def value(y: Values) -> Value:
    if isinstance(y, list):
        raise Refusal("is given a table where it joins tensors")
    return y


@layer("nn.Concat", kind="concat")
class Concat(Joined):
    """modules[1](x), …, modules[n](x), one after the other along ``dimension`` (from 1, the batch counts)"""

    modules: list[Layer]
    dimension: int
    ignored = frozenset({"size"})

    def forward(self, x: Nested) -> Array:
        made = all_of([module(x) for module in self.modules])
        return joined(made, axis_of(self.dimension, made[0].ndim))

    def lower(self, op: Builder, x: Values) -> Value:
        made = together(op, [op.call(module, x) for module in self.modules])
        return joined_values(op, made, axis_of(self.dimension, made[0].rank))


@layer("nn.DepthConcat", kind="concat")
class DepthConcat(Joined):
    """As nn.Concat, with smaller outputs centred among zeros: ⌊(largest - size) / 2⌋ in front, the rest behind"""

    modules: list[Layer]
    dimension: int
    ignored = frozenset({"size"})

    def forward(self, x: Nested) -> Array:
        made = all_of([module(x) for module in self.modules])
        axis = axis_of(self.dimension, made[0].ndim)
        sizes = [max(y.shape[d] for y in made) for d in range(made[0].ndim)]
        sizes[axis] = sum(y.shape[axis] for y in made)
        whole = np.zeros(sizes, np.result_type(*made))
        offset = 0
        for y in made:
            at = [
                slice((most - size) // 2, (most - size) // 2 + size) for most, size in zip(sizes, y.shape, strict=True)
            ]
            at[axis] = slice(offset, offset + y.shape[axis])
            whole[tuple(at)] = y
            offset += y.shape[axis]
        return whole

    def lower(self, op: Builder, x: Values) -> Value:
        made = together(op, [op.call(module, x) for module in self.modules])
        axis = axis_of(self.dimension, made[0].rank)
        padded: list[Value] = []
        for y in made:
            missing = [0 if d == axis else max(o.shape[d] for o in made) - size for d, size in enumerate(y.shape)]
            before = [m // 2 for m in missing]
            after = [m - m // 2 for m in missing]
            padded.append(op.Pad(y, [*before, *after]) if any(missing) else y)
        return op.Concat(*padded, axis=axis)


@layer("nn.Parallel", kind="parallel")
class Parallel(Joined):
    """modules[i](entry i of dimension ``inputDimension``), joined along ``outputDimension``; both from 1"""

    modules: list[Layer]
    inputDimension: int
    outputDimension: int
    ignored = frozenset({"size", "totalOutputSize"})

    def fit(self, count: int) -> list[Layer]:
        """The modules for so many entries."""
        if count > len(self.modules):
            raise Refusal(f"is given {count} entries for its {len(self.modules)} modules")
        return self.modules[:count]

    def forward(self, x: Array) -> Array:
        parts = np.moveaxis(x, axis_of(self.inputDimension, x.ndim), 0)
        made = all_of([module(part) for module, part in zip(self.fit(len(parts)), parts, strict=True)])
        return joined(made, axis_of(self.outputDimension, made[0].ndim))

    def lower(self, op: Builder, x: Value) -> Value:
        parts = entries(op, x, axis_of(self.inputDimension, x.rank))
        made = together(op, [op.call(module, part) for module, part in zip(self.fit(len(parts)), parts, strict=True)])
        return joined_values(op, made, axis_of(self.outputDimension, made[0].rank))


@layer("nn.Bottle", kind="bottle")
class Bottle(Container):
    """module(x), with the leading dimensions beyond ``nInputDim`` folded into one and unfolded afterwards"""

    modules: list[Layer]
    nInputDim: int = 2
    nOutputDim: int | None = None
    ignored = frozenset({"dimDelta", "inShape", "outShape"})

    def forward(self, x: Array) -> Array:
        folded = x.ndim - self.nInputDim
        if folded <= 0:
            return tensor(self.modules[0](x))
        y = tensor(self.modules[0](in_one_piece(x).reshape(-1, *x.shape[folded + 1 :])))
        self.expect(y.ndim)
        return y.reshape(*x.shape[:folded], y.shape[0] // math.prod(x.shape[:folded]), *y.shape[1:])

    def expect(self, rank: int) -> None:
        expected = self.nInputDim if self.nOutputDim is None else self.nOutputDim
        if rank != expected:
            raise Refusal(f"expects an output of {expected} dimensions, but its module gives {rank}")

    def lower(self, op: Builder, x: Value) -> Value:
        folded = x.rank - self.nInputDim
        if folded <= 0:
            return value(op.call(self.modules[0], x))
        flat = viewed(op, x, [-1, *x.shape[folded + 1 :]])
        y = value(op.call(self.modules[0], flat))
        self.expect(y.rank)
        unfolded = y.shape[0] // math.prod(x.shape[:folded])
        return reshaped(op, y, (x.shape[0], *x.shape[1:folded], unfolded, *y.shape[1:]))
