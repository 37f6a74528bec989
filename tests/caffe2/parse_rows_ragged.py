"""Rows for operators on segments, on numbers that name their places, and on tables of few bits."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Row, row

NEW = ("1.10.2",)
LENGTHS = [2, 0, 3, 1]
IDS = [0, 0, 1, 1, 1, 2]
PICKED = np.array([4, 0, 2, 2, 1, 3], np.int64)
D = (6, 3)
TABLE = np.random.default_rng(5).integers(0, 256, (5, 4)).astype(np.uint8)
SCALES = np.random.default_rng(6).normal(size=(5, 2)).astype(np.float32)


def fused(bits: int, *, half: bool = True) -> np.ndarray:
    """A table of five rows with scale and bias, of either sign, at the end of each."""
    pairs = np.array([[0.5, -3], [0.01, 0.25], [1.5, 0], [2.0**-16, 7], [3, -0.1]], np.float16 if half else np.float32)
    data = np.random.default_rng(bits).integers(0, 256, (5, 4)).astype(np.uint8)
    return np.concatenate([data, pairs.view(np.uint8).reshape(5, -1)], axis=1)


_KINDS = ("Sum", "Mean", "Max")
_OLD_AND_NEW = ("1.0.0", "1.10.2")

SEGMENTS: list[Row] = [
    *(row(f"Lengths{kind} X L -> Y", X=D, L=LENGTHS) for kind in _KINDS),
    row("LengthsSum X L -> Y", X=(6,), L=LENGTHS),
    row("LengthsWeightedSum X W L -> Y", X=D, W=(6,), L=LENGTHS),
    *(row(f"SparseLengths{kind} X I L -> Y", X=(5, 3), I=PICKED, L=LENGTHS) for kind in ("Sum", "Mean")),
    row("SparseLengthsSum X I L -> Y", X=np.ones((5, 3), np.float16), I=PICKED, L=LENGTHS, versions=NEW),
    row("SparseLengthsWeightedSum X W I L -> Y", X=(5, 3), W=(6,), I=PICKED, L=LENGTHS),
    row("SparseLengthsPositionalWeightedSum X W I L -> Y", X=(5, 3), W=(4,), I=PICKED, L=LENGTHS),
    *(row(f"SortedSegment{kind} X S -> Y", X=D, S=IDS) for kind in ("Sum", "Mean")),
    row("SortedSegmentWeightedSum X W S -> Y", X=D, W=(6,), S=IDS),
    *(row(f"SortedSegmentRange{kind} X S -> Y", X=D, S=IDS) for kind in ("Sum", "Mean", "Max")),
    *(row(f"SortedSegmentRange{kind} X S -> Y", X=D, S=[0, 0, 1, 1, 1, 2]) for kind in ("LogSumExp", "LogMeanExp")),
    *(row(f"UnsortedSegment{kind} X S -> Y", X=D, S=[3, 0, 2, 0, 2, 2]) for kind in ("Sum", "Mean")),
    row("UnsortedSegmentSum X S -> Y | num_segments=6", X=D, S=[3, 0, 2, 0, 2, 2]),
    row("UnsortedSegmentWeightedSum X W S -> Y", X=D, W=(6,), S=[3, 0, 2, 0, 2, 2]),
    *(row(f"SparseSortedSegment{kind} X I S -> Y", X=(5, 3), I=PICKED, S=IDS) for kind in ("Sum", "Mean")),
    *(row(f"SparseUnsortedSegment{kind} X I S -> Y", X=(5, 3), I=PICKED, S=IDS) for kind in ("Sum", "Mean")),
    row("SparseSortedSegmentWeightedSum X W I S -> Y", X=(5, 3), W=(6,), I=PICKED, S=IDS),
    row("SparseUnsortedSegmentWeightedSum X W I S -> Y", X=(5, 3), W=(6,), I=PICKED, S=IDS),
    row("SegmentIdsToLengths S -> Y", S=[0, 0, 2, 2, 2, 3]),
    row("SegmentIdsToLengths S X -> Y", S=IDS, X=(6, 2)),
    row("SegmentIdsToRanges S -> Y", S=[0, 0, 2, 2, 2, 3]),
]

LENGTH_ROWS: list[Row] = [
    row("LengthsToSegmentIds L -> Y", L=LENGTHS),
    row("LengthsToRanges L -> Y", L=LENGTHS),
    row("LengthsToOffsets L -> Y", L=LENGTHS, versions=NEW),
    row("LengthsToOffsets L -> Y | include_last_offset=1", L=LENGTHS, versions=NEW),
    row("LengthsToWeights L -> Y", L=LENGTHS),
    row("LengthsToWeights L -> Y | power=1.5", L=LENGTHS),
    row("LengthsRangeFill L -> Y", L=LENGTHS),
    row("LengthsTile X L -> Y", X=(4, 3), L=LENGTHS),
    row("LengthsGather X L I -> Y", X=D, L=LENGTHS, I=[2, 0, 2, 1]),
    row("LengthsSplit L -> Y | n_split=3", L=[7, 0, 2, 6], versions=NEW),
    row("LengthsSplit L N -> Y", L=[7, 0, 2, 6], N=[2], versions=NEW),
    row("LengthsPad X L -> Y | target_length=4 padding_value=-2.5", X=D, L=LENGTHS, versions=NEW),
    row("LengthsPad X L -> Y | target_length=3", X=(6,), L=LENGTHS, versions=NEW),
    row("PackSegments L X -> Y", L=LENGTHS, X=D),
    row("PackSegments L X -> Y | pad_minf=1", L=LENGTHS, X=D),
    row("PackSegments L X -> Y P | return_presence_mask=1", "Y", "P", L=LENGTHS, X=D),
    row("PackSegments L X -> Y | max_length=2", L=LENGTHS, X=D, versions=NEW),
    row("PackSegments L X -> Y | max_length=5", L=LENGTHS, X=D, versions=NEW),
    row("UnpackSegments L X -> Y", L=LENGTHS, X=(4, 3, 2)),
    row("AddPadding X L -> Y N | padding_width=2 end_padding_width=1", "Y", "N", X=D, L=LENGTHS),
    row("AddPadding X L S -> Y N", "Y", "N", X=D, L=LENGTHS, S=(3,)),
    row("AddPadding X L S E -> Y N | padding_width=2", "Y", "N", X=D, L=LENGTHS, S=(3,), E=(3,)),
    row("AddPadding X -> Y N", "Y", "N", X=D),
    row("AddPadding X L -> Y N | padding_width=0", "Y", "N", X=D, L=LENGTHS),
    row("RemovePadding X L -> Y N | padding_width=1 end_padding_width=0", "Y", "N", X=D, L=[2, 3, 1]),
    row("GatherPadding X L -> S E | padding_width=1 end_padding_width=2", "S", "E", X=D, L=[2, 4]),
    row("GatherPadding X L -> S | padding_width=1", X=D, L=[2, 4]),
    row("ReversePackedSegs X L -> Y", X=(4, 3, 2), L=[2, 0, 4]),
    row("SplitByLengths X L -> A B | axis=1", "A", "B", X=(2, 6), L=[1, 0, 3, 2], versions=NEW),
    row("SplitByLengths X L -> A B | axis=0 use_scaling_lengths=1", "A", "B", X=(6, 2), L=[1, 2], versions=NEW),
    row(
        "GatherRangesToDense X R -> A B | lengths=1,2",
        "A",
        "B",
        X=(6,),
        R=np.array([[[0, 1], [2, 2]], [[4, 1], [5, 0]]], np.int32),
    ),
    row("SequenceMask X L -> Y | mode=sequence fill_val=-9.0", X=(4, 5), L=LENGTHS),
    row("SequenceMask X L -> Y | mode=window radius=1 fill_val=-9.0", X=(4, 5), L=LENGTHS),
    *(
        row(f"SequenceMask X -> Y | mode={mode} fill_val=-9.0", X=(4, 5))
        for mode in ("upper", "lower", "upperdiag", "lowerdiag")
    ),
    row("SequenceMask X -> Y | mode=upper axis=2 fill_val=-9.0", X=(2, 3, 5)),
    row("GatherRanges X R -> Y L", "Y", "L", X=(6,), R=np.array([[[0, 1], [2, 2]], [[4, 1], [5, 1]]], np.int32)),
]

SPARSE: list[Row] = [
    row("SparseToDense I X -> Y", I=[2, 0, 2], X=(3, 2)),
    row("SparseToDense I X F -> Y", I=[2, 0, 2], X=(3, 2), F=(5, 1)),
    row("SparseToDense I X -> Y | output_first_dim=6", I=[2, 0, 2], X=(3, 2), versions=NEW),
    row(
        "BatchSparseToDense L I V -> Y | dense_last_dim=4 default_value=2.5",
        L=[2, 1],
        I=np.array([3, 0, 2], np.int64),
        V=(3,),
        versions=NEW,
    ),
    row("BatchSparseToDense L I V F -> Y", L=[2, 1], I=np.array([3, 0, 2], np.int64), V=(3,), F=(2, 4), versions=NEW),
    row("BatchDenseToSparse L I X -> Y", L=[2, 1], I=np.array([3, 0, 2], np.int64), X=(2, 4), versions=NEW),
    row("SparseToDenseMask I X E -> Y | mask=7,2,5", I=[2, 9, 7], X=(3, 2), E=(2,)),
    row(
        "SparseToDenseMask I X E L -> Y P | mask=7,2,5 return_presence_mask=1",
        "Y",
        "P",
        I=[2, 9, 7, 5],
        X=(4, 2),
        E=(2,),
        L=[2, 0, 2],
    ),
    row("Find I X -> Y", I=[7, 4, 7, 0], X=[[4, 7], [1, 0]]),
    row("Find I X -> Y | missing_value=-5", I=[7, 4], X=[4, 7, 1]),
    row("Unique X -> Y", X=[5, 2, 5, 2, 9]),
    row("Unique X -> Y R", "Y", "R", X=np.array([5, 2, 5, 2, 9], np.int64)),
    row("IsMemberOf X -> Y | value=3,1", X=[[1, 2], [3, 4]]),
    row("IsMemberOf X -> Y | value=3,1", X=np.array([1, 2, 3], np.int64)),
    row(
        "BooleanUnmask A X B Z -> Y", A=np.array([True, False, False]), B=np.array([False, True, True]), X=(1,), Z=(2,)
    ),
    row("RemoveDataBlocks X I -> Y", X=(5, 3), I=[3, 0, 3]),
    row("FindDuplicateElements X -> Y", X=[5, 2, 5, 2, 9, 5]),
    row("Gather X I -> Y | axis=1 match_outer=1", X=(2, 5, 3), I=[[4, 0], [2, 2]], versions=NEW),
    row("BatchGather X I -> Y | match_outer=1", X=(2, 5, 3), I=[[4, 0, 1], [2, 2, 3]], versions=NEW),
    row("BooleanMask X M -> Y I", "Y", "I", X=(5,), M=np.array([True, False, True, True, False])),
    row("TopK X -> V I F | k=2", "V", "I", "F", X=(3, 5)),
    row("TopK X -> V I F | k=2 axis=0", "V", "I", "F", X=(5, 3)),
    row("TopK X -> V I F | k=7", "V", "I", "F", X=(3, 5), versions=NEW),
]

BUCKETS: list[Row] = [
    row(
        "Bucketize X -> Y | boundaries=-0.5,0.0,0.5,",
        X=np.array([[-1, -0.5, 0], [0.2, 0.5, 9]], np.float32),
        versions=NEW,
    ),
    row("BatchBucketize X I B L -> Y", X=(4, 3), I=[2, 0], B=np.array([-0.5, 0.5, 0], np.float32), L=[2, 1]),
    row("OneHot I N -> Y", I=np.array([2, 0, 3], np.int64), N=np.array([4], np.int64)),
    row("SegmentOneHot L I N -> Y", L=[2, 1], I=np.array([3, 0, 2], np.int64), N=np.array([4], np.int64)),
    row("BatchOneHot X L V -> Y", X=[[11, 2], [12, 3], [13, 2]], L=[3, 2], V=[11, 12, 14, 2, 3]),
    row("BatchBucketOneHot X L B -> Y", X=(4, 2), L=[2, 1], B=np.array([-0.5, 0.5, 0], np.float32)),
    row("BatchBucketOneHot X L B -> Y", X=np.zeros((1, 1), np.float32), L=[3], B=np.zeros(3, np.float32)),
]

ROWWISE: list[Row] = [
    row("Rowwise8BitQuantizedToFloat X S -> Y", X=TABLE, S=SCALES),
    row("FloatToRowwiseQuantized8Bits X -> Y S", "Y", "S", X=(5, 4)),
    row("SparseLengthsSum8BitsRowwise X I L S -> Y", X=TABLE, S=SCALES, I=PICKED, L=LENGTHS),
    row("SparseLengthsMean8BitsRowwise X I L S -> Y", X=TABLE, S=SCALES, I=PICKED, L=LENGTHS),
    row("SparseLengthsWeightedSum8BitsRowwise X W I L S -> Y", X=TABLE, S=SCALES, I=PICKED, L=LENGTHS, W=(6,)),
    row("SparseLengthsWeightedMean8BitsRowwise X W I L S -> Y", X=TABLE, S=SCALES, I=PICKED, L=LENGTHS, W=(6,)),
    row("Fused8BitRowwiseQuantizedToFloat X -> Y", X=fused(8, half=False)),
    row("Fused8BitRowwiseQuantizedHalfScaleBiasToFloat X -> Y", X=fused(8), versions=NEW),
    *(row(f"Fused{bits}BitRowwiseQuantizedToFloat X -> Y", X=fused(bits), versions=NEW) for bits in (4, 2)),
    *(
        row(
            f"SparseLengths{kind}Fused{bits}BitRowwise X I L -> Y",
            X=fused(bits, half=bits < 8),
            I=PICKED,
            L=LENGTHS,
            versions=NEW if bits < 8 else _OLD_AND_NEW,
        )
        for kind in ("Sum", "Mean")
        for bits in (8, 4, 2)
    ),
    *(
        row(
            f"SparseLengthsWeightedSumFused{bits}BitRowwise X W I L -> Y",
            X=fused(bits, half=bits < 8),
            I=PICKED,
            L=LENGTHS,
            W=(6,),
            versions=NEW if bits < 8 else _OLD_AND_NEW,
        )
        for bits in (8, 4, 2)
    ),
]

RAGGED: list[Row] = [*SEGMENTS, *LENGTH_ROWS, *SPARSE, *BUCKETS, *ROWWISE]
