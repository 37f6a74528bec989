"""ENet (Paszke and others, 2016) for 20 classes, with random weights, as its authors' training code would save it.

It is what OpenCV's reader of Torch7 files was written for: dilated, split and transposed convolutions, padding of
channels, and unpooling layers that ask a pooling layer elsewhere in the network where its maxima were.
"""

from __future__ import annotations

import numpy as np

from benchmarks.networks import batch_norm, conv, full_conv, pool, prelu, relu, row
from retorch import LuaTable, TorchObject

CLASSES = 20
EPS = 1e-3
# Of the encoder's second half, which comes twice: a dilation, or the length of a kernel split in two; neither is 3x3.
SECOND_HALF = ({}, {"dilation": 2}, {"split": 5}, {"dilation": 4}, {}, {"dilation": 8}, {"split": 5}, {"dilation": 16})


def _pooling() -> TorchObject:
    """A pooling layer with the tensor that its unpooling layer shares."""
    found = pool("Max", 2, 2)
    found["indices"] = np.zeros((1, 1, 1, 1), np.float32)
    return found


def _sum(main: list[TorchObject], other: list[TorchObject], last: TorchObject) -> TorchObject:
    both = TorchObject(
        "nn.ConcatTable", {"modules": LuaTable.of(row(*main), row(TorchObject("nn.Identity", {}), *other))}
    )
    return row(both, TorchObject("nn.CAddTable", {"inplace": False}), last)


def encoding(
    inputs: int, outputs: int, drop: float, pooling: TorchObject | None = None, dilation: int = 1, split: int = 0
) -> TorchObject:
    """A bottleneck of the encoder; with ``pooling`` it halves height and width."""
    inner, size = outputs // 4, 2 if pooling else 1
    first = conv(inputs, inner, size, size, bias=False)
    first["padW"] = first["padH"] = 0
    middle = [conv(inner, inner, 3, dilation=dilation)]
    if split:
        middle = [conv(inner, inner, (1, split), bias=False), conv(inner, inner, (split, 1))]
    main = [first, batch_norm(inner, EPS), prelu(inner), *middle, batch_norm(inner, EPS), prelu(inner)]
    main += [
        conv(inner, outputs, 1, bias=False),
        batch_norm(outputs, EPS),
        TorchObject("nn.SpatialDropout", {"p": drop}),
    ]
    other = [pooling] if pooling else []
    if inputs != outputs:
        fields = {"dim": 1, "pad": outputs - inputs, "nInputDim": 3, "value": 0, "index": 1}
        other.append(TorchObject("nn.Padding", fields))
    return _sum(main, other, prelu(outputs))


def decoding(inputs: int, outputs: int, pooling: TorchObject | None = None) -> TorchObject:
    """A bottleneck of the decoder; with ``pooling``, the layer that it undoes, it doubles height and width."""
    inner = outputs // 4
    main = [conv(inputs, inner, 1, bias=False), batch_norm(inner, EPS), relu()]
    main += [full_conv(inner, inner, 3) if pooling else conv(inner, inner, 3), batch_norm(inner, EPS), relu()]
    main += [conv(inner, outputs, 1, bias=False), batch_norm(outputs, EPS)]
    other: list[TorchObject] = []
    if pooling:
        undone = TorchObject("nn.SpatialMaxUnpooling", {"pooling": pooling, "indices": pooling["indices"]})
        other = [conv(inputs, outputs, 1, bias=False), batch_norm(outputs, EPS), undone]
    return _sum(main, other, relu())


def enet() -> TorchObject:
    """The whole network; height and width are multiples of 8."""
    first, second, third = _pooling(), _pooling(), _pooling()
    start = TorchObject("nn.ConcatTable", {"modules": LuaTable.of(conv(3, 13, 3, 2), first)})
    joined = TorchObject("nn.JoinTable", {"dimension": 2})
    modules = [start, joined, batch_norm(16, EPS), prelu(16), encoding(16, 64, 0.01, second)]
    modules += [encoding(64, 64, 0.01) for _ in range(4)]
    modules += [encoding(64, 128, 0.1, third)]
    modules += [encoding(128, 128, 0.1, **kind) for _ in range(2) for kind in SECOND_HALF]
    modules += [decoding(128, 64, third), decoding(64, 64), decoding(64, 64), decoding(64, 16, second)]
    return row(*modules, decoding(16, 16), full_conv(16, CLASSES, 2))
