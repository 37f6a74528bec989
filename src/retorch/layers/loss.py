"""Losses that are part of a network: nngraph makes a module of a criterion, which gives the loss as a tensor of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from retorch.layers.base.layer import Array, Binder, Layer, Refusal, layer
from retorch.layers.lookup import indices
from retorch.layers.shape.selection import from_zero
from retorch.layers.softmax import log_softmax
from retorch.torch7 import TorchObject

if TYPE_CHECKING:
    from retorch.graph.builder import Builder, Value

#: What BCECriterion adds to its logarithms' arguments.
BCE_EPS = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A criterion: a sum over elements, or their mean where ``average``; ``weight`` is by elements or by classes."""

    average: bool
    weight: Array | None
    #: Of margins: from which distance on nothing is lost, and to which power the rest counts.
    margin: float = 1.0
    power: int = 1

    def terms(self, x: Array, t: Array) -> Array:
        """What is summed."""
        raise NotImplementedError

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        """The same in ONNX."""
        raise NotImplementedError

    def forward(self, x: Array, t: Array) -> Array:
        """The loss, a tensor of one."""
        self.check(x, t)
        terms = self.terms(x, t)
        return (terms.mean() if self.average else terms.sum()).reshape(1).astype(x.dtype)

    def lower(self, op: Builder, x: Value, t: Value) -> Value:
        """The same in ONNX."""
        self.check(x, t)
        terms = op.Reshape(self.lower_terms(op, x, t), [-1])
        return op.ReduceMean(terms, [0], keepdims=1) if self.average else op.ReduceSum(terms, [0], keepdims=1)

    def check(self, x: Array | Value, t: Array | Value) -> None:
        """Refuse a target of other sizes."""
        if x.shape != t.shape:
            raise Refusal(f"measures {x.shape} by a target of {t.shape}")


class SquaredError(Loss):
    """(x − t)²"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.square(x - t)

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        off = op.Sub(x, t)
        return op.Mul(off, off)


class WeightedSquaredError(SquaredError):
    """(x − weight · t)², where the weight may lack x's first dimension"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.square(x - (t if self.weight is None else t * self.weight))

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        off = op.Sub(x, t if self.weight is None else op.Mul(t, op.weight(self.weight, "w")))
        return op.Mul(off, off)


class AbsoluteError(Loss):
    """|x − t|"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.abs(x - t)

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        return op.Abs(op.Sub(x, t))


class SmoothError(Loss):
    """(x − t)² / 2, or |x − t| − 1/2 from 1 on"""

    def terms(self, x: Array, t: Array) -> Array:
        z = np.abs(x - t)
        return np.where(z < 1, z * z / 2, z - 0.5)

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        z = op.Abs(op.Sub(x, t))
        near = op.Clip(z, 0.0, 1.0)
        # z − 1/2 is 1/2 + (z − 1), and z² / 2 ends at 1/2
        return op.Add(op.Mul(op.Mul(near, near), 0.5), op.Sub(z, near))


class BinaryCrossEntropy(Loss):
    """−t · log(x + 1e-12) − (1 − t) · log(1 − x + 1e-12), times ``weight``"""

    def terms(self, x: Array, t: Array) -> Array:
        y = -(t * np.log(x + BCE_EPS) + (1 - t) * np.log(1 - x + BCE_EPS))
        return y if self.weight is None else y * self.weight

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        one = op.Mul(t, op.Log(op.Add(x, BCE_EPS)))
        zero = op.Mul(op.Sub(1.0, t), op.Log(op.Add(op.Sub(1.0, x), BCE_EPS)))
        y = op.Neg(op.Add(one, zero))
        return y if self.weight is None else op.Mul(y, op.weight(self.weight, "w"))


class Divergence(Loss):
    """t · (log t − x) where t > 0, elsewhere 0"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - x), 0)

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        held = op.Greater(t, 0.0)
        return op.Where(held, op.Mul(t, op.Sub(op.Log(op.Where(held, t, 1.0)), x)), 0.0)


class SoftMargin(Loss):
    """log(1 + exp(−x · t))"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.logaddexp(0, -x * t)

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        return op.Softplus(op.Neg(op.Mul(x, t)))


class Margin(Loss):
    """max(margin − x · t, 0)"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.maximum(self.margin - x * t, 0)

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        return op.Relu(op.Sub(self.margin, op.Mul(x, t)))


class HingeEmbedding(Loss):
    """x where t = 1, max(margin − x, 0) where t = −1; both at any other t"""

    def terms(self, x: Array, t: Array) -> Array:
        return np.where(t == -1, 0, x) + np.where(t == 1, 0, np.maximum(self.margin - x, 0))

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        far = op.Relu(op.Sub(self.margin, x))
        return op.Add(op.Where(op.Equal(t, -1.0), 0.0, x), op.Where(op.Equal(t, 1.0), 0.0, far))


class MultiLabelSoftMargin(Loss):
    """−t · log sigmoid(x) − (1 − t) · log sigmoid(−x), times ``weight``"""

    def terms(self, x: Array, t: Array) -> Array:
        y = np.logaddexp(0, x) - x * t
        return y if self.weight is None else y * self.weight

    def lower_terms(self, op: Builder, x: Value, t: Value) -> Value:
        y = op.Sub(op.Softplus(x), op.Mul(x, t))
        return y if self.weight is None else op.Mul(y, op.weight(self.weight, "w"))


class ClassNLL(Loss):
    """−x[t] for the class t (from 1) of each row, times the weight of the class; the mean is by weight"""

    def check(self, x: Array | Value, t: Array | Value) -> None:
        if len(x.shape) not in (1, 2) or int(np.prod(t.shape)) != (x.shape[0] if len(x.shape) == 2 else 1):
            raise Refusal(f"measures {x.shape} by classes of {t.shape}")

    def scores(self, x: Array) -> Array:
        """The logarithms of the classes' shares."""
        return x

    def lower_scores(self, op: Builder, x: Value) -> Value:
        """The same in ONNX."""
        return x

    def forward(self, x: Array, t: Array) -> Array:
        self.check(x, t)
        rows, at = self.scores(x).reshape(-1, x.shape[-1]), indices(t.reshape(-1))
        share = np.ones(len(at)) if self.weight is None else self.weight[at]
        loss = -(rows[np.arange(len(at)), at] * share).sum()
        return np.asarray(loss / share.sum() if self.average else loss).reshape(1).astype(x.dtype)

    def lower(self, op: Builder, x: Value, t: Value) -> Value:
        self.check(x, t)
        scores = op.Reshape(self.lower_scores(op, x), [-1, x.shape[-1]])
        at = op.Reshape(from_zero(op, t), [-1, 1])
        classes = op.constant(np.arange(x.shape[-1], dtype=np.int64)[None])
        chosen = op.Cast(op.Equal(at, classes), to=1)
        if self.weight is not None:
            chosen = op.Mul(chosen, op.weight(self.weight, "w"))
        loss = op.Neg(op.ReduceSum(op.Reshape(op.Mul(scores, chosen), [-1]), [0], keepdims=1))
        return op.Div(loss, op.ReduceSum(op.Reshape(chosen, [-1]), [0], keepdims=1)) if self.average else loss


class CrossEntropy(ClassNLL):
    """−log softmax(x)[t] for the class t (from 1) of each row, times the weight of the class"""

    def scores(self, x: Array) -> Array:
        return log_softmax(x, x.ndim - 1)

    def lower_scores(self, op: Builder, x: Value) -> Value:
        return op.LogSoftmax(x, axis=x.rank - 1)


class MultiMargin(ClassNLL):
    """Σ max(margin − x[t] + x[i], 0)^p / n over the n − 1 classes i other than t, times the weight of t"""

    def forward(self, x: Array, t: Array) -> Array:
        self.check(x, t)
        rows, at = x.reshape(-1, x.shape[-1]), indices(t.reshape(-1))
        off = np.maximum(self.margin - rows[np.arange(len(at)), at][:, None] + rows, 0) ** self.power
        off[np.arange(len(at)), at] = 0
        loss = off.sum(axis=1) * (1 if self.weight is None else self.weight[at]) / x.shape[-1]
        return np.asarray(loss.mean() if self.average else loss.sum()).reshape(1).astype(x.dtype)

    def lower(self, op: Builder, x: Value, t: Value) -> Value:
        self.check(x, t)
        rows = op.Reshape(x, [-1, x.shape[-1]])
        classes = op.constant(np.arange(x.shape[-1], dtype=np.int64)[None])
        chosen = op.Cast(op.Equal(op.Reshape(from_zero(op, t), [-1, 1]), classes), to=1)
        own = op.ReduceSum(op.Mul(rows, chosen), [1], keepdims=1)
        off = op.Relu(op.Add(op.Sub(self.margin, own), rows))
        off = op.Mul(op.Mul(off, off) if self.power == 2 else off, op.Sub(1.0, chosen))
        if self.weight is not None:
            off = op.Mul(off, op.ReduceSum(op.Mul(chosen, op.weight(self.weight, "w")), [1], keepdims=1))
        loss = op.Mul(op.ReduceSum(off, [1], keepdims=0), 1 / x.shape[-1])
        return op.ReduceMean(loss, [0], keepdims=1) if self.average else op.ReduceSum(loss, [0], keepdims=1)


#: The criteria by their classes.
LOSSES: dict[str, type[Loss]] = {
    "nn.MSECriterion": SquaredError,
    "nn.WeightedMSECriterion": WeightedSquaredError,
    "nn.AbsCriterion": AbsoluteError,
    "nn.SmoothL1Criterion": SmoothError,
    "nn.BCECriterion": BinaryCrossEntropy,
    "nn.ClassNLLCriterion": ClassNLL,
    "nn.CrossEntropyCriterion": CrossEntropy,
    "nn.DistKLDivCriterion": Divergence,
    "nn.SoftMarginCriterion": SoftMargin,
    "nn.BinaryLogisticRegression": SoftMargin,
    "nn.MarginCriterion": Margin,
    "nn.HingeEmbeddingCriterion": HingeEmbedding,
    "nn.MultiLabelSoftMarginCriterion": MultiLabelSoftMargin,
    "nn.MultiMarginCriterion": MultiMargin,
}


@layer("nn.ModuleFromCriterion", "nn.CriterionTable", kind="loss")
class ModuleFromCriterion(Layer):
    """{x, t} ↦ the criterion's loss, a tensor of one

    MSE, weighted or not, Abs, SmoothL1, BCE, ClassNLL, CrossEntropy, DistKLDiv, and the margins: Soft, Multi,
    MultiLabelSoft, hinges.
    """

    criterion: object

    def setup(self, bind: Binder) -> None:
        criterion = self.criterion
        made = LOSSES.get(criterion.typename) if isinstance(criterion, TorchObject) else None
        if made is None or not isinstance(criterion, TorchObject):
            name = criterion.typename if isinstance(criterion, TorchObject) else "what is none"
            raise Refusal(f"gives the loss of {name}, which is not known")
        # CrossEntropy holds a LogSoftMax and a ClassNLL
        inner = criterion.get("nll")
        stored = inner if isinstance(inner, TorchObject) else criterion
        weight = cast("Array | None", stored.get("weights", stored.get("weight")))
        margin, power = cast("float", stored.get("margin", 1)), cast("int", stored.get("p", 1))
        if power not in (1, 2):
            raise Refusal(f"takes the power {power} of what a margin lacks")
        weighs = weight if weight is not None and weight.size else None
        self._loss = made(bool(stored.get("sizeAverage", True)), weighs, float(margin), power)

    def forward(self, x: list[Array]) -> Array:
        if len(x) != 2:
            raise Refusal(f"takes a prediction and a target, not {len(x)} tensors")
        return self._loss.forward(*x)

    def lower(self, op: Builder, x: list[Value]) -> Value:
        if len(x) != 2:
            raise Refusal(f"takes a prediction and a target, not {len(x)} tensors")
        return self._loss.lower(op, *x)
