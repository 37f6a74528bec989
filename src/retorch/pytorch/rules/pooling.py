"""Poolings: PyTorch's modules where they have the same windows, else the operators with the padding spelled out."""

from __future__ import annotations

from typing import Any

from retorch.layers.pooling import adaptive, temporal, window
from retorch.pytorch.part import Part
from retorch.pytorch.rule import Run, rule
from retorch.pytorch.rules.convolution import one, options


def _same_windows(layer: window.Pooling, at: Run) -> dict[str, Any] | None:
    """The arguments after the kernel, if PyTorch makes the same windows of this input and pads by at most half."""
    rank = len(layer.axes)
    if at.rank != rank + 2:
        return None
    found = layer.windows(at.sized())
    kernel, stride = layer.per_axis("k"), layer.per_axis("d")
    pad, dilation = layer.per_axis("pad"), layer.per_axis("dilation", 1)
    ceil = bool(layer.ceil_mode)
    if any(w.beyond or p < 0 or 2 * p > k for w, p, k in zip(found, pad, kernel, strict=True)):
        return None
    if any(w.out != _outputs(w, ceil=ceil) for w in found):
        return None
    named: dict[str, Any] = {} if stride == kernel else {"stride": one(stride)}
    named |= options(padding=(pad, 0), dilation=(dilation, 1))
    return {**named, "ceil_mode": True} if ceil else named


def _outputs(w: window.Window, *, ceil: bool) -> int:
    """How many windows PyTorch makes."""
    room = w.size + 2 * w.pad - w.span
    out = (-(-room // w.stride) if ceil else room // w.stride) + 1
    return out - (ceil and (out - 1) * w.stride >= w.size + w.pad)


@rule(window.MaxPooling, says="nn.MaxPool2d, nn.MaxPool3d")
def max_pooling(layer: window.MaxPooling, at: Run) -> Part | None:
    named = _same_windows(layer, at)
    if named is None or layer.asked:
        return None
    kernel = one(layer.per_axis("k"))
    return at.module(f"nn.MaxPool{len(layer.axes)}d", kernel, **named)


@rule(window.AveragePooling, says="nn.AvgPool2d, nn.AvgPool3d")
def average_pooling(layer: window.AveragePooling, at: Run) -> Part | None:
    named = _same_windows(layer, at)
    if named is None or layer.scale() != 1:
        return None
    if not layer.count_include_pad and "padding" in named:
        named["count_include_pad"] = False
    return at.module(f"nn.AvgPool{len(layer.axes)}d", one(layer.per_axis("k")), **named)


@rule(
    adaptive.SpatialAdaptiveMaxPooling,
    adaptive.SpatialAdaptiveAveragePooling,
    says="nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d",
)
def adaptive_pooling(layer: adaptive.AdaptivePooling, at: Run) -> Part | None:
    if at.rank != 4:
        return None
    for size, out in layer.outs(at.sized()):
        edges = [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]
        # Torch7 takes the edges of its bins in float32, which is a bin more or less at a few sizes
        if adaptive.bins(size, out) != edges:
            return None
    name = "Max" if isinstance(layer, adaptive.SpatialAdaptiveMaxPooling) else "Avg"
    return at.module(f"nn.Adaptive{name}Pool2d", one((layer.H, layer.W)))


@rule(temporal.TemporalMaxPooling)
def temporal_max_pooling(layer: temporal.TemporalMaxPooling, at: Run) -> Part | None:
    if at.rank != 3:
        return None
    stride = layer.dW or layer.kW
    named: dict[str, Any] = {} if stride == layer.kW else {"stride": stride}
    return at.module("TemporalMaxPooling", layer.kW, **named)
