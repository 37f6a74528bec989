"""What a net's inputs must be, from the operators that read them: Caffe2's files do not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from retorch.caffe2.control import net_of, nets_of
from retorch.caffe2.parse.graph import Array
from retorch.caffe2.proto.caffe2_pb2 import NetDef, OperatorDef

#: The sizes of a tensor: a number, the name of one that may vary, None for an unknown one without a name.
Sizes: TypeAlias = tuple[int | str | None, ...]

#: Operators whose first output, of Split all, has the shape and the type of the first input.
_POINTWISE = """
Relu Sigmoid Tanh Exp Log Sqrt Abs Sign Floor Ceil Softsign LeakyRelu PRelu Elu Selu Clip Copy Alias StopGradient
EnsureCPUOutput AliasWithName Scale Softmax Dropout Negative Sqr Add Sub Mul Div Sum LRN CopyCPUToIDEEP CopyIDEEPToCPU
"""
_MOVING = "Reshape ExpandDims Squeeze Transpose Flatten Slice Tile Concat Split FlattenToVec"
_IMAGES = """
LRN MaxPool AveragePool LpPool PadImage ResizeNearest UpsampleBilinear ConvTranspose InstanceNorm LC SpatialBN NCHW2NHWC
NHWC2NCHW
"""
_INDICES = frozenset(
    {
        ("Gather", 1),
        ("BatchGather", 1),
        ("OneHot", 0),
        ("OneHot", 1),
        ("ScatterAssign", 1),
        ("WeightScale", 1),
        ("ONNXWhile", 0),
    }
)
_CHOICES = frozenset({("If", 0), ("While", 0), ("Where", 0), ("BooleanMask", 1), ("ONNXWhile", 1)})
#: Operators of several types of input: numbers of rows and segments beside numbers.
_MIXED = """
Lengths SparseLengths SortedSegment UnsortedSegment SparseSortedSegment SparseUnsortedSegment SegmentIds SegmentOneHot
BatchOneHot BatchBucket Bucketize PackSegments UnpackSegments AddPadding RemovePadding GatherPadding ReversePackedSegs
SplitByLengths GatherRanges SequenceMask AsyncNetBarrier
SparseToDense BatchSparseToDense BatchDenseToSparse Find Unique IsMemberOf BooleanUnmask
RemoveDataBlocks Bitwise SoftmaxWithLoss SpatialSoftmaxWithLoss LabelCrossEntropy Accuracy MarginRanking
CosineEmbedding Sinusoid SquareRootDivide Conditional WeightScale Fused Rowwise8 Packed GaussianFill UniformFill
Partition GatherByKey KeySplit Merge IndexHash Histogram SelfBinning Quantile Percentile FlexibleTopK CopyRows
ScatterWeighted TT QuantDecode ByteWeight ConcatBatchMatMul BatchPermutation MultiClassAccuracy Perplexity HSoftmax
HalfTo HalfFloatTo PadEmpty LambdaRank BooleanMaskLengths Summarize Scatter SumInt IsNaN SwapBest
ReduceBack ReduceFront SumElementsInt SumReduceLike RecurrentNetwork GRUUnit LSTMUnit DiagonalFill Int8 NanCheck
CTC PackRNN UnpackRNN ONNXWhile
"""
_GENERAL = """
Where BooleanMask Gather BatchGather Cast EQ NE GT GE LT LE Mod ResizeLike Shape Size ConstantFill Range LSTMUnit
NumpyTile Expand ScatterAssign MergeDim PrependDim ReduceSum ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ArgMax
ArgMin TopK Sign Max Min Mean Cube Sqrt Scale SumSqrElements ReplaceNaN SumRelu If While Do
"""
_SAME_SHAPE = frozenset(_POINTWISE.split())
_SAME_TYPE = _SAME_SHAPE | frozenset(_MOVING.split())
_PICTURES = frozenset(_IMAGES.split())
_ANY_ARITHMETIC = """
Copy Alias StopGradient EnsureCPUOutput Add Sub Mul Div Sum Negative Abs AliasWithName Identity Snapshot EnsureDense
CopyFromCPUInput CopyCPUToGPU CopyGPUToCPU CopyOnDeviceLike DepthConcat DepthSplit UnsafeCoalesce SumRelu Mean RMSNorm
"""
#: Operators that read nothing but integers, and inputs of others that hold them.
_WHOLE = (
    *("Bitwise", "LengthsTo", "LengthsRange", "LengthsSplit", "SegmentIds", "Unique", "IsMemberOf", "Find"),
    *("SegmentOneHot", "BatchOneHot", "Sinusoid", "SumElementsInt", "IndexHash", "KeySplit", "MergeIdLists", "SumInt"),
    "Mod",
)
_COUNTS = frozenset(
    (name, at)
    for names, places in (
        ("PackSegments UnpackSegments BatchSparseToDense BatchDenseToSparse SparseToDense SparseToDenseMask", (0,)),
        ("AddPadding RemovePadding GatherPadding ReversePackedSegs SplitByLengths GatherRanges RemoveDataBlocks", (1,)),
        ("SoftmaxWithLoss SpatialSoftmaxWithLoss LabelCrossEntropy Accuracy WeightScale BatchBucketOneHot", (1,)),
        ("BatchSparseToDense BatchDenseToSparse BatchBucketize SparseToDenseMask", (1,)),
        ("BatchBucketize SparseToDenseMask", (3,)),
        ("Partition GatherByKey", (0,)),
        ("LengthsPartition", (0, 1)),
        ("SwapBestPath FlexibleTopK MultiClassAccuracy Perplexity", (1,)),
        ("CopyRowsToTensor BatchPermutation BooleanMaskLengths", (1,)),
        ("PackRNNSequence UnpackRNNSequence CTCGreedyDecoder CTCBeamSearchDecoder", (1,)),
        ("Percentile ScatterWeightedSum", (2,)),
        ("Slice Tile", (1, 2)),
        ("LSTMUnit", (3, 4)),
        ("GRUUnit", (2, 3)),
        ("Expand NumpyTile Reshape", (1,)),
        ("ReduceBackMax ReduceBackMean ReduceBackSum ReduceFrontMax ReduceFrontMean ReduceFrontSum", (1,)),
    )
    for name in names.split()
    for at in places
)
#: Operators whose inputs are all of one type.
_TOGETHER = frozenset("Add Sub Mul Div Sum Concat EQ NE GT GE LT LE Max Min".split())
_MIXED_PREFIXES = tuple(_MIXED.split())
_ANY_TYPE = frozenset(f"{_GENERAL} {_MOVING} {_ANY_ARITHMETIC}".split())


@dataclass(frozen=True, slots=True)
class Guess:
    """What is known of an input: ``shape`` None where not even its rank is, ``dtype`` None where several types will do.

    ``likely`` is the type that is taken where nobody says which.
    """

    shape: Sizes | None
    dtype: ir.DataType | None
    likely: ir.DataType


def guess(net: NetDef, params: Mapping[str, Array], blob: str) -> Guess:
    """The shape and type that the first operators to read ``blob`` ask for.

    A convolution gives the rank and the number of channels, other operators on pictures the rank, FC a matrix with as
    many columns as its weights; pointwise operators pass the question on to who reads their result. Indices are int64,
    conditions bool, nearly everything else is float32; operators that only move elements, and those of arithmetic,
    take every type.
    """
    shapes = (_shape(operator, params) for operator, at in _readers(net, blob, _SAME_SHAPE) if at == 0)
    readers = list(_readers(net, blob, _SAME_TYPE))
    types = (_type(operator, position) for operator, position in readers)
    whole = any(_is_integer(operator, position) for operator, position in readers)
    likely = type_beside(net, params, blob) or (ir.DataType.INT32 if whole else ir.DataType.FLOAT)
    return Guess(next(filter(None, shapes), None), next(filter(None, types), None), likely)


def is_index(net: NetDef, blob: str) -> bool:
    """Whether an operator reads the blob as places, which are integers of either size."""
    return any((operator.type, position) in _INDICES for operator, position in _readers(net, blob, _SAME_TYPE))


def type_beside(net: NetDef, params: Mapping[str, Array], blob: str) -> ir.DataType | None:
    """The type of a weight that an operator reads together with the blob, where both have to be of one."""
    for operator, _ in _readers(net, blob, _SAME_TYPE):
        weights = [params[name] for name in operator.input if name in params]
        if operator.type in _TOGETHER and weights:
            return ir.DataType.from_numpy(weights[0].dtype)
    return None


def _is_integer(operator: OperatorDef, position: int) -> bool:
    """Whether integers are read there, of one size or another."""
    if operator.type.startswith(_WHOLE):
        return True
    if operator.type.startswith(("Lengths", "SparseLengths", "SortedSegment", "UnsortedSegment")):
        return position > ("Weighted" in operator.type)
    return (operator.type, position) in _COUNTS


def _readers(net: NetDef, blob: str, through: frozenset[str]) -> Iterator[tuple[OperatorDef, int]]:
    """The operators that read the blob, and where; also behind those of the kinds ``through``, and inside others."""
    names = {blob}
    for operator in net.op:
        for position, name in enumerate(operator.input):
            if name in names:
                yield operator, position
        for inner in (*nets_of(operator), *_steps(operator)):
            for name in names:
                yield from _readers(inner, name, through)
        if operator.input and operator.input[0] in names and operator.type in through:
            names.update(operator.output if operator.type == "Split" else operator.output[:1])
        else:
            names.difference_update(operator.output)


def _steps(operator: OperatorDef) -> list[NetDef]:
    """The net of one time step, which reads further blobs of the net around it by their names."""
    step = net_of(operator, "step_net") if operator.type == "RecurrentNetwork" else None
    return [] if step is None else [step]


def _argument(operator: OperatorDef, name: str, default: int) -> int:
    return next((argument.i for argument in operator.arg if argument.name == name), default)


def _shape(operator: OperatorDef, params: Mapping[str, Array]) -> Sizes | None:
    weight = params[operator.input[1]] if len(operator.input) > 1 and operator.input[1] in params else None
    last = any(argument.name == "order" and argument.s == b"NHWC" for argument in operator.arg)
    if operator.type in ("Conv", "Conv2D", "ConvTranspose") and weight is not None and weight.ndim > 2:
        inner = weight.shape[-1] if last else weight.shape[1]
        channels = weight.shape[0] if operator.type == "ConvTranspose" else inner * _argument(operator, "group", 1)
        spatial = ("D", "H", "W")[5 - weight.ndim :] if weight.ndim <= 5 else (None,) * (weight.ndim - 2)
        return ("N", *spatial, channels) if last else ("N", channels, *spatial)
    if operator.type == "FC" and weight is not None and _argument(operator, "axis", 1) == 1:
        return ("N", weight.size // weight.shape[0])
    if operator.type in _PICTURES and _kernel_dimensions(operator) == 2:
        return ("N", "H", "W", "C") if last else ("N", "C", "H", "W")
    return None


def _kernel_dimensions(operator: OperatorDef) -> int:
    return next((len(argument.ints) for argument in operator.arg if argument.name == "kernels"), 2)


def _type(operator: OperatorDef, position: int) -> ir.DataType | None:
    """The type that an operator asks for at an input; None where it takes several."""
    if (operator.type, position) in _INDICES:
        return ir.DataType.INT64
    if operator.type in ("And", "Or", "Xor", "Not") or (operator.type, position) in _CHOICES:
        return ir.DataType.BOOL
    several = operator.type in _ANY_TYPE or operator.type.startswith(_MIXED_PREFIXES)
    return None if several else ir.DataType.FLOAT
