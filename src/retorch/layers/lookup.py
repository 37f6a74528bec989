"""Tables of rows picked by index, and sums over sparse inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Nested, Refusal, layer
from retorch.layers.shape.selection import from_zero

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value
    from retorch.graph.builder import Nested as Values


def indices(x: Array) -> Array:
    """Torch's indices, counted from 1 and often stored as floats, counted from 0."""
    return x.astype(np.int64) - 1


def picked(rows: Array, at: Array) -> Array:
    """Rows by index; what Torch would refuse is refused."""
    if at.size and (at.min() < 0 or at.max() >= len(rows)):
        raise Refusal(f"looks up entries {at.min() + 1} to {at.max() + 1} of {len(rows)}")
    return rows[at]


@layer(
    "nn.LookupTable",
    "nn.FairLookupTable",
    "nn.FasterLookup",
    "nn.Dictionary",
    "Embedding",
    "LookupTableFixed",
    "GloVeEmbedding",
    "GloVeEmbeddingFixed",
    kind="lookup",
)
class LookupTable(Layer):
    """the rows x (from 1) of weight; x is (n) or (N, n). Rows longer than ``maxNorm`` are first scaled down to it."""

    weight: Array
    maxNorm: float | None = None
    normType: float = 2.0
    ignored = frozenset(
        {"size", "batchSize", "inputs", "paddingValue", "shouldScaleGradByFreq", "accUpdate", "nBackward"}
    )
    ignored |= {"count", "skipBoundChecking", "scaleGradByFreq"}
    ignored |= {"fairScale", "batchScaled", "concUpdates", "_inputView", "unUpdateVocab"}
    ignored |= {"vocab_size", "word2idx", "embedding_size"}

    def setup(self, bind: Binder) -> None:
        if self.maxNorm is not None:
            self.weight = within_norm(self.weight, self.maxNorm, self.normType)

    def index_limit(self) -> int | None:
        return len(self.weight)

    def forward(self, x: Array) -> Array:
        return picked(self.weight, indices(x))

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Gather(op.weight(self.weight, "w"), from_zero(op, x), axis=0)


def within_norm(weight: Array, most: float, p: float) -> Array:
    """Rows whose p-norm is above ``most`` scaled down to it, as THNN's ``LookupTable_renorm`` does before a look-up."""
    wide = np.abs(weight.astype(np.float64))
    norm = (wide**p).sum(axis=1, keepdims=True) ** (1 / p)
    scale = np.where(norm > most, most / (norm + 1e-7), 1.0)
    return (weight * scale).astype(weight.dtype)


@layer("nn.LookupTableMaskZero", kind="lookup")
class LookupTableMaskZero(LookupTable):
    """the rows x of weight, of which the first is row 0 and counts as zeros"""

    weight: Array
    ignored = frozenset(LookupTable.ignored)

    def setup(self, bind: Binder) -> None:
        super().setup(bind)
        self.weight = np.array(self.weight)
        self.weight[0] = 0

    def index_limit(self) -> int | None:
        return len(self.weight) - 1

    def forward(self, x: Array) -> Array:
        return picked(self.weight, x.astype(np.int64))

    def lower(self, op: Builder, x: Value) -> Value:
        rows = op.Cast(x, to=7) if x.is_float else x
        return op.Gather(op.weight(self.weight, "w"), rows, axis=0)


@layer("nn.OneHot", "OneHot", kind="onehot")
class OneHot(Layer):
    """for each index (from 1) a vector of ``outputSize`` zeros with a one there, along a new last dimension"""

    outputSize: int
    ignored = frozenset({"_eye", "eye", "_single"})

    def index_limit(self) -> int | None:
        return self.outputSize

    def forward(self, x: Array) -> Array:
        at = indices(x)
        if at.size and (at.min() < 0 or at.max() >= self.outputSize):
            raise Refusal(f"is given indices outside 1 to {self.outputSize}")
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
        return (at[..., None] == np.arange(self.outputSize)).astype(dtype)

    def lower(self, op: Builder, x: Value) -> Value:
        return op.Gather(op.constant(np.eye(self.outputSize, dtype=np.float32), "eye"), from_zero(op, x), axis=0)


@layer("nn.SparseLinear", "fbnn.SparseLinear", kind="sparselinear")
class SparseLinear(Layer):
    """bias + Σ value · weight[:, index]; x holds (index from 1, value): (n, 2), (N, n, 2), or a table of (n, 2)"""

    weight: Array
    bias: Array
    ignored = frozenset({"lastInput", "sparseUpdate", "doGradInput", "formatted_input", "legacyMode", "shardBuffer"})
    ignored |= {"cudaBuffer", "useSparseUpdate", "numBackward"}

    def forward(self, x: Array | list[Array]) -> Array:
        if isinstance(x, list):
            return np.stack([self.forward(sample) for sample in x])
        # what counts nothing is not looked up: padding is (0, 0)
        columns = picked(self.weight.T, np.where(x[..., 1] == 0, 0, indices(x[..., 0])))
        return (columns * x[..., 1:2]).sum(axis=-2) + self.bias

    def lower(self, op: Builder, x: Value | list[Value]) -> Value:
        if isinstance(x, list):
            return op.Concat(*[op.Unsqueeze(self.lower(op, sample), [0]) for sample in x], axis=0)
        last = x.rank - 1
        index = op.Squeeze(op.Slice(x, [0], [1], [last]), [last])
        index = op.Clip(index, 1.0, float(self.weight.shape[1]))
        columns = op.Gather(op.weight(np.array(self.weight.T), "w"), from_zero(op, index), axis=0)
        total = op.ReduceSum(op.Mul(columns, op.Slice(x, [1], [2], [last])), [last - 1], keepdims=0)
        return op.Add(total, op.weight(self.bias, "b"))


@layer("nn.IndexLinear", kind="indexlinear")
class IndexLinear(Layer):
    """{keys, values}: bias + Σ value · weight[key]

    Keys and values are vectors, or tables of vectors for a batch. With ``normalize`` the first four columns of weight
    are: the largest |value| seen, its inverse, a scale for updates, and a bias; a value v then counts as
    v · inverse + bias, or as sign(v) + bias beyond the largest.
    """

    weight: Array
    bias: Array
    offset: int = -1
    ignored = frozenset(
        {"normalize", "inputSize", "outputSize", "gradWeightBuffer", "valuesBuffer", "normalizedValues"}
    )
    ignored |= {"running", "sizesCache", "cumSumSizesCache", "doGradInput", "isFlat", "noBatch", "keys", "values"}
    ignored |= {"lkeys", "lvalues", "cumSumSizes", "updateKeys", "updateKeysBuffer"}

    def extra(self) -> int:
        """How many columns of weight are not weights."""
        return self.weight.shape[1] - len(self.bias)

    def forward(self, x: list[Nested]) -> Array:
        keys, values = x[:2]
        if len(x) != 2:
            raise Refusal("is given a batch in one piece: its sizes would have to be read from a tensor")
        if isinstance(keys, list):
            return np.stack([self.forward([k, v]) for k, v in zip(keys, cast("list[Array]", values), strict=True)])
        rows = picked(self.weight, keys.astype(np.int64) + self.offset)
        v = cast("Array", values)[:, None]
        if self.extra():
            most, inverse, shift = rows[:, 0:1], rows[:, 1:2], rows[:, 3:4]
            v = np.where(np.abs(v) > most, np.sign(v), v * inverse) + shift
        return (rows[:, self.extra() :] * v).sum(axis=0) + self.bias

    def lower(self, op: Builder, x: list[Values]) -> Value:
        keys, values = x[:2]
        if len(x) != 2:
            raise Refusal("is given a batch in one piece: its sizes would have to be read from a tensor")
        if isinstance(keys, list):
            pairs = zip(keys, cast("list[Value]", values), strict=True)
            return op.Concat(*[op.Unsqueeze(self.lower(op, [k, v]), [0]) for k, v in pairs], axis=0)
        whole = op.Cast(keys, to=7) if keys.is_float else keys
        rows = op.Gather(op.weight(self.weight, "w"), op.Add(whole, self.offset), axis=0)
        v = op.Unsqueeze(cast("Value", values), [1])
        if self.extra():
            most, inverse, shift = (op.Slice(rows, [at], [at + 1], [1]) for at in (0, 1, 3))
            beyond = op.Greater(op.Abs(v), most)
            v = op.Add(op.Where(beyond, op.Sign(v), op.Mul(v, inverse)), shift)
            rows = op.Slice(rows, [self.extra()], [self.weight.shape[1]], [1])
        return op.Add(op.ReduceSum(op.Mul(rows, v), [0], keepdims=0), op.weight(self.bias, "b"))
