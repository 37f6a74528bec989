"""Where one net means two things: what the Caffe2 of torch 1.0 does otherwise than that of torch 1.10.

Each entry was run in both. What is told begins with the blob and its operator; what follows is the Caffe2 of torch 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from retorch.caffe2.arguments import argument
from retorch.caffe2.device import placed
from retorch.caffe2.files import Caffe2Net
from retorch.caffe2.proto.caffe2_pb2 import OperatorDef

#: Shapes by blob, as far as they are known; a size that varies is not a number.
Shapes = Mapping[str, tuple[int | str | None, ...]]
#: How many blobs a note names.
_NAMED = 3

#: Operators that came later, or had no CPU form.
_MISSING = frozenset(
    """
    AliasWithName AsyncNetBarrier BatchPermutation Bucketize CollectRpnProposals ConcatBatchMatMulBatchGatherOp ConvRelu
    CopyRowsToTensor DenseVectorToIdList DistributeFpnProposals Erf Float16ConstantFill Float16UniformFill
    FloatToFused2BitFakeRowwiseQuantized FloatToFused2BitRowwiseQuantized FloatToFused4BitFakeRowwiseQuantized
    FloatToFused4BitRowwiseQuantized FloatToFused8BitRowwiseQuantizedHalfScaleBias FloatToHalf
    Fused2BitRowwiseQuantizedToFloat Fused2BitRowwiseQuantizedToHalf Fused4BitRowwiseQuantizedToFloat
    Fused4BitRowwiseQuantizedToHalf Fused8BitRowwiseQuantizedHalfScaleBiasToFloat
    Fused8BitRowwiseQuantizedHalfScaleBiasToHalfFloat Gelu GivenTensorInt16Fill
    HalfFloatToFused8BitRowwiseQuantizedHalfScaleBias HalfToFloat HalfToFused2BitFakeRowwiseQuantized
    HalfToFused2BitRowwiseQuantized HalfToFused4BitFakeRowwiseQuantized HalfToFused4BitRowwiseQuantized Histogram
    InferenceLSTM Int8FCPackWeight Int8GenQuantParams Int8Transpose IsNaN LengthsToOffsets Log1p MaxPoolWithIndex
    MergeDenseFeatureTensors Mish Quantile RMSNorm ResizeNearest3D ScaleBlobs Scatter SelfBinningHistogram
    SparseLengthsMax SparseLengthsMean2BitRowwiseSparse SparseLengthsMean4BitRowwiseSparse
    SparseLengthsMean8BitRowwiseSparse SparseLengthsMeanFused2BitRowwise SparseLengthsMeanFused4BitRowwise
    SparseLengthsSum2BitRowwiseSparse SparseLengthsSum4BitRowwiseSparse SparseLengthsSum8BitRowwiseSparse
    SparseLengthsSumFused2BitRowwise SparseLengthsSumFused4BitRowwise SparseLengthsSumSparseLookup
    SparseLengthsWeightedSum2BitRowwiseSparse SparseLengthsWeightedSum4BitRowwiseSparse
    SparseLengthsWeightedSum8BitRowwiseSparse SparseLengthsWeightedSumFused2BitRowwise
    SparseLengthsWeightedSumFused4BitRowwise StringEquals SumRelu TTSparseLengthsSum UnsafeCoalesce WeightScale
    """.split()
)
#: Arguments that are passed over, unless they say what goes without saying.
_PASSED_OVER: Mapping[tuple[str, str], int] = {
    ("AveragePool", "count_include_pad"): 0,
    ("BatchGather", "match_outer"): 0,
    ("BoxWithNMSLimit", "cls_agnostic_bbox_reg"): 0,
    ("BoxWithNMSLimit", "input_boxes_include_bg_cls"): 1,
    ("BoxWithNMSLimit", "output_classes_include_bg_cls"): 1,
    ("ConvTranspose", "group"): 1,
    ("Gather", "match_outer"): 0,
    ("Int8RoIAlign", "aligned"): 0,
    ("RoIAlign", "aligned"): 0,
    ("RoIAlignRotated", "aligned"): 0,
    ("SoftmaxWithLoss", "average_by_batch_size"): 0,
    ("SplitByLengths", "use_scaling_lengths"): 0,
}
#: Operators that take no more inputs than so many.
_INPUTS = {"ConstantFill": 1, "HasElements": 1, "Int8Quantize": 1, "LayerNorm": 1, "TopK": 1}
_DRAWING = ("GaussianFill", "UniformFill", "UniformIntFill", "XavierFill", "MSRAFill")
_NOISY = "PackedInt8BGRANHWCToNCHWCStylizerPreprocess"


@dataclass(frozen=True, slots=True)
class _Seen:
    """One operator with its device, and the number of dimensions of its first input, where that is known."""

    op: OperatorDef
    rank: int | None

    def whole(self, name: str, default: int) -> int:
        """An integer argument; what is no integer counts as missing."""
        found = argument(self.op, name)
        return found.i if found is not None and found.HasField("i") else default

    def has(self, name: str) -> bool:
        return argument(self.op, name) is not None

    def is_last(self) -> bool:
        """Whether the channels come last."""
        order = argument(self.op, "order")
        return order is not None and order.s == b"NHWC"

    def is_seeded(self) -> bool:
        return self.op.device_option.HasField("random_seed")

    def is_short(self) -> bool:
        """Whether a Slice begins in fewer dimensions than its input has."""
        starts = argument(self.op, "starts")
        return starts is not None and self.rank is not None and len(starts.ints) < self.rank


_When: TypeAlias = Callable[[_Seen], bool]
_BOXES = ("BBoxTransform", "GenerateProposals", "GenerateProposalsCPP")
#: Operators, when they are understood differently, and how.
_RULES: tuple[tuple[tuple[str, ...], _When, str], ...] = (
    (("ResizeNearest", "ChannelStats"), _Seen.is_last, "passes over order=NHWC and takes the picture for NCHW"),
    (
        _BOXES,
        lambda at: not at.whole("correct_transform_coords", 0),
        "gives boxes that are a pixel larger without correct_transform_coords=1",
    ),
    (("LRN",), lambda at: at.whole("size", 1) % 2 == 0, "ends its process: the size is even"),
    (("Tile",), lambda at: at.whole("axis", 0) < 0, "ends its process: the axis is below 0"),
    (
        ("Int8RoIAlign",),
        lambda at: at.whole("sampling_ratio", -1) < 0,
        "ends its process: the sampling_ratio is below 0, where 0 means the same",
    ),
    (("CTCBeamSearchDecoder",), lambda at: len(at.op.output) > 2, "gives two outputs only, and one candidate"),
    (("Slice",), _Seen.is_short, "ends its process: there are fewer starts than dimensions"),
    (("SpatialBN",), lambda at: at.rank == 2, "takes no batches of vectors"),
    (_DRAWING, _Seen.is_seeded, "draws other numbers from the same random_seed"),
    ((_NOISY,), lambda at: at.is_seeded() and at.has("noise_std"), "draws other noise from the same random_seed"),
    (("BatchDenseToSparse", "BatchSparseToDense"), lambda _: True, "takes lengths and indices of int64 only"),
    (("Int8Sigmoid",), lambda _: True, "gives other numbers"),
    (("Int8LeakyRelu",), lambda _: True, "wants one zero point for input and output, and may be off by one step"),
    (("Int8Slice",), lambda at: not at.has("starts"), "knows no dim, start_idx and end_idx: it has to have starts"),
    (("Int8ResizeNearest",), lambda at: at.has("output_size"), "passes over output_size"),
    (("FloatToFused8BitRowwiseQuantized",), lambda at: at.rank not in (None, 2), "takes a matrix only"),
    (("PackSegments",), lambda at: at.whole("max_length", -1) >= 0, "refuses segments that are longer than max_length"),
    (("Range",), lambda at: at.rank not in (None, 0), "takes numbers without dimensions only"),
    (("GatherRangesToDense",), lambda _: True, "refuses ranges of another length than lengths says"),
    (("C10LayerNorm_DontUseThisOpYet",), lambda at: len(at.op.input) > 1, "passes over the scale and the bias"),
)


def release_differences(net: Caffe2Net, shapes: Shapes | None = None) -> list[str]:
    """What a net means to the Caffe2 in torch 1.0, where that is something else than in torch 1.10, or does not load.

    ``shapes`` are those of blobs, as far as they are known; those of parameters are known anyway.
    """
    known = {**(shapes or {}), **{name: array.shape for name, array in net.params.items()}}
    found: dict[tuple[str, str], list[str]] = {}
    for op in net.predict.op:
        first = known.get(op.input[0]) if op.input else None
        for said in _differences(_Seen(placed(op, net.predict), None if first is None else len(first))):
            found.setdefault((op.type, said), []).append(op.output[0] if op.output else op.type)
    for name, array in net.params.items():
        if array.dtype == np.int16:
            found.setdefault(("GivenTensorInt16Fill", "has no such operator"), []).append(name)
    return [f"{_listed(blobs)}: {kind}: the Caffe2 of torch 1.0 {said}" for (kind, said), blobs in found.items()]


def _listed(blobs: list[str]) -> str:
    more = len(blobs) - _NAMED
    return ", ".join(blobs[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _differences(at: _Seen) -> Iterator[str]:
    kind = at.op.type
    if kind in _MISSING:
        yield "has no such operator"
        return
    if len(at.op.input) > _INPUTS.get(kind, len(at.op.input)):
        yield f"takes {_INPUTS[kind]} input, and there are {len(at.op.input)}"
    for (operator, name), default in _PASSED_OVER.items():
        if operator == kind and at.whole(name, default) != default:
            yield f"passes over {name}={at.whole(name, default)}"
    if not at.whole("legacy_plus_one", 1):
        yield "passes over legacy_plus_one=0"
    for kinds, when, said in _RULES:
        if kind in kinds and when(at):
            yield said
