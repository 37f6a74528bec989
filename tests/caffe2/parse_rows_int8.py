"""Rows for operators on blobs of eight bits; each ends in floats, which both Caffe2s hand over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2.nets import Array, Row, row

X = "Int8Quantize X -> x | Y_scale=0.02 Y_zero_point=120"
A = "Int8Quantize A -> a | Y_scale=0.03 Y_zero_point=100"
W = "Int8Quantize w -> qw | Y_scale=0.015 Y_zero_point=131"
B = "Int8GivenIntTensorFill -> qb | shape=4, values=500,-300,20,0 Y_scale=0.0003 Y_zero_point=0"
IMAGE = (2, 7, 6, 4)
_OUT = "Y_scale=0.05 Y_zero_point=110"


def ending(text: str) -> str:
    """The operators of a row, behind the bytes that they read, with the floats of ``y`` as the result."""
    return f"{text}; Int8Dequantize y -> Y"


def conv(arguments: str, w: tuple[int, ...], kind: str = "Int8Conv") -> Row:
    text = f"{X}; {W}; {B}; {kind} x qw qb -> y | order=NHWC {arguments} {_OUT}"
    return row(ending(text), X=IMAGE, w=w)


def conv_transpose(arguments: str, w: tuple[int, ...]) -> Row:
    return row(ending(f"{X}; {W}; {B}; Int8ConvTranspose x qw qb -> y | order=NHWC {arguments} {_OUT}"), X=IMAGE, w=w)


def pool(kind: str, arguments: str) -> Row:
    return row(ending(f"{X}; {kind} x -> y | order=NHWC {arguments}"), X=IMAGE)


NEW = ("1.10.2",)


def one(text: str, shape: tuple[int, ...] = IMAGE, versions: Sequence[str] = ("1.0.0", "1.10.2")) -> Row:
    return row(ending(f"{X}; {text}"), X=shape, versions=versions)


_KEPT = "Y_scale=0.02 Y_zero_point=120"

# The last one lies outside of the image.
_BOXES: Array = np.asarray(
    [[0, 1, 1, 4, 4], [1, -2, 0.5, 9, 5.25], [0, 2.25, 3, 2.5, 3], [1, 20, 20, 22, 22]], np.float32
)


def pooled(arguments: str, boxes: Array = _BOXES, versions: Sequence[str] = ("1.0.0", "1.10.2")) -> Row:
    """Features of an eight-bit image in boxes."""
    return row(ending(f"{X}; Int8RoIAlign x R -> y | order=NHWC {arguments}"), X=IMAGE, R=boxes, versions=versions)


INT8: list[Row] = [
    pooled(f"pooled_h=2 pooled_w=3 spatial_scale=0.5 sampling_ratio=2 {_OUT}"),
    pooled(f"pooled_h=3 pooled_w=2 sampling_ratio=0 {_OUT}"),
    pooled(f"sampling_ratio=1 {_KEPT}", _BOXES[:, 1:].copy()),
    pooled(f"pooled_h=2 pooled_w=2 {_KEPT}", _BOXES[:, 1:].copy(), NEW),
    pooled("pooled_h=2 sampling_ratio=3 Y_scale=0.0003 Y_zero_point=7"),
    pooled(f"pooled_h=2 pooled_w=2 sampling_ratio=0 aligned=1 {_OUT}", _BOXES + np.float32([0, 0, 0, 1, 1]), NEW),
    pooled(f"sampling_ratio=0 {_OUT}", _BOXES[:0]),
    conv_transpose("kernel=3", (4, 3, 3, 4)),
    conv_transpose("kernel=3 stride=2 pad=1 adj=1", (4, 3, 3, 4)),
    conv_transpose("kernel_h=2 kernel_w=3 stride_h=3 stride_w=2 pad_t=1 pad_l=0 pad_b=0 pad_r=1", (4, 2, 3, 4)),
    conv_transpose("kernel=1 stride=2", (4, 1, 1, 4)),
    row(ending("Int8Quantize X -> y | Y_scale=0.02 Y_zero_point=120"), X=(3, 50)),
    row(ending("Int8Quantize X -> y | Y_scale=0.25 Y_zero_point=9"), X=(3, 50)),
    row("Int8GivenTensorFill -> y | shape=2,3 values=abcXYZ Y_scale=0.5 Y_zero_point=70; Int8Dequantize y -> Y"),
    conv("kernel=3", (4, 3, 3, 4)),
    conv("kernel=3 pad=1 stride=2", (4, 3, 3, 4)),
    conv("kernel=3 pad=1 group=4", (4, 3, 3, 1)),
    conv("kernel=3 pad=1 group=2", (4, 3, 3, 2)),
    conv("kernel=1", (4, 1, 1, 4), "Int8ConvRelu"),
    conv("kernel=1 dilation=2", (4, 1, 1, 4), "Int8ConvRelu"),
    conv("kernel=3 dilation=2 pad=1", (4, 3, 3, 4)),
    conv("kernel_h=2 kernel_w=3 stride_h=1 stride_w=2 pad_t=1 pad_l=0 pad_b=0 pad_r=2", (4, 2, 3, 4)),
    row(ending(f"{X}; {W}; {B}; Int8FC x qw qb -> y | {_OUT}"), X=(3, 10), w=(4, 10)),
    *(
        row(ending(f"{X}; {A}; {kind} x a -> y | {_OUT}"), X=IMAGE, A=IMAGE)
        for kind in ("Int8Add", "Int8AddRelu", "Int8Sum", "Int8SumRelu")
    ),
    one(f"Int8Relu x -> y | {_KEPT}"),
    pool("Int8MaxPool", f"kernel=2 stride=2 {_KEPT}"),
    pool("Int8MaxPoolRelu", f"kernel=3 pad=1 {_KEPT}"),
    pool("Int8AveragePool", f"kernel=3 stride=2 pad=1 {_OUT}"),
    pool("Int8AveragePool", f"global_pooling=1 {_OUT}"),
    pool("Int8AveragePoolRelu", f"kernel=2 {_OUT}"),
    one("Int8Sigmoid x -> y | Y_scale=0.00390625 Y_zero_point=0", versions=NEW),  # 1.0.0: only the first image
    one(f"Int8LeakyRelu x -> y | alpha=0.1 {_OUT}", versions=NEW),
    one("Int8Softmax x -> y | Y_scale=0.00390625 Y_zero_point=0", (3, 10)),
    row(ending(f"{X}; Int8Quantize A -> a | {_KEPT}; Int8Concat x a -> y | axis=3 {_KEPT}"), X=IMAGE, A=IMAGE),
    one(f"Int8ResizeNearest x -> y | width_scale=2.0 height_scale=1.5 {_KEPT}"),
    one(f"Int8ChannelShuffle x -> y | order=NHWC group=2 kernel=1 {_KEPT}"),
    one(f"Int8Flatten x -> y | axis=2 {_KEPT}"),
    one(f"Int8Transpose x -> y | axes=0,3,1,2 {_KEPT}", versions=NEW),
    one(f"Int8Reshape x -> y o | shape=2,-1 {_KEPT}"),
    one(f"Int8Slice x -> y | starts=0,1,0,0 ends=-1,4,-1,-1 {_KEPT}"),
]
