"""What older builds of Caffe2 lack: operators, arguments, and rules of broadcasting.

Release 0.8.1 of August 2017 is the last Caffe2 that stood alone, and the generation that ran on phones. The lists come
from reading its sources; nothing here was run on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from retorch.caffe2.device import TO_CPU, TO_IDEEP, runs_on_ideep
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef
from retorch.caffe2.release_differences import Shapes

_LACKING: Mapping[str, str] = {
    **dict.fromkeys(("ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean"), "a pooling, or a convolution with ones"),
    **dict.fromkeys(("AffineChannel", "ChannelShuffle", "Cube", "FCTransposed", "Glu", "LC", "Moments", "ATen"), ""),
    **dict.fromkeys(("ReduceBackMax", "ReduceBackMean", "ReduceBackSum", "ReduceL1", "ReduceL2", "Selu", "Sign"), ""),
    "Expand": "Tile",
    "Mean": "Sum and Scale",
    "Min": "Max of the negatives",
    "Reciprocal": "Pow with the exponent -1",
    "ReluN": "Clip",
    "ResizeNearest3D": "",
    "Rsqrt": "Pow with the exponent -0.5",
    "Sqrt": "Pow with the exponent 0.5",
    "ThresholdedRelu": "",
    "UpsampleBilinear": "products with constant matrices",
    "GivenTensorByteStringToUInt8Fill": "weights that are floats (--weights float)",
    "GivenTensorInt16Fill": "weights that are floats",
}
_PRESENT = frozenset(
    (
        *("Abs", "Add", "And", "AveragePool", "BatchGather", "BatchMatMul", "Cast", "Clip", "Concat", "ConstantFill"),
        *("Conv", "ConvTranspose", "Copy", "CosineSimilarity", "Div", "DotProduct", "Dropout", "EQ", "Elu", "Exp"),
        *("ExpandDims", "FC", "Flatten", "GE", "GT", "Gather", "GivenTensorBoolFill", "GivenTensorDoubleFill"),
        *("GivenTensorFill", "GivenTensorInt64Fill", "GivenTensorIntFill", "GivenTensorStringFill", "InstanceNorm"),
        *("L1Distance", "LE", "LRN", "LSTMUnit", "LT", "LeakyRelu", "LengthsToSegmentIds", "Load", "Log", "LpPool"),
        *("MatMul", "Max", "MaxPool", "Mul", "NCHW2NHWC", "NHWC2NCHW", "Negative", "Normalize", "Not", "Or", "PRelu"),
        *("PadImage", "Pow", "Relu", "Reshape", "ResizeNearest", "Save", "Scale", "ScatterAssign", "Shape"),
        *("Sigmoid", "Slice", "Softmax", "Softplus", "Softsign", "SpatialBN", "Split", "Sqr", "SquaredL2Distance"),
        *("Squeeze", "Sub", "Sum", "Tanh", "Tile", "TopK", "Transpose", "WeightedSum", "Where", "Xor"),
    )
)
# Arguments that are passed over there without a word, unless they say what goes without saying.
_ARGUMENTS: Mapping[tuple[str, str], tuple[int, str]] = {
    ("AveragePool", "count_include_pad"): (0, "padding is never counted; PadImage in front counts it"),
    ("BatchMatMul", "broadcast"): (0, "both inputs must have three dimensions"),
    ("ConvTranspose", "group"): (1, "one operator for each group"),
    ("Gather", "axis"): (0, "it gathers along the first axis only"),
}
_BROADCASTING = frozenset(("Add", "And", "Div", "EQ", "GE", "GT", "LE", "LT", "Mul", "Or", "Sub", "Xor"))
_LARGEST_INIT = 1 << 30  # bytes that this protobuf was set to read


@dataclass(frozen=True, slots=True)
class Lack:
    """Something in a net that a build does not have: the blob that the operator makes, and what is missing."""

    blob: str
    operator: str
    what: str
    instead: str = ""

    def __str__(self) -> str:
        return f"{self.blob}: {self.operator}: {self.what}" + (f" ({self.instead})" if self.instead else "")


def lacks(net: Caffe2Net, shapes: Shapes, fills: Mapping[str, str], init_size: int) -> list[Lack]:
    """What Caffe2 0.8.1 lacks of a network.

    Args:
        net: the network.
        shapes: of blobs, as far as they are known; those of parameters are known anyway.
        fills: the operator that makes each parameter.
        init_size: bytes of the init net, all in one message.
    """
    known = {**shapes, **{name: array.shape for name, array in net.params.items()}}
    found = [Lack(blob, kind, *reason) for blob, kind in fills.items() if (reason := _operator(kind))]
    if init_size > _LARGEST_INIT:
        found.append(Lack("init_net", "NetDef", f"{init_size:,} bytes, and it reads 1 GiB", "a minidb (--init minidb)"))
    ops = [op for op in net.predict.op if op.type not in (TO_IDEEP, TO_CPU)]
    placed = sum(runs_on_ideep(op, net.predict) for op in ops)
    if placed:
        found.append(
            Lack("predict_net", "NetDef", f"{placed} operators for MKL-DNN, and it has none", "leave out --mkldnn")
        )
    for op in ops:
        blob = op.output[0] if op.output else ""
        found += [Lack(blob, op.type, what, instead) for what, instead in _reasons(op, known)]
    return found


def _operator(kind: str) -> tuple[str, str] | None:
    if kind in _LACKING:
        instead = _LACKING[kind]
        return "there is no such operator", f"instead: {instead}" if instead else ""
    return None if kind in _PRESENT else ("it is not on the list of operators known to be there", "")


def _reasons(op: OperatorDef, shapes: Shapes) -> Iterator[tuple[str, str]]:
    missing = _operator(op.type)
    if missing:
        yield missing
        return
    for arg in op.arg:
        default, meaning = _ARGUMENTS.get((op.type, arg.name), (arg.i, ""))
        if arg.i != default:
            yield f"the argument {arg.name} is passed over", meaning
        if any(field.number > 7 for field, _ in arg.ListFields()):
            yield f"the argument {arg.name} has a value of a kind that its protobuf does not know", ""
    args = {arg.name: arg.i for arg in op.arg}
    if op.type == "Conv" and "group" in args and any(arg.name.startswith("dilation") for arg in op.arg):
        yield "groups and dilation exclude each other", ""
    if op.type == "SpatialBN" and len(shapes.get(op.input[0], (0, 0, 0))) < 3:
        yield "it takes no batches of vectors", "instead: ExpandDims in front and Squeeze behind"
    if op.type in _BROADCASTING and len(op.input) == 2:
        yield from _broadcasting(args, shapes.get(op.input[0]), shapes.get(op.input[1]))


def _broadcasting(
    args: Mapping[str, int], a: tuple[int | str | None, ...] | None, b: tuple[int | str | None, ...] | None
) -> Iterator[tuple[str, str]]:
    """There, the second operand is one block of the axes of the first, and ``broadcast=1`` says that it is smaller."""
    rule = "instead: broadcast=1, where the second operand is a block of the axes of the first"
    if a is None or b is None or a == b:
        return
    if not args.get("broadcast"):
        yield "operands of different shapes", rule
        return
    axis = args.get("axis", len(a) - len(b))
    if b not in ((1,), ()) and a[axis : axis + len(b)] != b:
        yield f"operands that do not broadcast: {_listed(a)} and {_listed(b)}", rule


def _listed(shape: tuple[int | str | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "a number"
