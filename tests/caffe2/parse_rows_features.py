"""Rows for keys, lists of ids, features of examples, and numbers by their rank."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Array, Row, row
from caffe2.parse_rows_ragged import LENGTHS, NEW

KEYS = np.array([7, -3, 4, 0, 11, -8], np.int64)
THERE = [np.array(each, bool) for each in ([True, False, True], [False, False, True])]
RANGES = np.array([[[0, 1], [2, 2]], [[4, 1], [4, 2]], [[3, 0], [1, 3]]], np.int32)
#: Distributions of two columns: four samples and three.
PAIRS = np.array([[-1, 0.1], [0, 0.3], [0.5, 0.35], [2, 0.9], [-2, 0.2], [0, 0.5], [1, 1]], np.float32)
POINTS = np.array([[-1, 0.25], [-1.5, -3], [0.2, 1], [3, 0.5], [2, -2], [0, 0]], np.float32)
EDGES = np.array([[-2, -1, 0.5, 1], [-1, 0, 0.25, 3]], np.float32)


def i64(*numbers: int) -> Array:
    """A vector of int64."""
    return np.array(numbers, np.int64)


def floats(*numbers: float) -> Array:
    """A vector of float32."""
    return np.array(numbers, np.float32)


DEALT: list[Row] = [
    row("Partition K X -> A P B Q", "A", "P", "B", "Q", K=KEYS, X=(6, 2)),
    row("Partition K -> A B C | pack_first_input=1", "A", "B", "C", K=KEYS),
    row("Partition K X -> A P B Q", "A", "P", "B", "Q", K=KEYS.reshape(2, 3), X=(2, 3, 4)),
    row("Partition K X -> A P B Q", "A", "P", "B", "Q", K=[3, -2, 4, 5], X=(4,)),
    row("LengthsPartition L K X -> M A P N B Q", "M", "A", "P", "N", "B", "Q", L=LENGTHS, K=KEYS, X=(6, 2)),
    row("LengthsPartition L K -> M A N B | pack_first_input=1", "M", "A", "N", "B", L=LENGTHS, K=KEYS),
    row("LengthsPartition L K -> M A", "M", "A", L=LENGTHS, K=KEYS),
    row("GatherByKey K X Z -> Y", K=KEYS, X=(3, 2), Z=(3, 2), versions=NEW),
    row("KeySplit K -> A B C | categorical_limit=3", "A", "B", "C", K=i64(2, 0, 2, 2), versions=NEW),
    row("MergeIdLists L I M J -> N V", "N", "V", L=[2, 0, 1], I=i64(5, 3, 9), M=[1, 2, 1], J=i64(3, 4, 4, 1)),
    row("DenseVectorToIdList X -> L V", "L", "V", X=floats(0, 1, 0.4, 0.6, -0.7, -1.6).reshape(2, 3), versions=NEW),
    row(
        "GatherRangesToDense X R K -> A B | lengths=1,2",
        "A",
        "B",
        X=(6,),
        R=RANGES,
        K=i64(5, 4, 3, 2, 1, 0),
        versions=NEW,
    ),
    row("LengthsTopK X L -> V I | k=2", "V", "I", X=(6,), L=LENGTHS),
    row("LengthsTopK X L -> V I | k=5", "V", "I", X=floats(1, 2, 2, -9, 2, 4), L=LENGTHS),
    row("FlexibleTopK X K -> V I", "V", "I", X=(2, 2, 5), K=i64(1, 5, 2, 3).reshape(2, 2, 1)),
    row("LengthsToShape L -> Y", L=[4, 4, 4]),
    row(
        "NGramFromCategorical X -> Y | col_ids=0,2 categorical_limits=2,3 vals=4,1,3,-3,7",
        X=floats(1.2, 9, -2.5, 4, 9, 8, 3.5, 0, 6.5).reshape(3, 3),
    ),
    row("IndexHash I -> Y | seed=7 modulo=1000", I=[-5, 0, 123456, 2147483647], versions=NEW),
    row("IndexHash I -> Y | seed=-2 modulo=1000003", I=i64(-5, 0, 1 << 62, 255), versions=NEW),
]

FEATURES: list[Row] = [
    row("MergeDenseFeatureTensors X P -> L K V | feature_ids=11,22,33", "L", "K", "V", X=(2, 3), P=np.stack(THERE),
        versions=NEW),
    row(
        "MergeSingleScalarFeatureTensors A P B Q -> L K V | feature_ids=11,22", "L", "K", "V",
        A=(3,), P=THERE[0], B=(3,), Q=THERE[1],
    ),
    row(
        "MergeSingleListFeatureTensors L A P M B Q -> N K R V | feature_ids=11,22", "N", "K", "R", "V",
        L=[2, 0, 1], A=(3,), P=THERE[0], M=[0, 0, 2], B=(2,), Q=THERE[1],
    ),
    row(
        "MergeSingleMapFeatureTensors L J A P M I B Q -> N K R U V | feature_ids=11,22", "N", "K", "R", "U", "V",
        L=[2, 0, 1], J=i64(1, 2, 3), A=(3,), P=THERE[0], M=[0, 0, 2], I=i64(4, 5), B=(2,), Q=THERE[1],
    ),
    row(
        "MergeMultiScalarFeatureTensors L J A M I B -> N K V", "N", "K", "V",
        L=[1, 0, 2], J=i64(1, 2, 3), A=(3,), M=[0, 2, 1], I=i64(4, 5, 6), B=(3,),
    ),
    row(
        "MergeMultiListFeatureTensors L J E A M I F B -> N K R V", "N", "K", "R", "V",
        L=[1, 0, 1], J=i64(1, 2), E=[2, 1], A=(3,), M=[0, 2, 1], I=i64(4, 5, 6), F=[1, 0, 2], B=(3,),
    ),
    row(
        "MergeMultiMapFeatureTensors L J E G A M I F H B -> N K R U V", "N", "K", "R", "U", "V",
        L=[1, 0, 1], J=i64(1, 2), E=[2, 1], G=i64(7, 8, 9), A=(3,),
        M=[0, 2, 1], I=i64(4, 5, 6), F=[1, 0, 2], H=i64(3, 2, 1), B=(3,),
    ),
]  # fmt: skip

RANKED: list[Row] = [
    row("Percentile X P L -> Y", X=POINTS, P=PAIRS, L=[4, 3], versions=NEW),
    row(
        "BisectPercentile X -> Y | lengths=4,3 percentile_raw=-1.0,0,0.5,2,-2,0,1 percentile_mapping=0.1,0.3,0.35,"
        "0.9,0.2,0.5,1 percentile_lower=0.0,0.2,0.3,0.8,0.1,0.4,0.9 percentile_upper=0.2,0.4,0.5,1,0.3,0.6,1",
        X=POINTS, versions=NEW,
    ),
    row("PiecewiseLinearTransform X -> Y | bounds=-2.,-1,0.5,1,-1,0,0.25,3 slopes=1.5,-1,2,0.5,3,-2 "
        "intercepts=0.1,0.2,-0.3,1,2,3", X=POINTS),
    row("PiecewiseLinearTransform X B S I -> Y", X=POINTS, B=EDGES, S=(2, 3), I=(2, 3)),
    *(
        row("PiecewiseLinearTransform X b s i -> Y | binary=1", X=points, b=EDGES[1], s=(3,), i=(3,))
        for points in (POINTS, POINTS[:, :1], POINTS[:, 0])
    ),
    row("Histogram X Z -> Y | bin_edges=-1.5,-0.25,0.5,1.5", X=(6, 3), Z=POINTS, versions=NEW),
    row("SelfBinningHistogram X Z -> V C | num_bins=7", "V", "C", X=(6, 3), Z=POINTS, versions=NEW),
    row("SelfBinningHistogram X -> V C | num_bins=7 abs=1", "V", "C", X=(6, 3), versions=NEW),
    row("SelfBinningHistogram X -> V C | num_bins=7 bin_spacing=logarithmic logspace_start=0.01", "V", "C", X=(6, 3),
        versions=NEW),
    row("SelfBinningHistogram X -> V C | num_bins=3", "V", "C", X=floats(2, 2, 2), versions=NEW),
    *(
        row(f"Quantile X Z -> Y | quantile={share} {more}", X=(6, 3), Z=POINTS, versions=NEW)
        for share in (0.0, 0.3, 0.75, 1.0)
        for more in ("", "abs=0", "tol=1e-06")
    ),
    row("Quantile X -> Y | quantile=0.5", X=floats(2, 2, 2), versions=NEW),
    row("StumpFunc X -> Y | threshold=0.25 low_value=-1.5 high_value=2.5", X=POINTS),
    row("StumpFuncIndex X -> A B | threshold=0.25", "A", "B", X=POINTS[:, 1], versions=NEW),
]  # fmt: skip

FEATURE_ROWS: list[Row] = [*DEALT, *FEATURES, *RANKED]
