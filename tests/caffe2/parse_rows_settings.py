"""Rows for arguments at their defaults or odd values, for types, and for numbers that Caffe2 treats in its own way."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Array, Row, row
from caffe2.parse_rows_features import floats, i64
from caffe2.parse_rows_ragged import NEW


def i32(*numbers: int) -> Array:
    return np.array(numbers, np.int32)


def number(value: int, kind: type[np.generic] = np.int32) -> Array:
    return np.array([value], kind)


def doubles(*shape: int) -> Array:
    return np.random.default_rng(5).normal(size=shape)


LABELS = np.array([[[0, 1, -1]]], np.int32)
#: A row of four numbers of four bits, then scale and bias in half precision: infinite, no number, the largest.
ODD_HALVES = np.array(
    [[0x21, 0x43, *pair] for pair in ((0, 0x7C, 0, 0), (1, 0x7C, 0, 0), (255, 0x7B, 0, 0xFC))], np.uint8
)

DEFAULTS: list[Row] = [
    row("SplitByLengths X L -> A B", "A", "B", X=(2, 4), L=[1, 3]),
    row("SplitByLengths X L -> A B | order=NHWC", "A", "B", X=(2, 2, 2, 4), L=[1, 3]),
    row("Int8Quantize X -> x | Y_scale=0.02 Y_zero_point=120; Int8Quantize A -> a | Y_scale=0.02 Y_zero_point=120; "
        "Int8Concat x a -> y i | Y_scale=0.02 Y_zero_point=120; Int8Dequantize y -> Y", X=(1, 2, 3), A=(1, 2, 3)),
    row("ConstantFill -> A | shape=2, value=3; Copy X -> Y", "A", X=(1,)),
    row("ConstantFill X -> Y | value=3", X=(2, 1)),
    *(row(f"DiagonalFill -> A | shape=2,2 value={value}; Copy X -> Y", "A", X=(1,))
      for value in ("3", "3.5", "3 dtype=2", "3.5 dtype=13", "1 dtype=5", "4 dtype=10")),
    row("WeightedSigmoidCrossEntropyWithLogits X T W -> Y | log_D_trick=1", X=(2, 3), T=(2, 3), W=(2, 3)),
    row("SpatialSoftmaxWithLoss X L W -> P Y | scale=0.01", "Y", X=(1, 2, 1, 3), L=LABELS, W=(1, 1, 3)),
    row("SortedSegmentSum X I -> Y | num_segments=5", X=(3, 2), I=[0, 0, 1]),
    row("SparseSortedSegmentMean X J I -> Y | num_segments=5", X=(3, 2), J=i64(2, 0, 1), I=[0, 0, 1]),
    row("SortedSegmentRangeSum X I -> Y | num_segments=5", X=(3, 2), I=[0, 1, 1]),
    row("UnsortedSegmentSum X I -> Y | num_segments=5", X=(3, 2), I=[2, 0, 2]),
    row("Moments X -> M V | axes=1, keepdims=2", "M", "V", X=(2, 3)),
]  # fmt: skip

NUMBERS: list[Row] = [
    *(row("Range A B C -> Y", A=number(10), B=number(stop), C=number(-3), versions=NEW) for stop in (5, 4, 3, 12)),
    row("Range A B C -> Y", A=number(1, np.int64), B=number(6, np.int64), C=number(2, np.int64), versions=NEW),
    *(row(f"SinusoidPositionEncoding X -> Y | embedding_size={size}", X=i32(0, 1, -1, 7).reshape(4, 1))
      for size in (1, 4, 5)),
    row("BernoulliJSD P Q -> Y", P=floats(0, 1, 0.5, 1.2, 0.3, 1), Q=floats(0, 0, 0.5, 0.3, 1.1, 1)),
    row("Int8Quantize X -> x | Y_scale=0.02 Y_zero_point=120; Int8Dequantize x -> Y",
        X=floats(1e30, -1e30, np.nan, np.inf, -np.inf, 4.2e7, 4.3e7, -4.3e7, 9e5)),
    row("Fused4BitRowwiseQuantizedToFloat X -> Y", X=ODD_HALVES, versions=NEW),
    row("SparseLengthsSumFused4BitRowwise X I L -> Y", X=ODD_HALVES[:1], I=i64(), L=[0, 0], versions=NEW),
    row("FloatToRowwiseQuantized8Bits X -> Y S", "Y", "S", X=(4,)),
    row("ReduceTailSum X -> Y", X=(3,)),
    row("LabelCrossEntropy X L -> Y", X=(0, 4), L=[]),
    row("AffineChannel X S B -> Y", X=(2, 3, 2, 2), S=(5,), B=(4,)),
    row("AffineChannel X s b -> Y | order=NHWC", X=(2, 3, 2, 2), s=(3,), b=(4,)),
    row("ConstantFill X V -> Y", X=(2, 3), V=floats(-0.5), versions=NEW),
    row("ConstantFill X v -> Y | dtype=2", X=(2, 3), v=[7], versions=NEW),
    row("ConstantFill X V -> Y | dtype=5", X=(2, 3), V=np.array([True]), versions=NEW),
    row("ConstantFill X V -> Y | input_as_shape=1 dtype=10", X=i64(2, 3), V=i64(2**40), versions=NEW),
    row("FloatToFused4BitRowwiseQuantized X -> Y", X=np.float32([[1, 2e6, 3, 4], [1, 2, 3, 4], [-1e7, 2, 1, 0]]),
        versions=NEW),
    row("FloatToFused8BitRowwiseQuantized X -> Y", X=np.float32([[1, np.inf, 3, 4], [-np.inf, 2, 3, 4]])),
]  # fmt: skip

#: Rows whose smallest number is 0 and -0, in every order.
ZEROS = np.random.default_rng(0).choice(floats(0, -0.0, 1, 0.5), (60, 20))

SIGNS: list[Row] = [
    *(row(f"FloatToFused{kind} X -> Y", X=ZEROS, versions=NEW)
      for kind in ("8BitRowwiseQuantized", "8BitRowwiseQuantizedHalfScaleBias", "4BitRowwiseQuantized",
                   "4BitFakeRowwiseQuantized")),
    *(row(f"Half{kind} X -> Y", X=ZEROS.astype(np.float16), versions=NEW)
      for kind in ("FloatToFused8BitRowwiseQuantized", "ToFused4BitRowwiseQuantized",
                   "ToFused2BitFakeRowwiseQuantized")),
]  # fmt: skip

KINDS: list[Row] = [
    row("Mean A B -> Y", A=doubles(2, 3), B=doubles(2, 3), versions=NEW),
    row("SumRelu A B -> Y", A=doubles(2, 3), B=doubles(2, 3), versions=NEW),
    row("DepthConcat A B -> Y I", A=i64(1, 2).reshape(1, 2), B=i64(3).reshape(1, 1)),
    row("CopyOnDeviceLike X Z -> Y", X=i64(2, 3), Z=(1,)),
    row("Find I X -> Y", I=i64(3, 4, 5), X=i64(5, 3, 9)),
    row("ScatterWeightedSum X W I Z V -> X", "X", X=doubles(4, 3), W=floats(0.5), I=[2, 0], Z=doubles(2, 3),
        V=floats(-2), versions=NEW),
    row("BitwiseAnd X b -> Y", X=i64(6, 5), b=i64(3, 4)),
    row("MergeMultiScalarFeatureTensors L j a m I B -> N K V", "N", "K", "V", L=[1, 0, 2], j=i64(1, 2, 3), a=(3,),
        m=[0, 2, 1], I=i64(4, 5, 6), B=(3,)),
    *(row(f"Reshape X {shape} -> Y O; Reshape Y O -> Z P", "Y", "O", "Z", "P", X=(2, 3), S=[3, 2], s=[3, 2], I=i64(6))
      for shape in "SsI"),
    row("Add X b -> Y", X=doubles(2), b=np.array([0.5, -2])),
    row("GRUUnit H G l T -> Y", H=(1, 2, 3), G=(1, 2, 9), l=[3, 4], T=number(3)),
]  # fmt: skip

#: Rows of two numbers of four bits; the scale of the second one is NaN.
PRUNED_ROWS = np.array([[9, 200, 0, 60, 0, 62], [7, 1, 0, 126, 0, 0]], np.uint8)

#: Vectors, and blobs of more dimensions than their operator needs; more of an input than is used; NaN.
SHAPES: list[Row] = [
    row("CosineSimilarity A B -> Y", A=(5,), B=(5,)),
    row("L1Distance A B -> Y", A=(5,), B=(5,)),
    row("SquaredL2Distance A B -> Y", A=(5,), B=(5,)),
    row("MarginRankingCriterion A B y -> Y", A=(3, 1), B=(3,), y=[1, -1, 1]),
    row("MarginRankingCriterion A B y -> Y", A=(4,), B=(2, 2), y=np.array([[1], [-1], [1], [-1]], np.int32)),
    row("StumpFunc X -> Y | threshold=0.25 low_value=-1.5 high_value=2.5", X=floats(np.nan, 0.25, 0.5, -np.inf)),
    row("StumpFuncIndex X -> L H | threshold=0.25", "L", "H", X=floats(np.nan, 0.25, 0.5, -np.inf)),
    row("BatchOneHot X L V -> Y", X=i64(3, 1, 2, 3).reshape(2, 2), L=[1, 2], V=i64(3, 1, 2).reshape(3, 1)),
    row("BatchOneHot X L V -> Y", X=i64(3, 1, 2), L=[2], V=i64(3, 1)),
    row(
        "SparseLengthsSumSparseLookup I L M -> Y N",
        "Y",
        "N",
        I=i32(2, 0, 1, 1),
        L=[1, 2],
        M=i32(4, -1, 3),
        versions=NEW,
    ),
    row(
        "SparseLengthsSumSparseLookup I L M W -> Y N V",
        "Y",
        "N",
        "V",
        I=i32(2, 0, 1, 1),
        L=[1, 0, 2],
        M=i32(4, -1, 3),
        W=(4,),
        versions=NEW,
    ),
    row(
        "SparseLengthsSum4BitRowwiseSparse X I L M -> Y",
        X=PRUNED_ROWS,
        I=i32(0, 1, 2),
        L=[2, 1],
        M=i32(0, 0, -1).reshape(3, 1),
        versions=NEW,
    ),
    row(
        "SparseLengthsSum4BitRowwiseSparse X I L M -> Y",
        X=PRUNED_ROWS[::-1].copy(),
        I=i32(0, 1, 2),
        L=[2, 1],
        M=i32(-1, 1, -1),
        versions=NEW,
    ),
]

#: Lengths below 1, and others in a column.
SHORT: list[Row] = [
    *(row(f"Reduce{end}{kind} X L -> Y", X=(3, 3), L=[0, 2, -1])
      for end in ("Front", "Back") for kind in ("Sum", "Max", "Mean")),
    *(row(f"SequenceMask X L -> Y | mode={mode} axis=2 batch=0", X=(2, 2, 3), L=[1, 2, 0, 3])
      for mode in ("sequence", "window radius=0")),
    row("MergeMultiScalarFeatureTensors L J A m I B -> N K V", "N", "K", "V", L=np.array([[1], [0], [2]], np.int32),
        J=i64(1, 2, 3).reshape(3, 1), A=(3, 1), m=[0, 2, 1], I=i64(4, 5, 6).reshape(1, 3), B=(3,)),
    row("ReduceFrontWeightedSum X W -> Y", X=(2, 3), W=(5,)),
    row("DotProductWithPadding A B -> Y", A=(3,), B=(3,)),
    row("AddPadding X L -> Y N | padding_width=1", "Y", "N", X=(3,), L=np.array([[1], [2]], np.int32)),
    row("RemovePadding X L -> Y N | padding_width=1 end_padding_width=0", "Y", "N", X=(6, 2),
        L=np.array([[2], [3], [1]], np.int32)),
    row("MultiClassAccuracy X L -> Y N", "Y", "N", X=(5, 4, 1), L=[0, 2, 2, 1, 0], versions=NEW),
]  # fmt: skip

SETTINGS = [*SHAPES, *SHORT, *DEFAULTS, *NUMBERS, *SIGNS, *KINDS]
