"""Arithmetic, comparison and choice between tensors, with ONNX's broadcasting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from retorch.caffe2.emit.arithmetic import binary, broadcast, fill, scale, spread, total
from retorch.caffe2.emit.op import FLOAT32, INT32, Blob, Op, RefusalError, Result, Rule


def _operands(op: Op) -> tuple[Blob, Blob]:
    return op.blob(0), op.blob(1)


def _scalar(op: Op, index: int) -> float | None:
    """The constant input where it is one number that does not add dimensions."""
    found = op.constant(index)
    if found is None or found.size != 1 or not op.is_float(index) or found.ndim > len(op.dims(1 - index)):
        return None
    return float(found.astype(np.float32).ravel()[0])


def arithmetic(kind: str) -> Rule:
    def rule(op: Op) -> Result:
        a, b = _operands(op)
        return binary(op, kind, a, b)

    return rule


def mul(op: Op) -> Result:
    for index in (0, 1):
        factor = _scalar(op, index)
        if factor is not None and op.constant(1 - index) is None:
            return op.map("Scale", op.blob(1 - index), scale=factor)
    a, b = _operands(op)
    return binary(op, "Mul", a, b)


def sub(op: Op) -> Result:
    a, b = _operands(op)
    if op.is_float() and broadcast(op, a.dims, b.dims) == b.dims != a.dims:
        # The big operand goes first: a - b = -b + a.
        return binary(op, "Add", op.map("Negative", b), a)
    return binary(op, "Sub", a, b)


def div(op: Op) -> Result:
    a, b = _operands(op)
    top = _scalar(op, 0)
    if top is not None:
        return op.map("Reciprocal", b) if top == 1.0 else op.make("Div", [fill(op, b, top), b], b.dims)
    if op.is_float() and broadcast(op, a.dims, b.dims) == b.dims != a.dims:
        a = spread(op, a, [b], b.dims)
    return binary(op, "Div", a, b)


def power(op: Op) -> Result:
    x = op.blob(0)
    exponent = _scalar(op, 1)
    found = op.constant(1)
    if exponent is None and found is not None and found.size == 1 and found.ndim <= x.rank:
        exponent = float(found.ravel()[0].item())
    if exponent == 2.0:
        return op.map("Sqr", x)
    if exponent == 1.0:
        return x
    if exponent is not None:
        return op.map("Sqrt", x) if exponent == 0.5 else op.map("Pow", x, exponent=exponent)
    y = op.blob(1)
    dims = broadcast(op, x.dims, y.dims)
    return op.make("Pow", [spread(op, x, [y], dims), spread(op, y, [x], dims)], dims)


def many(kind: str) -> Rule:
    def rule(op: Op) -> Result:
        if op.is_float() or (kind == "Sum" and op.kind == "Sum"):
            return total(op, kind, op.blobs())
        floats = [op.map("Cast", blob, to=FLOAT32) for blob in op.blobs()]
        return op.map("Cast", total(op, kind, floats), to=INT32)

    return rule


def mean(op: Op) -> Result:
    blobs = op.blobs()
    return scale(op, total(op, "Sum", blobs), 1 / len(blobs))


def compare(kind: str) -> Rule:
    def rule(op: Op) -> Result:
        a, b = _operands(op)
        return binary(op, kind, a, b)

    return rule


def equal(op: Op) -> Result:
    """Caffe2 compares floats by order only."""
    a, b = _operands(op)
    if not op.is_float():
        return binary(op, "EQ", a, b)
    return binary(op, "And", binary(op, "GE", a, b), binary(op, "LE", a, b))


def where(op: Op) -> Result:
    """Caffe2 wants three operands of one shape: zeros (or False) of the others' shapes make the small ones big."""
    choice, a, b = op.blobs()
    dims = broadcast(op, broadcast(op, choice.dims, a.dims), b.dims)
    a, b = _filled(op, 1, a, dims, choice), _filled(op, 2, b, dims, choice)
    values = [blob if op.is_float(1) else op.map("Cast", blob, to=FLOAT32) for blob in (a, b)]
    for other in values:
        if choice.dims != dims and broadcast(op, choice.dims, other.dims) != choice.dims:
            choice = binary(op, "Or", fill(op, other, 0, "bool"), choice)
    wide = fill(op, choice, 0.0) if any(value.dims != dims for value in values) else choice
    values = [spread(op, value, [wide], dims) for value in values]
    made = op.make("Where", [choice, *values], dims)
    return made if op.is_float(1) else op.map("Cast", made, to=INT32)


def _filled(op: Op, index: int, x: Blob, dims: tuple[int | str, ...], choice: Blob) -> Blob:
    """A constant number becomes a fill in the shape of the condition, where that is the shape of the result."""
    number = op.constant(index)
    if number is None or number.size != 1 or choice.dims != dims:
        return x
    return fill(op, choice, float(number.astype(np.float64).ravel()[0]), "float" if op.is_float(index) else "int")


def modulo(op: Op) -> Result:
    """For integers, by a constant: the sign of the divisor, with fmod=1 that of the dividend."""
    divisor = op.known(1, "the divisor")
    if op.is_float() or divisor.size != 1:
        raise RefusalError("Mod of floats, or by more than one number")
    follow = 1 - op.int("fmod", 0)
    return op.map("Mod", op.blob(0), divisor=int(divisor.ravel()[0].item()), sign_follow_divisor=follow)


def is_nan(op: Op) -> Result:
    x = op.blob(0)
    return op.map("Not", binary(op, "GE", op.map("Abs", x), fill(op, x, 0.0)))


RULES: Mapping[str, Rule] = {
    "Add": arithmetic("Add"),
    "And": compare("And"),
    **{name: compare(name) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    "Div": div,
    "Equal": equal,
    "Greater": compare("GT"),
    "GreaterOrEqual": compare("GE"),
    "IsNaN": is_nan,
    "Less": compare("LT"),
    "LessOrEqual": compare("LE"),
    "Max": many("Max"),
    "Mean": mean,
    "Min": many("Min"),
    "Mod": modulo,
    "Mul": mul,
    "Or": compare("Or"),
    "Pow": power,
    "Sub": sub,
    "Sum": many("Sum"),
    "Where": where,
    "Xor": compare("Xor"),
}
