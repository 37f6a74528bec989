"""fbnn's layers that stand outside any family: unshared convolutions, normalization over maps, sparse rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.convolution.spatial import SpatialConvolutionLocal, check_rank
from retorch.layers.convolution.temporal import TemporalConvolution
from retorch.layers.lookup import LookupTable, indices, picked
from retorch.layers.shape.selection import from_zero
from retorch.layers.upsampling import batched, lower_repeated, repeated, unbatched
from retorch.torch7 import LuaTable

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


@layer("nn.LocallyConnected", kind="conv")
class LocallyConnected(SpatialConvolutionLocal):
    """A convolution with weights of its own at each place: weight (O, oH, oW, C, kH, kW), bias (O, oH, oW)

    What was on a GPU is stored as (oH, oW, kH, kW, O, C) and (oH, oW, O).
    """

    nInputPlane: int
    nOutputPlane: int
    iW: int
    iH: int
    ignored = frozenset({"input_cache", "gradOutput_cache", "gradOutputCacheIsValid"})

    def setup(self, bind: Binder) -> None:
        self._stored = {"weight": self.weight, "bias": self.bias}
        out = (self.iH - self.kH) // self.dH + 1, (self.iW - self.kW) // self.dW + 1
        taps = self.kH, self.kW
        if self.weight.shape == (self.nOutputPlane, *out, self.nInputPlane, *taps):
            self.weight = self.weight.transpose(1, 2, 0, 3, 4, 5)
        elif self.weight.shape == (*out, *taps, self.nOutputPlane, self.nInputPlane):
            self.weight = self.weight.transpose(0, 1, 4, 5, 2, 3)
            self.bias = self.bias.transpose(2, 0, 1)
        else:
            raise Refusal(f"has weights of the shape {self.weight.shape} for {self.nOutputPlane} planes of {out}")
        super().setup(bind)

    def parameters(self) -> dict[str, Array]:
        return self._stored


@layer("nn.CrossMapNormalization", kind="lrn")
class CrossMapNormalization(Layer):
    """x · (1 + scale / size · Σ x²)^−power, the sum over the ``size`` channels around each, an odd number"""

    size: int
    scale: float
    power: float
    ignored = frozenset({"squaredSum"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 3, 4)
        if self.size % 2 == 0:
            raise Refusal(f"sums up an odd number of channels, not {self.size}")
        if x.shape[-3] < self.size:
            raise Refusal(f"takes {self.size} channels or more, not {x.shape[-3]}: its code reads past them")

    def forward(self, x: Array) -> Array:
        self.check(x)
        half, squares = self.size // 2, np.square(x)
        around = [
            squares[..., max(c - half, 0) : c + half + 1, :, :].sum(axis=-3, keepdims=True) for c in range(x.shape[-3])
        ]
        return x * (1 + self.scale / self.size * np.concatenate(around, axis=-3)) ** -self.power

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        images = op.unsqueeze(x, 0) if x.rank == 3 else x
        y = op.LRN(images, size=self.size, alpha=self.scale, beta=self.power, bias=1.0)
        return op.Squeeze(y, [0]) if x.rank == 3 else y


@layer("nn.UnfoldedTemporalConvolution", kind="conv")
class UnfoldedTemporalConvolution(TemporalConvolution):
    """y[t] = bias + weight · the kW frames from t on, with ``pad`` frames of zeros at both ends"""

    kW: int
    dW: int = 1
    pad: int = 0
    weight: Array
    bias: Array | None = None
    ignored = frozenset({"linear", "inputFrameSize", "outputFrameSize"})
    ignored |= {"_paddedInput", "_paddedGradInput", "_unfoldedInput", "_linearGradOutput", "_unfoldedGradInput"}

    def taps(self) -> tuple[int, int, int]:
        return self.kW, 1, self.pad


@layer("nn.Upsample", kind="upsample")
class Upsample(Layer):
    """Each pixel factor x factor times; x is (N, C, H, W) or (C, H, W)"""

    factor: int

    def forward(self, x: Array) -> Array:
        check_rank(x, 3, 4)
        return repeated(x, (self.factor,) * 2)

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 3, 4)
        return unbatched(op, lower_repeated(op, batched(op, x, 4), (self.factor,) * 2), x.rank)


@layer("fbnn.L2Normalize", kind="normalize")
class L2Normalize(Layer):
    """x / ‖x‖, for a vector, or for each row of a matrix"""

    ignored = frozenset({"norms"})

    def forward(self, x: Array) -> Array:
        check_rank(x, 1, 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            return x / np.sqrt(np.square(x).sum(axis=-1, keepdims=True))

    def lower(self, op: Builder, x: Value) -> Value:
        check_rank(x, 1, 2)
        return op.Div(x, op.ReduceL2(x, [x.rank - 1], keepdims=1))


@layer("fbnn.Constant", kind="constant")
class EachConstant(Layer):
    """value, once for each sample of x"""

    value: Array

    def forward(self, x: Array) -> Array:
        return np.repeat(self.value[None].astype(np.result_type(x, self.value)), len(x), axis=0)

    def lower(self, op: Builder, x: Value) -> Value:
        # one zero for each sample, whatever the samples hold
        first = op.Slice(op.Reshape(x, [0, -1]), [0], [1], [1])
        zero = op.Cast(op.Less(first, first), to=1)
        return op.Add(op.Reshape(zero, [-1] + [1] * self.value.ndim), op.weight(self.value, "w"))


@layer("nn.SparseLookupTable", kind="lookup")
class SparseLookupTable(Layer):
    """(n, 2) ↦ (n, K, 2): the pairs of place and value that weight has for x[i, 1], the values times x[i, 2]"""

    weight: Array
    ignored = frozenset({"nEntities", "nIndices", "sparseGrad"})

    def check(self, x: Array | Value) -> None:
        check_rank(x, 2)
        if x.shape[1] != 2:
            raise Refusal(f"takes pairs of an index and a weight, not {x.shape}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        y = picked(self.weight, indices(x[:, 0])).astype(np.result_type(x, self.weight))
        y[..., 1] *= x[:, 1:]
        return y

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        at = op.Squeeze(op.Slice(x, [0], [1], [1]), [1])
        rows = op.Gather(op.weight(self.weight, "w"), from_zero(op, at), axis=0)
        values = op.Mul(op.Slice(rows, [1], [2], [2]), op.Reshape(op.Slice(x, [1], [2], [1]), [-1, 1, 1]))
        return op.Concat(op.Slice(rows, [0], [1], [2]), values, axis=2)


@layer("nn.SparseThreshold", kind="threshold")
class SparseThreshold(Layer):
    """Pairs of place and value along the last dimension: the values through its nn.Threshold"""

    module: Layer

    def children(self) -> Iterable[Layer]:
        return (self.module,)

    def check(self, x: Array | Value) -> None:
        if not x.shape or x.shape[-1] != 2:
            raise Refusal(f"takes pairs of place and value, not {x.shape}")

    def forward(self, x: Array) -> Array:
        self.check(x)
        return np.stack([x[..., 0], cast("Array", self.module(x[..., 1].copy()))], axis=-1)

    def lower(self, op: Builder, x: Value) -> Value:
        self.check(x)
        last = x.rank - 1
        values = op.call(self.module, op.Squeeze(op.Slice(x, [1], [2], [last]), [last]))
        return op.Concat(op.Slice(x, [0], [1], [last]), op.Unsqueeze(cast("Value", values), [last]), axis=last)


@layer("nn.CachingLookupTable", kind="lookup")
class CachingLookupTable(Layer):
    """the rows x (from 1) of ``backing``, or, where one of its ``ways`` holds that row, the newer one there"""

    backing: Layer
    ways: LuaTable | None = None
    ignored = frozenset({"numRows", "numCols", "numWays", "stats"})

    def setup(self, bind: Binder) -> None:
        if not isinstance(self.backing, LookupTable):
            raise Refusal(f"keeps rows of a {self.backing.typename}, which is no table of rows")
        self._rows = np.array(self.backing.weight)
        for way in () if self.ways is None else self.ways.sequence():
            kept = way.get("rows") if isinstance(way, LuaTable) else None
            for row, newer in kept.items() if isinstance(kept, LuaTable) else ():
                self._rows[int(cast("float", row)) - 1] = cast("Array", newer)

    def children(self) -> Iterable[Layer]:
        return (self.backing,)

    def index_limit(self) -> int | None:
        return len(self._rows)

    def forward(self, x: Array) -> Array:
        return picked(self._rows, indices(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Gather(op.weight(self._rows, "w"), from_zero(op, x), axis=0)
