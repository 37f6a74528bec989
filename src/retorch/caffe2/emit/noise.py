"""Numbers that every run draws anew. A seed is refused: ONNX does not say which numbers it stands for."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from retorch.caffe2.emit.op import Op, RefusalError, Result, Rule


def normal_like(op: Op) -> Result:
    """Normally distributed numbers in the shape of the input."""
    _check_type(op)
    return op.map("GaussianFill", op.blob(0), mean=op.float("mean", 0.0), std=op.float("scale", 1.0))


def uniform_like(op: Op) -> Result:
    """Numbers of [low, high) in the shape of the input."""
    _check_type(op)
    return op.map("UniformFill", op.blob(0), min=op.float("low", 0.0), max=op.float("high", 1.0))


def _check_type(op: Op) -> None:
    dtype = op.value(0).dtype
    kind = ir.DataType(op.int("dtype", int(ir.DataType.FLOAT if dtype is None else dtype)))
    if kind != ir.DataType.FLOAT:
        raise RefusalError(f"{op.kind} of type {kind.name.lower()}: Caffe2 draws floats")


RULES: Mapping[str, Rule] = {"RandomNormalLike": normal_like, "RandomUniformLike": uniform_like}
