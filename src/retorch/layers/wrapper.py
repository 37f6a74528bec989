"""Modules around one module: what is left of them at evaluation is the module inside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, Sizes, layer
from retorch.layers.shape.transpose import swapped
from retorch.torch7 import LuaTable, TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


class Wrapper(Layer):
    """The first of its modules."""

    container: ClassVar[bool] = True

    def __init__(self) -> None:
        self.inside: list[Layer] = []

    def children(self) -> Iterable[Layer]:
        return self.inside

    def forward(self, x: Nested) -> Nested:
        return self.inside[0](x)

    def lower(self, op: Builder, x: Values) -> Values:
        return op.call(self.inside[0], x)


def first_module(bind: Binder, made: Layer, modules: object, module: object = None) -> Layer:
    """The module in a wrapper's field ``modules`` or, in files of the first dpnn, ``module``."""
    entries = cast("list[object]", modules.sequence()) if isinstance(modules, LuaTable) else []
    if entries:
        return bind(entries[0], f"{made.path}.modules[1]".removeprefix("."))
    if module is None:
        raise Refusal("holds no module")
    return bind(module, f"{made.path}.module".removeprefix("."))


@layer(
    "nn.Decorator",
    "nn.Serial",
    "nn.DontCast",
    "nn.Profile",
    "nn.NaN",
    "nn.GPU",
    "nn.FireModule",
    "nn.NoBackprop",
    "nn.StochasticSkip",
    "fbnn.Probe",
    kind="wrapper",
)
class Decorator(Wrapper):
    """modules[1](x)"""

    modules: object = None
    module: object = None
    ignored = frozenset(
        {
            "dpnn_typename",
            "castin",
            "castout",
            "moduleType",
            "id",
            "device",
            "outdevice",
            "tensortype",
            "print_interval",
            "timer",
            "numFwds",
            "numBwds",
            "summedFwdTime",
            "summedBwdTime",
        }
        | {"print_forward", "nInputPlane", "s1x1", "e1x1", "e3x3", "activation", "castTo", "heavySerial"}
        # what training draws to choose between the first module and the second
        | {"net", "skip", "gate", "gen", "skipRate", "increaseSkipRate", "skipRateTarget", "initialized", "t"}
    )

    def setup(self, bind: Binder) -> None:
        self.inside = [first_module(bind, self, self.modules, self.module)]


@layer("nn.Inception", kind="inception")
class Inception(Decorator):
    """modules[1](x): an nn.DepthConcat that dpnn put together from the other fields"""

    modules: object = None
    module: object = None
    ignored = frozenset(
        {"inputSize", "outputSize", "reduceSize", "pool", "batchNorm", "reduceStride", "transfer", "poolSize"}
        | {"poolStride", "padding", "kernelSize", "kernelStride", "dpnn_typename"}
    )


@layer("nn.DataParallelTable", "nn.DataParallel", kind="wrapper")
class DataParallelTable(Wrapper):
    """modules[1](x): the other modules are its copies, which take their share of the batch"""

    modules: object
    dimension: int = 1
    ignored = frozenset(
        {"gpuAssignments", "inputGpu", "gradOutputGpu", "outputGpu", "gradInputGpu", "flattenedParams", "flattenParams"}
        | {"usenccl", "needsSync", "impl", "typeStr", "nThreads", "__version"}
    )

    def setup(self, bind: Binder) -> None:
        self.inside = [first_module(bind, self, self.modules)]


#: What WeightNorm.lua adds to squared norms.
WEIGHT_NORM_EPS = 1e-4


@layer("nn.WeightNorm", kind="wrapper")
class WeightNorm(Wrapper):
    """modules[1](x) with the weight g · v / √(‖v‖² + 1e-4), by rows of v

    v is the module's weight as a matrix, ``outputDim`` (from 1) in front; newer files keep no weight besides it.
    """

    modules: object
    v: Array
    g: Array
    viewOut: Sizes
    outputDim: int = 1
    ignored = frozenset({"bias", "weight", "otherDims", "viewIn", "weightSize", "_scale", "gradV", "gradG"})

    def setup(self, bind: Binder) -> None:
        stored = cast("list[object]", self.modules.sequence()) if isinstance(self.modules, LuaTable) else []
        if not stored or not isinstance(stored[0], TorchObject):
            raise Refusal("holds no module")
        whole = TorchObject(stored[0].typename, dict(stored[0].items()), version=stored[0].version)
        whole["weight"] = self.weight()
        self.inside = [bind(whole, f"{self.path}.modules[1]".removeprefix("."))]

    def weight(self) -> Array:
        wide = self.v.astype(np.float64)
        norm = np.sqrt((wide**2).sum(axis=1) + WEIGHT_NORM_EPS)
        rows = wide * (self.g.astype(np.float64).ravel() / norm)[:, None]
        return np.ascontiguousarray(np.moveaxis(rows.reshape(self.viewOut), 0, self.outputDim - 1), self.v.dtype)


#: The conversions of nn.Convert between one number and one vector per example.
TO_AND_FROM_NUMBERS = {("bt", "b"), ("tb", "b"), ("bf", "b"), ("fb", "b"), ("b", "bt")}


@layer("nn.Convert", kind="convert")
class Convert(Layer):
    """x with its dimensions, named by letters as in ``bchw``, reordered from ``inputShape`` to ``outputShape``

    Besides reorderings: anything to ``bf`` (a vector per example), ``bt`` or ``bf`` to ``b`` (the first entry), and
    ``b`` to ``bt``. An input without the batch gets one in passing.
    """

    inputShape: str
    outputShape: str
    inputBatchDim: int = 1
    outputBatchDim: int = 1
    ignored = frozenset(
        {"nInputDim", "nOutputDim", "transposition", "converter", "batchMode", "modules", "__output", "__gradInput"}
    )

    def setup(self, bind: Binder) -> None:
        given, wanted = self.inputShape, self.outputShape
        self.reordering = sorted(given) == sorted(wanted)
        to_vectors = wanted == "bf" and "b" in given and given != "bt"
        if not self.reordering and not to_vectors and (given, wanted) not in TO_AND_FROM_NUMBERS:
            raise Refusal(f"converts {given} to {wanted}, which it has no way to")

    def unbatched(self, rank: int) -> bool:
        return "*" not in self.inputShape and rank < len(self.inputShape)

    def order(self) -> list[int]:
        """The order in which a reordering takes the dimensions."""
        if self.reordering:
            return [self.inputShape.index(c) for c in self.outputShape]
        return swapped(len(self.inputShape), [(0, self.inputShape.index("b"))])

    def forward(self, x: Array) -> Array:
        if self.unbatched(x.ndim):
            y = self.batched(np.expand_dims(x, self.inputBatchDim - 1))
            return y.squeeze(axis=self.outputBatchDim - 1)
        return self.batched(x)

    def batched(self, x: Array) -> Array:
        order = self.order()
        if self.reordering:
            return x if order == sorted(order) else x.transpose(order).copy()
        if self.outputShape == "b":
            return x.take(0, axis=1 - self.inputShape.index("b"))
        if order != sorted(order):
            x = x.transpose(order).copy()
        return x.reshape(x.shape[0], -1)

    def lower(self, op: Builder, x: Value) -> Value:
        if self.unbatched(x.rank):
            y = self.lower_batched(op, op.unsqueeze(x, self.inputBatchDim - 1))
            return op.squeeze(y, self.outputBatchDim - 1)
        return self.lower_batched(op, x)

    def lower_batched(self, op: Builder, x: Value) -> Value:
        order = self.order()
        if not self.reordering and self.outputShape == "b":
            axis = 1 - self.inputShape.index("b")
            return op.Squeeze(op.Slice(x, [0], [1], [axis]), [axis])
        if order != sorted(order):
            x = op.Transpose(x, perm=order)
        return x if self.reordering else op.reshape(x, [0, -1])


@layer(
    "nn.Criterion",
    "nn.BinaryLogisticRegression",
    "nn.SpatialBinaryLogisticRegression",
    "nn.VRClassReward",
    "nn.BinaryClassReward",
    "nn.HSM",
    "nn.HLogSoftMax",
    "nn.SparseMaxLoss",
    "nn.L1Cost",
    "nn.AdaptiveLoss",
    "nn.ClassNLLCriterionWithUNK",
    "nn.SequencerCriterionNormStab",
    kind="criterion",
)
class Criterion(Layer):
    """x: what measures a loss or a reward has no part in the output"""

    container: ClassVar[bool] = True
    is_loss: ClassVar[bool] = True

    def setup(self, bind: Binder) -> None:
        bind.notes.append(f"{self.path or '(root)'} {self.typename}: left out, a loss has no part in the output")

    def forward(self, x: Nested) -> Nested:
        return x

    def lower(self, op: Builder, x: Values) -> Values:
        return x
