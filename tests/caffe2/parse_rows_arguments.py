"""Rows for arguments that few nets write, and that change what an operator gives."""

from __future__ import annotations

import numpy as np

from caffe2.nets import Row, row
from caffe2.parse_rows_int8 import NEW, one, pool

LABELS = np.array([0, 1, 2, 0], np.int32)
WEIGHTS = np.array([0.5, 1, 2, 0.1], np.float32)
SIZES = np.array([3, 2], np.int64)
_KEPT = "Y_scale=0.02 Y_zero_point=120"

FILLS: list[Row] = [
    row("DiagonalFill s -> Y | value=2.0 input_as_shape=1", s=SIZES),
    row("DiagonalFill s -> Y | value=2.0 input_as_shape=1 extra_shape=2,", s=np.array([2], np.int64)),
    row("DiagonalFill -> Y | shape=3,3 value=2 dtype=2"),
    row("ConstantFill -> Y | shape=2,2 value=3"),
    row("DiagonalFill -> Y | shape=2,2 value=3"),
    row("GivenTensorFill X -> Y | values=2.0,1.0,1.0,5.0", X=[[3, 3], [1, 1]]),
    row("GivenTensorFill X -> Y | values=2.0,1.0,1.0,5.0 extra_shape=2,", X=[3, 3]),
    row("GivenTensorIntFill X -> Y | values=2,1,1,5,6,7 input_as_shape=1", X=SIZES),
    row("RangeFill X -> Y | extra_shape=2,", X=[3, 3]),
]

DOUBLES = np.array([[1, -2.5, 3], [1e-40, 5, -6]], np.float64)
WHOLE = np.array([[1, -2, 3], [4, 5, -6]], np.int64)
TRUTH = np.array([[True, False, True], [False, False, True]])

TYPES: list[Row] = [
    *(row(f"{kind} X -> Y", X=DOUBLES, versions=NEW) for kind in ("Sqrt", "Scale", "SumSqrElements", "SumRelu")),
    *(row(f"{kind} X -> Y", X=DOUBLES) for kind in ("Cube", "ReplaceNaN")),
    row("Mean X Z X -> Y", X=DOUBLES, Z=DOUBLES[::-1].copy(), versions=NEW),
    row("Cube X -> Y", X=WHOLE),
    row("SumRelu X X -> Y", X=WHOLE.astype(np.int32), versions=NEW),
    *(row(f"{kind} X Z -> Y", X=TRUTH, Z=TRUTH[::-1].copy()) for kind in ("LT", "LE", "GT", "GE")),
    *(
        row("Range S E D -> Y", S=np.int32(start), E=np.int32(stop), D=np.int32(step))
        for start, stop, step in ((12, 2, -3), (12, 3, -3), (2, 12, 3), (2, 12, -3))
    ),
    row("Range S E D -> Y", S=np.float32(12), E=np.float32(2), D=np.float32(-3)),
    row("Find X Q -> Y", X=WHOLE.ravel(), Q=WHOLE[1] + 1),
    row("Conditional C X Z -> Y", C=np.array([True, False]), X=TRUTH, Z=~TRUTH),
    row("GivenTensorBoolFill -> Y | shape=3, values=1,0,5"),
]

ARGUMENTS: list[Row] = [
    *FILLS,
    *TYPES,
    row(
        "FloatToHalf X -> h | clip=1; HalfToFloat h -> Y", X=np.array([1e5, -1e5, 3, np.inf], np.float32), versions=NEW
    ),
    row(
        "SoftmaxWithLoss X L W -> p l | average_by_batch_size=1", "p", "l", X=(4, 3), L=LABELS, W=WEIGHTS, versions=NEW
    ),
    row("IsMemberOf X -> Y | value=1,2, dtype=2", X=np.array([1, 2, 3], np.int64)),
    row("IsMemberOf X -> Y | value=1,2, dtype=10", X=np.array([1, 2, 3], np.int64)),
    row("SequenceMask X L -> Y | mode=sequence fill_val=7.0 grad=1", X=(2, 4), L=[2, 3]),
    one(f"Int8Slice x -> y | dim=1 start_idx=1 end_idx=-1 {_KEPT}", versions=NEW),
    one(f"Int8ResizeNearest x -> y | output_size=20,12 {_KEPT}", versions=NEW),
    *(
        pool(kind, f"{window} {_KEPT}")
        for kind in ("Int8MaxPool", "Int8AveragePool")
        for window in ("kernel=3 stride=2 legacy_pad=3", "kernel=3 stride=2 pad=1 legacy_pad=3")
    ),
]
