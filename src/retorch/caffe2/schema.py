"""Which arguments each Caffe2 operator knows, and of which kind.

Caffe2 ignores arguments that it does not know and reads ``floats`` as an empty list where it expects ``ints``; an
integer where it expects a float fails at creation. So every argument that is written goes through this table: its kind
decides the field of ``Argument``, never the Python type of the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeAlias

from retorch.caffe2.device import IDEEP, TO_CPU, TO_IDEEP
from retorch.caffe2.proto.caffe2_pb2 import Argument, OperatorDef

Arg: TypeAlias = int | float | str | Sequence[int] | Sequence[float]


class Kind(Enum):
    """The field of ``Argument`` that holds a value."""

    INT = "i"
    FLOAT = "f"
    STRING = "s"
    INTS = "ints"
    FLOATS = "floats"


_NONE: Mapping[str, Kind] = {}
_AXIS = {"axis": Kind.INT}
_DIMS = {"dims": Kind.INTS}
_ALPHA = {"alpha": Kind.FLOAT}
_BROADCAST = {"broadcast": Kind.INT, "axis": Kind.INT}
_REDUCE = {"axes": Kind.INTS, "keepdims": Kind.INT}
_WINDOW = {"kernels": Kind.INTS, "strides": Kind.INTS, "pads": Kind.INTS}
_FILL = {"value": Kind.FLOAT, "dtype": Kind.INT, "shape": Kind.INTS, "input_as_shape": Kind.INT}
_PLAIN = (
    *("Abs", "Acos", "Asin", "Atan", "BatchGather", "BooleanMask", "Ceil", "Copy", "Cos", "Cosh", "Erf", "Exp"),
    *("FloatToHalf", "HalfToFloat"),
    *("Floor", "LengthsToSegmentIds", "Log", "Max", "Min", "Negative", "Not", "PRelu", "Reciprocal", "Relu"),
    *("ScatterAssign", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqr", "Sqrt", "Sum", "Tan", "Tanh"),
    *("Where", TO_CPU, TO_IDEEP),
)
_BINARY = (
    "Add",
    "And",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "EQ",
    "GE",
    "GT",
    "LE",
    "LT",
    "Mul",
    "Or",
    "Sub",
    "Xor",
)

ARGUMENTS: Mapping[str, Mapping[str, Kind]] = {
    **dict.fromkeys(_PLAIN, _NONE),
    **dict.fromkeys(_BINARY, _BROADCAST),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"), _REDUCE),
    **dict.fromkeys(("Softmax", "Flatten", "Concat"), _AXIS),
    **dict.fromkeys(("LeakyRelu", "Elu", "ThresholdedRelu"), _ALPHA),
    **dict.fromkeys(("Squeeze", "ExpandDims"), _DIMS),
    "ArgMax": {"axis": Kind.INT, "keepdims": Kind.INT},
    "ArgMin": {"axis": Kind.INT, "keepdims": Kind.INT},
    "AveragePool": {**_WINDOW, "global_pooling": Kind.INT, "count_include_pad": Kind.INT},
    "BatchMatMul": {"trans_a": Kind.INT, "trans_b": Kind.INT, "broadcast": Kind.INT},
    "Cast": {"to": Kind.INT},
    "Clip": {"min": Kind.FLOAT, "max": Kind.FLOAT},
    "ConstantFill": _FILL,
    "Conv": {**_WINDOW, "dilations": Kind.INTS, "group": Kind.INT, "algo": Kind.STRING},
    "ConvTranspose": {**_WINDOW, "adjs": Kind.INTS, "group": Kind.INT},
    "FC": {"axis": Kind.INT, "axis_w": Kind.INT},
    "Gather": {"axis": Kind.INT},
    "GaussianFill": {"mean": Kind.FLOAT, "std": Kind.FLOAT},
    "HardSigmoid": {"alpha": Kind.FLOAT, "beta": Kind.FLOAT},
    "LRN": {"size": Kind.INT, "alpha": Kind.FLOAT, "beta": Kind.FLOAT, "bias": Kind.FLOAT},
    "MatMul": {"trans_a": Kind.INT, "trans_b": Kind.INT},
    "MaxPool": {**_WINDOW, "global_pooling": Kind.INT},
    "Mod": {"divisor": Kind.INT, "sign_follow_divisor": Kind.INT},
    "PadImage": {"pads": Kind.INTS, "mode": Kind.STRING, "value": Kind.FLOAT},
    "Pow": {"exponent": Kind.FLOAT},
    "Reshape": {"shape": Kind.INTS},
    "ResizeNearest": {"width_scale": Kind.FLOAT, "height_scale": Kind.FLOAT},
    "Scale": {"scale": Kind.FLOAT},
    "Selu": {"alpha": Kind.FLOAT, "scale": Kind.FLOAT},
    "Shape": {"axes": Kind.INTS},
    "Slice": {"starts": Kind.INTS, "ends": Kind.INTS},
    "SpatialBN": {"is_test": Kind.INT, "epsilon": Kind.FLOAT},
    "Split": {"axis": Kind.INT, "split": Kind.INTS, "add_axis": Kind.INT},
    "Tile": {"tiles": Kind.INT, "axis": Kind.INT},
    "TopK": {"k": Kind.INT, "axis": Kind.INT},
    "Transpose": {"axes": Kind.INTS},
    "UniformFill": {"min": Kind.FLOAT, "max": Kind.FLOAT},
    "UpsampleBilinear": {"width_scale": Kind.FLOAT, "height_scale": Kind.FLOAT},
}


def _numbers(value: Arg) -> Sequence[int] | Sequence[float]:
    if isinstance(value, int | float | str):
        raise TypeError(f"expected a list of numbers, found {value!r}")
    return value


def _number(value: Arg) -> int | float:
    if isinstance(value, int | float):
        return value
    raise TypeError(f"expected a number, found {value!r}")


def argument(name: str, kind: Kind, value: Arg) -> Argument:
    """``value`` in the field that ``kind`` says; whole numbers only where integers are expected."""
    made = Argument(name=name)
    match kind:
        case Kind.INT:
            made.i = _whole(_number(value))
        case Kind.FLOAT:
            made.f = float(_number(value))
        case Kind.INTS:
            made.ints.extend(_whole(item) for item in _numbers(value))
        case Kind.FLOATS:
            made.floats.extend(float(item) for item in _numbers(value))
        case Kind.STRING:
            made.s = str(value).encode()
    return made


def _whole(number: float) -> int:
    if int(number) != number:
        raise ValueError(f"expected a whole number, found {number!r}")
    return int(number)


def operator(
    kind: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    arguments: Mapping[str, Arg],
    engine: str = "",
    *,
    ideep: bool = False,
) -> OperatorDef:
    """One operator without a name (a name changes what Caffe2's pools and convolutions accept).

    Raises KeyError for an operator or an argument that the table does not know: a bug in the rule that wrote it.
    """
    known = ARGUMENTS[kind]
    if kind == "ConstantFill" and "dtype" in arguments:
        known = {**known, "value": Kind.INT}  # integers and truth values are filled from an integer
    made = OperatorDef(
        type=kind,
        input=inputs,
        output=outputs,
        arg=[argument(name, known[name], value) for name, value in arguments.items()],
    )
    if engine:
        made.engine = engine
    if ideep:
        made.device_option.device_type = IDEEP
    return made
