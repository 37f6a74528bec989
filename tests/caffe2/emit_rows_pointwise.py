"""Rows for functions of single elements, arithmetic, comparison, and reductions."""

from __future__ import annotations

import numpy as np

from caffe2.emit_cases import Data, Row, c, d, s, w

_T = Data((2, 3, 4), truth=True)
_I = Data((2, 3, 4), high=9)

UNARY = [
    *(
        Row(op, [d(2, 3, 4, scale=3.0)], op)
        for op in ("Relu", "Sigmoid", "Tanh", "Abs", "Sign", "Floor", "Ceil", "Softsign")
    ),
    *(
        Row(op, [d(2, 3, 4, scale=3.0)], op)
        for op in ("Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Reciprocal")
    ),
    Row("Neg", [d(2, 3)], "Negative"),
    Row("Log", [d(2, 3, scale=0.1, shift=3.0)], "Log"),
    Row("Sqrt", [d(2, 3, scale=0.1, shift=3.0)], "Sqrt"),
    Row("Asin", [d(2, 3, scale=0.2)], "Asin"),
    Row("Acos", [d(2, 3, scale=0.2)], "Acos"),
    Row("Not", [_T], "Not"),
    Row("LeakyRelu", [d(2, 3, 4)], "LeakyRelu", {"alpha": 0.2}),
    Row("Elu", [d(2, 3, 4)], "Elu", {"alpha": 0.7}),
    Row("Celu", [d(2, 3, 4)], "Scale Elu Scale", {"alpha": 0.7}),
    Row("Selu", [d(2, 3, 4)], "Selu"),
    Row("ThresholdedRelu", [d(2, 3, 4)], "ThresholdedRelu", {"alpha": 0.3}),
    Row("Clip", [d(2, 3, 4), s(-0.5), s(1)], "Clip"),
    Row("Clip", [d(2, 3, 4), s(-0.5)], "Clip"),
    Row("Clip", [d(2, 3, 4), None, s(0.5)], "Clip"),
    Row("Clip", [_I, np.array(2), np.array(5)], ""),
    Row("HardSigmoid", [d(2, 3, 4, scale=3.0)], "HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    Row("HardSwish", [d(2, 3, 4, scale=3.0)], ""),
    Row("Softplus", [d(2, 3, 40, scale=60.0)], "Abs Negative Softplus Relu Add"),
    Row("Mish", [d(2, 3, 40, scale=5.0)], ""),
    Row("Erf", [d(2, 3, 40, scale=2.0)], ""),
    Row("Gelu", [d(2, 3, 40, scale=2.0)], ""),
    Row("Gelu", [d(2, 3, 40, scale=2.0)], "", {"approximate": "tanh"}),
    Row("Round", [d(2, 3, 40, scale=5.0)], ""),
    Row("Shrink", [d(2, 3, 40)], "Clip Sub", {"bias": 0.3, "lambd": 0.3}),
    Row("Shrink", [d(2, 3, 40)], "ThresholdedRelu Negative ThresholdedRelu Sub", {"lambd": 0.3}),
    Row("Shrink", [d(2, 3, 40)], "", {"bias": 0.2, "lambd": 0.3}),
    Row("PRelu", [d(2, 3, 4), w(3, 1)], "PRelu"),
    Row("PRelu", [d(2, 3, 4, 5), w(1)], "PRelu"),
    Row("PRelu", [d(2, 3, 4, 5), w(3, 1, 1)], "PRelu"),
    Row("PRelu", [d(2, 3), w(3)], "PRelu"),
    Row("PRelu", [d(2, 3, 4, 5), w(4, 5)], "Clip Mul Relu Add"),
    Row("IsNaN", [d(2, 3)], ""),
    Row("Cast", [d(2, 3, scale=5.0)], "Cast", {"to": 7}),
    Row("Cast", [_I], "Cast", {"to": 1}),
    Row("Cast", [_T], "Cast", {"to": 1}),
    Row("Cast", [_I], "Cast", {"to": 9}),
    Row("Softmax", [d(2, 7, scale=30.0)], "Softmax"),
    Row("Softmax", [d(2, 3, 4, 5)], "Transpose Softmax Transpose", {"axis": 1}),
    Row("Softmax", [d(2, 3, 4, 5)], "Softmax"),
    Row("Softmax", [d(2, 3, 1, 1)], "Softmax", {"axis": 1}),
    Row("Softmax", [d(5)], "Softmax", {"axis": 0}, fixed=True),
    Row("Softmax", [d(3, 4)], "Transpose Softmax Transpose", {"axis": 0}),
    Row("LogSoftmax", [d(2, 7, scale=90.0)], "ReduceMax Sub Exp ReduceSum Log Sub"),
    Row("LogSoftmax", [d(2, 3, 4, 5, scale=9.0)], "", {"axis": 1}),
]

BINARY = [
    *(Row(op, [d(2, 3, 4), d(2, 3, 4, shift=5.0)], op) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 3, 4), w(3, 1, shift=5.0)], op) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 3, 4), w(1, 3, 1, shift=5.0)], op) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 3, 4), w(3, 4, shift=5.0)], op) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 3, 4), s(3.0)], "Scale" if op == "Mul" else op) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [s(3.0), d(2, 3, 4, shift=5.0)]) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [w(3, 1, shift=5.0), d(2, 3, 4, shift=5.0)]) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 1, 4), d(3, 1, shift=9.0)], fixed=True) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 3, 4, shift=5.0), d(2, 1, 4, shift=9.0)], op) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(2, 1, 4, shift=5.0), d(2, 3, 4, shift=9.0)]) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [d(3, 4), w(2, 3, 4, shift=9.0)], fixed=True) for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [_I, c(1, 2, 3, 4)], f"Cast {op}") for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [_I, np.array(3)], f"Cast {op}") for op in ("Add", "Sub", "Mul", "Div")),
    *(Row(op, [np.array(3), Data((2, 5), high=9)], f"Cast {op}") for op in ("Add", "Sub", "Mul")),
    Row("Pow", [d(2, 3, shift=9.0), s(1.5)], "Pow"),
    Row("Pow", [d(2, 3), s(2.0)], "Sqr"),
    Row("Pow", [d(2, 3, shift=9.0), s(0.5)], "Sqrt"),
    Row("Pow", [d(2, 3, shift=9.0), s(-1.0)], "Pow"),
    Row("Pow", [d(2, 3), np.array(3)], "Pow"),
    Row("Pow", [d(2, 3, shift=5.0), d(2, 3)], "Pow"),
    Row("Pow", [d(2, 3, shift=5.0), w(3)], ""),
    Row("Pow", [s(2.0), d(2, 3)], ""),
    *(Row(op, [d(2, 3), d(2, 3), d(2, 3)], op) for op in ("Sum", "Max", "Min")),
    *(Row(op, [d(2, 3), w(3), w(1, 1)]) for op in ("Sum", "Max", "Min", "Mean")),
    *(Row(op, [w(3), d(2, 1)]) for op in ("Sum", "Max", "Min", "Mean")),
    Row("Max", [d(2, 3), s(0.5)], ""),
    Row("Max", [_I, np.array(4)], ""),
    Row("Sum", [d(2, 3)], "Copy"),
    *(Row(op, [d(2, 3, 4), w(3, 1)]) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(Row(op, [s(0.1), d(2, 3, 4)]) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(Row(op, [_I, np.array(4)]) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal")),
    Row("Equal", [Data((2, 3, 4), high=3), Data((2, 3, 4), high=3)], ""),
    Row("Equal", [d(2, 1), w(1)], ""),
    *(Row(op, [_T, Data((2, 1, 4), truth=True)], op) for op in ("And", "Or", "Xor")),
    *(Row(op, [_I, Data((2, 1, 4), high=9)], f"Cast Cast {op}") for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    Row("Where", [_T, d(2, 3, 4), d(2, 3, 4)], "Where"),
    Row("Where", [_T, s(1.5), d(2, 3, 4)], "ConstantFill Where"),
    Row("Where", [_T, d(2, 3, 4), w(4)], ""),
    Row("Where", [Data((2, 1, 4), truth=True), d(2, 3, 1), s(-1.0)], ""),
    Row("Where", [Data((3, 1), truth=True), d(2, 3, 4), w(3, 4)], "", fixed=True),
    Row("Where", [Data((2, 1), truth=True), w(1, 3), w(1, 3)], ""),
    Row("Where", [_T, _I, np.array(3)], ""),
    Row("Mod", [_I, np.array(4)], "Cast Mod"),
    Row("Mod", [Data((2, 3), high=20), np.array(-3)], "Cast Mod"),
    Row("Mod", [Data((2, 3), high=20), np.array(-3)], "Cast Mod", {"fmod": 1}),
]

REDUCTIONS = [
    *(
        Row(op, [d(2, 3, 4, 5, shift=2.0), axes], "", {"keepdims": keep})
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
        for axes, keep in ((c(1), 0), (c(-1, 2), 1), (c(0, 2), 0))
    ),
    Row("ReduceSum", [d(2, 3, 4)], "ReduceSum", {"keepdims": 0}),
    Row("ReduceSum", [d(2, 3, 4)], "Copy", {"noop_with_empty_axes": 1}),
    Row("ReduceSum", [d(2, 30000, 2), c(1)], "", {"keepdims": 0}),
    Row("ReduceMean", [d(2, 3, 300, 200, shift=3.0), c(2, 3)], "", {"keepdims": 0}),
    Row("ReduceLogSum", [d(2, 3, 4, shift=9.0), c(1)], ""),
    Row("ReduceLogSumExp", [d(2, 3, 4, scale=60.0), c(1, 2)], "", {"keepdims": 0}),
    Row("ReduceProd", [d(2, 7, 4), c(1)], ""),
    Row("ReduceProd", [d(2, 3, 5), c(1, 2)], "", {"keepdims": 0}),
    Row("CumSum", [d(2, 7, 4), np.array(1)], ""),
    Row("CumSum", [d(2, 7, 4), np.array(-1)], "", {"exclusive": 1, "reverse": 1}),
    Row("ArgMax", [d(2, 7, 4)], "ArgMax Cast", {"axis": 1, "keepdims": 0}),
    Row("ArgMin", [d(2, 7, 4)], "ArgMin Cast", {"axis": -1}),
    Row("TopK", [d(2, 7, 4), c(3)], "TopK Cast", {"axis": 1}, outputs=2),
    Row("TopK", [d(2, 7), c(2)], "", {"largest": 0}, outputs=2),
]

ROWS = [*UNARY, *BINARY, *REDUCTIONS]
