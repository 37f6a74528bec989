"""Modules of dpnn and its successor rnn that stand outside any family: clusters, crops, sequences of any length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.base.memory import clone, memory
from retorch.layers.convolution.spatial import check_rank
from retorch.layers.recurrent.state import forget
from retorch.layers.wrapper import first_module
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.Kmeans", kind="kmeans")
class Kmeans(Layer):
    """Which of the rows of weight (from 1) is nearest to each row of x, the first of equals"""

    weight: Array
    ignored = frozenset(
        """k dim scale loss clusterSampleCount p _expandedSamples _clusterDistances _temp _tempExpanded _tempWeight
        _tempWeightExp _expandedWeight _minScore _minIndx""".split()
    )

    def reads(self) -> tuple[int | None, ...] | None:
        return (self.weight.shape[1],)

    def check(self, x: Array | Value) -> None:
        check_rank(x, 2)
        if x.shape[1] != self.weight.shape[1]:
            raise Refusal(f"takes rows of {self.weight.shape[1]} numbers, not {x.shape[1]}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        distance = np.square(x[:, None] - self.weight).sum(axis=2)
        return distance.argmin(axis=1).astype(x.dtype) + 1

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        off = op.Sub(op.Unsqueeze(x, [1]), op.Unsqueeze(op.weight(self.weight, "w"), [0]))
        nearest = op.ArgMin(op.ReduceSum(op.Mul(off, off), [2], keepdims=0), axis=1, keepdims=0)
        return op.Add(op.Cast(nearest, to=1), 1.0)


@layer("nn.SpatialUniformCrop", kind="crop")
class SpatialUniformCrop(Layer):
    """The middle ``oheight`` x ``owidth`` pixels of x, (N, C, H, W) or (C, H, W); the upper left of four"""

    oheight: int
    owidth: int
    ignored = frozenset({"scale", "scaler", "scales", "coord"})

    def starts(self, x: Array | Value) -> tuple[int, int]:
        """The first row and column, from 0."""
        check_rank(x, 3, 4)
        first: list[int] = []
        for size, wanted in zip(x.shape[-2:], (self.oheight, self.owidth), strict=True):
            start = math.ceil((size - wanted) / 2)
            if start < 1:
                raise Refusal(f"crops {self.oheight}x{self.owidth} out of larger images only, not {x.shape}")
            first.append(start - 1)
        return first[0], first[1]

    def forward(self, x: Array) -> Array:
        top, left = self.starts(x)
        return x[..., top : top + self.oheight, left : left + self.owidth].copy()

    def lower(self, op: Builder, x: Value) -> Value:
        top, left = self.starts(x)
        axes = [x.rank - 2, x.rank - 1]
        return op.Slice(x, [top, left], [top + self.oheight, left + self.owidth], axes)


@layer("nn.CategoricalEntropy", kind="identity")
class CategoricalEntropy(Layer):
    """x, of two dimensions: the entropy of a batch enters the gradient only"""

    ignored = frozenset({"scale", "minEntropy", "module", "modules", "_mul", "minusOne", "sizeAverage", "gradEntropy"})
    ignored |= {"entropy"}

    def forward(self, x: Array) -> Array:
        check_rank(x, 2)
        return x

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 2)
        return x


@layer("nn.VariableLength", kind="variablelength")
class VariableLength(Layer):
    """{x1, x2, …} ↦ {module(x1), module(x2), …}, sequences of (T, …), each from forgotten states

    Torch lays the sequences out side by side, and a mask between them makes the module forget. ``lastOnly`` gives one
    tensor of all last steps.
    """

    modules: object = None
    lastOnly: bool = False
    ignored = frozenset({"indexes", "mappedLengths", "_mask"})
    container = True

    def setup(self, bind: Binder) -> None:
        if not isinstance(self.modules, LuaTable):
            raise Refusal("holds no module")
        self.inner = first_module(bind, self, unmasked(self.modules))

    def children(self) -> Iterable[Layer]:
        return [self.inner]

    def check(self, x: list[Array] | list[Value]) -> None:
        if not x or any(not sample.shape or not sample.shape[0] for sample in x):
            raise Refusal("takes a table of sequences, none of them empty")

    def forward(self, x: list[Array]) -> list[Array] | Array:
        self.check(x)
        done: list[Array] = []
        for i, sample in enumerate(x):
            with clone((id(self), i)):
                forget(memory(), self.inner)
                y = self.inner(sample[:, None])
            if isinstance(y, list):
                raise Refusal("has a module that gives tables")
            done.append(y[:, 0].copy())
        return np.stack([y[-1] for y in done]) if self.lastOnly else done

    def lower(self, op: Builder, x: list[Value]) -> list[Value] | Value:
        self.check(x)
        done: list[Value] = []
        for i, sample in enumerate(x):
            with op.clone((id(self), i)):
                forget(op.memory, self.inner)
                y = op.call(self.inner, op.Unsqueeze(sample, [1]))
            if isinstance(y, list):
                raise Refusal("has a module that gives tables")
            done.append(op.Squeeze(y, [1]))
        if not self.lastOnly:
            return done
        return op.Concat(*[op.Slice(y, [y.shape[0] - 1], [y.shape[0]], [0]) for y in done], axis=0)


def unmasked(modules: LuaTable) -> LuaTable:
    """The same modules, told that no step is empty."""
    made: dict[int, LuaTable | TorchObject] = {}
    left: list[LuaTable | TorchObject] = []

    def twin(value: object) -> object:
        if not isinstance(value, LuaTable | TorchObject):
            return value
        if id(value) not in made:
            made[id(value)] = LuaTable() if isinstance(value, LuaTable) else TorchObject(value.typename, version=1)
            left.append(value)
        return made[id(value)]

    root = twin(modules)
    while left:
        value = left.pop()
        copy = made[id(value)]
        for key, held in value.items():
            if key != "zeroMask" or isinstance(copy, LuaTable):
                copy[key] = twin(held)
        if isinstance(copy, TorchObject) and ("v2" in value or "maskzero" in value):
            copy["zeroMask"] = False
    return cast("LuaTable", root)
