"""Affine maps: matrices of weights, plain, normalised, partial and bilinear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retorch.files.mapped import STEP, rows
from retorch.layers.base.aligned import aligned
from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value


def vector_or_matrix(rank: int) -> None:
    """Refuse what Torch refuses: these layers take (in) or (N, in)."""
    if rank not in (1, 2):
        raise Refusal(f"takes a vector or a matrix, not a tensor of {rank} dimensions")


#: How many weights are converted at a time: what a processor keeps at hand.
_BLOCK = 1 << 17


def times_transposed(x: Array, weight: Array) -> Array:
    """x · weightᵀ; large weights some rows at a time, since NumPy converts a copy."""
    if weight.nbytes <= STEP:
        return x @ (aligned(weight) if weight.dtype == x.dtype else weight).T
    count = max(1, _BLOCK // weight.shape[1])
    blocks = (part[at : at + count] for part in rows(weight) for at in range(0, len(part), count))
    return np.concatenate([x @ block.T for block in blocks], axis=-1)


class Affine(Layer):
    """x · weightᵀ + bias for layers that come to it by different ways."""

    weight: Array
    bias: Array | None = None

    def reads(self) -> tuple[int | None, ...] | None:
        return (self.weight.shape[1],) if self.weight.ndim == 2 else None

    def forward(self, x: Array) -> Array:
        vector_or_matrix(x.ndim)
        y = times_transposed(x, self.weight)
        return y if self.bias is None else y + self.bias.reshape(-1)

    def lower(self, op: Builder, x: Value) -> Value:
        vector_or_matrix(x.rank)
        rows = op.unsqueeze(x, 0) if x.rank == 1 else x
        bias = None if self.bias is None else op.weight(self.bias, "b")
        if bias is not None and bias.rank > 1:
            bias = op.Reshape(bias, [-1])
        y = op.Gemm(rows, op.weight(self.weight, "w"), bias, transB=1)
        return op.Squeeze(y, [0]) if x.rank == 1 else y


@layer(
    "nn.Linear",
    "nn.LinearTHNN",
    "nn.LinearNoBias",
    "nn.LinearNoBackprop",
    "nn.LinearNoBackpropInput",
    "nn.LinearWP",
    "nn.LinearVA",
    "fbnn.NormalizedLinearNoBias",
    kind="fc",
)
class Linear(Affine):
    """x · weightᵀ + bias; x is (N, in) or (in), weight (out, in)"""

    weight: Array
    bias: Array | None = None


@layer("nn.LinearWeightNorm", kind="fc")
class LinearWeightNorm(Affine):
    """x · (g · v / max(‖v‖, eps))ᵀ + bias; v is (out, in), normed by rows, g (out, 1)"""

    v: Array | None = None
    g: Array | None = None
    shared_v: Array | None = None
    shared_g: Array | None = None
    eps: float = 1e-16
    weight: Array = np.zeros((0,), np.float32)
    bias: Array | None = None
    ignored = frozenset(
        {"inputSize", "outputSize", "scale", "gradV", "gradG", "dirty", "shared_norm", "shared_scale"}
        | {"shared_gradV", "shared_gradG"}
    )

    def setup(self, bind: Binder) -> None:
        v = self.shared_v if self.v is None else self.v
        g = self.shared_g if self.g is None else self.g
        if v is None or g is None:
            raise Refusal("lacks its fields 'v' and 'g'")
        self.weight = normed_rows(v, g, self.eps)

    def parameters(self) -> dict[str, Array]:
        return {name: p for name, p in super().parameters().items() if name != "weight"}


def normed_rows(v: Array, g: Array, eps: float) -> Array:
    """g · v / max(‖v‖, eps), row by row, in v's precision."""
    wide = v.astype(np.float64)
    norm = np.maximum(np.sqrt((wide**2).sum(axis=1, keepdims=True)), eps)
    return (wide * (g.astype(np.float64).reshape(-1, 1) / norm)).astype(v.dtype)


@layer("nn.PartialLinear", kind="fc")
class PartialLinear(Layer):
    """the outputs ``partition`` (from 1) of x · weightᵀ + bias; the weight is in its ``network``"""

    network: Layer
    partition: Array
    bias: Array | None = None
    ignored = frozenset({"inputsize", "outputsize", "allcolumns"})

    def setup(self, bind: Binder) -> None:
        tables = [made for made in _descendants(self.network) if "nn.LookupTable" in made.names]
        if len(tables) != 1:
            raise Refusal("has no single lookup table in its network")
        self.weight = tables[0].parameters()["weight"]
        self.columns = self.partition.ravel().astype(np.int64) - 1

    def forward(self, x: Array) -> Array:
        y = x @ self.weight[self.columns].T
        return y if self.bias is None else y + self.bias.ravel()[self.columns]

    def lower(self, op: Builder, x: Value) -> Value:
        whole = np.array_equal(self.columns, np.arange(len(self.weight)))
        weight = self.weight if whole else np.ascontiguousarray(self.weight[self.columns])
        bias = None if self.bias is None else op.weight(self.bias.ravel()[self.columns], "b")
        return op.Gemm(x, op.weight(weight, "w"), bias, transB=1)


def _descendants(root: Layer) -> list[Layer]:
    return [root, *(deeper for child in root.children() for deeper in _descendants(child))]


@layer("nn.Bilinear", kind="bilinear")
class Bilinear(Layer):
    """{a, b}: y[n, k] = a[n] · weight[k] · b[n] + bias[k]; a is (N, I), b (N, J), weight (K, I, J)"""

    weight: Array
    bias: Array | None = None
    ignored = frozenset({"buff1", "buff2"})

    def forward(self, x: list[Array]) -> Array:
        a, b = x
        y = np.einsum("ni,kij,nj->nk", a, self.weight, b)
        return y if self.bias is None else y + self.bias

    def lower(self, op: Builder, x: list[Value]) -> Value:
        a, b = x
        outputs, rows, columns = self.weight.shape
        flat = self.weight.transpose(1, 0, 2).reshape(rows, outputs * columns)
        partial = op.Reshape(op.MatMul(a, op.weight(np.array(flat), "w")), [0, outputs, columns])
        y = op.ReduceSum(op.Mul(partial, op.Unsqueeze(b, [1])), [2], keepdims=0)
        return y if self.bias is None else op.Add(y, op.weight(self.bias, "b"))


@layer("nn.TensorProd", kind="bilinear")
class TensorProd(Bilinear):
    """{a, b}: as Bilinear; of two vectors too"""

    ignored = frozenset({"tmp", "ab"})

    def check(self, a: int, b: int) -> None:
        vector_or_matrix(a)
        if a != b:
            raise Refusal(f"takes two tensors of as many dimensions, not of {a} and {b}")

    def forward(self, x: list[Array]) -> Array:
        a, b = x
        self.check(a.ndim, b.ndim)
        return super().forward([a, b]) if a.ndim == 2 else super().forward([a[None], b[None]])[0]

    def lower(self, op: Builder, x: list[Value]) -> Value:
        a, b = x
        self.check(a.rank, b.rank)
        if a.rank == 2:
            return super().lower(op, [a, b])
        return op.Squeeze(super().lower(op, [op.Unsqueeze(a, [0]), op.Unsqueeze(b, [0])]), [0])


@layer("nn.Euclidean", kind="euclidean")
class Euclidean(Layer):
    """y[n, k] = ‖x[n] - weight[:, k]‖; x is (N, in) or (in), weight (in, out)"""

    weight: Array
    ignored = frozenset({"fastBackward"})

    def forward(self, x: Array) -> Array:
        vector_or_matrix(x.ndim)
        return np.sqrt((self.scaled(x[..., None] - self.weight) ** 2).sum(axis=-2))

    def scaled(self, difference: Array) -> Array:
        return difference

    def lower(self, op: Builder, x: Value) -> Value:
        vector_or_matrix(x.rank)
        difference = op.Sub(op.Unsqueeze(x, [x.rank]), op.weight(self.weight, "w"))
        return op.ReduceL2(self.lower_scaled(op, difference), [x.rank - 1], keepdims=0)

    def lower_scaled(self, op: Builder, difference: Value) -> Value:
        return difference


@layer("nn.WeightedEuclidean", kind="euclidean")
class WeightedEuclidean(Euclidean):
    """y[n, k] = ‖diagCov[:, k] · (x[n] - weight[:, k])‖"""

    weight: Array
    diagCov: Array
    ignored = frozenset({"fastBackward", "gradDiagCov", "_diagCov", "_repeat", "_repeat2", "_repeat3"})

    def scaled(self, difference: Array) -> Array:
        return self.diagCov * difference

    def lower_scaled(self, op: Builder, difference: Value) -> Value:
        return op.Mul(difference, op.weight(self.diagCov, "c"))


#: What Cosine.lua adds to norms before it divides by them.
COSINE_EPS = 1e-12


@layer("nn.Cosine", kind="cosine")
class Cosine(Layer):
    """y[n, k] = weight[k] · x[n] / ((‖weight[k]‖ + 1e-12) · (‖x[n]‖ + 1e-12)); weight is (out, in)"""

    weight: Array
    ignored = frozenset({"_weightNorm", "_inputNorm", "__norm"})

    def forward(self, x: Array) -> Array:
        vector_or_matrix(x.ndim)
        own = np.sqrt((self.weight**2).sum(axis=1)) + COSINE_EPS
        norm = np.sqrt((x**2).sum(axis=-1, keepdims=True)) + COSINE_EPS
        return x @ self.weight.T / own / norm

    def lower(self, op: Builder, x: Value) -> Value:
        vector_or_matrix(x.rank)
        wide = self.weight.astype(np.float64)
        unit = wide / (np.linalg.norm(wide, axis=1, keepdims=True) + COSINE_EPS)
        rows = op.Unsqueeze(x, [0]) if x.rank == 1 else x
        y = op.Gemm(rows, op.weight(unit.astype(np.float32), "w"), transB=1)
        y = op.Div(y, op.Add(op.ReduceL2(rows, [1], keepdims=1), COSINE_EPS))
        return op.Squeeze(y, [0]) if x.rank == 1 else y


@layer("nn.LinearNB", kind="fc")
class LinearNB(Affine):
    """x · weightᵀ, of fbnn; x is (N, in) or (in), weight (out, in)"""

    weight: Array
    bias: Array | None = None
